"""The sandbox as a context manager."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import threading
from collections.abc import Mapping
from typing import Self

from airflow_provider_youcom.money import parse_usd
from airflow_provider_youcom.sandbox._server import Server
from airflow_provider_youcom.sandbox._you_com import Account, YouCom

DEFAULT_API_KEY = "sandbox-key"


class Sandbox(YouCom):
    """
    A You.com that runs on this machine.

    :param balance_usd: balance of the account of ``api_key`` in dollars, 100 by default.
    :param api_key: the key to accept.
    :param accounts: further keys, each with the balance of its account in dollars.
    :param host: a loopback address.
    :param port: port to listen on; 0, the default, takes a free one.
    :param post_charges_after: seconds until the billing API shows a charge, 0 by default. Whether an
        account can pay is always decided by what it holds.
    :raises ValueError: if ``host`` is not a loopback address, or a balance is not an amount.
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
    ) -> None:
        if not ipaddress.ip_address(host).is_loopback:
            raise ValueError(
                f"host={host!r} would let others in: the sandbox listens on 127.0.0.1 or ::1 only."
            )
        balances = {api_key: balance_usd, **(accounts or {})}
        super().__init__(
            {key: _new_account(key, usd, post_charges_after) for key, usd in balances.items()}, api_key
        )
        self._address = (host, port)
        self._post_charges_after = post_charges_after
        self._server: Server | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen, and answer in the background; a sandbox that was stopped listens on the same port again."""
        self._server = Server(self._address, self)
        self._address = self._server.server_address[:2]  # type: ignore[assignment]
        # It checks this often whether it should stop, and each of a user's tests waits for that.
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening, cut every connection, and end all threads; the accounts keep their balances."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = self._thread = None

    @property
    def base_url(self) -> str:
        """The URL at which it listens, for the host of a connection."""
        host, port = self._address
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
                "password": api_key or self.api_key,
                # As text: Airflow's REST API and its file of connections do not take an object.
                "extra": json.dumps({"settle_seconds": self._post_charges_after}),
            }
        )


def _new_account(api_key: str, usd: object, post_charges_after: float) -> Account:
    account_id = hashlib.sha256(api_key.encode()).hexdigest()[:24]
    return Account(account_id, parse_usd(usd, "balance_usd") * 100, post_charges_after=post_charges_after)
