"""An ERROR line ends a watch. A list leads past it, unless it is sure to pass: then the watch goes on."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kubecdc.storage.contracts import CheckpointDelta, Term
from kubecdc.watcher import metrics
from kubecdc.watcher.capture.reasons import EXPIRED, REFUSED
from tests.watcher.rig import KEY, Rig, told

pytestmark = pytest.mark.usefixtures("quick")


def status(**fields: Any) -> dict[str, Any]:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", **fields}


COMPACTED = "etcdserver: mvcc: required revision has been compacted"
KINDS = {
    "expired": (status(message="too old", reason="Expired", code=410), EXPIRED),
    "gone, before 1.18": (status(message="too old", reason="Gone", code=410), EXPIRED),
    "expired without code": (status(message="too old", reason="Expired"), EXPIRED),
    "expired, code and message null": (status(message=None, reason="Expired", code=None), EXPIRED),
    "only a code": ({"code": 410}, EXPIRED),
    "etcd's own words": (status(message=COMPACTED, reason="InternalError", code=500), REFUSED),
    "a conversion that fails": (status(message="conversion webhook failed", reason="InternalError", code=500), REFUSED),
    "unavailable": (status(message="apiserver is shutting down", reason="ServiceUnavailable", code=503), REFUSED),
    "a version that is too large": (
        status(message="Too large", reason="Timeout", code=504, details={"retryAfterSeconds": 0}),
        REFUSED,
    ),
    "forbidden": (status(message="no", reason="Forbidden", code=403), REFUSED),
    "nothing that is known": (status(message="what?", reason="Unknown", code="none", details=[]), REFUSED),
    "null": (None, REFUSED),
    "text": ("upstream connect error", REFUSED),
    "throttled, for good": (status(message="throttled", reason="TooManyRequests", code=429), REFUSED),
}


async def behind(bench: Rig) -> None:
    """A watcher has captured ``a`` and is down while ``b`` is made."""
    await bench.create("a")
    await bench.start()
    await bench.events()
    await bench.kill()
    await bench.create("b")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_watch_that_cannot_go_on_from_its_position_is_followed_by_a_list(bench: Rig, kind: str) -> None:
    given, reason = KINDS[kind]
    await behind(bench)
    bench.api.faults.refuse_watches(given, below=bench.api.version)
    await bench.start()
    await bench.watching()
    assert told(await bench.events()) == ["~ADD b"]
    assert [gap.reason for gap in await (await bench.open()).checkpoints.gaps(KEY)] == [reason]


async def test_a_watch_that_is_throttled_for_a_moment_goes_on_where_it_was(bench: Rig) -> None:
    await behind(bench)
    bench.api.faults.refuse_watches(KINDS["throttled, for good"][0], below=bench.api.version)
    await bench.start()

    async def refused() -> bool:
        return bench.api.faults.refusals >= 2

    await bench.until(refused)
    bench.api.faults.clear()
    assert told(await bench.events()) == ["ADD b"]
    assert await (await bench.open()).checkpoints.gaps(KEY) == []


@pytest.mark.parametrize("code", [429, 500, 504])
async def test_a_watch_that_is_refused_by_http_again_and_again_is_followed_by_a_list(bench: Rig, code: int) -> None:
    await behind(bench)
    bench.api.fail(code, path="watch=true", count=5, retry_after=0)
    await bench.start()
    await bench.watching()
    assert told(await bench.events()) == ["~ADD b"]


async def test_what_will_never_be_answered_is_said_with_the_fix(bench: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    bench.api.fail(405, path="/workflows", count=3)
    await bench.create("a")
    await bench.start()
    assert told(await bench.events()) == ["ADD a"]
    assert "`kubectl api-resources -o wide` shows what can be listed and watched" in capsys.readouterr().out


async def test_a_position_that_no_server_gave_is_not_asked_for(bench: Rig) -> None:
    await behind(bench)
    bus = await bench.open()
    found = await bus.checkpoints.checkpoint(KEY)
    assert found and found.state
    state = msgspec.structs.replace(found.state, position="latest")
    delta = CheckpointDelta(follows=found.number, state=state)
    await bus.checkpoints.save(KEY, delta, term=Term(await bus.checkpoints.newest_term(), "test"))
    failed = metrics.of(metrics.RESTARTS, KEY, "failed")
    before = failed.value
    await bench.start()
    assert told(await bench.events()) == ["~ADD b"]
    assert [gap.reason for gap in await (await bench.open()).checkpoints.gaps(KEY)] == [REFUSED]
    assert failed.value == before


async def test_a_line_that_is_none_again_and_again_is_followed_by_a_list(bench: Rig) -> None:
    """A proxy that adds its own lines, or an object that cannot be decoded."""
    await bench.start()
    await bench.watching()
    other = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other"}}
    await bench.api.create("", "v1", "configmaps", "default", other)

    async def listed() -> bool:
        bench.api.inject(b"<html>bad gateway</html>")
        return bool(await (await bench.open()).checkpoints.gaps(KEY))

    await bench.until(listed)
    await bench.create("b")
    assert told(await bench.events()) == ["ADD b"]
