"""Logging: structured lines on stderr, as JSON or as readable text. Triggers write to stdout in the same format."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from typing import Any, TextIO

import msgspec
import structlog

from kubecdc.workers.triggers.contract import Render, json_line


def configure(log_format: str | None, level: str) -> None:
    """Set up structlog. Log records of libraries that use `logging` are included from WARNING on."""
    chosen = log_format or ("console" if sys.stderr.isatty() else "json")
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _renderer(chosen, sys.stderr),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers[:] = [_ToStructlog()]
    root.setLevel(logging.WARNING)


def event_lines(log_format: str | None) -> Render:
    """The function that formats a trigger's record as a line for stdout, as JSON or as readable text."""
    chosen = log_format or ("console" if sys.stdout.isatty() else "json")
    if chosen == "json":
        return json_line
    console = structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())

    def console_line(record: Mapping[str, object]) -> bytes:
        return f"{console(None, 'info', {'event': 'event', **_values(record)})}\n".encode()

    return console_line


def _values(record: Mapping[str, object]) -> dict[str, object]:
    """The record with parsed JSON in place of raw JSON."""
    return {name: _parsed(value) if isinstance(value, msgspec.Raw) else value for name, value in record.items()}


def _parsed(raw: msgspec.Raw) -> object:
    try:
        return msgspec.json.decode(raw)
    except (
        msgspec.DecodeError,
        RecursionError,
    ):  # JSON that Python cannot represent, such as 1e999, or that is nested too deep
        return bytes(raw).decode()


class _ToStructlog(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(record.levelno, record.getMessage(), logger=record.name)


def _renderer(chosen: str, stream: TextIO) -> Any:
    if chosen == "console":
        return structlog.dev.ConsoleRenderer(colors=stream.isatty())
    return structlog.processors.JSONRenderer(serializer=_json)


def _json(line: Mapping[str, Any], **_: object) -> str:
    try:
        return msgspec.json.encode(line, enc_hook=str).decode()
    except UnicodeEncodeError:  # bytes of a peer that are not UTF-8; no log line may end what it is about
        return json.dumps(line, default=str, ensure_ascii=False).encode(errors="replace").decode()
