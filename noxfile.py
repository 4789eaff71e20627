"""
Everything that is run while developing, and the environments that it runs in.

``nox --list`` shows all of it. ``make`` installs nox and calls it.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import nox
from nox.project import dependency_groups, load_toml, python_versions

nox.needs_version = ">=2026.10.20"
nox.options.default_venv_backend = "uv"
nox.options.download_python = "never"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["check"]

# The oldest Python is the only one that every Airflow runs on.
PYTHON, *NEWER_PYTHONS = python_versions(load_toml("pyproject.toml"))
AIRFLOW_VERSIONS = sorted(
    (file.stem.removeprefix("airflow-") for file in Path("constraints").glob("airflow-*.txt")),
    key=lambda version: [int(part) for part in version.split(".")],
)
OLDEST, NEWEST = AIRFLOW_VERSIONS[0], AIRFLOW_VERSIONS[-1]
# Each Airflow in between, with the newest Python that it supports: so each Python runs tasks, too.
NEWEST_PYTHON_OF = {"3.0": "3.12", "3.1": "3.13", "3.2": "3.14"}

# What each constraints file of an Airflow pins, beside Airflow and the provider's own dependencies.
PINNED_GROUPS = ["test", "browser", "benchmarks", "distributed", "types", "mutants"]
# Airflow's newest providers need these newer than an older Airflow had them.
NEEDED_BY_PROVIDERS = ["aiohttp", "asgiref"]

# Nox itself runs in the environment that holds the other tools.
TOOLS = Path(sys.executable).parent
# The sources run here.
ENVIRONMENT = Path(".venv").absolute()
ENVIRONMENT_PYTHON = ENVIRONMENT / "bin" / "python"
# The wheel runs here on the newest Airflow. On other Airflows and Pythons it has environments of its own.
WHEEL_ENVIRONMENT = Path(".nox", "wheel").absolute()

# Tests carry these marks: see pyproject.toml.
OF_OTHER_SESSIONS = "browser or distributed or ledger"
NOT_IN_CHECK = f"{OF_OTHER_SESSIONS} or real_airflow or airflow_process or long"
# The oldest and the newest Airflow and Python are enough for these, and for tests of code without Airflow.
ON_THE_ENDS = "on_the_ends or long"
WITHOUT_AIRFLOW = [f"--ignore=tests/{folder}" for folder in ("billing", "faults", "ledger", "sandbox")]

# Where the session "interpreters" puts the Pythons that it fetches.
FETCHED_PYTHONS = Path(".nox").absolute()
for folder in FETCHED_PYTHONS.glob("debian-python*/usr/bin"):
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"


def _is_installed(python: str) -> bool:
    command = shutil.which(f"python{python}")
    # A version manager's shim is on the PATH for inactive versions too, and fails.
    return command is not None and subprocess.run([command, "-V"], capture_output=True).returncode == 0


# In `.ci/run`, the newest Airflow runs on the newest Python. Elsewhere, any Python is enough.
WHEEL_PYTHON = None
if "NEWEST_PYTHON" in os.environ:
    WHEEL_PYTHON = next(filter(_is_installed, reversed([PYTHON, *NEWER_PYTHONS])), None)


def _on_its_python(airflow: str) -> Any:
    python = NEWEST_PYTHON_OF.get(airflow, PYTHON)
    return nox.param(python if _is_installed(python) else PYTHON, airflow, id=airflow)


@nox.session(python=False)
def environment(session: nox.Session) -> None:
    """Make .venv, or bring it up to date: the newest Airflow, the provider's sources, the test packages."""
    _update_environment(session)


@nox.session(python=False)
def demo(session: nox.Session) -> None:
    """Watch two runs wait for the same credits; with YDC_API_KEY set, a gate open on your account."""
    _update_environment(session)
    _run_module(session, "dev.demo", *session.posargs)


@nox.session(python=False)
def airflow(session: nox.Session) -> None:
    """Run a whole Airflow with the example DAGs and a You.com sandbox, until Ctrl-C."""
    _update_environment(session)
    _run_module(session, "dev.serve", *session.posargs)


@nox.session(python=False)
def check(session: nox.Session) -> None:
    """Run lint, types and the short tests on the sources, in under a minute; ARGS="-k retry"."""
    _update_environment(session, "types")
    tests = [str(ENVIRONMENT / "bin" / "pytest"), "-q", *_workers(session, 2), "-m", f"not ({NOT_IN_CHECK})"]
    with _beside(session, *tests, *session.posargs):
        _lint(session)
        _types(session)


@nox.session(python=WHEEL_PYTHON)
def wheel(session: nox.Session) -> None:
    """Build the wheel, and install it with the newest Airflow; the commands that test it do this first."""
    _install(session, NEWEST, "distributed")


@nox.session(python=False, requires=["wheel"])
def test(session: nox.Session) -> None:
    """Run all tests on the built wheel and the newest Airflow; ARGS="-k retry"."""
    # They wait half of the time. Each takes ten seconds of computing to begin with.
    _pytest(session, f"not (scenario or {OF_OTHER_SESSIONS})", *_workers(session, 4))


