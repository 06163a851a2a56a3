"""docs/terminal.md is what the commands print now."""

from __future__ import annotations

from tests.docs import terminal


async def test_the_page_shows_what_the_commands_print() -> None:
    assert terminal.PAGE.read_text() == terminal.render(await terminal.make()), "run `make terminal`"
