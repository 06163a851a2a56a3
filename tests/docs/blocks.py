"""The code blocks of all pages.

Its info string says what a block is: `text` is a picture or what a command prints, everything else is code, and runs. A
comment of HTML right above the block says otherwise:

* ``<!-- not run: REASON -->``: nothing here can run it.
* ``<!-- run by tests/PATH.py -->``: another test does, with more around it than the block has.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("", "benchmarks", "deploy", "docs", "examples", "storage", "watcher", "workers", "tests")
GONE_BY = {"CHANGELOG.md"}  # pages about what was
MARK = re.compile(r"<!-- (not run: .+|run by tests/[\w/]+\.py) -->")


@dataclass(frozen=True)
class Block:
    """A code block, and the mark above it. ``line`` is that of the fence."""

    page: Path
    line: int
    language: str
    text: str
    mark: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def runner(self) -> Path | None:
        """The test that runs it instead of `tests.docs`."""
        return ROOT / self.mark.removeprefix("run by ") if self.mark.startswith("run by ") else None


def pages() -> list[Path]:
    """All that users and developers read."""
    found = {page for folder in FOLDERS for page in (ROOT / folder).glob("**/*.md" if folder else "*.md")}
    return sorted(page for page in found if page.name not in GONE_BY and not page.is_symlink())


def blocks() -> Iterator[Block]:
    """All of all pages, in order."""
    for page in pages():
        yield from blocks_of(page, page.read_text())


def blocks_of(page: Path, text: str) -> Iterator[Block]:
    lines = iter(enumerate(text.splitlines(), 1))
    mark = ""
    for number, line in lines:
        fence = re.fullmatch(r" *(```+)(.*)", line)
        if not fence:
            above = MARK.fullmatch(line.strip())
            mark = above[1] if above else "" if line.strip() else mark
            continue
        body = []
        for _, within in lines:
            if within.strip() == fence[1]:
                break
            body.append(within)
        yield Block(page, number, fence[2].strip(), textwrap.dedent("\n".join(body)) + "\n", mark)
        mark = ""
