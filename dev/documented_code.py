"""Write each Python block of the documentation into a file of its own, for mypy to check."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

PROJECT = Path(__file__).parents[1]
FOLDER = PROJECT / "build" / "documented_code"
_BLOCK = re.compile(r"^```python[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def main() -> None:
    """Replace the files of an earlier call."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    for page in [PROJECT / "README.md", *sorted(PROJECT.glob("docs/*.md"))]:
        for number, code in enumerate(_BLOCK.findall(page.read_text()), start=1):
            # The examples that a page includes are checked where they are.
            if not code.startswith("--8<--"):
                (FOLDER / f"{page.stem.lower().replace('-', '_')}_{number}.py").write_text(code)


if __name__ == "__main__":
    main()
