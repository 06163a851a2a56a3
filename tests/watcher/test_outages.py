"""Cut off, refused, or met with silence: said once, outlived, and nothing is lost or repeated."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from kubecdc.cluster import list_watch as watcher_api
from kubecdc.watcher import ongoing_problems
from tests.apiserver import CRDS, WORKFLOW_DEFINITION, simulator
from tests.watcher.rig import KEY, Rig, rig, told

pytestmark = pytest.mark.usefixtures("quick")


async def test_a_stream_cut_in_the_middle_of_a_line_loses_and_repeats_nothing(bench: Rig) -> None:
    await bench.start()
    await bench.watching()
    for n in range(5):
        bench.api.cut_streams()
        await bench.create(f"wf-{n}")

        async def back() -> bool:
            return bench.api.watching > 0

        await bench.until(back)
    events = await bench.events()
    assert told(events) == [f"ADD wf-{n}" for n in range(5)]
    assert await (await bench.open()).checkpoints.gaps(KEY) == []


async def test_a_silent_stream_is_closed_and_resumed_without_a_gap(bench: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = watcher_api.ListWatch.__init__.__kwdefaults__ or {}
    monkeypatch.setattr(watcher_api.ListWatch.__init__, "__kwdefaults__", {**defaults, "silence": 0.1})
    await bench.start()
    await bench.watching()
    await asyncio.sleep(0.25)  # the subject is time itself: two silences
    await bench.create("a")
    assert told(await bench.events()) == ["ADD a"]
    assert await (await bench.open()).checkpoints.gaps(KEY) == []


@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "credentials"), (403, "forbidden"), (429, "429"), (500, "500"), (503, "503")],
)
async def test_an_error_of_the_api_server_is_said_once_and_outlived(
    bench: Rig, status: int, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ongoing_problems, "CALM", 0.0)
    await bench.create("a")
    bench.api.fail(status, path="workflows", count=5)
    await bench.start()
    assert told(await bench.events()) == ["ADD a"]
    lines: list[str] = []

    async def recovered() -> bool:
        lines.extend(line for line in capsys.readouterr().out.splitlines() if said in line)
        return any("recovered" in line for line in lines)

    await bench.until(recovered)  # the watch is opened after the list
    assert len([line for line in lines if "warning" in line]) == 1
    assert len([line for line in lines if "recovered" in line]) == 1


async def test_an_expired_token_is_read_again_from_the_kubeconfig(tmp_path: Path) -> None:
    async with simulator(tokens=["old"]) as api, rig(api, tmp_path) as bench:
        await bench.start()
        await bench.create("a")
        assert told(await bench.events()) == ["ADD a"]
        api.simulator.tokens = {"new"}
        api.kubeconfig(bench.kubeconfig)
        api.cut_streams(mid_line=False)
        await bench.create("b")
        assert told(await bench.events()) == ["ADD b"]


async def test_a_missing_crd_is_waited_for(bench: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    name = WORKFLOW_DEFINITION["metadata"]["name"]
    await bench.api.delete(*CRDS, "", name)
    await bench.start()

    async def said() -> bool:
        return "install the CRD" in capsys.readouterr().out

    await bench.until(said)
    await bench.api.create(*CRDS, "", WORKFLOW_DEFINITION)
    await bench.watching()
    await bench.create("a")
    assert told(await bench.events()) == ["ADD a"]
