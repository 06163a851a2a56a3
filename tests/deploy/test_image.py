"""deploy/Dockerfile and the workflows, as far as they can be checked without Docker and without GitHub."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from kubecdc import __version__
from tests.deploy.tools import DEPLOY, ROOT

DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
WORKFLOWS = sorted((ROOT / ".github" / "workflows").iterdir())
INSTALL_SECONDS = 240


def allowed(path: str) -> bool:
    """Whether the context of the build has the path: the last line that fits counts."""
    found = True
    for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        if (
            fnmatch(path, pattern)
            or path.startswith(f"{pattern}/")
            or (pattern.startswith("**/") and pattern[3:] in path)
        ):
            found = line.startswith("!")
    return found


def copied(folder: Path) -> None:
    """Do what the COPY instructions of the first stage do."""
    first, _, _ = DOCKERFILE.partition("\nFROM ${BASE}\n")
    for line in re.findall(r"^COPY (.+)$", first, re.MULTILINE):
        *sources, target = line.split()
        for source in sources:
            assert allowed(source), f"{source} is not in the context of the build"
            place = folder / (target if len(sources) == 1 and target != "./" else source)
            place.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / source).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / source, place, symlinks=True, ignore=ignored)
            else:
                shutil.copy(ROOT / source, place)


@pytest.mark.long
@pytest.mark.timeout(INSTALL_SECONDS + 60)
def test_what_the_first_stage_does_gives_a_command_that_writes_nothing(tmp_path: Path) -> None:
    """With this Python, in a fresh environment, and its context alone."""
    copied(tmp_path / "src")
    (command,) = re.findall(r"^RUN (.+)$", DOCKERFILE, re.MULTILINE)
    command = command.replace("/install", str(tmp_path / "install")).replace("${EXTRAS}", "all")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("VIRTUAL_ENV", "PYTHON"))}
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True, timeout=60)
    pip: list[str | Path] = [tmp_path / "env" / "bin" / "python", "-m", *shlex.split(command)]
    subprocess.run(pip, cwd=tmp_path / "src", check=True, timeout=INSTALL_SECONDS, env=environment)
    installed = tmp_path / "install"
    packages = next(installed.glob("lib/python*/site-packages"))
    before = sorted(installed.rglob("*"))
    asked = subprocess.run(
        [tmp_path / "env" / "bin" / "python", installed / "bin" / "kubecdc", "--version"],
        env={"PYTHONPATH": str(packages), "PYTHONDONTWRITEBYTECODE": "1", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert __version__ in asked.stdout
    assert sorted(installed.rglob("*")) == before
    tops = {path.name for path in packages.iterdir() if path.is_dir()}
    assert "kubecdc" in tops
    assert not {"tests", "deploy", "examples", "watcher", "workers", "storage"} & tops


def test_the_image_is_small_in_rights() -> None:
    *_, last = DOCKERFILE.split("\nFROM ")
    assert "\nUSER 65532:65532\n" in last  # as in the manifests
    assert "\nRUN " not in last
    assert 'ENTRYPOINT ["kubecdc"]' in last
    assert f"-t kubecdc:{__version__} ." in DOCKERFILE


def test_the_versions_of_the_image_are_those_that_the_package_allows_and_none_is_missing() -> None:
    lines = (DEPLOY / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    pinned = {name.lower().replace("_", "-"): version for name, version in pins.items()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = re.findall(r"\[(.+)\]", project["optional-dependencies"]["all"][0])[0].split(",")
    wanted = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(pinned[requirement.name.lower()]), requirement


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_may_little_pin_what_they_use_and_keep_no_credentials(workflow: Path) -> None:
    text = workflow.read_text()
    document = yaml.safe_load(text)
    assert document["permissions"] == {"contents": "read"}
    for uses in re.findall(r"uses: (\S+)", text):
        assert uses.startswith("./") or re.fullmatch(r"[\w/.-]+@[0-9a-f]{40}", uses), uses
    assert text.count("actions/checkout@") == text.count("persist-credentials: false")


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_the_images_that_workflows_run_are_those_that_dependabot_updates(workflow: Path) -> None:
    updates = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text())["updates"]
    (docker,) = [update for update in updates if update["package-ecosystem"] == "docker"]
    assert "/.github/images" in docker["directories"]
    jobs = yaml.safe_load(workflow.read_text())["jobs"].values()
    for steps in [[step.get("run", "") for step in job.get("steps", [])] for job in jobs]:
        used = set(re.findall(r'docker run .*"\$([A-Z]+)"', "\n".join(steps)))
        if used:
            (reading,) = [step for step in steps if ".github/images" in step]
            assert steps.index(reading) < min(steps.index(step) for step in steps if "docker run" in step)
            images = dict(line.split("=") for line in output_of(reading).splitlines())
            assert used <= images.keys()
            assert all(
                re.fullmatch(r"[\w/.-]+:[a-z-]*\d+\.\d+\.\d+(@sha256:[0-9a-f]{64})?", i) for i in images.values()
            )


def output_of(reading: str) -> str:
    """What the step adds to the environment of the next ones."""
    command = reading.removesuffix(' >> "$GITHUB_ENV"')
    return subprocess.run(["sh", "-ec", command], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_ci_tests_the_versions_of_python_that_the_package_names() -> None:
    (ci,) = [yaml.safe_load(path.read_text()) for path in WORKFLOWS if path.stem == "ci"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    assert ci["jobs"]["tests"]["strategy"]["matrix"]["python"] == named
