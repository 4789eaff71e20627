"""From an Airflow connection to an authenticated You.com client."""

from __future__ import annotations

import asyncio
import contextvars
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson
from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from airflow_provider_youcom.exceptions import (
    YouComConnectionNotFoundError,
    YouComError,
    YouComRefusedError,
)
from airflow_provider_youcom.get_provider_info import (
    CONNECTION_TYPE,
    CONNECTION_TYPE_NAME,
    form_behaviour,
    form_fields,
)

if TYPE_CHECKING:
    import requests
    from airflow.providers.common.compat.sdk import Connection

    from airflow_provider_youcom.balance import AccountBalance
    from airflow_provider_youcom.billing.client import BillingClient

Result = TypeVar("Result")

_MOST_LOOKS_AT_ONCE = 32


class YouComHook(BaseHook):
    """
    Talks to You.com as an Airflow connection says.

    The connection's password is the API key, its host the base URL (``https://api.you.com`` if empty; a
    bare host goes with the connection's schema and port), and its extra may hold ``timeout`` (seconds for
    one call in all, default 30) and ``retries`` (within that time, default 2).

    :param youcom_conn_id: the connection.
    """

    conn_name_attr = "youcom_conn_id"
    default_conn_name = "youcom_default"
    conn_type = CONNECTION_TYPE
    hook_name = CONNECTION_TYPE_NAME

    def __init__(self, youcom_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.youcom_conn_id = youcom_conn_id
        self._client: BillingClient | None = None

    def get_conn(self) -> requests.Session:
        """
        Give a session that sends the API key to the connection's own origin, and nowhere else.

        It follows no redirects, tries a GET again after a passing failure, and can be used for other calls
        of You.com's on that origin: ``hook.get_conn().post(f"{hook.base_url}/v1/research", json=...)``.

        :raises YouComRefusedError: if the connection is missing or cannot be used.
        """
        return self._connected().session

    @property
    def base_url(self) -> str:
        """Where You.com's API is, with no slash at the end."""
        return self._connected().base_url

    def get_balance(self) -> AccountBalance:
        """
        Ask what the account holds.

        :raises YouComUnavailableError: if there is no answer, or one that says to come back later.
        :raises YouComRefusedError: if the answer is no, or the connection cannot be used.
        :raises YouComResponseError: if the answer is not the contract's.
        """
        return self._connected().get_balance()

    async def aget_balance(self) -> AccountBalance:
        """
        Ask what the account holds, off the event loop; reads the connection anew, for a key may be rotated.

        Raises what ``get_balance`` raises.
        """
        try:
            return await self._aread_connection_and_look()
        except YouComError as error:
            problem = error
        # Without the frames that held the connection: some reports of errors show all variables in them.
        raise problem.with_traceback(None)

    def test_connection(self) -> tuple[bool, str]:
        """Ask for the balance, and say what came of it; behind the "Test" button of the connection form."""
        try:
            # Not by its name: Airflow's UI and REST API test under one that they make up.
            client = self._connect("this connection")
            try:
                return True, str(client.get_balance())
            finally:
                client.close()
        except YouComError as error:
            return False, str(error)

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Give how the form's standard fields look; read by Airflow below 3.2."""
        return form_behaviour()

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Give the form's own fields; read by Airflow below 3.2."""
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from flask_babel import lazy_gettext
        from wtforms import StringField
        from wtforms.validators import Optional

        # Text, though a number is meant: Airflow 2.11 forgets an IntegerField's 0 when it is edited.
        return {
            name: StringField(
                lazy_gettext(field["label"]),
                widget=BS3TextFieldWidget(),
                description=field["description"],
                validators=[Optional(), _form_check(name)],
            )
            for name, field in form_fields().items()
        }

    async def _aread_connection_and_look(self) -> AccountBalance:
        # The triggerer of Airflow 3.0 and 3.1 dies, with all triggers in it, if one is cancelled between a
        # question to its supervisor and the answer; so a connection that is asked for is read to its end.
        connection, extra = await asyncio.shield(self._aread_connection())
        return await _off_the_loop(lambda: self._look_once(connection, extra))

    def _look_once(self, connection: Connection, extra: dict[str, Any]) -> AccountBalance:
        client = client_from_connection(connection, extra, self._key_name)
        try:
            return client.get_balance()
        finally:
            client.close()

    def _connected(self) -> BillingClient:
        if self._client is not None:
            return self._client
        try:
            self._client = self._connect(self._key_name)
            return self._client
        except YouComError as error:
            problem = error
        raise problem.with_traceback(None)

    def _connect(self, key_name: str) -> BillingClient:
        try:
            connection = self.get_connection(self.youcom_conn_id)
        except AirflowNotFoundException:
            raise self._no_connection() from None
        return client_from_connection(connection, connection.extra_dejson, key_name)

    @property
    def _key_name(self) -> str:
        return f"connection {self.youcom_conn_id!r}"

    async def _aread_connection(self) -> tuple[Connection, dict[str, Any]]:
        try:
            connection = await get_async_connection(self.youcom_conn_id)
        except AirflowNotFoundException:
            raise self._no_connection() from None
        return connection, await get_async_extra_dejson(connection)

    def _no_connection(self) -> YouComConnectionNotFoundError:
        return YouComConnectionNotFoundError(
            f"There is no connection {self.youcom_conn_id!r}: add one of type {CONNECTION_TYPE_NAME} "
            "with your API key as its password."
        )


def client_from_connection(connection: Connection, extra: dict[str, Any], key_name: str) -> BillingClient:
    """
    Make the client that a connection describes.

    :param connection: its password is the API key, its host the base URL.
    :param extra: the connection's extra, parsed.
    :param key_name: how errors name the connection.
    :raises YouComRefusedError: if the connection cannot be used.
    """
    # Imports requests: not at parse time, when this module may be imported but nothing is asked.
    from airflow_provider_youcom.billing.client import DEFAULT_RETRIES, DEFAULT_TIMEOUT, BillingClient

    return BillingClient(
        connection.password or "",
        _base_url(connection),
        timeout=_number(extra, "timeout", DEFAULT_TIMEOUT, key_name),
        retries=int(_number(extra, "retries", DEFAULT_RETRIES, key_name)),
        key_name=key_name,
    )


async def _off_the_loop(look: Callable[[], Result]) -> Result:
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(_threads(), context.run, look)


@cache
def _threads() -> ThreadPoolExecutor:
    # Not the event loop's own threads: those are few, and while You.com is silent, looks would hold them all.
    # Every trigger in the process needs them, to look up a name at the least.
    return ThreadPoolExecutor(_MOST_LOOKS_AT_ONCE, thread_name_prefix="youcom-look")


# A forked child has the pool, but none of its threads.
os.register_at_fork(after_in_child=_threads.cache_clear)


def _base_url(connection: Connection) -> str:
    from airflow_provider_youcom.billing._session import DEFAULT_BASE_URL

    host = (connection.host or "").strip()
    if not host:
        return DEFAULT_BASE_URL
    if "://" in host:
        return host
    if ":" in host and not host.startswith("["):
        host = f"[{host}]" if host.count(":") > 1 else host
    port = f":{connection.port}" if connection.port else ""
    return f"{connection.schema or 'https'}://{host}{port}"


def _number(extra: dict[str, Any], name: str, default: float, key_name: str) -> float:
    limits = form_fields()[name]["schema"]
    given = extra.get(name)
    if given is None or given == "":
        return default
    try:
        number = float(given) if not isinstance(given, bool) else math.nan
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    whole = "integer" in limits["type"]
    if not limits["minimum"] <= number <= limits["maximum"] or (whole and number != int(number)):
        kind = "a whole number" if whole else "a number"
        raise YouComRefusedError(
            f"{name}={repr(given)[:60]} in the extra of {key_name} cannot be used; "
            f"give {kind} from {limits['minimum']} to {limits['maximum']}, or leave it out."
        )
    return number


def _form_check(name: str) -> Callable[[Any, Any], None]:
    from wtforms.validators import ValidationError

    def check(form: Any, field: Any) -> None:
        try:
            _number({name: field.data}, name, 0, "this connection")
        except YouComRefusedError as error:
            raise ValidationError(str(error)) from None

    return check
