"""Where the version is named, and ``make version VERSION=x.y.z``, which changes it there."""

from __future__ import annotations

import datetime
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VERSION = r"(\d+\.\d+\.\d+)"
PLACES = {
    "kubecdc/__init__.py": rf'__version__ = "{VERSION}"',
    "deploy/helm/kubecdc/Chart.yaml": rf"[vV]ersion: {VERSION}",
    "deploy/kustomize/common/image.yaml": rf"newTag: {VERSION}",
    "deploy/kustomize/common/labels.yaml": rf"version: {VERSION}",
    "deploy/Dockerfile": rf"kubecdc:{VERSION}",
    "deploy/README.md": rf"kubecdc:{VERSION}",
    "docs/production.md": rf"newTag: {VERSION}",
    "examples/python-function/Dockerfile": rf"kubecdc:{VERSION}",
    ".github/workflows/ci.yml": rf"kubecdc:{VERSION}",
}
UNRELEASED = "## Unreleased\n"


def found() -> dict[str, set[str]]:
    """The versions that each file names."""
    return {file: set(re.findall(pattern, (ROOT / file).read_text())) for file, pattern in PLACES.items()}


def replaced(text: str, pattern: str, version: str) -> str:
    """A text that names this version where it named another."""
    return re.sub(pattern, lambda match: match[0].replace(match[1], version), text)


def released(changelog: str, version: str, day: datetime.date) -> str:
    """A CHANGELOG in which what was not released is of the version."""
    assert UNRELEASED in changelog
    return changelog.replace(UNRELEASED, f"{UNRELEASED}\n## {version} - {day.isoformat()}\n", 1)


def main(version: str) -> None:
    if not re.fullmatch(VERSION, version):
        sys.exit(f"{version!r} is no version: write VERSION=1.2.3")
    for file, pattern in PLACES.items():
        path = ROOT / file
        path.write_text(replaced(path.read_text(), pattern, version))
    path = ROOT / "CHANGELOG.md"
    path.write_text(released(path.read_text(), version, datetime.datetime.now(datetime.UTC).date()))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
