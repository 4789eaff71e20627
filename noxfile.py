"""Test the built wheel on every Airflow that the provider supports: ``nox -s "matrix(airflow='2.11')"``."""

from __future__ import annotations

import shutil
from pathlib import Path

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["matrix"]

AIRFLOW_VERSIONS = ["2.11", "3.0", "3.1", "3.2", "3.3"]
ENDS = [AIRFLOW_VERSIONS[0], AIRFLOW_VERSIONS[-1]]
PYTHON = "3.11"
WHEELS = Path("build", "matrix").absolute()
TEST_PACKAGES = ["pytest", "pytest-timeout", "hypothesis", "jsonschema", "psycopg2-binary", "asyncpg"]
# What "make test" proves on the newest Airflow, and no other version can change.
LEFT_TO_MAKE_TEST = ["tests/faults", "tests/test_demo.py", "tests/test_readme.py"]
# Enough to prove on the oldest Airflow and the newest; the rest, with the decision table, runs on each.
ONLY_ON_THE_ENDS = [
    "tests/real_airflow/test_crash.py",
    "tests/security",
    "tests/test_balance.py",
    "tests/billing",
    "tests/test_gate.py",
    "tests/test_properties.py",
    "tests/sandbox",
]


@nox.session(python=PYTHON)
def wheel(session: nox.Session) -> None:
    """Build the wheel that all versions are tested with."""
    shutil.rmtree(WHEELS, ignore_errors=True)
    session.install("build", "hatchling", "-c", "constraints/tools.txt")
    session.run("python", "-m", "build", "--wheel", "--no-isolation", "--outdir", str(WHEELS), silent=True)


@nox.session(python=PYTHON, requires=["wheel"])
@nox.parametrize("airflow", AIRFLOW_VERSIONS)
def matrix(session: nox.Session, airflow: str) -> None:
    """Run the tests on one Airflow; what follows ``--`` goes to pytest."""
    _install(session, airflow)
    left_out = [*LEFT_TO_MAKE_TEST, *([] if airflow in ENDS else ONLY_ON_THE_ENDS)]
    session.run(
        "pytest",
        *(session.posargs or ["tests", "-m", "not browser and not soak", "-q", "-r", "fEs"]),
        *(f"--ignore={path}" for path in left_out),
        env={"TEST_INSTALLED_PROVIDER": "1"},
    )


@nox.session(python=PYTHON, requires=["wheel"])
@nox.parametrize("airflow", ENDS)
def browser(session: nox.Session, airflow: str) -> None:
    """Click through the UI of one Airflow with Chromium, which has to be there."""
    _install(session, airflow, "playwright")
    session.run("pytest", "tests/browser", *session.posargs, env={"TEST_INSTALLED_PROVIDER": "1"})


def _install(session: nox.Session, airflow: str, *packages: str) -> None:
    constraints = Path("constraints", f"airflow-{airflow}.txt")
    pinned = _pin(constraints, "apache-airflow")
    (built,) = WHEELS.glob("*.whl")
    # Airflow's commands start twice as fast from bytecode, and not every machine lets Python write it.
    session.env["UV_COMPILE_BYTECODE"] = "1"
    session.install(
        f"{built}", f"apache-airflow=={pinned}", *TEST_PACKAGES, *packages, "-c", f"{constraints}"
    )
    session.install("--force-reinstall", "--no-deps", f"{built}")
    _check_that_airflow_is_still(session, pinned)


def _pin(constraints: Path, package: str) -> str:
    pins = dict(line.split("==") for line in constraints.read_text().splitlines() if "==" in line)
    return pins[package].split()[0]


def _check_that_airflow_is_still(session: nox.Session, pinned: str) -> None:
    home = str(Path(session.create_tmp()).absolute())
    said = session.run("airflow", "version", env={"AIRFLOW_HOME": home}, silent=True)
    last_line = str(said).strip().splitlines()[-1]
    if last_line != pinned:
        session.error(f"the provider moved Airflow from {pinned} to {last_line}")
    session.log(f"Airflow is still {last_line}")
