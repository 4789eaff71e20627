"""
Everything that is run while developing, and the environments that it runs in.

``nox --list`` shows all of it. ``make`` installs nox and calls it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import nox
from nox.project import dependency_groups, load_toml

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv"
nox.options.download_python = "never"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["check"]

AIRFLOW_VERSIONS = ["2.11", "3.0", "3.1", "3.2", "3.3"]
OLDEST, NEWEST = AIRFLOW_VERSIONS[0], AIRFLOW_VERSIONS[-1]
# The oldest Python that is supported, and the only one that every Airflow runs on.
PYTHON = "3.11"
NEWER_PYTHONS = ["3.12", "3.13", "3.14"]

# What each constraints file of an Airflow pins, beside Airflow and the provider's own dependencies.
PINNED_GROUPS = ["test", "browser", "benchmarks", "distributed", "types"]
# Airflow's newest providers need these newer than an older Airflow had them.
NEEDED_BY_PROVIDERS = ["aiohttp", "asgiref"]

# Nox itself runs in the environment that holds the other tools.
TOOLS = Path(sys.executable).parent
ENVIRONMENT = Path(".venv").absolute()
ENVIRONMENT_PYTHON = ENVIRONMENT / "bin" / "python"
PYTEST = str(ENVIRONMENT / "bin" / "pytest")

# A session of its own on the newest Airflow; the matrix runs them on the others.
SCENARIOS = [
    "tests/real_airflow/test_cleared_gates.py",
    "tests/real_airflow/test_examples.py",
    "tests/real_airflow/test_reservations.py",
    "tests/real_airflow/test_scarce_credits.py",
    "tests/real_airflow/test_watchers.py",
]
NOT_IN_TEST = "browser or soak or distributed or ledger"
NOT_IN_UNIT_TESTS = f"{NOT_IN_TEST} or real_airflow"
NOT_IN_CHECK = f"{NOT_IN_UNIT_TESTS} or airflow_process"
# `make check` leaves what takes long to `make test`.
TOO_LONG_FOR_CHECK = [
    "tests/faults/test_fault_matrix.py",
    "tests/ledger/test_every_interleaving.py",
    "tests/sandbox/contract",
    "tests/test_properties.py",
    "tests/test_types.py",
]
# `make check` runs these beside the others, since both wait for servers most of the time.
HALF_OF_CHECK = ["tests/hooks", "tests/ledger", "tests/triggers"]
# What `make test` proves, and no other Airflow or Python can change.
ONLY_IN_TEST = [
    "tests/benchmarks",
    "tests/ledger/test_every_interleaving.py",
    "tests/sandbox",
    "tests/test_demo.py",
    "tests/test_layout.py",
    "tests/test_readme.py",
    "tests/test_types.py",
]
# How a connection fails is up to Python, not to Airflow.
NOT_IN_MATRIX = [*ONLY_IN_TEST, "tests/faults"]
# Enough to prove on the oldest Airflow and the newest, with the tests that are marked so. The rest, with the
# decision table, runs on each.
ONLY_ON_THE_ENDS = [
    "tests/real_airflow/test_crash.py",
    "tests/real_airflow/test_reservations.py",
    "tests/real_airflow/test_scarce_credits.py",
    "tests/billing",
    "tests/ledger",
    "tests/security",
    "tests/test_balance.py",
    "tests/test_bug_reports.py",
    "tests/test_crossing.py",
    "tests/test_gate.py",
    "tests/test_money.py",
    "tests/test_properties.py",
    "tests/test_unusable_connections.py",
]


@nox.session(python=False)
def environment(session: nox.Session) -> None:
    """Make .venv, or bring it up to date: the newest Airflow, the provider's wheel, the test packages."""
    _update_environment(session)


@nox.session(python=False)
def demo(session: nox.Session) -> None:
    """Watch two runs wait for the same credits, and get them one after the other."""
    _update_environment(session)
    _run_module(session, "dev.demo", *session.posargs)


@nox.session(python=False)
def airflow(session: nox.Session) -> None:
    """Run a whole Airflow with the example DAGs and a You.com sandbox, until Ctrl-C."""
    _update_environment(session)
    _run_module(session, "dev.serve", *session.posargs)


