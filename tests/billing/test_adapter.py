from __future__ import annotations

import logging
from typing import Any

import pytest
import requests
import urllib3

from airflow_provider_youcom.billing._adapter import DeadlineAdapter
from airflow_provider_youcom.billing._deadline import Deadline, DeadlineExceededError
from tests.faults.broken_server import BrokenServer, says, says_nothing
from tests.faults.places import GOOD_ANSWER, HEAD, HOLDS_A_DOLLAR
from tests.security.canary import CANARY_KEY, sightings


class SlowRoad(urllib3.connection.HTTPConnection):
    """A connection of a kind of its own, as through a SOCKS proxy, which wants an option of its own."""

    def __init__(self, *args: Any, _road: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.road = _road


class SlowRoadPool(urllib3.HTTPConnectionPool):
    ConnectionCls = SlowRoad


class AdapterOfSlowRoads(DeadlineAdapter):
    """Makes its connections as requests makes those through a SOCKS proxy: by other classes."""

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        if proxy not in self.proxy_manager:
            manager = urllib3.PoolManager()
            manager.pool_classes_by_scheme = {"http": SlowRoadPool}
            manager.key_fn_by_scheme = {"http": lambda context: context["host"]}
            manager.connection_pool_kw["_road"] = "long"
            self.proxy_manager[proxy] = manager
        return super().proxy_manager_for(proxy, **proxy_kwargs)


@pytest.fixture
def session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", DeadlineAdapter())
    return session


def test_a_deadline_shuts_connections_through_a_proxy_of_another_kind_too():
    session = requests.Session()
    session.mount("http://", AdapterOfSlowRoads())
    with BrokenServer(says_nothing) as silent:
        get = lambda: session.get(silent.base_url, proxies={"http": "socks5://127.0.0.1:1"})  # noqa: E731
        for _ in range(2):
            with pytest.raises(DeadlineExceededError):
                Deadline[requests.Response](0.3).run(get)
    assert len(silent.heard) == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"Hello %s, this is no HTTP\r\n\r\n",
        b"HTTP/1.1 2OO %s\r\n\r\n",
        b"HTTP/9%s 200 OK\r\n\r\n",
    ],
)
def test_a_broken_head_is_not_quoted(
    answer: bytes, session: requests.Session, caplog: pytest.LogCaptureFixture
):
    session.mount("http://", DeadlineAdapter(max_retries=1))
    with (
        BrokenServer(says(answer % CANARY_KEY.encode())) as server,
        caplog.at_level(logging.DEBUG),
        pytest.raises(requests.ConnectionError) as caught,
    ):
        session.get(server.base_url)
    assert "Retrying" in caplog.text
    assert sightings(caplog.text) == sightings(repr(caught.value)) == 0


def test_a_broken_line_among_the_headers_is_passed_over_and_not_quoted(
    session: requests.Session, caplog: pytest.LogCaptureFixture
):
    line = b"your key is %s\r\n" % CANARY_KEY.encode()
    with (
        BrokenServer(says(HEAD, line, GOOD_ANSWER.removeprefix(HEAD))) as server,
        caplog.at_level(logging.DEBUG),
    ):
        answer = session.get(server.base_url)
    assert HOLDS_A_DOLLAR in answer.text
    assert any(record.name.startswith("urllib3") for record in caplog.records)
    assert sightings(caplog.text) == 0


def test_a_long_head_is_cut_off(session: requests.Session):
    header = b"X-Long: %s\r\n" % (b"x" * 60_000)
    with BrokenServer(says(HEAD, header * 3, b"\r\n")) as server, pytest.raises(requests.ConnectionError):
        session.get(server.base_url)
    with BrokenServer(says(HEAD, header * 2, b"Content-Length: 2\r\n\r\n{}")) as server:
        assert session.get(server.base_url).json() == {}
