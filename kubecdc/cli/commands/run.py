"""`kubecdc run`, `watch` and `work`: the long-running commands."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import structlog

from kubecdc import __version__, facts
from kubecdc.cli import logs, options, process_options
from kubecdc.cli.addresses import addresses as limits
from kubecdc.cli.manifests.loading import load
from kubecdc.cli.serving.address import Address
from kubecdc.errors import UsageError
from kubecdc.workers.addresses import EVERYWHERE, Addresses

if TYPE_CHECKING:
    from kubecdc.cli.election import Election
    from kubecdc.cli.serving.tls import Certificate


@click.command()
@options.manifests
@options.cluster
@options.cluster_name
@options.lease
@process_options.concurrency
@limits
@options.mounts
@options.logs
@process_options.tracing
@process_options.serving
@process_options.reload
def run(**given: Any) -> None:
    """Run `kubecdc watch` and `kubecdc work` in one process."""
    _run_process(watch=True, work=True, **given)


@click.command()
@options.manifests
@options.cluster
@options.cluster_name
@options.lease
@options.secrets
@options.logs
@process_options.tracing
@process_options.serving
@process_options.reload
def watch(**given: Any) -> None:
    """Capture changes: list and watch the resources of the EventSources, and commit each change to the bus.

    One process leads. Others on the same bus stand by and take over if it stops.
    """
    _run_process(watch=True, work=False, concurrency=1, **given)


@click.command()
@options.manifests
@options.cluster
@process_options.concurrency
@limits
@options.mounts
@options.logs
@process_options.tracing
@process_options.serving
@process_options.reload
def work(**given: Any) -> None:
    """Deliver events from the bus to the triggers of the Sensors. Any number of processes can run at once.

    On SIGTERM, events in progress are finished or returned to the bus. The cluster is needed only if the bus keeps its
    state there, a trigger works on objects, or a Secret or ConfigMap is not mounted.
    """
    _run_process(watch=False, work=True, **given)


def _run_process(
    *,
    watch: bool,
    work: bool,
    filenames: tuple[str, ...],
    concurrency: int,
    log_format: str | None,
    log_level: str,
    metrics_bind_address: Address | None,
    metrics_cert_file: Path | None,
    metrics_key_file: Path | None,
    health_bind_address: Address | None,
    reload: bool,
    tracing: bool | None,
    addresses: Addresses = EVERYWHERE,
    **lease: Any,
) -> None:
    logs.configure(log_format, log_level, unread=True)
    election = _election(**lease) if watch else None
    from kubecdc.cli.reload import looks
    from kubecdc.cli.reload.hangup import Hangup
    from kubecdc.cli.reload.outcome import Outcome
    from kubecdc.cli.reload.reloading import Reloading
    from kubecdc.cli.reload.uses import uses_of

    hangup = Hangup()
    again = all(map(looks.can_be_read_again, filenames))
    find, read = partial(looks.look, filenames), partial(load, filenames, stdin=sys.stdin, to_run=work)
    seen = find() if again else b""  # before they are read: what changes meanwhile is noticed
    manifests = read()
    ask = partial(uses_of, watch=watch, work=work)
    uses = ask(manifests)
    log = structlog.get_logger()
    for notice in manifests.notices:
        log.warning(notice, code="manifest-notice")
    log.info("kubecdc starts", code="starting", version=__version__, watch=watch, work=work)
    from kubecdc.cli import buses, process
    from kubecdc.cli import tracing as traces
    from kubecdc.cli.serving import server
    from kubecdc.cli.serving.health import Health
    from kubecdc.cli.serving.metrics import Scrapes
    from kubecdc.cluster.open_files import raise_limit
    from kubecdc.metrics import Series

    raise_limit()
    health, scrapes, tls = Health(), Scrapes(), certificate(metrics_cert_file, metrics_key_file)
    server.serve("health", "health-bind-address", health_bind_address, health.pages)
    server.serve("metrics", "metrics-bind-address", metrics_bind_address, scrapes.pages, tls)
    outcome = Outcome()
    outcome.export(Series())
    facts.troubles.read("manifests", lambda: outcome.trouble)
    looking = looks.Looks(find, seen, period=looks.PERIOD_SECONDS if reload else None)
    reloading = Reloading(read, ask, looking, outcome, manifests.notices) if again else None
    opening = buses.opening(lead=election.lead if election else None)
    delivery = process.Delivery(concurrency, logs.event_lines(log_format), addresses) if work else None
    with traces.running(tracing, opening.holder):
        running = process.run(
            uses,
            opening,
            election=election,
            delivery=delivery,
            health=health,
            scrapes=scrapes,
            reloading=reloading,
            hangup=hangup,
        )
        _runner()(running)


def _election(**given: Any) -> Election:
    from kubecdc.cli.election import from_options

    return from_options(**given)


def certificate(chain: Path | None, key: Path | None) -> Certificate | None:
    """What the metrics are served with by TLS, None if neither file is given. Raises UsageError."""
    if chain is None and key is None:
        return None
    if chain is None or key is None:
        raise UsageError("--metrics-cert-file and --metrics-key-file belong together", hint="give both or neither")
    from kubecdc.cli.serving.tls import Certificate

    return Certificate(chain, key)


def _runner() -> Callable[[Any], None]:
    """`uvloop.run` if uvloop is installed, else `asyncio.run`."""
    try:
        import uvloop
    except ImportError:
        import asyncio

        return asyncio.run
    # uvloop looks names up in half of these at a time, for example those of several Redis. It has four if not told.
    os.environ.setdefault("UV_THREADPOOL_SIZE", "64")
    return uvloop.run
