"""Shows rows of every bus, once or as they change."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

import click

from kubecdc.cli.buses import chosen, on_each, opening
from kubecdc.cli.manifests.loading import Manifests, load_valid
from kubecdc.cli.output import Output, Row, View
from kubecdc.cli.printable import printable
from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import Bus
from kubecdc.storage.manifest import EventBus
from kubecdc.storage.opening import opened

SECONDS = 2.0  # between two looks
SHARE = 10  # a look that takes long is followed by a pause that is so many times as long: looking must not load the bus
Rows = Callable[[Bus, EventBus], Awaitable[list[Row]]]


def manifests_to_show(filenames: Sequence[str]) -> Manifests:
    """The manifests that are valid; the others are named on standard error. Raises ManifestErrors without a bus."""
    manifests = load_valid(filenames, stdin=sys.stdin)
    for problem in manifests.problems:
        click.echo(f"left out: {printable(str(problem))}", err=True)
    return manifests


def show_each(
    manifests: Manifests,
    rows: Rows,
    output: Output,
    view: View,
    *,
    watch: bool,
    only: str | None = None,
    first: Callable[[list[Row]], list[Row]] = list,
) -> None:
    """Print the rows of every bus, or of the one named ``only``. With ``watch``, go on until the process is stopped.

    A row is known by its first value and its bus. ``first`` gets the rows that are found first, and returns those to
    print. It may raise a KubecdcError.
    """
    if watch:
        asyncio.run(_watch(manifests, only, rows, output, view, first))
    else:
        output.show(first(on_each(manifests, rows, only=only)), view)


async def _watch(
    manifests: Manifests,
    only: str | None,
    rows: Rows,
    output: Output,
    view: View,
    first: Callable[[list[Row]], list[Row]],
) -> None:
    async with AsyncExitStack() as stack:
        how = opening(create=False)
        buses = [(await stack.enter_async_context(opened(bus, how)), bus) for bus in chosen(manifests, only)]

        async def look() -> list[Row]:
            return [row for bus, manifest in buses for row in await rows(bus, manifest)]

        found = first(await look())
        output.follow(found, view)
        failed = False
        while True:
            began = time.monotonic()
            before = {_key(row): row for row in found}
            try:
                found = await look()
            except Unavailable as e:
                if not failed:
                    click.echo(f"kubecdc: {printable(str(e))}; trying again", err=True)
                failed = True
            else:
                failed = False
            output.follow([row for row in found if before.get(_key(row)) != row], view)
            await asyncio.sleep(max(SECONDS, SHARE * (time.monotonic() - began)))


def _key(row: Row) -> tuple[object, object]:
    return next(iter(row.values())), row["bus"]
