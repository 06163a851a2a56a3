"""docs/terminal.md is what the commands print now."""

from __future__ import annotations

import re

from tests.docs import terminal
from tests.docs.blocks import ROOT

ROW = re.compile(r"^\| `kubecdc ([a-z]+)(?: ([a-z]+(?:\\\|[a-z]+)+))?", re.MULTILINE)  # `kubecdc bus show\|ensure`
RUNS = {"run"}  # they print a log


async def test_the_page_shows_what_the_commands_print() -> None:
    assert terminal.PAGE.read_text() == terminal.render(await terminal.make()), "run `make terminal`"


def test_each_command_of_the_readme_is_on_the_page() -> None:
    rows = {name: of.split("\\|") for name, of in ROW.findall((ROOT / "README.md").read_text()) if name not in RUNS}
    shown = {"status", "bus pause", "dlq show", "checkpoint set"}
    assert shown <= {f"{name} {action}".strip() for name, actions in rows.items() for action in actions}
    page = terminal.PAGE.read_text()
    for name, actions in rows.items():
        for action in actions:
            assert re.search(rf"^\$ kubecdc {name} {action}".rstrip() + r"\b", page, re.MULTILINE), (name, action)