@nox.session(python=False, requires=["wheel"])
def scenarios(session: nox.Session) -> None:
    """Run the examples, reserve credits and watch a balance in a whole Airflow, through crashes."""
    _pytest(session, "scenario", *_workers(session, 2))


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


@nox.session
@nox.parametrize("python,airflow", [_on_its_python(airflow) for airflow in AIRFLOW_VERSIONS])
def matrix(session: nox.Session, airflow: str) -> None:
    """Run the tests on every supported Airflow; VERSIONS="2.11 3.0"."""
    _install(session, airflow)
    left_out = f"only_in_test or on_one_airflow or {OF_OTHER_SESSIONS}"
    if airflow in (OLDEST, NEWEST):
        options = _workers(session, 2)
    else:
        # What is left does not pay for a second process.
        left_out, options = f"{left_out} or {ON_THE_ENDS}", WITHOUT_AIRFLOW
    _pytest(session, f"not ({left_out})", "-q", *options)


@nox.session(requires=["interpreters"])
@nox.parametrize("python", NEWER_PYTHONS, NEWER_PYTHONS)
def pythons(session: nox.Session) -> None:
    """Run the unit tests on newer Pythons and the newest Airflow; VERSIONS="3.13 3.14"."""
    _install(session, NEWEST)
    left_out, options = f"only_in_test or real_airflow or scenario or {OF_OTHER_SESSIONS}", ["-q"]
    if session.python != NEWER_PYTHONS[-1]:
        left_out, options = f"{left_out} or airflow_process or {ON_THE_ENDS}", [*options, *WITHOUT_AIRFLOW]
    _pytest(session, f"not ({left_out})", *options)


@nox.session(python=PYTHON)
@nox.parametrize("airflow", [OLDEST, NEWEST], [OLDEST, NEWEST])
def browser(session: nox.Session, airflow: str) -> None:
    """Click through the UI of Airflow with Chromium, which has to be installed; VERSIONS=2.11."""
    _install(session, airflow, "browser")
    _pytest(session, "browser")


@nox.session(python=False, requires=["wheel"])
def ledger(session: nox.Session) -> None:
    """Look for a way to overspend what is reserved, on SQLite and PostgreSQL, for two minutes."""
    _pytest(session, "ledger", "-q")


@nox.session(python=False, requires=["wheel"])
def distributed(session: nox.Session) -> None:
    """Kill a worker and a triggerer of an Airflow on several machines while gates wait."""
    _pytest(session, "distributed")


@nox.session(python=False)
def bench(session: nox.Session) -> None:
    """Measure what waiting costs, in half an hour; ARGS=--small takes under 5 minutes."""
    _update_environment(session, "benchmarks")
    _run_module(session, "benchmarks.waiting", *(session.posargs or ["--full"]))


@nox.session(python=False)
def simulation(session: nox.Session) -> None:
    """Simulate what reserving costs with 100,000 runs; ARGS="--runs 10000"."""
    _update_environment(session, "benchmarks")
    _run_module(session, "benchmarks.simulation", *session.posargs)


@nox.session(python=False)
def fleet(session: nox.Session) -> None:
    """Let 100 runs spend one account behind each kind of gate; ARGS="--runs 20"."""
    _update_environment(session, "benchmarks")
    _run_module(session, "benchmarks.fleet", *session.posargs)


@nox.session(python=False)
def soak(session: nox.Session) -> None:
    """Run gates through minutes of random trouble; ARGS="--minutes 10"."""
    _update_environment(session, "benchmarks")
    _run_module(session, "benchmarks.soak", *session.posargs)


@nox.session(python=False)
def mutants(session: nox.Session) -> None:
    """Change each line of the ledger and the rules, and see that a test fails; ARGS=ledger/rule.py."""
    _update_environment(session, "mutants")
    _run_module(session, "dev.mutants", *session.posargs)


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
            folder = FETCHED_PYTHONS / f"debian-python{version}"
            fetch = ["python", "-m", "dev.debian_python", version, f"{folder}"]
            session.run(TOOLS / fetch[0], *fetch[1:], success_codes=[0, 1])
            os.environ["PATH"] = f"{folder / 'usr' / 'bin'}{os.pathsep}{os.environ['PATH']}"


@nox.session(python=False)
def constraints(session: nox.Session) -> None:
    """Renew the pins of the newest Airflow and the tools; ARGS="3.2.3 2026-09-24": an Airflow, of a day."""
    match session.posargs:
        case []:
            _compile(session, "", _constraints_file(NEWEST), *_sources(session, f"{NEWEST}.*"))
            _compile(session, "", Path("constraints", "tools.txt"), *_from_groups("tools"))
        case [version]:
            file = _constraints_file(_minor(version))
            _compile(session, version, file, *_sources(session, version))
        case [version, day]:
            file = _constraints_file(_minor(version))
            _compile(session, f"{version} {day}", file, *_sources(session, version), *_as_of(day, file))
        case _:
            session.error('Name an Airflow, and a day if you like: make constraints ARGS="3.2.3 2026-09-24"')


