"""Connect to the ledger's database as the hook of its connection does, with all that the connection says."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from airflow.providers.common.compat.sdk import AirflowOptionalProviderFeatureException

from airflow_provider_youcom._off_the_loop import ask_airflow
from airflow_provider_youcom.exceptions import (
    YouComError,
    YouComLedgerRefusedError,
    YouComLedgerUnavailableError,
)
from airflow_provider_youcom.hooks._lookup import lookup_error
from airflow_provider_youcom.ledger.engine import (
    POSTGRESQL_DRIVERS,
    bounds_of_connecting,
    engine_for,
    wrong_file,
)
from airflow_provider_youcom.ledger.login_code import add_login_code

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

_PROVIDERS = {
    "sqlite": "apache-airflow-providers-sqlite",
    "postgres": "apache-airflow-providers-postgres",
}
_SCHEME = "sqlalchemy_scheme"
# The hook would give these to an engine of its own, or reads them for another kind of database.
_NOT_FOR_A_LEDGER = {
    "sqlalchemy_query": "put what it holds into the extra itself",
    "row_factory": "remove it",
    "cursor_factory": "remove it",
    "redshift": "reservations need SQLite, for one machine, or PostgreSQL",
    "redshift-serverless": "reservations need SQLite, for one machine, or PostgreSQL",
}
# SQLAlchemy expects rows that are tuples, so the ledger's connections have no other cursor.
_LEFT_OUT = ("cursor", "iam", _SCHEME)
# libpq would wait for ever.
_NO_TIMEOUT = {"0", "-1", "None", ""}
# What botocore and azure-core raise if they could not ask for a token.
_NOT_ASKED = {"HTTPClientError", "ServiceRequestError", "ServiceResponseError"}


def engine_of(connection: Connection, ledger_conn_id: str, answer_within: float) -> sa.engine.Engine:
    """
    Return an engine for the database of a connection; it does not connect yet.

    :param connection: a connection of type sqlite or postgres.
    :param answer_within: seconds to wait for the server while connecting.
    :raises YouComLedgerRefusedError: if no ledger can be opened with it.
    """
    login = _Login(connection, ledger_conn_id)
    try:
        login.find_hook(connection)
        if connection.conn_type == "sqlite":
            return _engine_of_file(login)
        connect = _Connect(login, answer_within)
        return engine_for(_driver_of(login), connect, answer_within)
    except YouComError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a provider or a driver raises
        raise login.refused(
            f"cannot be opened ({type(error).__name__}): install {_PROVIDERS[str(connection.conn_type)]} and "
            "its driver here, and check the connection"
        ) from None


class _Login:
    """
    What a connection says, as Airflow's hook reads it.

    It is not one of Airflow's connections. These tell the supervisor of each secret when their extra is read,
    which the triggerer does not survive in a thread of ours.
    """

    def __init__(self, connection: Connection, ledger_conn_id: str) -> None:
        self.ledger_conn_id = ledger_conn_id
        self.fields = {
            name: getattr(connection, name)
            for name in ("conn_id", "conn_type", "host", "login", "password", "schema", "port")
        }
        self.uri = connection.get_uri()
        self.extra = self._read_extra(connection.extra)
        self._new_hook: Callable[[], Any]

    def find_hook(self, connection: Connection) -> None:
        """Find the class of the connection's hook, whose package may be missing."""
        hook = connection.get_hook()
        self._new_hook = lambda: type(hook)(**{hook.conn_name_attr: self.ledger_conn_id})

    def hook(self, extra: dict[str, Any] | None = None, **fields: Any) -> Any:
        """
        Return a new hook that finds this login.

        :param extra: the connection's extra. Default: none.
        """
        found = SimpleNamespace(
            **{**self.fields, **fields},
            extra_dejson=extra or {},
            extra=json.dumps(extra or {}),
            get_uri=lambda: self.uri,
        )
        hook = self._new_hook()
        hook.get_connection = lambda *_: found
        return hook

    def refused(self, what: str) -> YouComLedgerRefusedError:
        """
        Return the error for a connection that cannot be used as it is.

        :param what: the rest of the sentence.
        """
        return YouComLedgerRefusedError(f"The ledger {self.ledger_conn_id!r} {what}.")

    def _read_extra(self, text: str | None) -> dict[str, Any]:
        try:
            extra = json.loads(text or "{}")
        except ValueError:
            extra = None
        if not isinstance(extra, dict):
            raise self.refused('has an extra that is not a JSON object: write it as {"name": value, …}')
        for name, value in extra.items():
            if name in _NOT_FOR_A_LEDGER and value:
                raise self.refused(f"has the extra {name!r}, which it cannot use: {_NOT_FOR_A_LEDGER[name]}")
            if isinstance(value, (list, dict)):
                kind = "a list" if isinstance(value, list) else "an object"
                raise self.refused(
                    f"has the extra {name!r}, which is {kind} in JSON: write it as text, as libpq expects it"
                )
        return extra


