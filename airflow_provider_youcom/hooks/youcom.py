"""The hook: connect to You.com through an Airflow connection."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.connection import get_async_connection
from airflow.providers.common.compat.sdk import AirflowException, AirflowNotFoundException, BaseHook

from airflow_provider_youcom.billing._masking import no_key_in_errors
from airflow_provider_youcom.exceptions import (
    YouComConnectionNotFoundError,
    YouComError,
    YouComRefusedError,
    YouComUnavailableError,
)
from airflow_provider_youcom.get_provider_info import (
    CONNECTION_TYPE,
    CONNECTION_TYPE_NAME,
    form_behaviour,
)
from airflow_provider_youcom.hooks._connection import Settings, read_connection
from airflow_provider_youcom.money import format_usd, parse_usd

if TYPE_CHECKING:
    import requests

    from airflow_provider_youcom.balance import AccountBalance
    from airflow_provider_youcom.reservations.reservation import Reservation


class YouComHook(BaseHook):
    """
    Interact with You.com through an Airflow connection.

    The connection's password is the API key. Its host is the base URL (default: ``https://api.you.com``); a
    host without a scheme is combined with the connection's schema and port. Its extra may contain ``timeout``
    (the most seconds that one call may take, default 30) and ``retries`` (within that time, default 2).

    A copied or pickled hook contains no key: the copy reads the connection again.

    :param youcom_conn_id: the connection. Default: ``youcom_default``.
    """

    conn_name_attr = "youcom_conn_id"
    default_conn_name = "youcom_default"
    conn_type = CONNECTION_TYPE
    hook_name = CONNECTION_TYPE_NAME

    def __init__(self, youcom_conn_id: Any = default_conn_name) -> None:
        super().__init__()
        self.youcom_conn_id = youcom_conn_id
        self._settings: Settings | None = None

    def get_conn(self) -> requests.Session:
        """
        Return a session that sends the API key to the connection's origin only.

        It follows no redirects, and retries a GET after a passing failure. Use it for other calls to that
        origin: ``hook.get_conn().post(f"{hook.base_url}/v1/research", json=...)``.

        :raises YouComRefusedError: if the connection is missing or cannot be used.
        """
        return self._connected().client.session

    @property
    def base_url(self) -> str:
        """The base URL of You.com's API, without a slash at the end."""
        return self._connected().client.base_url

    def get_balance(self) -> AccountBalance:
        """
        Return what the account holds.

        :raises YouComUnavailableError: if You.com does not answer, or answers that it is unavailable.
        :raises YouComRefusedError: if You.com refuses the request, or the connection cannot be used.
        :raises YouComResponseError: if the answer is not an account balance.
        """
        return self._connected().client.get_balance()

    async def aget_balance(self) -> AccountBalance:
        """
        Return what the account holds, without blocking the event loop.

        The connection is read each time, since its key may have been rotated. This raises the same errors as
        ``get_balance``.
        """
        from airflow_provider_youcom.hooks._off_the_loop import run_off_the_loop

        with no_key_in_errors():
            # The triggerer of Airflow 3.0 and 3.1 dies if a trigger is cancelled between a request to the
            # supervisor and the response, so a cancellation must not interrupt reading the connection.
            client = (await asyncio.shield(self._aconnect())).client
            try:
                return await run_off_the_loop(client.get_balance, client.timeout)
            except TimeoutError:
                raise client.too_late() from None

    @contextmanager
    def reserved_credits(
        self, usd: int | float | str | Decimal, reserve_for: timedelta = timedelta(hours=1)
    ) -> Iterator[Reservation]:
        """
        Reserve credits for the code in a ``with`` block, without waiting for them.

        Each use is a reservation of its own, in one task or in several threads. Others that reserve on the
        same ledger do not get these credits. The reservation ends with the block; a new try of the task ends
        what earlier tries have left.

        :param usd: how much to reserve, in dollars, for all that the block may spend.
        :param reserve_for: after how long the reservation expires if this process dies. Default: 1 hour.
        :raises YouComShortfallError: if less is available.
        :raises YouComUnavailableError: if You.com or the ledger does not answer.
        :raises YouComRefusedError: if the connection or its ledger cannot be used.
        """
        from airflow_provider_youcom.hooks import _ledger, _reserving

        with no_key_in_errors():
            settings = self._connected()
            ledger = _ledger.open_ledger(settings.ledger_conn_id, self._key_name)
            reservation = _reserving.reserve(
                settings.client,
                ledger,
                usd=parse_usd(usd, "usd"),
                settle_seconds=settings.settle_seconds,
                reserve_for_seconds=reserve_for.total_seconds(),
            )
        try:
            yield reservation
        except BaseException:
            _reserving.give_up(ledger, reservation)
            raise
        _reserving.release(ledger, reservation)

    def test_connection(self) -> tuple[bool, str]:
        """Check the balance and return the result in words, for the "Test" button of the connection form."""
        try:
            # Not by its name: Airflow's UI and REST API test under a generated name.
            settings = self._connect("this connection")
            try:
                return True, self._describe(settings)
            finally:
                settings.client.close()
        except YouComError as error:
            return False, str(error)

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return how the form's standard fields look; read by Airflow below 3.2."""
        return form_behaviour()

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's own fields; read by Airflow below 3.2."""
        from airflow_provider_youcom.hooks._form_widgets import form_widgets

        return form_widgets()

    def __getstate__(self) -> dict[str, Any]:
        # A copy contains neither the key nor open connections.
        return {**self.__dict__, "_settings": None}

    def _connected(self) -> Settings:
        if self._settings is None:
            with no_key_in_errors():
                self._settings = self._connect(self._key_name)
        return self._settings

    def _connect(self, key_name: str) -> Settings:
        try:
            connection = self.get_connection(self._conn_id())
        except Exception as error:  # noqa: BLE001 - raised again below
            self._explain(error)
        return read_connection(connection, key_name)

    async def _aconnect(self) -> Settings:
        try:
            connection = await get_async_connection(self._conn_id(), hook=self)
        except Exception as error:  # noqa: BLE001 - raised again below
            self._explain(error)
        return read_connection(connection, self._key_name)

    def _describe(self, settings: Settings) -> str:
        balance = settings.client.get_balance()
        if not settings.ledger_conn_id:
            return str(balance)
        from airflow_provider_youcom.hooks import _ledger

        account = (
            _ledger.open_ledger(settings.ledger_conn_id, "this connection").note().of(balance.account_id)
        )
        return f"{balance}, {format_usd(account.reserved_usd, ROUND_CEILING)} of it reserved"

    @property
    def _key_name(self) -> str:
        return f"connection {self.youcom_conn_id!r}"

    def _conn_id(self) -> str:
        conn_id: object = self.youcom_conn_id
        if isinstance(conn_id, bool) or not isinstance(conn_id, (str, int)):
            raise YouComRefusedError(
                f"youcom_conn_id={conn_id!r} is {type(conn_id).__name__}, not the name of a connection: "
                "use a str, or a template of one (render_template_as_native_obj may change its type)."
            )
        # An int is what a native template makes of a name such as "1234".
        return str(conn_id)

    def _explain(self, error: Exception) -> NoReturn:
        """Raise the error that says why Airflow did not return the connection."""
        if isinstance(error, AirflowNotFoundException):
            raise YouComConnectionNotFoundError(
                f"There is no {self._key_name} that Airflow can read: add one of type {CONNECTION_TYPE_NAME} "
                "with your API key as its password, or, if there is one, check how it is written (in a URI, "
                "percent-encode the key; in JSON, put it in quotation marks)."
            ) from None
        if isinstance(error, PermissionError):
            raise YouComRefusedError(
                f"Airflow denied access to {self._key_name}: ask whoever manages its secrets to allow it."
            ) from None
        if _is_airflows_own(error):
            raise YouComUnavailableError(
                f"Airflow could not read {self._key_name} ({type(error).__name__}); this usually passes, and "
                "if it does not, check Airflow's database, API server and secrets backend."
            ) from None
        raise error


def _is_airflows_own(error: Exception) -> bool:
    # By module name: AirflowRuntimeError exists in Airflow 3 only, and the other packages may be missing.
    package = type(error).__module__.partition(".")[0]
    return isinstance(error, (AirflowException, OSError)) or package in ("airflow", "sqlalchemy", "httpx")