def _update_environment(session: nox.Session, *groups: str) -> None:
    if not ENVIRONMENT_PYTHON.exists():
        session.log(f"Airflow {NEWEST} goes into .venv, which takes up to a minute")
        _tool(session, "uv", "venv", "--quiet", "--seed", "--python", sys.executable, f"{ENVIRONMENT}")
    into = ["--quiet", "--python", f"{ENVIRONMENT_PYTHON}"]
    _tool(session, "uv", "pip", "install", *into, "--editable=.", *_wanted(NEWEST, *groups))


def _install(session: nox.Session, airflow: str, *groups: str) -> None:
    # A wheel is built and installed. The sources may have changed while the provider's version has not.
    session.install(".", "--reinstall-package=airflow-provider-youcom", *_wanted(airflow, *groups))
    _check_that_airflow_is_still(session, _pin(airflow, "apache-airflow"))


def _wanted(airflow: str, *groups: str) -> list[str]:
    return [
        f"apache-airflow=={_pin(airflow, 'apache-airflow')}",
        *_from_groups("test", *groups),
        f"--constraint={_constraints_file(airflow)}",
        # Airflow's commands start twice as fast from bytecode, and not every machine lets Python write it.
        "--compile-bytecode",
    ]


def _from_groups(*groups: str) -> list[str]:
    return [f"--group={group}" for group in groups]


def _check_that_airflow_is_still(session: nox.Session, pinned: str) -> None:
    code = "from importlib.metadata import version; print(version('apache-airflow'))"
    installed = str(session.run("python", "-c", code, silent=True)).strip()
    if installed != pinned:
        session.error(f"the provider moved Airflow from {pinned} to {installed}")


def _lint(session: nox.Session) -> None:
    _tool(session, "pre-commit", "run", "--all-files")


def _types(session: nox.Session) -> None:
    session.run(ENVIRONMENT_PYTHON, "-m", "dev.documented_code")
    session.env["MYPYPATH"] = str(Path.cwd())
    _tool(session, "mypy", "--python-executable", f"{ENVIRONMENT_PYTHON}")


def _tool(session: nox.Session, name: str, *arguments: str) -> None:
    session.run(TOOLS / name, *arguments)


def _pytest(session: nox.Session, marks: str, *options: str) -> None:
    # Nothing but the wheel may be tested: see conftest.py.
    environment = {"TEST_INSTALLED_PROVIDER": "1"}
    pytest = WHEEL_ENVIRONMENT / "bin" / "pytest" if session.python is False else "pytest"
    try:
        _run(session, pytest, "-m", marks, *options, *session.posargs, env=environment)
    finally:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        session.log(f"All of it took {used.ru_utime + used.ru_stime:.0f} s of computing")


def _workers(session: nox.Session, number: int) -> list[str]:
    """Return the options for this many processes; a selection of the user's own is not worth their start."""
    return [] if session.posargs else [f"--numprocesses={number}", "--no-loadscope-reorder"]


@contextmanager
def _beside(session: nox.Session, *command: str) -> Iterator[None]:
    """Run a command beside what is inside, show its output at the end, and fail if it fails."""
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield
        finally:
            # Not ended after a failure: its result counts too.
            process.wait()
            output.seek(0)
            sys.stdout.write(output.read())
    if process.returncode:
        session.error(f"{' '.join(command)} failed")


def _run_module(session: nox.Session, module: str, *arguments: str) -> None:
    _run(session, ENVIRONMENT_PYTHON, "-m", module, *arguments)


def _run(session: nox.Session, *command: str | Path, **options: Any) -> None:
    # After Ctrl-C it stops its Airflow, which takes longer than nox waits by default.
    session.run(*command, interrupt_timeout=None, **options)


def _terminate_what_runs(number: int, frame: FrameType | None) -> None:
    subprocess.run(["pkill", "-TERM", "-P", f"{os.getpid()}"])


# Nox would end at once, and leave what it runs, with its Airflow, behind.
signal.signal(signal.SIGTERM, _terminate_what_runs)


def _constraints_file(airflow: str) -> Path:
    return Path("constraints", f"airflow-{airflow}.txt")


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _pin(airflow: str, package: str) -> str:
    for line in _constraints_file(airflow).read_text().splitlines():
        if line.startswith(f"{package}=="):
            return line.removeprefix(f"{package}==").split()[0]
    raise LookupError(f"{_constraints_file(airflow)} has no {package}: renew it with make constraints")


def _compile(session: nox.Session, arguments: str, file: Path, *sources: str) -> None:
    options = ["--upgrade", "--universal", f"--python-version={PYTHON}", "--no-header", "--no-annotate"]
    _tool(session, "uv", "pip", "compile", "--quiet", *sources, *options, f"--output-file={file}")
    made_by = f'make constraints ARGS="{arguments}"' if arguments else "make constraints"
    file.write_text(f"# Made by: {made_by}\n{file.read_text()}")


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