@nox.session(python=False)
def check(session: nox.Session) -> None:
    """Run lint, types, and the short tests without a process of Airflow; what follows -- goes to pytest."""
    _update_environment(session, "types")
    tests = [PYTEST, "-q", "-m", f"not ({NOT_IN_CHECK})", *_without(TOO_LONG_FOR_CHECK)]
    selections = [session.posargs] if session.posargs else [HALF_OF_CHECK, _without(HALF_OF_CHECK)]
    with ExitStack() as running:
        for selection in selections:
            running.enter_context(_beside(session, *tests, *selection))
        _lint(session)
        _types(session)


@nox.session(python=False)
def test(session: nox.Session) -> None:
    """Run all tests on the installed wheel and the newest Airflow; what follows -- goes to pytest."""
    _update_environment(session)
    if session.posargs:
        _pytest(session, PYTEST, "-m", f"not ({NOT_IN_TEST})")
        return
    # Airflow waits more than it computes, so what starts one runs beside the rest.
    in_airflow = [PYTEST, "-m", f"real_airflow and not ({NOT_IN_TEST})"]
    shared = [*in_airflow, "tests/real_airflow", *_without(SCENARIOS)]
    own = [*in_airflow, *_without(["tests/real_airflow"])]
    processes = [PYTEST, "-m", f"airflow_process and not (real_airflow or {NOT_IN_TEST})"]
    with _beside(session, *shared), _beside(session, *own), _beside(session, *processes):
        _pytest(session, PYTEST, "-m", f"not ({NOT_IN_CHECK})")


@nox.session(python=False)
def scenarios(session: nox.Session) -> None:
    """Run the examples, reserve credits and watch a balance in a whole Airflow, through crashes."""
    _update_environment(session)
    _pytest(session, PYTEST, *SCENARIOS)


@nox.session(python=False)
def lint(session: nox.Session) -> None:
    """Check style, formatting and security with the hooks of .pre-commit-config.yaml."""
    _lint(session)


@nox.session(python=False)
def types(session: nox.Session) -> None:
    """Check the types, of the examples and the documentation's code too."""
    _update_environment(session, "types")
    _types(session)


@nox.session(python=False)
def audit(session: nox.Session) -> None:
    """Look for known vulnerabilities in what the provider needs, as far as the registry knows them."""
    needed = ["apache-airflow-providers-common-compat", "pendulum", "requests", "urllib3"]
    pins = Path(session.create_tmp(), "pins.txt")
    pins.write_text("".join(f"{package}=={_pin(NEWEST, package)}\n" for package in needed))
    quietly = ["--progress-spinner", "off"]
    _tool(session, "pip-audit", "--no-deps", "--disable-pip", *quietly, "--requirement", f"{pins}")


@nox.session(python=PYTHON)
@nox.parametrize("airflow", AIRFLOW_VERSIONS)
def matrix(session: nox.Session, airflow: str) -> None:
    """Run the tests on one Airflow; what follows -- goes to pytest."""
    _install(session, airflow)
    is_an_end = airflow in (OLDEST, NEWEST)
    left_out = NOT_IN_TEST if is_an_end else f"{NOT_IN_TEST} or on_the_ends"
    ignored = _without(NOT_IN_MATRIX if is_an_end else [*NOT_IN_MATRIX, *ONLY_ON_THE_ENDS])
    if session.posargs:
        _pytest(session, "pytest", "-q", "-m", f"not ({left_out})", *ignored)
        return
    airflows = ["-q", "-m", f"real_airflow and not ({left_out})", *ignored]
    with _beside(session, str(Path(session.bin, "pytest")), *airflows):
        _pytest(session, "pytest", "-q", "-m", f"not (real_airflow or {left_out})", *ignored)


@nox.session(python=NEWER_PYTHONS, requires=["interpreters"])
def pythons(session: nox.Session) -> None:
    """Run the unit tests on a newer Python and the newest Airflow; what follows -- goes to pytest."""
    _install(session, NEWEST)
    is_the_newest = session.python == NEWER_PYTHONS[-1]
    left_out = NOT_IN_UNIT_TESTS if is_the_newest else f"{NOT_IN_CHECK} or on_the_ends"
    _pytest(session, "pytest", "-q", "-m", f"not ({left_out})", *_without(ONLY_IN_TEST))


@nox.session(python=PYTHON)
@nox.parametrize("airflow", [OLDEST, NEWEST])
def browser(session: nox.Session, airflow: str) -> None:
    """Click through the UI of one Airflow with Chromium, which has to be installed."""
    _install(session, airflow, "browser")
    _pytest(session, "pytest", "tests/browser")


