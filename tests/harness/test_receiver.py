"""The receiver writes down what came before it answers, and misbehaves on command."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.harness.processes import Processes
from tests.harness.receiver import lines, receipts

HEADERS = {
    "ce-id": "changed.u1.42.UPDATE",
    "ce-type": "resource",
    "ce-source": "workflows",
    "ce-subject": "changed",
    "ce-partitionkey": "workflows.argoproj.io/default/a",
    "ce-sequence": "00000000000000000042",
    "Idempotency-Key": "workflows/changed.u1.42.UPDATE/relay/post",
}


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    with Processes(tmp_path) as processes:
        argv = ["--out", str(tmp_path / "got"), "--port-file", str(tmp_path / "port"), "--bodies"]
        process = processes.start("receiver", [sys.executable, "-m", "tests.harness.receiver", *argv])
        yield f"http://127.0.0.1:{await process.wait_for_file(tmp_path / 'port')}"


async def test_an_answered_request_is_in_the_file(url: str, tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as http, http.post(url + "/x", headers=HEADERS, data=b'{"a": 1}') as answer:
        assert answer.status == 200
        (line,) = lines(tmp_path / "got")
    assert (line.path, line.body, line.size) == ("/x", '{"a": 1}', 8)
    ((subscription, (receipt,)),) = receipts(tmp_path / "got").items()
    assert subscription == "relay/post"
    assert (receipt.uid, receipt.version, receipt.action, receipt.sequence) == ("u1", 42, "UPDATE", 42)
    assert receipt.accepted


async def test_misbehaviour_on_command_is_written_down_and_ends(url: str, tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as http:
        await http.post(url + "/_behave", json={"status": 503, "seconds": 60})
        async with http.post(url, headers=HEADERS) as answer:
            assert answer.status == 503
        await http.post(url + "/_behave", json={"hang_up": True, "seconds": 60})
        with pytest.raises(aiohttp.ClientError):
            await http.post(url, headers=HEADERS)
        await http.post(url + "/_behave", json={"seconds": 0})
        async with http.post(url, headers=HEADERS) as answer:
            assert answer.status == 200
    assert [line.answer for line in lines(tmp_path / "got")] == [503, 0, 200]
    assert [r.accepted for r in receipts(tmp_path / "got")["relay/post"]] == [False, False, True]
