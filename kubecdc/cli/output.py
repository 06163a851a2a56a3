"""The output of commands: a table as kubectl prints it, names, JSON or YAML."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import msgspec
import yaml

from kubecdc.cli.printable import printable

Row = dict[str, Any]  # plain values, `datetime`s and `timedelta`s; the first value is the name
BLANKS = 10  # times as long as the compact text
GAP = "   "  # between two columns
NARROWEST = 20  # columns for a text on a terminal
WORDS: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}


@dataclass(frozen=True)
class View:
    """What a table shows of rows: its columns, those that the wide form adds, and the text in place of no rows.

    ``headings`` are those of columns whose name is none. ``notes`` are texts that a row may have, and that are too long
    for a column: each is below its row. ``commands`` are such too, and in one line: they are to be copied.
    """

    columns: tuple[str, ...]
    wide: tuple[str, ...] = ()
    empty: str = ""
    notes: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    headings: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Output:
    """How a command prints rows: what the user chose, and how wide its columns are so far.

    ``form`` is `table`, `wide`, `name`, `json` or `yaml`. Times in a table are ages, unless ``timestamps``.
    """

    form: str
    timestamps: bool = False
    _widths: list[int] = field(default_factory=list)

    def show(self, rows: Sequence[Row], view: View) -> None:
        """Print rows. JSON and YAML have all their fields."""
        if self.form == "json":
            click.echo(indented([_plain(row) for row in rows]))
        elif self.form == "yaml":
            click.echo(_yaml([_plain(row) for row in rows]), nl=False)
        elif rows:
            self._lines(rows, view)
        elif self.form != "name":
            click.echo(view.empty)

    def follow(self, rows: Sequence[Row], view: View) -> None:
        """Print rows below those that were printed before: lines in the same columns, or each as a document."""
        if self.form == "json":
            click.echo("".join(f"{indented(_plain(row))}\n" for row in rows), nl=False)
        elif self.form == "yaml":
            click.echo("".join(f"---\n{_yaml(_plain(row))}" for row in rows), nl=False)
        elif rows:
            self._lines(rows, view)

    def _lines(self, rows: Sequence[Row], view: View) -> None:
        if self.form == "name":
            click.echo("".join(f"{printable(next(iter(row.values())))}\n" for row in rows), nl=False)
        else:
            self._table(rows, [*view.columns, *(view.wide if self.form == "wide" else ())], view)

    def _table(self, rows: Sequence[Row], columns: Sequence[str], view: View) -> None:
        """No cell is ever wrapped or cut: whoever reads it may be a script."""
        lines = [[self._cell(row[column]) for column in columns] for row in rows]
        if is_first := not self._widths:
            lines.insert(0, [view.headings.get(column, column.upper()) for column in columns])
            self._widths = [0] * len(columns)
        self._widths = [max(width, *map(len, cells)) for width, *cells in zip(self._widths, *lines, strict=True)]
        indent = " " * (self._widths[0] + len(GAP))
        below = [self._below(row, view, indent) for row in rows]
        for line, text in zip(lines, ["", *below] if is_first else below, strict=True):
            click.echo(GAP.join(cell.ljust(width) for cell, width in zip(line, self._widths, strict=True)).rstrip())
            click.echo(text, nl=False)

    def _below(self, row: Row, view: View, indent: str) -> str:
        """The lines below a row."""
        notes, commands = (
            [f"{indent}{name}: {self._cell(row[name])}" for name in names if row[name]]
            for names in (view.notes, view.commands)
        )
        return "".join(f"{line}\n" for line in [*(_broken(note, indent) for note in notes), *commands])

    def _cell(self, value: Any) -> str:
        if value is None or value == "":
            return "-"
        if isinstance(value, datetime):
            return moment(value) if self.timestamps else age((datetime.now(UTC) - value).total_seconds())
        if isinstance(value, timedelta):
            return age(value.total_seconds())
        return printable(_word(value))


def on_terminal() -> bool:
    """Whether people read the output as it is printed."""
    return sys.stdout is not None and sys.stdout.isatty()


def _broken(line: str, indent: str) -> str:
    """The line as it is, or on a terminal, which would break it within words, broken between them."""
    if not on_terminal():
        return line
    width = max(shutil.get_terminal_size().columns, len(indent) + NARROWEST)
    return "\n".join(textwrap.wrap(line, width, subsequent_indent=indent, **WORDS))


def _word(value: Any) -> str:
    return "yes" if value is True else "no" if value is False else str(value)


def show_one(fields: Mapping[str, Any], output: Output) -> None:
    """Print all fields of one item, one on each line; mappings and lists as indented JSON below the name."""
    if output.form == "json":
        click.echo(indented(_plain(fields)))
    elif output.form == "yaml":
        click.echo(_yaml(_plain(fields)), nl=False)
    elif output.form == "name":
        click.echo(printable(next(iter(fields.values()))))
    else:
        width = max(map(len, fields)) + 1
        for name, value in _plain(fields).items():
            if isinstance(value, dict | list):
                click.echo(f"{name}:\n{indented(value)}")
            else:
                line = f"{name + ':':<{width}} {'' if value is None else printable(_word(value))}"
                click.echo(_broken(line, " " * (width + 1)))


def _plain(row: Mapping[str, Any]) -> Row:
    """With times as text, and durations in seconds."""
    return {name: _plain_value(value) for name, value in row.items()}


def _plain_value(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value.total_seconds()
    return moment(value) if isinstance(value, datetime) else value


def indented(value: object) -> str:
    """Indented JSON; compact if it is nested so deep that it would be nearly all blanks."""
    compact = msgspec.json.encode(value)
    indented = msgspec.json.format(compact, indent=2)
    return (indented if len(indented) < BLANKS * len(compact) else compact).decode()


def _yaml(value: object) -> str:
    try:
        return str(yaml.safe_dump(value, sort_keys=False))
    except RecursionError:  # JSON is YAML too, and can be written at any depth at which it can be read
        return f"{indented(value)}\n"


def time(seconds: float) -> datetime:
    """A Unix time in seconds as a `datetime`, for rows."""
    return datetime.fromtimestamp(seconds, UTC)


def moment(time: datetime) -> str:
    """As ISO 8601, to the second."""
    return time.isoformat(timespec="seconds")


def age(seconds: float) -> str:
    """A duration as kubectl prints ages: in two units at most, and coarser the longer it is.

    https://pkg.go.dev/k8s.io/apimachinery/pkg/util/duration#HumanDuration
    """
    whole = max(0, int(seconds))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if days < 2 * 365:
        return f"{days}d"
    if days < 8 * 365:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(large: int, unit: str, small: int, smaller: str) -> str:
    return f"{large}{unit}{small}{smaller}" if small else f"{large}{unit}"


def confirm(question: str, *, yes: bool) -> None:
    """Ask for confirmation, unless ``yes`` is given.

    Raises click.Abort if the answer is no, click.UsageError without a terminal.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Give --yes to do it without a terminal.")
    click.confirm(question, abort=True)
