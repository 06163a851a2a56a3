"""The example of a trigger type: it keeps the contract, installs beside kubecdc, and is delivered to."""

from __future__ import annotations

import asyncio
import json
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml
from kubecdc_file_trigger import FileType
from pydantic import ValidationError
from test_file_trigger import FileHarness

from kubecdc.workers.outcome import Success
from kubecdc.workers.testing import CASES, Case
from kubecdc.workers.testing.case import event_of, running
from tests.apiserver import simulator
from tests.cli.rig import Desk
from tests.cli.test_try import EVENT

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom-trigger"
INSTALL_SECONDS = 120


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[FileHarness]:
    made = FileHarness(tmp_path)
    yield made
    await made.work()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_it_keeps_the_contract(case: Case, harness: FileHarness) -> None:
    await case.run(harness)


async def test_a_file_for_each_object_with_the_mode_of_the_manifest(harness: FileHarness) -> None:
    config = {**harness.config, "name": "{object}-{day}.jsonl", "mode": "0600"}
    async with running(harness, config) as made:
        for key in ("a", "..", "x/../../y"):
            assert await made.execute(event_of(1, partitionkey=key)) == Success()
    files = {file.name: file for file in harness.folder.iterdir()}
    assert set(files) == {"a-2026-01-01.jsonl", "..-2026-01-01.jsonl", "x%2F..%2F..%2Fy-2026-01-01.jsonl"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files.values()} == {0o600}


async def test_a_line_that_was_cut_off_is_ended_before_the_next(harness: FileHarness) -> None:
    harness.file.write_bytes(b'{"id": "cut')
    async with running(harness) as made:
        assert await made.execute(harness.event(1)) == Success()
    first, second = harness.file.read_bytes().splitlines()
    assert first == b'{"id": "cut'
    assert json.loads(second)["data"] == json.loads(bytes(harness.event(1).data))


@pytest.mark.parametrize(
    "wrong", [{"name": "{uid}"}, {"name": "{"}, {"name": "a/b"}, {"name": "{day!r}x"}, {"mode": "640"}, {"path": ""}]
)
def test_a_config_that_is_wrong_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        FileType.model.model_validate({"path": "events", **wrong})


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example as pip installs it, and a package of the user that is called `workers`."""
    folder = tmp_path_factory.mktemp("site")
    command = ["-m", "uv", "pip", "install", "-q", "--no-deps", "--target", str(folder)]
    done = subprocess.run(
        [sys.executable, *command, str(EXAMPLE)], capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    (folder / "workers").mkdir()
    (folder / "workers" / "__init__.py").write_text("raise SystemExit('not of kubecdc')\n")
    return folder


@pytest.fixture
async def desk(tmp_path: Path, installed: Path) -> AsyncIterator[Desk]:
    async with simulator() as api:
        made = Desk(tmp_path, api)
        made.environment["PYTHONPATH"] = str(installed)
        made.write("sensor.yaml", (EXAMPLE / "sensor.yaml").read_text())
        (tmp_path / "events").mkdir()
        yield made


def lines(desk: Desk, pattern: str) -> list[str]:
    return [line for file in sorted((desk.folder / "events").glob(pattern)) for line in file.read_text().splitlines()]


@pytest.mark.long
async def test_try_shows_and_executes_it(desk: Desk) -> None:
    event = desk.folder / "event.json"
    event.write_text(json.dumps(EVENT))
    done = await desk.call("try", "--event", str(event))
    assert done.code == 0, done.err
    shown = [json.loads(line)["request"] for line in done.out.splitlines()]
    assert [Path(request["path"]).name.partition("-")[0] for request in shown] == ["workflows", "none"]
    assert [request["mode"] for request in shown] == ["0640", "0600"]
    assert lines(desk, "*") == []
    done = await desk.call("try", "--event", str(event), "--execute")
    assert (done.code, done.err) == (0, "")
    assert [json.loads(line)["id"] for line in lines(desk, "*")] == [EVENT["id"]] * 2


@pytest.mark.long
@pytest.mark.parametrize("commands", [("run",), ("watch", "work")], ids=" and ".join)
async def test_events_are_delivered_to_it(desk: Desk, commands: tuple[str, ...]) -> None:
    async with asyncio.timeout(60):
        async with desk.running(commands[0]), desk.running(commands[-1]):
            for name in ("one", "two", "three"):
                await desk.create(name)
            while len(lines(desk, "workflows-*.jsonl")) < 3 or len(lines(desk, "none")) < 3:  # noqa: ASYNC110 - no bus tells
                await asyncio.sleep(0.05)
    names = {json.loads(line)["data"]["body"]["metadata"]["name"] for line in lines(desk, "workflows-*.jsonl")}
    assert names == {"one", "two", "three"}


async def test_without_the_package_the_field_is_unknown(tmp_path: Path) -> None:
    async with simulator() as api:
        desk = Desk(tmp_path, api)
        desk.write("sensor.yaml", (EXAMPLE / "sensor.yaml").read_text())
        done = await desk.call("validate")
    assert done.code == 2
    assert "spec.triggers[0].template.file: is not a field" in done.err


def test_the_manifest_of_the_example_is_one_sensor() -> None:
    [made] = yaml.safe_load_all((EXAMPLE / "sensor.yaml").read_text())
    assert made["kind"] == "Sensor"
