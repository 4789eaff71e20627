"""
Make a virtual environment and install into it; needs nothing but Python.

    python3 -m dev.environment .venv --constraints constraints/airflow-3.3.txt . pytest
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from dev.story import Story


class Environment:
    """
    A virtual environment.

    :param folder: where it is, or will be.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "bin" / "python"

    @property
    def is_made(self) -> bool:
        """Whether it is there, and whole: pip comes last."""
        return (self.folder / "bin" / "pip").exists()

    def make(self) -> None:
        """Make it, with uv in it, which installs Airflow ten times as fast as pip."""
        _run(sys.executable, "-m", "venv", "--clear", self.folder)
        self._pip("install", "--quiet", "--disable-pip-version-check", "uv", check=False)

    def install(self, packages: list[str], constraints: Path) -> None:
        """
        Install packages, and folders anew, for they may have changed.

        :param packages: names and folders, as pip takes them.
        :param constraints: the versions to take.
        :raises subprocess.CalledProcessError: if that does not work.
        """
        wanted = ["--constraint", str(constraints), *packages]
        if not self._has_uv():
            self._pip("install", "--quiet", *wanted)
            return
        anew = ["--reinstall-package", "airflow-provider-youcom"] if "." in packages else []
        uv = self.folder / "bin" / "uv"
        # Airflow's commands start twice as fast from bytecode, and not every machine lets Python write it.
        _run(uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", self.python, *anew, *wanted)

    def _has_uv(self) -> bool:
        return (self.folder / "bin" / "uv").exists()

    def _pip(self, *arguments: str, check: bool = True) -> None:
        _run(self.python, "-m", "pip", *arguments, check=check)


def _run(*command: str | Path, check: bool = True) -> None:
    subprocess.run(command, check=check, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def main() -> int:
    """Make the environment, and tell by the exit status whether that worked."""
    parser = argparse.ArgumentParser(prog="python3 -m dev.environment", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--constraints", type=Path, required=True)
    parser.add_argument("packages", nargs="+")
    options = parser.parse_args()
    story = Story()
    environment = Environment(options.folder)
    try:
        if not environment.is_made:
            with story.waiting(f"Making the virtual environment {options.folder}"):
                environment.make()
        with story.waiting(f"Installing into it, by {options.constraints}; the first time takes a minute"):
            environment.install(options.packages, options.constraints)
    except subprocess.CalledProcessError as error:
        print(f"\nThat did not work:\n{error.stdout}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    story.tell(f"{options.folder} is ready.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
