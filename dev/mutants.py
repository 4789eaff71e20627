"""
Change each line of what decides about credits, run its short tests, and print what none of them notices.

``python -m dev.mutants`` takes an hour or so, and ``python -m dev.mutants ledger/rule.py`` changes one
module. The changes are made in a copy. ``mutants_that_change_nothing.txt`` lists those that no test can
notice, with the reason.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from dev.mutations import mutants_of

PROJECT = Path(__file__).parents[1]
PACKAGE = "airflow_provider_youcom"
LISTED = Path(__file__).with_name("mutants_that_change_nothing.txt")

OF_THE_LEDGER = ["ledger/test_ledger.py", "ledger/test_abandoned.py"]
OF_THE_LINE = ["ledger/test_line.py", "ledger/test_line_holds.py"]
OF_GATES = ["test_gate.py", "triggers/test_check.py", "triggers/test_reserving.py"]
OF_GATES += ["sensors/test_reserving.py", "sensors/test_line.py"]
# The modules, the most important first, and their tests, the fastest first.
TESTS = {
    "ledger/rule.py": ["ledger/test_rule.py", *OF_THE_LEDGER],
    "gate.py": ["test_gate.py", "sensors/test_reserving.py"],
    "ledger/abandoned.py": ["ledger/test_abandoned.py"],
    "ledger/_decision.py": [*OF_THE_LEDGER, *OF_THE_LINE],
    "ledger/_ends.py": OF_THE_LEDGER,
    "ledger/line_rule.py": ["ledger/test_line_rule.py", *OF_THE_LINE],
    "ledger/place.py": ["ledger/test_place.py", *OF_THE_LINE],
    "ledger/_line_transactions.py": OF_THE_LINE,
    "ledger/_line_statements.py": [*OF_THE_LINE, "ledger/test_ledger.py"],
    "ledger/line.py": OF_THE_LINE,
    "ledger/reservation.py": [
        "ledger/test_reservation.py",
        "ledger/test_place.py",
        *OF_THE_LEDGER,
        *OF_THE_LINE,
        *OF_GATES,
    ],
    "ledger/ledger.py": [
        *OF_THE_LEDGER,
        *OF_THE_LINE,
        "ledger/test_creation.py",
        "ledger/test_accounts.py",
        "hooks/test_reserved_credits.py",
        "sensors/test_reserving.py",
        "sensors/test_line.py",
        "triggers/test_reserving.py",
    ],
    "triggers/_check.py": [*OF_GATES, "test_metrics.py"],
    "operators/release.py": ["operators/test_release.py", "operators/test_block.py"],
    "sensors/_reservation.py": [
        "sensors/test_reserving.py",
        "sensors/test_line.py",
        "operators/test_release.py",
    ],
    "crossing.py": ["test_crossing.py"],
    "ledger/claim.py": ["ledger/test_claim.py", *OF_THE_LEDGER, "sensors/test_reserving.py"],
    "ledger/_statements.py": [*OF_THE_LEDGER, *OF_THE_LINE, "ledger/test_purge.py"],
    "ledger/_purge.py": ["ledger/test_purge.py", "ledger/test_thinning.py", "ledger/test_line.py"],
    "ledger/_rows.py": ["ledger/test_rows.py", *OF_THE_LEDGER],
    "ledger/_amounts.py": ["ledger/test_amounts.py"],
    "balance.py": ["test_balance.py"],
    "money.py": ["test_money.py", "test_balance.py"],
    "triggers/reserving.py": OF_GATES,
    "ledger/figures.py": ["ledger/test_figures.py"],
    "ledger/reading.py": ["ledger/test_reading.py", "ledger/test_figures.py", "ledger/test_accounts.py"],
    "ledger/_stretches.py": ["ledger/test_stretches.py", "ledger/test_figures.py"],
    "ledger/accounts.py": ["ledger/test_accounts.py"],
    "ledger/_thinning.py": ["ledger/test_thinning.py"],
}
NOT_SHORT = "long or ledger or real_airflow or airflow_process or browser or distributed"
# What takes seconds to import, and is not changed: each run of the tests is a fork that has it.
IMPORTED_ONCE = ["airflow.models", "airflow.providers.common.compat.sdk", "airflow.triggers.base", "trustme"]
IMPORTED_ONCE += ["hypothesis", "numpy", "requests", "sqlalchemy"]
SECONDS_BETWEEN_REPORTS = 60


def main() -> None:
    """Print the changes that no test notices, and fail if one of them is not listed."""
    parser = argparse.ArgumentParser(prog="dev.mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"below {PACKAGE}; all if none is named")
    modules = parser.parse_args().modules or list(TESTS)
    if unknown := set(modules) - TESTS.keys():
        parser.error(f"no tests are named for {', '.join(sorted(unknown))}: see TESTS in {__file__}")
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        os.environ["AIRFLOW_HOME"] = str(Path(folder, "airflow"))
        for name in IMPORTED_ONCE:
            importlib.import_module(name)
        # Loads pytest's plugins too.
        pytest.main(["--version"])
        # Airflow and pytest import this provider. The tests import it anew, from the copy.
        for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
            del sys.modules[name]
        gc.freeze()
        copy = Path(folder, "project")
        left_out = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "site")
        shutil.copytree(PROJECT, copy, ignore=left_out)
        found = [survivors(copy, module) for module in modules]
    sys.exit(1 if any(found) else 0)


def survivors(copy: Path, module: str) -> list[str]:
    """Return the changes of a module that its tests do not notice and that are not listed, and print them."""
    file = copy / PACKAGE / module
    source = file.read_text()
    started = time.monotonic()
    if not pass_(copy, TESTS[module], time_limit=600):
        sys.exit(f"The tests of {module} fail without a change.")
    write(file, "raise ImportError")
    if pass_(copy, TESTS[module], time_limit=600):
        sys.exit(f"The tests of {module} do not import it from {copy}.")
    # Far more than they need, since the machine may be busy. A change may make them loop for ever.
    time_limit = 30 + 5 * (time.monotonic() - started)
    mutants = list(mutants_of(source))
    listed = {change for change in listed_changes() if change.startswith(f"{module} ")}
    unnoticed: list[str] = []
    reported = time.monotonic()
    for number, (mutant, change) in enumerate(mutants):
        if time.monotonic() - reported > SECONDS_BETWEEN_REPORTS:
            reported = time.monotonic()
            print(f"{module}: {number} of {len(mutants)} changes, {len(unnoticed)} unnoticed", flush=True)
        write(file, mutant)
        if pass_(copy, TESTS[module], time_limit):
            unnoticed.append(f"{module} {change}")
            if f"{module} {change}" not in listed:
                print(f"\n{module} {change}\n", flush=True)
    write(file, source)
    new = [change for change in unnoticed if change not in listed]
    noticed, known = len(mutants) - len(unnoticed), len(unnoticed) - len(new)
    print(f"{module}: {len(mutants)} changes, {noticed} noticed, {known} listed, {len(new)} not", flush=True)
    for change in listed - set(unnoticed):
        print(f"\nListed, and noticed or not made any more: {change}", flush=True)
    return new


def listed_changes() -> list[str]:
    """Return the changes of the list, without their reasons."""
    text = LISTED.read_text().strip()
    entries = [entry.splitlines() for entry in text.split("\n\n") if not entry.startswith("#")]
    return ["\n".join([place, *(line for line in lines if line[0] in "-+")]) for place, *lines in entries]


def write(file: Path, source: str) -> None:
    """Write a source so that Python does not take what it has compiled of another one."""
    changed_at = int(file.stat().st_mtime) + 1
    file.write_text(source)
    os.utime(file, (changed_at, changed_at))


def pass_(copy: Path, tests: Sequence[str], time_limit: float) -> bool:
    """Return whether tests pass in time, in a process of their own."""
    process = multiprocessing.get_context("fork").Process(target=_run_tests, args=(copy, tests))
    process.start()
    process.join(time_limit)
    if process.exitcode is None:
        os.killpg(process.pid or 0, signal.SIGKILL)
        process.join()
    return process.exitcode == 0


def _run_tests(copy: Path, tests: Sequence[str]) -> None:
    # Ends with all that it has started.
    os.setsid()
    os.chdir(copy)
    # Before the editable install.
    sys.path.insert(0, str(copy))
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
        os.dup2(nowhere.fileno(), sys.stderr.fileno())
    files = [f"tests/{test}" for test in tests]
    options = ["-x", "-q", "-k", "not postgresql", "-m", f"not ({NOT_SHORT})", "-p", "no:cacheprovider"]
    status = pytest.main([*options, *files])
    # Threads that a test has left behind, in a fork, do not matter.
    os._exit(status)


if __name__ == "__main__":
    main()
