"""The codes of the log lines that the code writes, with their levels, as docs/logs.md lists them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "logs.md"
LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error"}
LOGGERS = re.compile(r"(.*\.)?_?(log|logger)")
PASSES_ON = {  # what logs a code that it is given, as a warning
    "Outage",
    "until_closed",
    "report",
    "report_once",
    "_Warning",
}
ROW = re.compile(r"\| `([a-z-]+)` \| ([a-z, ]+) \| ([^|]+) \|([^|]*)\|")

Codes = dict[str, set[str]]


def written() -> tuple[Codes, list[str]]:
    """The levels of each code in the product, and the places of lines that have none."""
    codes: Codes = {}
    without: list[str] = []
    for top in ("kubecdc", "storage", "watcher", "workers"):
        for path in sorted((ROOT / top).rglob("*.py")):
            if "testing" in path.parts or path.name == "testing.py":
                continue  # what ships for tests
            _read(path, codes, without)
    return codes, without


def documented() -> dict[str, tuple[set[str], str, str]]:
    """The levels, the meaning and what to do, of each code on the page."""
    rows = [row for line in PAGE.read_text().splitlines() if (row := ROW.fullmatch(line))]
    assert len({row[1] for row in rows}) == len(rows), "a code has two rows"
    return {row[1]: (set(row[2].split(", ")), row[3].strip(), row[4].strip()) for row in rows}


def _read(path: Path, codes: Codes, without: list[str]) -> None:
    tree = ast.parse(path.read_text())
    chosen = {  # `report = log.debug if ... else log.warning`
        target.id: _levels(node.value, {})
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):  # a line that is made without a logger
            entries = {k.value: v for k, v in zip(node.keys, node.values, strict=True) if isinstance(k, ast.Constant)}
            if "event" in entries and isinstance(code := entries.get("code"), ast.Constant):
                codes.setdefault(str(code.value), set()).add("warning")
        if not isinstance(node, ast.Call):
            continue
        levels = _levels(node.func, chosen)
        code = next((keyword.value for keyword in node.keywords if keyword.arg == "code"), None)
        if isinstance(code, ast.Constant) and isinstance(code.value, str):
            assert levels or _name(node.func) in PASSES_ON, f"{path}:{node.lineno}: what logs this code?"
            codes.setdefault(code.value, set()).update(levels or {"warning"})
        elif levels and code is None:
            without.append(f"{path.relative_to(ROOT)}:{node.lineno}")


def _levels(function: ast.expr, chosen: dict[str, set[str]]) -> set[str]:
    """The levels at which a call of that logs; none if it is not a method of a logger."""
    match function:
        case ast.IfExp(body=one, orelse=other):
            return _levels(one, chosen) | _levels(other, chosen)
        case ast.Name(id=name):
            return chosen.get(name, set())
        case ast.Attribute(value=value, attr="log") if _is_logger(value) or isinstance(value, ast.Call):
            return {"warning", "error"} if isinstance(value, ast.Call) else set()
        case ast.Attribute(value=value, attr=name) if name in LEVELS and _is_logger(value):
            return {LEVELS[name]}
    return set()


def _is_logger(node: ast.expr) -> bool:
    return LOGGERS.fullmatch(ast.unparse(node)) is not None


def _name(function: ast.expr) -> str:
    return next(iter(_names(function)), "")


def _names(function: ast.expr) -> Iterator[str]:
    match function:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            yield name