class _Connect:
    """Connect as the hook's ``get_conn`` does, with a new token each time if the connection asks for one."""

    def __init__(self, login: _Login, answer_within: float) -> None:
        self._login = login
        self._answer_within = answer_within
        extra = {name: value for name, value in login.extra.items() if name not in _LEFT_OUT}
        if str(extra.get("connect_timeout")).strip() in _NO_TIMEOUT:
            extra.pop("connect_timeout", None)
        self._extra = {**bounds_of_connecting(answer_within), **extra}

    def __call__(self) -> Any:
        token = self._token() if self._login.extra.get("iam") else {}
        try:
            return self._login.hook(self._extra, **token).get_conn()
        except Exception as error:
            if isinstance(error, UnicodeDecodeError) or type(error).__module__.startswith("psycopg"):
                add_login_code(error, self._arguments(token), self._answer_within)
                raise
            kind = type(error).__name__
        raise self._login.refused(f"cannot be connected to ({kind}): check the extra of its connection")

    def _arguments(self, token: dict[str, Any]) -> dict[str, Any]:
        said = {**self._login.fields, **token}
        named = {"host": said["host"], "port": said["port"], "user": said["login"]}
        return {**named, "password": said["password"], "dbname": said["schema"], **self._extra}

    def _token(self) -> dict[str, Any]:
        hook = self._login.hook(self._login.extra)
        try:
            login, token, port = ask_airflow(lambda: hook.get_iam_token(hook.get_connection()))
        except Exception as error:  # noqa: BLE001 - whatever Airflow, a provider or a cloud's library raises
            failure = error
        else:
            return {"login": login, "password": token, "port": port}
        raise self._without_token(failure)

    def _without_token(self, error: Exception) -> YouComError:
        name = self._login.ledger_conn_id
        kind = type(error).__name__
        known = lookup_error(error, f"connection that gives the ledger {name!r} its token", "it")
        if known is not None and not isinstance(error, AirflowOptionalProviderFeatureException):
            return known
        if _NOT_ASKED & {each.__name__ for each in type(error).__mro__}:
            return YouComLedgerUnavailableError(
                f"What is reserved is unknown, since the ledger {name!r} got no token to connect with "
                f"({kind})."
            )
        return self._login.refused(
            f"got no token to connect with ({kind}): check the connection that its extra names (aws_conn_id "
            "or azure_conn_id), and that its provider is installed here"
        )


def _engine_of_file(login: _Login) -> sa.engine.Engine:
    # The hook's own connections cannot be used by several threads.
    url = sa.engine.make_url(login.hook().get_uri())
    wrong = wrong_file(url)
    if wrong:
        raise login.refused(wrong)
    return sa.create_engine(url)


def _driver_of(login: _Login) -> str:
    wanted = str(login.extra.get(_SCHEME) or "").partition("+")[2]
    if wanted and wanted not in POSTGRESQL_DRIVERS:
        raise login.refused(
            f"asks for the driver {wanted!r} (extra {_SCHEME}): the ledger needs psycopg2 or psycopg, and "
            "Airflow's hook takes the one that it finds, so remove this"
        )
    url = sa.engine.make_url(login.hook().get_uri())
    return str(url.get_dialect().driver)
