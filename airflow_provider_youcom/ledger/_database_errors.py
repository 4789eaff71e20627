"""Read the errors of databases and drivers: whether they pass, whether to try again, and what they say."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from enum import Enum, auto

from sqlalchemy import exc

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_SERIALIZATION_FAILURE = "40001"
_DEADLOCK_DETECTED = "40P01"
# Another process has added the same account, gate or attempt; the next try sees it.
_UNIQUE_VIOLATION = "23505"
# This process was stopped for a while in a transaction.
_IDLE_IN_TRANSACTION = "25P03"
_TRY_AGAIN = {_SERIALIZATION_FAILURE, _DEADLOCK_DETECTED, _UNIQUE_VIOLATION, _IDLE_IN_TRANSACTION}
_READ_ONLY = "25006"
# What passes: a lost connection, a rollback, too few resources, a lock that is not free, an operator who
# cancels or shuts down.
_PASSES = ("08", "40", "53", "55P03", "57")
# A type or a statement that PgBouncer does not allow has this code too, but never while connecting.
_PROTOCOL_VIOLATION = "08P01"

# https://www.sqlite.org/rescode.html
_PASSES_ON_SQLITE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_SCHEMA,
}

# What libpq and PgBouncer say while connecting, without a code and never translated by the server.
_CLIENT_REFUSES = re.compile(
    r"no password supplied|does not support SSL|server certificate|root certificate|certificate verify failed"
    r"|certificate file|private key|invalid (connection option|port|dsn|\w+ value)"
    r"|is not a valid|could not parse|no such (database|user)|no authentication method"
    r"|authentication method .*not supported|not trusted"
    r"|SSL required|bouncer config error|unsupported startup parameter"
)
# A server writes "SEVERITY:  text", in the language of its lc_messages.
_SERVER_SAYS = re.compile(r"(?:^|failed: |: )[^\s:]+:  (?P<text>.+)$")
_REFUSES = re.compile(
    r"authentication failed|does not exist|pg_hba\.conf|not permitted to log in|permission denied"
    r"|not currently accepting connections|no such (database|user)|unrecognized configuration parameter"
    r"|invalid command-line argument|invalid value for parameter"
)


# Hints of libpq are indented; the others follow the line that they belong to.
_NOT_A_HOSTS_ANSWER = ("\t", "DETAIL:", "HINT:", "Multiple connection attempts failed")


class Meaning(Enum):
    """What an error of the database asks for."""

    TRY_AGAIN = auto()
    """The same transaction, at once."""
    CONNECT_ANEW = auto()
    """The server only reads; after a failover, a new connection leads to another one."""
    WAIT = auto()
    """It passes."""
    ACT = auto()
    """Someone must act."""


def meaning_of(error: Exception) -> Meaning:
    """Return what an error asks for."""
    code = sqlstate(error)
    if code in _TRY_AGAIN or getattr(error, "connection_invalidated", False):
        return Meaning.TRY_AGAIN
    if code == _READ_ONLY:
        return Meaning.CONNECT_ANEW
    if code is not None and not (code == _PROTOCOL_VIOLATION and _refusing_line(error)):
        return Meaning.WAIT if code.startswith(_PASSES) else Meaning.ACT
    sqlite_code = _sqlite_code(error)
    if sqlite_code is not None:
        return Meaning.WAIT if sqlite_code in _PASSES_ON_SQLITE else Meaning.ACT
    if _refusing_line(error):
        return Meaning.ACT
    return Meaning.WAIT if _is_of_the_network(error) else Meaning.ACT


def is_busy(error: Exception) -> bool:
    """Return whether SQLite's file is locked."""
    return _sqlite_code(error) == sqlite3.SQLITE_BUSY


def words_of(error: Exception) -> str:
    """Return what a database said, in one line; of several hosts, the line of the one that decided."""
    lines = list(_lines_of(error))
    # The error of a statement begins with what happened; that of several hosts ends with the last one's.
    decided = lines[-1] if lines and "connection to server" in lines[0] else next(iter(lines), "")
    line = _refusing_line(error) or decided or type(_original(error)).__name__
    return line.removeprefix("connection failed: ").removeprefix("connection is bad: ").rstrip(". ")


def sqlstate(error: Exception) -> str | None:
    """Return PostgreSQL's code for an error, if it is known; the drivers report none while connecting."""
    original = _original(error)
    # psycopg2 calls it pgcode, psycopg sqlstate.
    return (
        getattr(original, "pgcode", None)
        or getattr(original, "sqlstate", None)
        or getattr(original, "login_sqlstate", None)
    )


def is_in_unknown_words(error: Exception) -> bool:
    """Return whether a server has refused a connection in words that do not tell what they mean."""
    is_said = any(_SERVER_SAYS.search(line) for line in _lines_of(error))
    return is_said and sqlstate(error) is None and _refusing_line(error) is None


def text_of(error: BaseException) -> str:
    """
    Return the message of an error, also of one that the driver could not decode.

    :param error: an error. psycopg2 expects UTF-8, and a server may write in another encoding until it knows
        the client's.
    """
    if isinstance(error, exc.SQLAlchemyError):
        # Without the link to SQLAlchemy's documentation.
        return str(error.args[0]) if error.args else ""
    if not isinstance(error, UnicodeDecodeError):
        return str(error)
    said = bytes(error.object)
    try:
        return said.decode()
    except UnicodeDecodeError:
        return said.decode("latin-1")


def _is_of_the_network(error: Exception) -> bool:
    passing = (exc.OperationalError, exc.InterfaceError, exc.InternalError, exc.TimeoutError)
    return isinstance(error, (*passing, UnicodeDecodeError, OSError))


def _refusing_line(error: Exception) -> str | None:
    for line in _lines_of(error):
        said = _SERVER_SAYS.search(line)
        if _CLIENT_REFUSES.search(line) or (said and _REFUSES.search(said["text"])):
            return line
    return None


def _lines_of(error: Exception) -> Iterator[str]:
    for line in text_of(_original(error)).splitlines():
        if line.strip() and not line.startswith(_NOT_A_HOSTS_ANSWER):
            yield line.strip().removeprefix("- ")


def _sqlite_code(error: Exception) -> int | None:
    code: int | None = getattr(_original(error), "sqlite_errorcode", None)
    # An extended code holds the primary one in its lowest byte.
    return None if code is None else code & 0xFF


def _original(error: Exception) -> BaseException:
    return getattr(error, "orig", None) or error
