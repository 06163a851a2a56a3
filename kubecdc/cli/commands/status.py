"""`kubecdc status`: what is wrong, why, and which command to run next."""

from __future__ import annotations

import asyncio
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Any

import click

from kubecdc.cli import options
from kubecdc.cli.buses import opening
from kubecdc.cli.election import Election, from_options
from kubecdc.cli.manifests.loading import Manifests, load_valid
from kubecdc.cli.output import Output, Row
from kubecdc.cli.status.lease import Lead, read
from kubecdc.cli.status.look import Found, Looks
from kubecdc.cli.status.rows import rows, rows_of_manifests, rows_without_answer
from kubecdc.cli.status.verdict import VIEW, severity
from kubecdc.storage.manifest import EventBus
from kubecdc.storage.opening import opened

SECONDS = 2.0  # between two looks
NUMBERS = {"behind", "pending", "rate_in", "rate_out", "position"}  # no reason to print a row again


@click.command()
@options.manifests
@options.access
@options.cluster
@options.election
@options.watch
@options.output
def status(filenames: tuple[str, ...], output: Output, watch: bool, **election: Any) -> int:
    """Print the state of sources, buses and subscriptions, the worst first, with the cause and the command to run next.

    Verdicts: blocked (nothing moves), failing, unknown, behind, ok, idle. Exit code 1 if something is blocked or
    failing. With -w, a row is printed again when its verdict or its cause changes. Documents with a problem are a row,
    and left out.
    """
    manifests = load_valid(filenames, stdin=sys.stdin)
    files = " ".join(f"-f {shlex.quote(name)}" for name in filenames)
    return asyncio.run(_show(manifests, from_options(**election), output, files, watch=watch))


async def _show(manifests: Manifests, election: Election, output: Output, files: str, *, watch: bool) -> int:
    how = opening(create=False)
    async with AsyncExitStack() as stack, aclosing(how.cluster.shared()) as cluster:

        async def lease(bus: EventBus) -> Lead | None:
            if not election.by_lease(bus):
                return None
            return await read(await cluster.connection(), election.lease_of(bus), time.time())

        def looks_at(bus: EventBus) -> Looks:
            return Looks(bus, manifests, lambda bus: opened(bus, how), time.time, lease=lease)

        all_ = [looks_at(bus) for bus in manifests.buses.values()]
        for looks in all_:
            stack.push_async_callback(looks.close)
        found = await _look(all_, manifests, files)
        if not watch:
            output.show(found, VIEW)
            return int(any(row["needs_person"] for row in found))
        output.follow(found, VIEW)
        while True:
            await asyncio.sleep(SECONDS)
            before = {row["name"]: _lasting(row) for row in found}
            found = await _look(all_, manifests, files)
            output.follow([row for row in found if before.get(row["name"]) != _lasting(row)], VIEW)


async def _look(all_: Sequence[Looks], manifests: Manifests, files: str) -> list[Row]:
    found = list(rows_of_manifests(manifests))
    for looks, answer in zip(all_, await asyncio.gather(*(looks.look() for looks in all_)), strict=True):
        if isinstance(answer, Found):
            found += rows(answer)
        else:
            found += rows_without_answer(looks.manifest, manifests, answer)
    for row in found:
        if row["next"].startswith("kubecdc "):
            row["next"] += f" {files}"
    return sorted(found, key=severity)


def _lasting(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in NUMBERS}
