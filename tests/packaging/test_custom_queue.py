"""A queue of one's own, as somebody installs it beside kubecdc: from source distributions, in a fresh environment."""

from __future__ import annotations

import os
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.apiserver import simulator
from tests.cli.rig import Desk
from tests.packaging.test_wheel import ROOT, run

EXAMPLE = ROOT / "examples" / "custom-queue"
OURS = {
    "kubecdc/storage/redis_server/lua/prelude.lua",
    "kubecdc/storage/testing/case.py",
    "kubecdc/watcher/__init__.py",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the source distribution, unpacked far away from the repository."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--installer", "uv", "--sdist", "--outdir", out, ROOT, cwd=out, timeout=120)
    (archive,) = out.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        members = {member.name.partition("/")[2]: member for member in tar.getmembers()}
        assert not [name for name, member in members.items() if member.issym() or member.islnk()]
        assert set(members) >= OURS
        tar.extractall(out / "unpacked", filter="data")
    (folder,) = (out / "unpacked").iterdir()
    run(sys.executable, "-m", "build", "--installer", "uv", "--wheel", "--outdir", out, folder, cwd=out, timeout=120)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def binaries(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an environment with kubecdc and the example."""
    folder = tmp_path_factory.mktemp("env")
    uv = (sys.executable, "-m", "uv", "--quiet")
    run(*uv, "venv", "--python", sys.executable, "env", cwd=folder)
    python = folder / "env" / "bin" / "python"
    run(*uv, "pip", "install", "--python", python, f"{wheel}[testing]", EXAMPLE, cwd=folder, timeout=300)
    return python.parent


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_wheel_of_the_source_distribution_has_one_package(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"kubecdc"}
    assert names >= OURS


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_it_runs_where_the_user_has_packages_of_our_names(
    binaries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("PYTHON")]:
        monkeypatch.delenv(name)
    async with simulator() as api:
        desk = Desk(tmp_path, api)
        desk.command = str(binaries / "kubecdc")
        for name in ("workers", "storage"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "__init__.py").write_text("raise SystemExit('not ours')\n")
        desk.write("bus.yaml", (EXAMPLE / "eventbus.yaml").read_text())
        done = await desk.call("validate")
        assert done.code == 0, done.err
        async with desk.running("run") as running:
            await running.until("leading")
            await desk.create("one")
            await running.until('"name":"one"', out=True)
        (row,) = await desk.rows("bus", "show")
        assert row["pending"] == 0
        assert (tmp_path / "spool" / "subscriptions").is_dir()


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_suite_is_at_hand(binaries: Path, tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(
        "from kubecdc.storage.testing import CASES\n\ndef test_cases():\n    assert len(CASES) > 50\n"
    )
    assert "1 passed" in run(binaries / "pytest", "-q", "-p", "no:cacheprovider", cwd=tmp_path)
