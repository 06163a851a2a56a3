"""Logging: structured lines on stderr, as JSON or as readable text. Triggers write to stdout in the same format."""

from __future__ import annotations

import atexit
import json
import logging
import os
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any, TextIO, cast

import msgspec
import structlog

from kubecdc.cli.printable import printable
from kubecdc.cli.streams import Unread
from kubecdc.workers.triggers.contract import Render, json_line

PARSED_BYTES = 16 * 1024  # of JSON; more is shown as text, for to print nested values takes long
DRAIN_SECONDS = 0.3  # for the last lines, at the end of the process


def configure(log_format: str | None, level: str, *, unread: bool = False) -> None:
    """Set up structlog. Log records of libraries that use `logging` are included from WARNING on.

    With ``unread``, as long-running processes need it, nothing that is written to standard error waits for its reader.
    """
    if unread:
        sys.stderr = cast("TextIO", Unread(2, lambda lost: _line(processors, lost)))
        atexit.register(drain)
    elif sys.stderr is None:  # it was closed: `2>&-`
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - as long as the process lives
    stream = sys.stderr
    chosen = log_format or ("console" if stream.isatty() else "json")
    number = logging.getLevelNamesMapping()[level.upper()]
    processors = lines(chosen, stream)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers[:] = [_ToStructlog()]
    root.setLevel(logging.WARNING)


def keep_off_stdout() -> None:
    """For commands that print, and have not set up their log: what is logged goes to stderr, from WARNING on."""
    if not structlog.is_configured():
        structlog.configure(
            processors=lines("console", sys.stderr),
            wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
            logger_factory=lambda *_: structlog.WriteLogger(sys.stderr),
        )


def lines(chosen: str, stream: TextIO) -> list[Any]:
    """The processors of structlog that make a line. A traceback has no values of variables: they may be secrets."""
    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        *_renderers(chosen, stream),
    ]


def drain() -> None:
    """Wait a moment until what was written to standard error has left this process."""
    if isinstance(sys.stderr, Unread):
        sys.stderr.drain(DRAIN_SECONDS)


def event_lines(log_format: str | None) -> Render:
    """The function that formats a trigger's record as a line for stdout, as JSON or as readable text."""
    terminal = sys.stdout is not None and sys.stdout.isatty()  # None if it was closed: `>&-`
    if log_format == "json" or not (log_format or terminal):
        return json_line
    console = structlog.dev.ConsoleRenderer(colors=_colors(terminal))

    def console_line(record: Mapping[str, object]) -> bytes:
        shown = _printable(None, "info", {"event": "event", **_values(record)})
        return f"{console(None, 'info', shown)}\n".encode()

    return console_line


def _values(record: Mapping[str, object]) -> dict[str, object]:
    """The record with parsed JSON in place of raw JSON."""
    return {name: _parsed(value) if isinstance(value, msgspec.Raw) else value for name, value in record.items()}


def _parsed(raw: msgspec.Raw) -> object:
    if len(raw) > PARSED_BYTES:
        return bytes(raw).decode()
    try:
        return msgspec.json.decode(raw)
    except (
        msgspec.DecodeError,
        RecursionError,
    ):  # JSON that Python cannot represent, such as 1e999, or that is nested too deep
        return bytes(raw).decode()


class _ToStructlog(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(record.levelno, record.getMessage(), code="library", logger=record.name)


def _line(processors: list[Any], dropped: int) -> str:
    """The line that tells of lines that were dropped."""
    text = "log lines were dropped: nobody read them, or they could not be written"
    line: Any = {"event": text, "code": "lines-dropped", "lines": dropped}
    for process in processors:
        line = process(None, "warning", line)
    return f"{line}\n"


def _renderers(chosen: str, stream: TextIO) -> list[Any]:
    if chosen == "console":
        return [_printable, structlog.dev.ConsoleRenderer(colors=_colors(stream.isatty()))]
    return [structlog.processors.JSONRenderer(serializer=_json)]


def _colors(terminal: bool) -> bool:
    """https://no-color.org"""
    return terminal and not os.environ.get("NO_COLOR")


def _printable(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The line without control characters, but for the line ends of a traceback."""
    return {
        name: printable(value, keep="\n" if name == "exception" else "") if isinstance(value, str) else value
        for name, value in line.items()
    }


def _json(line: Mapping[str, Any], **_: object) -> str:
    try:
        return msgspec.json.encode(line, enc_hook=str).decode()
    except UnicodeEncodeError:  # bytes of a peer that are not UTF-8; no log line may end what it is about
        return json.dumps(line, default=str, ensure_ascii=False).encode(errors="replace").decode()
