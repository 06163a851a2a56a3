"""How the command starts: quickly, and from its own package."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from kubecdc.cli.main import cli

KUBECDC = Path(sys.executable).with_name("kubecdc")
HEAVY = {"kubernetes", "aiohttp", "pydantic", "apsw", "msgspec", "structlog", "yaml", "prometheus_client"}

TYPED = {"--yes", "--all", "--repair", "--execute", "--dry-run", "--watch", "--timestamps"}


def kubecdc(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(KUBECDC), *args],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_help_imports_none_of_the_libraries_that_take_time() -> None:
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom kubecdc.cli.main import cli\n"
        "r = CliRunner().invoke(cli, ['--help'])\nassert r.exit_code == 0, r.output\n"
        "print(' '.join(m.split('.')[0] for m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert HEAVY.isdisjoint(done.stdout.split())


def test_manifests_are_checked_without_the_libraries_of_back_ends_and_triggers() -> None:
    code = (
        "import io, sys\nfrom kubecdc.cli.manifests.loading import load\n"
        "load([sys.argv[1]], stdin=io.StringIO())\nprint(' '.join(m.split('.')[0] for m in sys.modules))"
    )
    manifests = Path(__file__).parents[2] / "examples" / "workflow-tracker"
    command = [sys.executable, "-c", code, str(manifests)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    libraries = {"apsw", "redis", "hiredis", "aiohttp", "kubernetes", "structlog", "prometheus_client"}
    assert libraries.isdisjoint(done.stdout.split())


def test_what_a_command_imports_is_not_looked_through_for_garbage() -> None:
    code = (
        "import gc\nfrom click.testing import CliRunner\nfrom kubecdc.cli.main import cli\n"
        "before = gc.get_stats()[2]['collections']\nr = CliRunner().invoke(cli, ['dlq', '--help'])\n"
        "print(r.exit_code, gc.isenabled(), gc.get_stats()[2]['collections'] - before, gc.get_freeze_count() > 50_000)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["0", "True", "0", "True"]


def test_help_names_every_command() -> None:
    done = kubecdc("--help")
    assert done.returncode == 0
    for name in ("run", "watch", "work", "validate", "try", "checkpoint", "bus", "dlq", "replay"):
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize("group", ["bus", "checkpoint", "dlq"])
def test_no_summary_is_cut_off_in_80_columns(group: str) -> None:
    text = CliRunner().invoke(cli, [group, "--help"], terminal_width=80).output
    summaries = text.partition("Commands:\n")[2].splitlines()
    assert len(summaries) >= 3
    assert not [line for line in summaries if line.endswith("...")]


@pytest.mark.parametrize(
    "command",
    [
        ["run"],
        ["watch"],
        ["work"],
        ["validate"],
        ["audit"],
        ["try"],
        ["checkpoint", "show"],
        ["bus", "prune"],
        ["dlq", "list"],
        ["dlq", "purge"],
        ["replay"],
    ],
)
def test_every_option_of_a_command_has_an_environment_variable_unless_it_must_be_typed(command: list[str]) -> None:
    text = " ".join(CliRunner().invoke(cli, [*command, "--help"], env={"COLUMNS": "400"}).output.split())
    options = set(re.findall(r"--[a-z][a-z-]+", text.partition("Options:")[2])) - {"--help"}
    assert "--filename" in options
    for option in options & TYPED:
        assert f"KUBECDC_{option.removeprefix('--').upper()}" not in text, option
    for option in options - TYPED:
        # --x/--no-x have one variable, which is true or false
        name = option.removeprefix("--").removeprefix("no-").upper().replace("-", "_")
        assert f"env var: KUBECDC_{name}" in text, option


@pytest.mark.parametrize("name", ["watcher", "workers", "storage"])
def test_a_package_of_the_user_with_the_name_of_a_folder_of_ours_is_not_imported(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("raise RuntimeError('imported')\n")
    manifests = Path(__file__).parents[2] / "examples" / "deployments"
    done = kubecdc("validate", "-f", str(manifests), PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")


def test_an_unknown_command_or_option_is_a_usage_error() -> None:
    for args in (["wacth"], ["watch", "--nope"], ["work"]):
        done = kubecdc(*args)
        assert done.returncode == 2, args
        assert "Traceback" not in done.stderr
