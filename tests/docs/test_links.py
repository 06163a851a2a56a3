"""Every link of every page leads somewhere, and the site is built without a warning. Other servers are not asked."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, pages

PAGES = [*pages(), ROOT / "CHANGELOG.md"]
FENCED = re.compile(r"^ *(```+).*?^ *\1$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
REFERENCE = re.compile(r"^\[[^\]]+\]: (\S+)", re.MULTILINE)
ELSEWHERE = re.compile(r"https?://")


def prose(text: str) -> str:
    """The page without its code."""
    return re.sub(r"(`+).+?\1", "", FENCED.sub("", text))


def anchors_in(text: str) -> set[str]:
    """The anchors that GitHub and the site give the headings of a page."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", FENCED.sub("", text), re.MULTILINE):
        words = re.sub(r"\[(.+?)\]\(.+?\)", r"\1", heading).lower()
        found.add(re.sub(r"[^\w\- ]", "", words).strip().replace(" ", "-"))
    return found


@cache
def anchors(page: Path) -> set[str]:
    return anchors_in(page.read_text())


def broken(page: Path, text: str) -> list[str]:
    """The links in the text that lead nowhere, as seen from the page."""
    links = [*LINK.findall(prose(text)), *REFERENCE.findall(prose(text))]
    return [link for link in links if not ELSEWHERE.match(link) and not _leads_somewhere(page, link)]


def _leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = Path(os.path.normpath(page.parent / path)) if path else page
    if not target.exists() or not target.is_relative_to(ROOT):
        return False
    return not anchor or (target.suffix == ".md" and anchor in anchors(target))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_link_leads_somewhere(page: Path) -> None:
    assert broken(page, page.read_text()) == []


def test_a_broken_link_is_found() -> None:
    page = ROOT / "docs" / "design.md"
    text = "[a](../README.md#guarantees) [b](gone.md) [c](#no-such) `[d](gone.md)` [e](../../x) [f](../deploy)\n"
    assert broken(page, f"{text}\n[h]: nowhere.md\n\n```text\n[i](gone.md)\n```\n") == [
        "gone.md",
        "#no-such",
        "../../x",
        "nowhere.md",
    ]
    assert anchors_in("# `a`: b, *c* (d)\n```sh\n# no\n```\n## E-f_g [h](i.md)\n") == {"a-b-c-d", "e-f_g-h"}


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "-f", str(ROOT / "docs/site/mkdocs.yml"), "-d", str(tmp_path)]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, check=False, env=quiet, capture_output=True, text=True)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    first = (tmp_path / "index.html").read_text()
    assert 'href="guarantees/"' in first
    assert 'href="https://github.com/kubecdc/kubecdc/blob/main/deploy/README.md"' in first


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_a_block_in_a_list_is_part_of_it_on_the_site_too(page: Path) -> None:
    indented = re.findall(r"^( +)```", page.read_text(), re.MULTILINE)
    assert [len(spaces) for spaces in indented if len(spaces) % 4] == [], (
        "four spaces; GitHub takes fewer, the site does not"
    )
