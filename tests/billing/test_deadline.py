from __future__ import annotations

import signal
import socket
import threading

import pytest

from airflow_provider_youcom.billing._deadline import Deadline, DeadlineExceededError, seconds_left


def test_the_result_of_an_exchange_is_handed_on():
    assert Deadline[int](5).run(lambda: 7) == 7


def test_what_an_exchange_raises_is_raised():
    def fail() -> None:
        raise LookupError("no")

    with pytest.raises(LookupError, match="no"):
        Deadline[None](5).run(fail)


def test_an_exchange_that_hangs_is_given_up():
    never = threading.Event()
    with pytest.raises(DeadlineExceededError):
        Deadline[bool](0.05).run(never.wait)
    never.set()


def test_giving_up_shuts_the_sockets_so_that_the_thread_ends():
    ours, theirs = socket.socketpair()
    ended = threading.Event()
    deadline = Deadline[None](0.05)

    def exchange() -> None:
        deadline.watch(ours)
        ours.recv(1)
        ended.set()

    with pytest.raises(DeadlineExceededError):
        deadline.run(exchange)
    assert ended.wait(10)
    ours.close()
    theirs.close()


def test_an_exception_out_of_the_blue_lets_go_of_the_sockets_too():
    ours, theirs = socket.socketpair()
    deadline = Deadline[None](60)
    watched = threading.Event()

    def exchange() -> None:
        deadline.watch(ours)
        watched.set()
        ours.recv(1)

    def ring(*_: object) -> None:
        raise InterruptedError("the time of the task is over")

    def ring_the_bell() -> None:
        watched.wait()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)

    before = signal.signal(signal.SIGALRM, ring)
    bell = threading.Thread(target=ring_the_bell)
    try:
        bell.start()
        with pytest.raises(InterruptedError):
            deadline.run(exchange)
    finally:
        bell.join()
        signal.signal(signal.SIGALRM, before)
    assert theirs.recv(1) == b""
    ours.close()
    theirs.close()


def test_a_socket_made_after_giving_up_is_shut_at_once():
    ours, theirs = socket.socketpair()
    deadline = Deadline[None](0)
    never = threading.Event()
    with pytest.raises(DeadlineExceededError):
        deadline.run(lambda: never.wait() and None)
    deadline.watch(ours)
    assert theirs.recv(1) == b""
    never.set()
    ours.close()
    theirs.close()


def test_an_exchange_that_ended_leaves_its_sockets_open():
    ours, theirs = socket.socketpair()
    deadline = Deadline[None](5)
    deadline.run(lambda: deadline.watch(ours))
    ours.sendall(b"x")
    assert theirs.recv(1) == b"x"
    ours.close()
    theirs.close()


def test_an_exchange_knows_how_long_it_may_still_take():
    assert seconds_left() == float("inf")
    assert 0 < Deadline[float](60).run(seconds_left) <= 60
