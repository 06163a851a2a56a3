"""What commands print: tables, names, JSON and YAML."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import click
import msgspec
import pytest
import yaml
from click.testing import CliRunner

from kubecdc.cli import options, output
from kubecdc.cli.option import option
from kubecdc.cli.output import Output, View, age, show_one
from kubecdc.cli.printable import printable

WHEN = datetime(2026, 1, 31, 8, 0, 0, 900_000, tzinfo=UTC)
VIEW = View(("name", "pending", "oldest", "reason"), ("bus",), "nothing yet")
ROWS: list[dict[str, Any]] = [
    {"name": "a", "pending": 5, "oldest": WHEN, "reason": "long " * 100, "bus": "default", "more": [1]},
    {"name": "a-long-name", "pending": None, "oldest": None, "reason": "\x1b[2Jgone\nline", "bus": "other", "more": []},
]


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    def show(form: str, rows: list[dict[str, Any]] = ROWS, **given: Any) -> str:
        Output(form, **given).show(rows, VIEW)
        return capsys.readouterr().out

    return show


def test_a_table_has_a_line_for_each_row_whatever_is_in_its_cells(printed: Any) -> None:
    header, first, second = printed("table").splitlines()
    assert header.split() == ["NAME", "PENDING", "OLDEST", "REASON"]
    assert first.startswith("a             5         ") and first.endswith(("long " * 100).strip())
    assert second.split(maxsplit=3) == ["a-long-name", "-", "-", r"\x1b[2Jgone\nline"]
    assert header.index("REASON") == first.index("long") == second.index(r"\x1b")


def test_the_wide_form_has_more_columns(printed: Any) -> None:
    assert [line.split()[-1] for line in printed("wide").splitlines()] == ["BUS", "default", "other"]


def test_times_are_ages_or_with_timestamps_times(printed: Any) -> None:
    assert "2026-01-31T08:00:00+00:00" in printed("table", timestamps=True)
    assert "2026-01-31" not in printed("table")


def test_json_and_yaml_have_all_fields_with_times_as_times(printed: Any) -> None:
    expected = [{**row, "oldest": row["oldest"] and "2026-01-31T08:00:00+00:00"} for row in ROWS]
    assert msgspec.json.decode(printed("json")) == expected
    assert yaml.load(printed("yaml"), yaml.BaseLoader) == yaml.load(yaml.safe_dump(expected), yaml.BaseLoader)


def test_the_name_form_is_one_name_on_a_line(printed: Any) -> None:
    assert printed("name") == "a\na-long-name\n"


@pytest.mark.parametrize(
    ("form", "expected"), [("table", "nothing yet\n"), ("wide", "nothing yet\n"), ("name", ""), ("json", "[]\n")]
)
def test_no_rows_are_said_to_people_and_are_an_empty_list_to_programs(printed: Any, form: str, expected: str) -> None:
    assert printed(form, []) == expected


def test_rows_that_follow_are_below_the_first_without_another_header(capsys: pytest.CaptureFixture[str]) -> None:
    printing = Output("table")
    printing.follow(ROWS[:1], VIEW)
    printing.follow([], VIEW)
    printing.follow([ROWS[0] | {"pending": 6}], VIEW)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["PENDING", "5", "6"]
    assert lines[1].index("5") == lines[2].index("6")


NOTES = View(("name",), notes=("reason",), commands=("next",), headings={"name": "WHAT"})
NOTED = {"name": "a", "reason": f"the receiver's answer was {'x' * 30}, not well-known", "next": "kubecdc " * 5}


def test_notes_and_commands_are_each_a_line_below_their_row(capsys: pytest.CaptureFixture[str]) -> None:
    Output("table").show([NOTED, NOTED | {"reason": "", "next": ""}], NOTES)
    below = [f"       reason: {NOTED['reason']}", f"       next: {NOTED['next']}"]
    assert capsys.readouterr().out.splitlines() == ["WHAT", "a", *below, "a"]


def test_notes_are_broken_between_words_on_a_terminal_and_commands_are_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "on_terminal", lambda: True)
    for columns in ("40", "1"):
        monkeypatch.setenv("COLUMNS", columns)
        Output("table").show([NOTED], NOTES)
        lines = capsys.readouterr().out.splitlines()
        assert lines[:2] == ["WHAT", "a"]
        assert lines[-1] == f"       next: {NOTED['next']}"
        broken = lines[2:-1]
        assert " ".join(" ".join(broken).split()) == f"reason: {NOTED['reason']}"
        assert len(broken) > 2
        assert all(line.startswith("       ") and len(line) <= 40 for line in broken)


def test_documents_that_follow_are_apart(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        Output("yaml").follow(ROWS[:1], VIEW)
    assert [row["name"] for row in yaml.safe_load_all(capsys.readouterr().out)] == ["a", "a"]


def test_the_fields_of_one_item_have_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    show_one({"id": "7", "reason": "\x9b31mred", "when": WHEN, "content": {"a": "\x1b"}}, Output("table"))
    out = capsys.readouterr().out
    assert printable(out, keep="\n") == out
    assert r"\x9b31mred" in out and "2026-01-31T08:00:00+00:00" in out


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (timedelta(seconds=-5), "0s"),
        (timedelta(seconds=119), "119s"),
        (timedelta(seconds=120), "2m"),
        (timedelta(minutes=3, seconds=5), "3m5s"),
        (timedelta(minutes=10, seconds=30), "10m"),
        (timedelta(minutes=179), "179m"),
        (timedelta(hours=5, minutes=10), "5h10m"),
        (timedelta(hours=8, minutes=59), "8h"),
        (timedelta(hours=47), "47h"),
        (timedelta(days=5, hours=3), "5d3h"),
        (timedelta(days=729), "729d"),
        (timedelta(days=3 * 365 + 12), "3y12d"),
        (timedelta(days=9 * 365), "9y"),
    ],
)
def test_ages_are_those_of_kubectl(given: timedelta, expected: str) -> None:
    assert age(given.total_seconds()) == expected


@click.command()
@option("--metrics-port", type=int)
@option("--bus-name", multiple=True)
@options.yes
def command(metrics_port: int | None, bus_name: tuple[str, ...], yes: bool) -> None:
    click.echo(f"{metrics_port} {bus_name} {yes}")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"KUBECDC_METRICS_PORT": "9090", "KUBECDC_BUS_NAME": "a b"}, "9090 ('a', 'b') False\n"),
        # those of Services called kubecdc-metrics and kubecdc-bus-name
        ({"KUBECDC_METRICS_PORT": "tcp://10.0.0.1:9090", "KUBECDC_BUS_NAME": "udp://[::1]:1"}, "None () False\n"),
        ({"KUBECDC_YES": "1"}, "None () False\n"),
    ],
)
def test_options_come_from_variables_but_not_from_those_of_kubernetes_nor_without_being_typed(
    variables: dict[str, str], expected: str
) -> None:
    assert CliRunner().invoke(command, env=variables).output == expected