@nox.session(python=False)
def ledger(session: nox.Session) -> None:
    """Look for a way to overspend what is reserved, on SQLite and PostgreSQL."""
    _update_environment(session)
    _pytest(session, PYTEST, "tests/ledger", "tests/hooks", "tests/benchmarks", "-q", "-m", "ledger")


@nox.session(python=PYTHON)
def distributed(session: nox.Session) -> None:
    """Kill a worker and a triggerer of an Airflow on several machines while gates wait."""
    _install(session, NEWEST, "distributed")
    _pytest(session, "pytest", "tests/distributed", "-m", "distributed")


@nox.session(python=False)
def bench(session: nox.Session) -> None:
    """Measure what waiting costs; what follows -- goes to benchmarks.waiting."""
    _update_environment(session, "benchmarks")
    _run_module(session, "benchmarks.waiting", *session.posargs)


@nox.session(python=False)
def simulation(session: nox.Session) -> None:
    """Simulate what reserving costs; what follows -- goes to benchmarks.simulation."""
    _update_environment(session, "benchmarks")
    _run_module(session, "benchmarks.simulation", *session.posargs)


@nox.session(python=False)
def fleet(session: nox.Session) -> None:
    """Measure how a fleet of runs spends one account; what follows -- goes to benchmarks.fleet."""
    _update_environment(session, "benchmarks")
    _run_module(session, "benchmarks.fleet", *session.posargs)


@nox.session(python=False)
def soak(session: nox.Session) -> None:
    """Run gates through minutes of random trouble; what follows -- goes to benchmarks.soak."""
    _update_environment(session, "benchmarks")
    _run_module(session, "benchmarks.soak", *session.posargs)


@nox.session(python=False)
def docs(session: nox.Session) -> None:
    """Build the documentation into site/."""
    _tool(session, "mkdocs", "build", "--strict", *session.posargs)


@nox.session(python=False)
def dist(session: nox.Session) -> None:
    """Build the wheel and the source distribution into dist/."""
    shutil.rmtree("dist", ignore_errors=True)
    _tool(session, "python", "-m", "build")
    _tool(session, "twine", "check", "--strict", *(f"{path}" for path in Path("dist").iterdir()))


@nox.session(python=False)
def interpreters(session: nox.Session) -> None:
    """Fetch the newer Pythons that are not installed here, if this is Debian."""
    for version in NEWER_PYTHONS:
        if not _is_installed(version):
            folder = Path(".nox", f"debian-python{version}").absolute()
            fetch = ["python", "-m", "dev.debian_python", version, f"{folder}"]
            session.run(TOOLS / fetch[0], *fetch[1:], success_codes=[0, 1])
            os.environ["PATH"] = f"{folder / 'usr' / 'bin'}{os.pathsep}{os.environ['PATH']}"


@nox.session(python=False)
def constraints(session: nox.Session) -> None:
    """
    Write the pins of an Airflow or of the tools.

    ``-- 3.3.2`` takes the newest that fits; ``-- 3.3.2 2026-09-24`` takes the libraries of that day;
    ``-- tools`` takes the newest tools.
    """
    match session.posargs:
        case ["tools"]:
            _compile(session, "tools", Path("constraints", "tools.txt"), *_from_groups("tools"))
        case [version]:
            file = _constraints_file(_minor(version))
            _compile(session, version, file, *_sources(session, version))
        case [version, day]:
            file = _constraints_file(_minor(version))
            _compile(session, f"{version} {day}", file, *_sources(session, version), *_as_of(day, file))
        case _:
            session.error("Name an Airflow: make constraints AIRFLOW=3.3.2")


def _update_environment(session: nox.Session, *groups: str) -> None:
    if not ENVIRONMENT_PYTHON.exists():
        session.log(f"Airflow {NEWEST} goes into .venv, which takes up to a minute")
        _tool(session, "uv", "venv", "--quiet", "--seed", "--python", sys.executable, f"{ENVIRONMENT}")
    into = ["--quiet", "--python", f"{ENVIRONMENT_PYTHON}"]
    _tool(session, "uv", "pip", "install", *into, *_wanted(NEWEST, *groups))


def _install(session: nox.Session, airflow: str, *groups: str) -> None:
    session.install(*_wanted(airflow, *groups))
    _check_that_airflow_is_still(session, _pin(airflow, "apache-airflow"))


