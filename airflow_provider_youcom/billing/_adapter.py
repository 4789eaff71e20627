"""Connections that a deadline can shut, and whose answers' heads are bounded and never quoted."""

from __future__ import annotations

import http.client
import socket
from functools import cache
from typing import Any

import requests.adapters
import urllib3
import urllib3.connection

from airflow_provider_youcom.billing._deadline import watch

_LONGEST_HEAD = 128 * 1024


class DeadlineAdapter(requests.adapters.HTTPAdapter):
    """An HTTP adapter whose connections are known to the current :class:`Deadline`."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools of direct connections."""
        super().init_poolmanager(*args, **kwargs)
        _watch_connections(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        """Make the pools of connections through a proxy."""
        manager = super().proxy_manager_for(proxy, **proxy_kwargs)
        _watch_connections(manager)
        return manager


class _Head:
    """The start of an answer, up to its headers' end: some kilobytes, not the 6 MB that http.client reads."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._left = _LONGEST_HEAD

    def readline(self, limit: int) -> bytes:
        line: bytes = self._stream.readline(min(limit, self._left + 1))
        self._left -= len(line)
        if self._left < 0:
            raise http.client.LineTooLong("head")
        return line

    def close(self) -> None:
        self._stream.close()


class _Response(http.client.HTTPResponse):
    """
    An answer whose head is bounded, and not quoted where it is broken.

    urllib3 writes such quotes to the log, and a server may repeat the key in what it says.
    """

    fp: Any

    def begin(self) -> None:
        stream, self.fp = self.fp, _Head(self.fp)
        broken = False
        try:
            super().begin()
        except http.client.RemoteDisconnected:
            raise
        except (http.client.BadStatusLine, http.client.UnknownProtocol):
            broken = True
        finally:
            if self.fp is not None:
                self.fp = stream
        if broken:
            raise http.client.BadStatusLine("not shown here")
        self.msg.defects.clear()
        self.msg.set_payload("")


class _WatchedConnection(urllib3.connection.HTTPConnection):
    response_class = _Response
    # Where http.client's debug output is on for all, it would print the headers, and with them the key.
    debuglevel = 0

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        watch(sock)
        return sock

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is not None:
            watch(self.sock)
        super().request(*args, **kwargs)


@cache
def _watched(pool: Any) -> Any:
    """Give a pool class whose connections are watched: direct ones, TLS, and through a SOCKS proxy."""
    if issubclass(pool.ConnectionCls, _WatchedConnection):
        return pool
    connection = type(f"Watched{pool.ConnectionCls.__name__}", (_WatchedConnection, pool.ConnectionCls), {})
    return type(f"Watched{pool.__name__}", (pool,), {"ConnectionCls": connection})


def _watch_connections(manager: Any) -> None:
    classes = manager.pool_classes_by_scheme
    manager.pool_classes_by_scheme = {scheme: _watched(pool) for scheme, pool in classes.items()}
