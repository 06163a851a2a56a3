"""What a page tells the reader to type, done in a copy of the examples, on a simulated API server."""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from pathlib import Path

import yaml

from tests.cli.rig import Desk
from tests.docs.blocks import ROOT
from tests.examples.stage import apply

APPLY = ["|", "kubectl", "apply", "-f", "-"]
LONG_LIVED = {"run", "watch", "work"}
STARTED = r'"(leading|lease taken|listed)"'
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


class Unknown(Exception):
    """A command that is not run here."""


def commands(text: str) -> list[list[str]]:
    """The commands of a block, without its comments. Raises Unknown for what only a shell can do."""
    lines = [shlex.split(line, comments=True) for line in text.replace("\\\n", " ").splitlines()]
    for line in lines:
        if {"|", ">", "<<", "<<END", "&&", "&"} & set(line[: -len(APPLY)] if line[-len(APPLY) :] == APPLY else line):
            raise Unknown(shlex.join(line))
    return [line for line in lines if line]


async def do(command: list[str], desk: Desk) -> None:
    """Do one in the folder of the desk. Raises Unknown, AssertionError: it does not do what the page says."""
    match command:
        case ["pip", "install", *packages]:
            wanted = [extra for package in packages for extra in re.findall(r"\[(.+)\]", package)]
            assert set(",".join(wanted).split(",")) - {""} <= EXTRAS.keys(), f"there is no such extra: {wanted}"
            assert all(re.match(r"kubecdc\b|\.", package) for package in packages), f"not of ours: {packages}"
        case ["make", *words]:
            assert {word for word in words if "=" not in word} <= TARGETS
        case ["mkdir", folder]:
            (desk.folder / folder).mkdir(exist_ok=True)
        case ["cd", folder]:
            desk.folder = desk.folder / folder
        case ["kubectl", "create", "namespace", name]:
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            await desk.api.create("", "v1", "namespaces", "", namespace)
        case ["kubecdc", *options] if options[-len(APPLY) :] == APPLY:
            done = await desk.call(*options[: -len(APPLY)], manifests=False)
            assert await apply(desk.api, list(yaml.safe_load_all(done.out)), ""), done.err
        case ["kubecdc", name, *options] if name in LONG_LIVED:
            given = options.index("-f")
            desk.manifests = desk.folder / options[given + 1]
            async with desk.running(name, *options[:given], *options[given + 2 :]) as running:
                await running.until(STARTED)
        case ["kubecdc", *options]:
            done = await desk.call(*options, manifests=False)
            assert done.code == 0, done.err
        case [script] if (ROOT / script).is_file():
            assert os.access(ROOT / script, os.X_OK)
        case _:
            raise Unknown(shlex.join(command))


def folder_of(page: Path, text: str, copy: Path) -> Path:
    """Where a reader of the page is: in the root of the repository, or in the example that the page is about."""
    folder = page.parent.relative_to(ROOT)
    return copy if "examples/" in text or folder.parts[:1] != ("examples",) else copy / folder
