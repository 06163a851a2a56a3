"""What a release is made of: one version everywhere, a CHANGELOG that can be cut, metadata and extras that are true."""

from __future__ import annotations

import datetime
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

import kubecdc
from tests.packaging import version
from tests.packaging.version import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
SECTIONS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]  # of Keep a Changelog


def test_the_version_is_the_same_wherever_it_is_named() -> None:
    assert version.found() == {file: {kubecdc.__version__} for file in version.PLACES}


def test_it_is_named_nowhere_else() -> None:
    mentions = re.compile(rf"kubecdc[:=-]v?{re.escape(kubecdc.__version__)}|newTag: |appVersion: ")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    places = [ROOT / name for name in listed if not name.startswith(("tests/", "storage/", "watcher/", "workers/"))]
    found = {
        str(path.relative_to(ROOT))
        for path in places
        if path.is_file() and path.suffix != ".png" and mentions.search(path.read_text(errors="replace"))
    }
    assert found <= set(version.PLACES) | {"CHANGELOG.md"}


@pytest.mark.parametrize(("file", "pattern"), version.PLACES.items())
def test_another_version_is_written_there_and_nothing_else(file: str, pattern: str) -> None:
    before = (ROOT / file).read_text()
    after = version.replaced(before, pattern, "9.8.7")
    assert set(re.findall(pattern, after)) == {"9.8.7"}
    assert version.replaced(after, pattern, kubecdc.__version__) == before


def test_the_changelog_can_be_cut_and_its_sections_are_known() -> None:
    cut = version.released(CHANGELOG, "9.8.7", datetime.date(2030, 1, 2))
    assert re.findall(r"^## (.+)$", cut, re.MULTILINE)[:2] == ["Unreleased", "9.8.7 - 2030-01-02"]
    for release in re.split(r"^## ", CHANGELOG, flags=re.MULTILINE)[1:]:
        assert re.match(r"Unreleased$|\d+\.\d+\.\d+ - \d{4}-\d\d-\d\d$", release.splitlines()[0])
        found = re.findall(r"^### (.+)$", release, re.MULTILINE)
        assert found == [section for section in SECTIONS if section in found]


@pytest.mark.parametrize(
    ("tag", "repository", "changelog", "code"),
    [
        ("v9.8.7", "kubecdc/kubecdc", "## 9.8.7 - 2030-01-02", 0),
        ("v9.8.6", "kubecdc/kubecdc", "## 9.8.7 - 2030-01-02", 1),
        ("v9.8.7", "kubecdc/kubecdc", "## Unreleased", 1),
        ("v9.8.7", "somebody/else", "## 9.8.7 - 2030-01-02", 1),
    ],
)
def test_the_workflow_stops_where_tag_version_changelog_or_repository_differ(
    tag: str, repository: str, changelog: str, code: int, tmp_path: Path
) -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
    (step,) = [step for step in workflow["jobs"]["version"]["steps"] if "run" in step]
    (tmp_path / "kubecdc").mkdir()
    (tmp_path / "kubecdc" / "__init__.py").write_text('__version__ = "9.8.7"\n')
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n{changelog}\n")
    environment = {
        "GITHUB_REF_NAME": tag,
        "GITHUB_REPOSITORY": repository,
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "PATH": os.environ["PATH"],
    }
    done = subprocess.run(["bash", "-e", "-c", step["run"]], cwd=tmp_path, env=environment, check=False)
    assert done.returncode == code
    assert {"version", "ci"} <= {workflow["jobs"]["ci"]["needs"], *workflow["jobs"]["package"]["needs"]}


def test_classifiers_are_the_versions_that_are_tested_and_links_lead_to_one_repository() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    tested = workflow["jobs"]["tests"]["strategy"]["matrix"]["python"]
    said = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if re.search(r"Python :: 3\.\d", c)]
    assert said == tested
    assert PROJECT["requires-python"] == f">={tested[0]}"
    assert all(url.startswith(PROJECT["urls"]["Source"]) for url in PROJECT["urls"].values())
    chart = yaml.safe_load((ROOT / "deploy/helm/kubecdc/Chart.yaml").read_text())
    assert chart["sources"] == [PROJECT["urls"]["Source"]]
    for name in ("Documentation", "Changelog"):
        assert (ROOT / PROJECT["urls"][name].partition("/main/")[2]).exists()
