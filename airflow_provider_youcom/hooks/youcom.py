"""The hook: connect to You.com through an Airflow connection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_youcom._connection_form import CONNECTION_TYPE, CONNECTION_TYPE_NAME, form_behaviour
from airflow_provider_youcom._masking import no_key_in_errors
from airflow_provider_youcom.exceptions import YouComError
from airflow_provider_youcom.hooks._connection import Settings, read_connection
from airflow_provider_youcom.hooks._lookup import (
    aread_connection,
    checked_conn_id,
    lookup_error,
    wait_for_connection,
)
from airflow_provider_youcom.ledger.claim import duration_seconds
from airflow_provider_youcom.money import parse_usd

if TYPE_CHECKING:
    import requests

    from airflow_provider_youcom.balance import AccountBalance, AvailableCredits
    from airflow_provider_youcom.billing.client import BillingClient
    from airflow_provider_youcom.ledger.ledger import Ledger
    from airflow_provider_youcom.ledger.reservation import Reservation


class YouComHook(BaseHook):
    """
    Interact with You.com through an Airflow connection.

    The connection's password is the API key. Its host is the base URL (default: ``https://api.you.com``); a
    host without a scheme is combined with the connection's schema and port. Its extra may contain ``timeout``
    (the most seconds that one call may take, default 30), ``retries`` (within that time, default 2),
    ``ledger_conn_id`` (the connection to the ledger of reservations), ``settle_seconds`` (how late You.com
    may post a charge, default 60) and ``hold_seconds`` (how long credits are held for a gate in line while
    nothing opens and no more come in, default 3600).

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

        It follows no redirects, and retries a GET after a temporary failure. A spending cap is not one. Use
        it for other calls to that origin: ``hook.get_conn().post(f"{hook.base_url}/v1/research", json=...)``.

        :raises YouComRefusedError: if the connection is missing or cannot be used.
        """
        return self.client.session

    @property
    def client(self) -> BillingClient:
        """The client that asks You.com, with the connection's key."""
        return self._connected().client

    @property
    def base_url(self) -> str:
        """The base URL of You.com's API, without a slash at the end."""
        return self.client.base_url

    def get_balance(self) -> AccountBalance:
        """
        Return what the account holds, and store it in the ledger, if the connection names one.

        :raises YouComUnavailableError: if You.com does not answer, or answers that it is unavailable.
        :raises YouComRefusedError: if You.com refuses the request, or the connection cannot be used.
        :raises YouComResponseError: if the answer is not an account balance.
        """
        from airflow_provider_youcom.hooks._ledger import get_and_store_balance

        return get_and_store_balance(self) if self.has_ledger else self.client.get_balance()

    async def aconnect(self) -> None:
        """
        Read the connection without blocking the event loop; all other methods then use what it says.

        :raises YouComRefusedError: if the connection is missing or cannot be used.
        :raises YouComUnavailableError: if Airflow cannot read it now.
        """
        with no_key_in_errors():
            self._settings = await wait_for_connection(self._aread(), self._conn_name)

    async def aget_balance(self) -> AccountBalance:
        """
        Return what the account holds, without blocking the event loop.

        The connection is read each time, since its key may have been rotated. This raises the same errors as
        ``get_balance``.
        """
        await self.aconnect()
        with no_key_in_errors():
            return await self.client.aget_balance()

    @property
    def ledger(self) -> Ledger:
        """
        The ledger of reservations that the connection names.

        :raises YouComRefusedError: if it names none, or one that cannot be used.
        """
        from airflow_provider_youcom.hooks._ledger import open_ledger

        with no_key_in_errors():
            return open_ledger(self._connected().ledger_conn_id, self._conn_name)

    async def aget_ledger(self) -> Ledger:
        """
        Return the ledger that the connection names, without blocking the event loop.

        Call ``aconnect`` first. This raises the same errors as ``ledger``.

        :raises YouComUnavailableError: if Airflow cannot read the ledger's connection now.
        """
        from airflow_provider_youcom.hooks._ledger import aopen_ledger

        ledger_conn_id = self._connected().ledger_conn_id
        with no_key_in_errors():
            opening = aopen_ledger(ledger_conn_id, self._conn_name)
            return await wait_for_connection(opening, f"connection {ledger_conn_id!r}")

    @property
    def has_ledger(self) -> bool:
        """Whether the connection names a ledger."""
        return bool(self._connected().ledger_conn_id)

    @property
    def settle_seconds(self) -> float:
        """How late You.com may post a charge, in seconds, as set in the connection."""
        return self._connected().settle_seconds

    @property
    def hold_seconds(self) -> float:
        """How long credits are held for a gate while nothing opens and no more come in, in seconds."""
        return self._connected().hold_seconds

    def get_available(self) -> AvailableCredits:
        """
        Return the balance, how much of it is reserved, and what that leaves.

        ``hook.ledger.standing()`` lists who has reserved. This raises the same errors as ``get_balance``.

        :raises YouComRefusedError: if the connection names no ledger, or one that cannot be used.
        :raises YouComUnavailableError: if the ledger does not answer.
        """
        ledger = self.ledger
        note, balance = ledger.note(), self.client.get_balance()
        ledger.accounts.store(balance, note)
        return note.available(balance)

    @contextmanager
    def reserved_credits(
        self, usd: int | float | str | Decimal, reserve_for: timedelta | float = timedelta(hours=1)
    ) -> Iterator[Reservation]:
        """
        Reserve credits for the code in a ``with`` block, without waiting for them.

        Each use is a reservation of its own, in one task or in several threads. Others that reserve on the
        same ledger do not get these credits. The reservation ends with the block. A new attempt of the task
        ends what earlier attempts have left.

        :param usd: how much to reserve, in dollars, for all that the block may spend.
        :param reserve_for: after how long the reservation expires if this process dies; a timedelta, or
            seconds. Default: 1 hour.
        :raises YouComShortfallError: if less is available.
        :raises YouComUnavailableError: if You.com or the ledger does not answer.
        :raises YouComRefusedError: if the connection or its ledger cannot be used.
        """
        from airflow_provider_youcom.hooks._reserved_credits import released_at_exit, reserve_for_code

        with no_key_in_errors():
            ledger = self.ledger
            amount_usd = parse_usd(usd, "usd")
            seconds = duration_seconds(reserve_for, "reserve_for")
            reservation = reserve_for_code(self, ledger, amount_usd, seconds)
        with released_at_exit(ledger, reservation):
            yield reservation

    def test_connection(self) -> tuple[bool, str]:
        """Check the balance and return the result in words, for the "Test" button of the connection form."""
        from airflow_provider_youcom.hooks._ledger import describe

        try:
            # Not by its name: Airflow's UI and REST API test under a generated name.
            return True, describe(self._read("this connection"))
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
                self._settings = self._read(self._conn_name)
        return self._settings

    def _read(self, conn_name: str) -> Settings:
        try:
            connection = self.get_connection(checked_conn_id(self.youcom_conn_id))
        except Exception as error:  # noqa: BLE001 - raised again
            raise lookup_error(error, self.youcom_conn_id, conn_name) or error from None
        return read_connection(connection, conn_name)

    async def _aread(self) -> Settings:
        try:
            connection = await aread_connection(self, checked_conn_id(self.youcom_conn_id))
        except Exception as error:  # noqa: BLE001 - raised again
            raise lookup_error(error, self.youcom_conn_id, self._conn_name) or error from None
        return read_connection(connection, self._conn_name)

    @property
    def _conn_name(self) -> str:
        return f"connection {self.youcom_conn_id!r}"
