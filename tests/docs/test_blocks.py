"""Every code block of every page runs, or says why it does not: `tests.docs.blocks`."""

from __future__ import annotations

import ast
import json
import shutil
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.apiserver import simulator
from tests.cli.rig import Desk
from tests.docs import manifests, shell
from tests.docs.blocks import ROOT, Block, blocks, blocks_of

ALL = list(blocks())
RUN_HERE = [block for block in ALL if not block.mark]
NOTHING_TO_RUN = {"text"}
READ_ONLY = {"json": json.loads, "toml": tomllib.loads}


def of(*languages: str) -> pytest.MarkDecorator:
    """For each block in these languages that is to run."""
    return pytest.mark.parametrize("block", [block for block in RUN_HERE if block.language in languages], ids=str)


def test_each_block_has_a_language_that_is_run_or_a_mark() -> None:
    known = {*NOTHING_TO_RUN, *READ_ONLY, "yaml", "python", "sh"}
    odd = [f"{block}: `{block.language}`" for block in ALL if block.language not in known and not block.mark]
    assert odd == [], (
        "a block says what it is (`text`: no code) after its ```, and what cannot run is marked: tests/docs/blocks.py"
    )


@pytest.mark.parametrize("block", [block for block in ALL if block.runner], ids=str)
def test_what_another_test_runs_is_named_there(block: Block) -> None:
    assert block.runner and block.runner.exists()
    about = block.page.parent.name if block.page.name == "README.md" else block.page.name
    assert about in block.runner.read_text()


@of("yaml")
def test_manifests_are_valid(block: Block) -> None:
    try:
        manifests.check(block.text)
    except ValueError as e:
        pytest.fail(f"{block}: {e}: mark it if it is for another program")


@of("python")
def test_python_runs(block: Block) -> None:
    exec(compile(block.text, str(block), "exec"), {"__name__": "page"})


@pytest.mark.parametrize("block", [block for block in ALL if block.language == "python" and block.mark], ids=str)
def test_python_that_runs_elsewhere_can_be_read(block: Block) -> None:
    ast.parse(block.text)


@of(*READ_ONLY)
def test_data_can_be_read(block: Block) -> None:
    READ_ONLY[block.language](block.text)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("__pycache__", "*.db*"))
    return folder


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with simulator() as api:
        yield Desk(tmp_path, api)


@of("sh")
async def test_commands_do_what_they_are_for(block: Block, desk: Desk, copy: Path) -> None:
    desk.folder = shell.folder_of(block.page, block.text, copy)
    try:
        for command in shell.commands(block.text):
            await shell.do(command, desk)
    except shell.Unknown as e:
        pytest.fail(f"{block}: `{e}` is not run here: mark the block with what runs it, or why nothing does")


def test_a_mark_is_for_the_block_below_it_only() -> None:
    page = "<!-- not run: an account -->\n\n```sh\nx\n```\nand\n```sh\ny\n```\n"
    page += "<!-- run by tests/a.py -->\n   ```sh\n   z\n   ```\n"
    found = [(block.line, block.text, block.mark) for block in blocks_of(ROOT / "README.md", page)]
    assert found == [(3, "x\n", "not run: an account"), (7, "y\n", ""), (11, "z\n", "run by tests/a.py")]


def test_a_part_that_is_wrong_is_found() -> None:
    with pytest.raises(Exception, match="urll"):
        manifests.check("triggers: [{template: {name: a, http: {urll: x}}}]")
    with pytest.raises(ValueError, match="there is none around flavor"):
        manifests.check("flavor: vanilla")
