"""Log lines about anything: none of them fails, and each is one line of JSON."""

from __future__ import annotations

import io
import json
import logging
import sys
from typing import Any

import pytest
import structlog

from kubecdc.cli import logs
from tests import log_codes
from tests.cli.rig import Desk


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_what_a_peer_sent_that_is_not_utf_8_can_be_logged(log_format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace", write_through=True)
    monkeypatch.setattr(sys, "stderr", stream)
    before, handlers = structlog.get_config(), logging.getLogger().handlers[:]
    logs.configure(log_format, "info")
    try:
        raise ValueError(b"Ung\xfcltig".decode(errors="surrogateescape"))
    except ValueError as e:
        structlog.get_logger().exception("failed", error=str(e), other=object)
    finally:
        structlog.configure(**before)
        logging.getLogger().handlers[:] = handlers
    stream.seek(0)
    text = stream.read()
    assert "Ung" in text
    if log_format == "json":
        [line] = text.splitlines()
        assert json.loads(line)["error"] == "Ung?ltig"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("no_color", ["", "1"])
def test_lines_for_people_have_no_control_characters_of_peers(no_color: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    line: Any = {"event": "failed\x1b[2J", "error": "a\x9bb\nc", "exception": "Traceback\n  more\x1b", "attempt": 2}
    for process in logs.lines("console", _Terminal()):
        line = process(None, "warning", line)
    assert [part in line for part in (r"failed\x1b[2J", r"a\x9bb\nc", "Traceback\n  more" + r"\x1b")] == [True] * 3
    assert ("\x1b" in line) is not bool(no_color)


async def test_every_line_of_a_process_has_a_code_of_the_page_at_its_level(desk: Desk) -> None:
    desk.entry(eventTypes=["ADD", "DELETE"])
    async with desk.running("run", "--log-level", "debug") as kubecdc:
        await kubecdc.until('"code":"listed"')
        await desk.create("one")
        await kubecdc.until('"code":"delivery-done"')
    known = {code: levels for code, (levels, _, _) in log_codes.documented().items()}
    said = {(line["code"], line["level"]) for line in kubecdc.lines("")}
    assert all(level in known[str(code)] for code, level in said)
    assert {code for code, _ in said} >= {"starting", "cluster", "bus", "leading", "change-matched", "delivery-matched"}
    (cluster,) = kubecdc.lines("cluster")
    assert (cluster["server"], cluster["context"]) == (desk.api.url, "test")
