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


def show(rows: Sequence[dict[str, Any]], columns: Sequence[str], output_format: str, *, empty: str) -> None:
    """Print rows of plain values. A table has only the given columns; JSON and YAML have all fields.

    ``empty`` is printed in place of a table without rows.
    """
    if output_format == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(list(rows)), indent=2).decode())
    elif output_format == "yaml":
        click.echo(yaml.safe_dump(list(rows), sort_keys=False), nl=False)
    elif not rows:
        click.echo(empty)
    else:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column.upper(), overflow="fold")
        for row in rows:
            table.add_row(*("" if row[c] is None else str(row[c]) for c in columns))
        # Without a terminal, the width is unknown: lines must not be folded.
        Console(width=None if sys.stdout.isatty() else 1000, soft_wrap=not sys.stdout.isatty()).print(table)


def show_one(fields: Mapping[str, Any], output_format: str) -> None:
    """Print all fields of one item, one on each line; mappings and lists as indented JSON below the name."""
    if output_format == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(fields), indent=2).decode())
    elif output_format == "yaml":
        click.echo(yaml.safe_dump(dict(fields), sort_keys=False), nl=False)
    else:
        width = max(map(len, fields)) + 1
        for name, value in fields.items():
            if isinstance(value, dict | list):
                click.echo(f"{name}:\n{msgspec.json.format(msgspec.json.encode(value), indent=2).decode()}")
            else:
                click.echo(f"{name + ':':<{width}} {'' if value is None else value}")


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