def _wanted(airflow: str, *groups: str) -> list[str]:
    return [
        # A wheel is built and installed. The sources may have changed while the provider's version has not.
        ".",
        "--reinstall-package=airflow-provider-youcom",
        f"apache-airflow=={_pin(airflow, 'apache-airflow')}",
        *_from_groups("test", *groups),
        f"--constraint={_constraints_file(airflow)}",
        # Airflow's commands start twice as fast from bytecode, and not every machine lets Python write it.
        "--compile-bytecode",
    ]


def _from_groups(*groups: str) -> list[str]:
    return [f"--group={group}" for group in groups]


def _check_that_airflow_is_still(session: nox.Session, pinned: str) -> None:
    home = str(Path(session.create_tmp()).absolute())
    said = session.run("airflow", "version", env={"AIRFLOW_HOME": home}, silent=True)
    last_line = str(said).strip().splitlines()[-1]
    if last_line != pinned:
        session.error(f"the provider moved Airflow from {pinned} to {last_line}")


def _lint(session: nox.Session) -> None:
    _tool(session, "pre-commit", "run", "--all-files")


def _types(session: nox.Session) -> None:
    session.run(ENVIRONMENT_PYTHON, "-m", "dev.documented_code")
    session.env["MYPYPATH"] = str(Path.cwd())
    _tool(session, "mypy", "--python-executable", f"{ENVIRONMENT_PYTHON}")


def _tool(session: nox.Session, name: str, *arguments: str) -> None:
    session.run(TOOLS / name, *arguments)


def _pytest(session: nox.Session, *command: str) -> None:
    session.run(*command, *session.posargs, env={"TEST_INSTALLED_PROVIDER": "1"})


@contextmanager
def _beside(session: nox.Session, *command: str) -> Iterator[None]:
    """Run a command beside what is inside, show its output at the end, and fail if it fails."""
    with tempfile.TemporaryFile("w+") as output:
        environment = {**os.environ, "TEST_INSTALLED_PROVIDER": "1"}
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield
        finally:
            # Not ended after a failure: it has to stop the Airflow that it started, and its result counts.
            process.wait()
            output.seek(0)
            sys.stdout.write(output.read())
    if process.returncode:
        session.error(f"{' '.join(command)} failed")


def _without(paths: list[str]) -> list[str]:
    return [f"--ignore={path}" for path in paths]


def _run_module(session: nox.Session, module: str, *arguments: str) -> None:
    # After Ctrl-C it stops its Airflow, which takes longer than nox waits by default.
    session.run(ENVIRONMENT_PYTHON, "-m", module, *arguments, interrupt_timeout=None)


def _is_installed(python: str) -> bool:
    command = shutil.which(f"python{python}")
    # A version manager's shim is on the PATH for inactive versions too, and fails.
    return command is not None and subprocess.run([command, "-V"], capture_output=True).returncode == 0


def _constraints_file(airflow: str) -> Path:
    return Path("constraints", f"airflow-{airflow}.txt")


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _pin(airflow: str, package: str) -> str:
    for line in _constraints_file(airflow).read_text().splitlines():
        if line.startswith(f"{package}=="):
            return line.removeprefix(f"{package}==").split()[0]
    raise LookupError(f"{_constraints_file(airflow)} has no {package}: renew it with make constraints")


def _compile(session: nox.Session, target: str, file: Path, *sources: str) -> None:
    options = ["--upgrade", "--universal", f"--python-version={PYTHON}", "--no-header", "--no-annotate"]
    _tool(session, "uv", "pip", "compile", "--quiet", *sources, *options, f"--output-file={file}")
    file.write_text(f"# Made by: nox -s constraints -- {target}\n{file.read_text()}")


def _sources(session: nox.Session, version: str) -> list[str]:
    exactly = Path(session.create_tmp(), "airflow.in")
    exactly.write_text(f"apache-airflow=={version}\n")
    return ["pyproject.toml", f"{exactly}", *_from_groups(*PINNED_GROUPS)]


def _as_of(day: str, file: Path) -> list[str]:
    """Return the options for libraries as of a day, but for Airflow's providers and what the tests need."""
    providers = [pin.split("==")[0] for pin in file.read_text().splitlines() if "-providers-" in pin]
    ours = dependency_groups(load_toml("pyproject.toml"), *PINNED_GROUPS)
    newest = sorted({*providers, *NEEDED_BY_PROVIDERS, *ours})
    return [f"--exclude-newer={day}", *(f"--exclude-newer-package={name}=false" for name in newest)]
