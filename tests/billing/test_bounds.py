"""The bounds of one call, proved on real sockets."""

from __future__ import annotations

import signal
import socket
import threading
import time
import traceback

import pytest

from airflow_provider_youcom.billing import _bounds
from airflow_provider_youcom.billing._bounds import (
    LARGEST_CALL,
    CallTooLargeError,
    CallTooLongError,
    TimeLeft,
    bounded_call,
    seconds_left,
)
from airflow_provider_youcom.billing.client import BillingClient
from airflow_provider_youcom.exceptions import YouComUnavailableError
from tests.faults.broken_server import BrokenServer, says_nothing, says_without_end

pytestmark = pytest.mark.on_the_ends

HEAD = b"HTTP/1.1 200 OK\r\n"


def test_a_call_knows_how_long_it_may_still_take():
    assert seconds_left() == float("inf")
    with bounded_call(60):
        assert 0 < seconds_left() <= 60
    assert seconds_left() == float("inf")


def test_a_bound_inside_another_one_keeps_to_both():
    with bounded_call(60), bounded_call(600):
        assert seconds_left() <= 60
    with bounded_call(600), bounded_call(60):
        assert seconds_left() <= 60
    with bounded_call(600):
        with bounded_call(60):
            _bounds._current.get().spend_bytes(LARGEST_CALL)  # type: ignore[union-attr]
        with bounded_call(60), pytest.raises(CallTooLargeError):
            _bounds._current.get().spend_bytes(1)  # type: ignore[union-attr]


def test_a_read_inside_a_call_leaves_the_timeout_of_the_socket_as_it_was():
    sender, receiver = socket.socketpair()
    with sender, receiver, receiver.makefile("rb", buffering=0) as raw:
        receiver.settimeout(600)
        file = _bounds._BoundedFile(receiver, raw)
        sender.sendall(b"x")
        with bounded_call(60):
            assert file.readinto(bytearray(1)) == 1
        assert receiver.gettimeout() == 600


def test_a_call_whose_time_is_over_starts_no_further_try():
    with bounded_call(0), pytest.raises(CallTooLongError):
        TimeLeft().clone()


def test_no_connect_and_no_read_outlasts_the_call():
    timeout = TimeLeft().clone()
    assert (timeout.connect_timeout, timeout.read_timeout) == (5, 10)
    with bounded_call(1):
        timeout = TimeLeft().clone()
        assert timeout.connect_timeout is not None
        assert 0 < timeout.connect_timeout <= 1
        assert 0 < timeout.read_timeout <= 1  # type: ignore[operator]


def test_a_head_without_an_end_is_abandoned_at_the_size_limit():
    with BrokenServer(says_without_end(HEAD, b"X-More: of this\r\n")) as server:
        client = BillingClient("key", server.base_url, timeout=600, retries=0)
        with pytest.raises(YouComUnavailableError, match="the connection was cut"):
            client.get_balance()


def test_informational_answers_without_an_end_are_abandoned_at_the_size_limit():
    with BrokenServer(says_without_end(b"", b"HTTP/1.1 100 Continue\r\n\r\n")) as server:
        client = BillingClient("key", server.base_url, timeout=600, retries=0)
        # Python 3.14 stops by itself after 100 of them.
        with pytest.raises(YouComUnavailableError, match=f"more than {LARGEST_CALL // 1024} KiB|was cut"):
            client.get_balance()


def test_a_head_that_comes_byte_by_byte_is_abandoned_in_time():
    with BrokenServer(says_without_end(HEAD, b"x", 0.05)) as server:
        client = BillingClient("key", server.base_url, timeout=0.5, retries=0)
        with pytest.raises(YouComUnavailableError, match="nothing complete within 0.5 s"):
            client.get_balance()


def test_an_exception_that_a_signal_raises_in_a_call_carries_no_variables_that_hold_the_key():
    class TaskTimeoutError(BaseException):
        pass

    def ring(*_: object) -> None:
        raise TaskTimeoutError("the time of the task is over")

    def ring_when_asked() -> None:
        while not server.heard:
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)

    before = signal.signal(signal.SIGALRM, ring)
    try:
        with BrokenServer(says_nothing) as server:
            bell = threading.Thread(target=ring_when_asked)
            bell.start()
            with pytest.raises(TaskTimeoutError) as caught:
                BillingClient("key-of-the-canary", server.base_url, timeout=60).get_balance()
            bell.join()
    finally:
        signal.signal(signal.SIGALRM, before)
    below = caught.value.__traceback__.tb_next  # type: ignore[union-attr] # the first frame is this test
    reported = traceback.TracebackException(
        TaskTimeoutError, caught.value, below, capture_locals=True
    ).format()
    assert "readinto" in (text := "".join(reported))
    assert "key-of-the-canary" not in text
