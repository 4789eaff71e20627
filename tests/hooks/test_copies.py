"""A used hook can be copied, pickled and sent to another process without its key."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import pytest

from airflow_provider_youcom.hooks.youcom import YouComHook
from airflow_provider_youcom.sandbox import Sandbox

COPIES: list[Callable[[YouComHook], YouComHook]] = [
    copy.copy,
    copy.deepcopy,
    lambda hook: pickle.loads(pickle.dumps(hook)),
]


def used(sandbox: Sandbox) -> YouComHook:
    hook = YouComHook()
    assert hook.get_balance().balance_usd == 100
    return hook


@pytest.mark.parametrize("make_copy", COPIES, ids=["copy", "deepcopy", "pickle"])
def test_a_copy_of_a_used_hook_works_and_reads_the_connection_again(
    make_copy: Callable[[YouComHook], YouComHook], sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    hook = used(sandbox)
    twin = make_copy(hook)
    sandbox.accounts["rotated"] = sandbox.accounts.pop(sandbox.api_key)
    monkeypatch.setenv("AIRFLOW_CONN_YOUCOM_DEFAULT", sandbox.connection("rotated"))
    assert twin.get_balance().balance_usd == 100
    assert twin.get_conn() is not hook.get_conn()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_the_pickle_of_a_used_hook_does_not_contain_the_key(protocol: int, sandbox: Sandbox):
    assert sandbox.api_key.encode() not in pickle.dumps(used(sandbox), protocol)


@pytest.mark.on_the_ends
@pytest.mark.airflow_process
def test_a_used_hook_works_in_another_process(sandbox: Sandbox):
    hook = used(sandbox)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        balance = pool.submit(hook.get_balance).result(timeout=300)
    assert balance.balance_usd == 100


@pytest.mark.parametrize("make_copy", [copy.copy, copy.deepcopy, pickle.dumps])
def test_copying_a_session_is_refused_in_one_sentence(
    make_copy: Callable[[object], object], sandbox: Sandbox
):
    with pytest.raises(TypeError, match="holds the API key; copy the hook instead") as caught:
        make_copy(used(sandbox).get_conn())
    assert "\n" not in str(caught.value)
    assert sandbox.api_key not in str(caught.value)
