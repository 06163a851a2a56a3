"""What is forked is the command as it is installed: its streams, its environment, its folder, and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.cli.rig import KUBECDC, SOURCE
from tests.harness.forked import Forked, may_be_forked
from tests.harness.processes import until


async def forked(
    folder: Path, *args: str, environment: Mapping[str, str] | None = None, given: bytes = b""
) -> tuple[int, bytes, bytes]:
    """The exit code, and what it wrote to standard output and standard error."""
    (folder / "given").write_bytes(given)
    with (folder / "given").open("rb") as stdin:
        process = await Forked.start([KUBECDC, *args], folder, environment or os.environ, stdin.fileno())
    written = await process.communicate()
    return (await process.wait(), *written)


@pytest.mark.parametrize(
    "args", [["--version"], ["wacth"], ["validate", "-f", "there.yaml"], ["validate", "-f", "-"], ["dlq", "list"]]
)
async def test_it_does_what_the_installed_command_does(args: list[str], tmp_path: Path) -> None:
    (tmp_path / "there.yaml").write_text(SOURCE)
    command = [KUBECDC, *args]
    real = await asyncio.to_thread(
        subprocess.run, command, cwd=tmp_path, input=SOURCE.encode(), capture_output=True, check=False
    )
    found = await forked(tmp_path, *args, given=SOURCE.encode())
    assert found == (real.returncode, real.stdout, real.stderr)


async def test_its_environment_is_that_of_its_call_alone(tmp_path: Path) -> None:
    (tmp_path / "there.yaml").write_text(SOURCE)
    code, out, _ = await forked(tmp_path, "validate", environment={"KUBECDC_FILENAME": "there.yaml"})
    assert (code, out) == (0, b"valid: 1 EventSource, 0 Sensors, bus default\n")
    code, _, err = await forked(tmp_path, "validate", environment={})
    assert (code, b"Missing option" in err) == (2, True)


async def test_a_signal_that_ends_it_is_told_also_while_others_run(tmp_path: Path) -> None:
    read, write = os.pipe()  # they wait for their manifests
    command = [KUBECDC, "validate", "-f", "-"]
    process = await Forked.start(command, tmp_path, os.environ, read)
    other = await Forked.start(command, tmp_path, os.environ, read)
    await until(lambda: Path(f"/proc/{process.pid}/cwd").resolve() == tmp_path, 60, "the folder of the call")
    for one, number in ((process, signal.SIGKILL), (other, signal.SIGTERM)):
        assert one.returncode is None
        one.send_signal(number)
        await one.communicate()
        assert await one.wait() == -number
        one.send_signal(number)
    os.close(read)
    os.close(write)


def test_variables_of_the_interpreter_and_the_loader_are_left_to_a_real_start() -> None:
    assert may_be_forked({"KUBECONFIG": "x"})
    assert not may_be_forked({"PYTHONPATH": "x"}) and not may_be_forked({"LD_PRELOAD": "x"})
