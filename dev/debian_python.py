"""
Fetch a Python from another release of Debian, and run it without installing it.

    python -m dev.debian_python 3.13 FOLDER

makes ``FOLDER/bin/python3.13``. Apt downloads the packages from this machine's own mirror, and dpkg unpacks
them into the folder. A script starts Python there with the loader and the libraries that came with it, so
this needs no root, no chroot and no mount, and changes nothing outside the folder.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

RELEASES = {"3.13": "trixie", "3.14": "forky"}

START = """\
#!/bin/sh
exec "{loader}" --argv0 "$0" --library-path "{libraries}" "{python}" "$@"
"""


def fetch(version: str, folder: Path) -> None:
    """
    Make ``bin/python<version>`` in a folder, unless it is there.

    :param version: major and minor, as ``3.13``.
    :param folder: where to keep it, with the packages. It must not move later.
    :raises LookupError: if this machine or Debian's releases cannot provide it.
    :raises subprocess.CalledProcessError: if apt or dpkg fails.
    """
    command = folder / "bin" / f"python{version}"
    if command.exists():
        return
    root = folder / version
    shutil.rmtree(root, ignore_errors=True)
    for package in _download(version, root / "apt"):
        _run("dpkg-deb", "--extract", package, root)
    started = _start_with_its_own_libraries(version, root)
    command.parent.mkdir(exist_ok=True)
    command.symlink_to(started)


def _download(version: str, apt: Path) -> list[Path]:
    if version not in RELEASES:
        raise LookupError(f"No release of Debian has Python {version}")
    if shutil.which("apt-get") is None:
        raise LookupError("This machine has no apt-get")
    (apt / "lists" / "partial").mkdir(parents=True)
    (apt / "archives" / "partial").mkdir(parents=True)
    (apt / "status").touch()
    (apt / "sources.list").write_text(f"deb {_mirror()} {RELEASES[version]} main\n")
    settings = {
        "Dir::State": apt,
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt,
        "Dir::Etc::SourceList": apt / "sources.list",
        "Dir::Etc::SourceParts": "-",
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "",
    }
    apt_get = ["apt-get", "-qq", *(f"--option={name}={value}" for name, value in settings.items())]
    _run(*apt_get, "update")
    # Nothing counts as installed here, so this takes libc and all else that Python needs.
    _run(*apt_get, "install", "--yes", "--download-only", f"python{version}-venv")
    return list((apt / "archives").glob("*.deb"))


def _mirror() -> str:
    targets = _run(
        *("apt-get", "indextargets", "--no-release-info", "--format", "$(REPO_URI)"),
        *("Created-By: Packages", "Component: main"),
    )
    mirrors = [address for address in targets.split() if address.rstrip("/").endswith("/debian")]
    if not mirrors:
        raise LookupError("The apt of this machine has no mirror of Debian")
    return mirrors[0]


def _start_with_its_own_libraries(version: str, root: Path) -> Path:
    command = root / "usr" / "bin" / f"python{version}"
    (loader,) = (root / "usr").glob("lib*/ld-linux*.so.*")
    (libraries,) = (root / "usr" / "lib").glob("*-linux-gnu*")
    python = command.rename(root / "usr" / "lib" / f"python{version}" / command.name)
    # Under the name of what it starts, for Python finds its library from there.
    command.write_text(START.format(loader=loader, libraries=libraries, python=python))
    command.chmod(0o755)
    return command


def _run(*command: str | Path) -> str:
    done = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.stdout


def main() -> int:
    """Fetch a Python, or say why that is not possible."""
    parser = argparse.ArgumentParser(prog="python -m dev.debian_python", description=__doc__)
    parser.add_argument("version")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    try:
        fetch(options.version, options.folder.absolute())
    except LookupError as error:
        print(f"Python {options.version} is left out: {error}.", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"Python {options.version} is left out: {error}\n{error.stdout}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
