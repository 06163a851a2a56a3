"""Writes of ConfigMaps are counted and measured while they are watched."""

from __future__ import annotations

from pathlib import Path

from tests.harness.api import MERGE_PATCH, Api
from tests.harness.config_maps import CHECKPOINT, CONFIG_MAPS, STATE, Writes, watched
from tests.harness.processes import until
from tests.harness.servers import open_server


async def test_each_write_of_either_is_counted_with_its_size_and_no_other(tmp_path: Path) -> None:
    async with open_server("simulator", tmp_path / "server") as server:
        async with Api(server.kubeconfig(tmp_path / "kubeconfig")) as api, watched(api) as writes:
            await put(api, "another", {"a": "b"})
            for name, text in ((CHECKPOINT, "x" * 100_000), (STATE, "12"), (CHECKPOINT, "x")):
                await put(api, name, {"a": text})
            await until(lambda: len(writes[CHECKPOINT].times) == 2 and writes[STATE].times, 5.0, "the writes")
        assert [(len(one.times), one.largest) for one in writes.values()] == [(2, 100_000), (1, 2)]


def test_the_most_writes_in_a_stretch_of_time() -> None:
    writes = Writes(times=[0.0, 0.9, 1.0, 1.8, 5.0])
    assert [writes.most_in(seconds) for seconds in (0.05, 1.0, 2.0, 10.0)] == [1, 3, 4, 5]


async def put(api: Api, name: str, data: dict[str, str]) -> None:
    """Create it, or change it."""
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
    status, _ = await api.request("POST", CONFIG_MAPS.path("default"), body)
    if status == 409:
        path = CONFIG_MAPS.path("default", name)
        status, _ = await api.request("PATCH", path, {"data": data}, MERGE_PATCH)
    assert status in {200, 201}
