"""The README is the first page of the site, and links that lead out of docs/ lead to the repository."""

from __future__ import annotations

import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FIRST = "index.md"
LINK = re.compile(r"(?<=\]\()(?!https?:|#)([^)\s#]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README."""
    files.append(File.generated(config, FIRST, content=(ROOT / "README.md").read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Have each link lead to where it leads in the repository."""
    folder = ROOT if page.file.src_uri == FIRST else (DOCS / page.file.src_uri).parent
    return LINK.sub(lambda link: _address(folder, link[1], config.repo_url or ""), markdown)


def _address(folder: Path, link: str, repository: str) -> str:
    """A page of the site, or a file or folder of the repository."""
    target = Path(os.path.normpath(folder / link))
    if target == ROOT / "README.md":
        return FIRST
    if DOCS in target.parents:
        return target.relative_to(DOCS).as_posix()
    return f"{repository}/{'tree' if target.is_dir() else 'blob'}/main/{target.relative_to(ROOT).as_posix()}"
