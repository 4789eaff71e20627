"""
Fetch a Python from another release of Debian, and run it without installing it.

    python -m dev.debian_python 3.13 FOLDER

makes ``FOLDER/usr/bin/python3.13``. Apt downloads the packages from the mirror that this machine uses, and
dpkg unpacks them into the folder. A script starts Python there with the loader and the libraries that came
with it, so this needs no root, no chroot and no mount, and changes nothing outside the folder.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

RELEASES = {"3.13": "trixie", "3.14": "forky"}

START = """\
#!/bin/sh
exec "{loader}" --argv0 "$0" --library-path "{libraries}" "{python}" "$@"
"""


def fetch(version: str, folder: Path) -> None:
    """
    Make ``usr/bin/python<version>`` in a folder, and nothing else in ``usr/bin``, unless the folder is there.

    :param version: major and minor, as ``3.13``.
    :param folder: where it will be. It must not move later.
    :raises LookupError: if this machine or Debian's releases cannot provide it.
    :raises subprocess.CalledProcessError: if apt or dpkg fails.
    """
    if folder.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as unfinished:
        root = Path(unfinished, "root")
        for package in _download(version, Path(unfinished, "apt")):
            _run("dpkg-deb", "--extract", package, root)
        _start_with_its_own_libraries(version, root, folder)
        root.rename(folder)


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


def _start_with_its_own_libraries(version: str, root: Path, folder: Path) -> None:
    (loader,) = root.glob("usr/lib*/ld-linux*.so.*")
    (libraries,) = root.glob("usr/lib/*-linux-gnu*")
    commands = root / "usr" / "bin"
    python = (commands / f"python{version}").rename(root / "usr" / "lib" / f"python{version}" / "python")
    # The others would start with this machine's libraries.
    shutil.rmtree(commands)
    commands.mkdir()
    # Python finds its modules from the place of the script, which it takes for its executable.
    start = commands / f"python{version}"
    places = {"loader": loader, "libraries": libraries, "python": python}
    start.write_text(
        START.format_map({name: folder / path.relative_to(root) for name, path in places.items()})
    )
    start.chmod(0o755)


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
