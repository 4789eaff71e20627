"""The sandbox as a context manager."""

from __future__ import annotations

import ipaddress
import json
import threading
from collections.abc import Mapping
from typing import Self

from airflow_provider_youcom.sandbox._account import new_account
from airflow_provider_youcom.sandbox._checks import SECONDS, invalid, is_seconds, is_whole
from airflow_provider_youcom.sandbox._lock import ProcessLock
from airflow_provider_youcom.sandbox._server import Server
from airflow_provider_youcom.sandbox._you_com import YouCom

DEFAULT_API_KEY = "sandbox-key"


class Sandbox(YouCom):
    """
    A You.com that runs on this machine.

    :param balance_usd: balance of the account of ``api_key`` in dollars, 100 by default.
    :param api_key: the key to accept.
    :param accounts: further keys, each with the balance of its account in dollars.
    :param host: a loopback address, or ``"localhost"`` for 127.0.0.1.
    :param port: port to listen on; 0, the default, takes a free one.
    :param post_charges_after: seconds until the billing API shows a charge, 0 by default. Whether an
        account can pay is always decided by what it holds.
    :param spending_cap_usd: the most that ``api_key`` may spend, in dollars; None, the default, is no cap.
    :raises ValueError: if ``host`` is not a loopback address, or another value cannot be used.
    """

    def __init__(
        self,
        balance_usd: object = 100,
        *,
        api_key: str = DEFAULT_API_KEY,
        accounts: Mapping[str, object] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        post_charges_after: float = 0.0,
        spending_cap_usd: object = None,
    ) -> None:
        if not is_whole(port, 0, 65_535):
            raise invalid("port", "a number from 0 to 65535")
        if not is_seconds(post_charges_after):
            raise invalid("post_charges_after", SECONDS)
        balances = _balances(api_key, balance_usd, accounts or {})
        super().__init__(
            {key: new_account(key, usd, post_charges_after) for key, usd in balances.items()}, api_key
        )
        self.set_spending_cap(spending_cap_usd)
        self._address = (_loopback(host), port)
        self._post_charges_after = post_charges_after
        self._server: Server | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """
        Listen, and answer in the background; a sandbox that was stopped listens on the same port again.

        :raises RuntimeError: if it runs already.
        :raises OSError: if it cannot listen there.
        """
        if self._server is not None:
            raise RuntimeError(
                f"The sandbox at {self.base_url} runs already: stop it before you start it again."
            )
        if not self._lock.is_ours:
            self._lock = ProcessLock()
        server = self._listen()
        # It checks this often whether it should stop, and each of a user's tests waits for that.
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        self._address = server.server_address[:2]  # type: ignore[assignment]
        self._server, self._thread = server, thread

    def stop(self) -> None:
        """
        Stop listening, cut every connection, and end all threads; the accounts keep their balances.

        In a process that was forked from the one that runs the sandbox, it goes on running there.
        """
        if self._server is not None and self._thread is not None and self._lock.is_ours:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
        self._server = self._thread = None

    @property
    def base_url(self) -> str:
        """The URL at which it listens, for the host of a connection."""
        host, port = self._address
        if port == 0:
            raise RuntimeError("The sandbox has no port yet: start it before you ask for its base_url.")
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def connection(self, api_key: str | None = None) -> str:
        """
        Return the JSON for an ``AIRFLOW_CONN_…`` variable. Its settle time is ``post_charges_after``.

        :param api_key: key of the account; the first one by default.
        """
        return json.dumps(
            {
                "conn_type": "youcom",
                "host": self.base_url,
                "password": self.api_key if api_key is None else api_key,
                # As text: Airflow's REST API and its file of connections do not take an object.
                "extra": json.dumps({"settle_seconds": self._post_charges_after}),
            }
        )

    def _listen(self) -> Server:
        host, port = self._address
        try:
            return Server((host, port), self)
        except OSError as error:
            raise OSError(
                error.errno,
                f"The sandbox cannot listen on port {port} of {host} ({error.strerror}): use another host or "
                "port; port 0 takes a free one.",
            ) from error


def _balances(api_key: str, balance_usd: object, others: Mapping[str, object]) -> dict[str, object]:
    if not isinstance(others, Mapping):
        raise invalid("accounts", "a mapping of keys to balances in dollars")
    if api_key in others:
        raise invalid("accounts", "each key once, and not the one in api_key")
    return {api_key: balance_usd, **others}


def _loopback(host: object) -> str:
    if host == "localhost":
        return "127.0.0.1"
    try:
        address = ipaddress.ip_address(host) if isinstance(host, str) else None
    except ValueError:
        address = None
    if address is None:
        raise invalid("host", "a loopback address, 127.0.0.1 or ::1")
    if not address.is_loopback:
        raise ValueError(f"host={host!r} would let others in: the sandbox listens on 127.0.0.1 or ::1 only.")
    return str(address)
