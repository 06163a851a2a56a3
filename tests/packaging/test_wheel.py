"""What users install: the wheel with every extra, in a fresh environment."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from kubecdc import __version__

ROOT = Path(__file__).parents[2]
INSTALL_SECONDS = 120


def run(*argv: str | Path, cwd: Path, timeout: float = 60) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("VIRTUAL_ENV", "PYTHON"))}
    done = subprocess.run(
        [str(a) for a in argv], cwd=cwd, env=environment, timeout=timeout, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{argv}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--installer", "uv", "--outdir", out, ROOT, cwd=out, timeout=120)
    return next(out.glob("*.whl"))


@pytest.mark.long
def test_the_wheel_holds_one_package_and_nothing_of_the_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"kubecdc", f"kubecdc-{__version__}.dist-info"}
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert "kubecdc/storage/redis_server/lua/prelude.lua" in names
    assert {f"kubecdc/{side}/__init__.py" for side in ("watcher", "workers", "storage")} <= set(names)
    assert "kubecdc/py.typed" in names


@pytest.mark.long
def test_all_extras_install_together_in_a_fresh_environment(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", "env", cwd=tmp_path)
    binaries = tmp_path / "env" / "bin"
    run(
        binaries / "pip",
        "install",
        "-q",
        "--disable-pip-version-check",
        f"{wheel}[all]",
        cwd=tmp_path,
        timeout=INSTALL_SECONDS,
    )
    assert __version__ in run(binaries / "kubecdc", "--version", cwd=tmp_path)
    # From a folder whose own packages have our names, the command still finds its own.
    for name in ("watcher", "workers", "storage"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('not ours')\n")
    assert "Commands" in run(binaries / "kubecdc", "--help", cwd=tmp_path)
