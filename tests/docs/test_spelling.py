"""Pages, messages and comments have American spelling. Code may have another, as asyncio has in `cancelled`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, pages

BRITISH = re.compile(
    r"\b\w*(?:(?:recogn|organ|synchron|normal|initial|serial|minim|maxim|optim|summar)is[ei]|analyse|behaviour|colour|favour"
    r"|flavour|honour|neighbour|modell|signall|defence|licence|acknowledgement)\w*|\b(?:whilst|amongst|for ever)\b",
    re.IGNORECASE,
)
SOURCES = [path for name in ("kubecdc", "storage", "watcher", "workers") for path in (ROOT / name).rglob("*.py")]


@pytest.mark.parametrize("path", [*pages(), ROOT / "CHANGELOG.md"], ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_has_american_spelling(path: Path) -> None:
    assert [found[0] for found in BRITISH.finditer(path.read_text())] == []


def test_the_source_has_american_spelling() -> None:
    found = {str(path.relative_to(ROOT)): [word[0] for word in BRITISH.finditer(path.read_text())] for path in SOURCES}
    assert {path: words for path, words in found.items() if words} == {}
