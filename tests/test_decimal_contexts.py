"""No figure depends on the decimal context of the program that uses the package."""

from __future__ import annotations

import decimal
import json
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_youcom.hooks.youcom import YouComHook
from airflow_provider_youcom.sandbox import Sandbox
from tests import figures

PROGRAM = [sys.executable, str(Path(figures.__file__))]
CONTEXTS = {
    "two digits": {"prec": 2},
    "rounding up": {"prec": 1, "rounding": decimal.ROUND_UP},
    "small exponents": {"Emin": -1, "Emax": 1},
    "all traps": {"traps": figures.HOSTILE["traps"]},
    "no traps": {"traps": []},
    "floats trapped": {"traps": [decimal.FloatOperation]},
    "clamped": {"clamp": 1, "Emax": 2, "Emin": 0},
    "all at once": figures.HOSTILE,
}


@pytest.mark.parametrize("context", CONTEXTS.values(), ids=CONTEXTS)
def test_each_figure_is_the_same_in_another_context(context: dict[str, object]):
    usual = figures.figures()
    with decimal.localcontext(decimal.Context(**context)):
        assert figures.figures() == usual


@pytest.mark.on_the_ends
@pytest.mark.airflow_process
def test_each_figure_is_the_same_in_a_program_that_has_set_its_context_before_the_import():
    usual, hostile = (
        subprocess.run([*PROGRAM, *names], check=True, capture_output=True, text=True, timeout=300).stdout
        for names in ([], ["hostile"])
    )
    assert json.loads(hostile) == json.loads(usual)


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize("context", CONTEXTS.values(), ids=CONTEXTS)
def test_what_is_reserved_is_the_same_in_another_context(context: dict[str, object], sandbox: Sandbox):
    sandbox.set_balance("7189.245")
    hook = YouComHook()

    def reserve() -> list[str]:
        with hook.reserved_credits("33.3333333"), hook.reserved_credits(0.1):
            available = hook.get_available()
            return [str(available), json.dumps(available.to_json() | {"checked_at": None})]

    usual = reserve()
    with decimal.localcontext(decimal.Context(**context)):
        assert reserve() == usual
