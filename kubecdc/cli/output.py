"""The output of commands: a table, JSON or YAML."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click
import msgspec
import yaml
from rich.console import Console
from rich.table import Table

BLANKS = 10  # times as long as the compact text


def show(rows: Sequence[dict[str, Any]], columns: Sequence[str], output_format: str, *, empty: str) -> None:
    """Print rows of plain values. A table has only the given columns; JSON and YAML have all fields.

    ``empty`` is printed in place of a table without rows.
    """
    if output_format == "json":
        click.echo(_json(list(rows)))
    elif output_format == "yaml":
        click.echo(_yaml(list(rows)), nl=False)
    elif not rows:
        click.echo(empty)
    else:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column.upper(), overflow="fold")
        for row in rows:
            table.add_row(*("" if row[c] is None else str(row[c]) for c in columns))
        # Without a terminal, the width is unknown: lines must not be folded.
        # What a peer said is shown as it is: it may look like rich's own markup.
        terminal = sys.stdout.isatty()
        Console(width=None if terminal else 1000, soft_wrap=not terminal, markup=False, emoji=False).print(table)


def show_one(fields: Mapping[str, Any], output_format: str) -> None:
    """Print all fields of one item, one on each line; mappings and lists as indented JSON below the name."""
    if output_format == "json":
        click.echo(_json(fields))
    elif output_format == "yaml":
        click.echo(_yaml(dict(fields)), nl=False)
    else:
        width = max(map(len, fields)) + 1
        for name, value in fields.items():
            if isinstance(value, dict | list):
                click.echo(f"{name}:\n{_json(value)}")
            else:
                click.echo(f"{name + ':':<{width}} {'' if value is None else value}")


def _json(value: object) -> str:
    """Indented JSON; compact if it is nested so deep that it would be nearly all blanks."""
    compact = msgspec.json.encode(value)
    indented = msgspec.json.format(compact, indent=2)
    return (indented if len(indented) < BLANKS * len(compact) else compact).decode()


def _yaml(value: object) -> str:
    try:
        return str(yaml.safe_dump(value, sort_keys=False))
    except RecursionError:  # JSON is YAML too, and can be written at any depth at which it can be read
        return f"{_json(value)}\n"


def moment(seconds: float) -> str:
    """A Unix time as ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def confirm(question: str, *, yes: bool) -> None:
    """Ask for confirmation, unless ``yes`` is given.

    Raises click.Abort if the answer is no, click.UsageError without a terminal.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Give --yes to do it without a terminal.")
    click.confirm(question, abort=True)
