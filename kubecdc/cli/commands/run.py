"""`kubecdc run`, `watch` and `work`: the long-lived commands."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
import structlog

from kubecdc import __version__
from kubecdc.cli import logs, options
from kubecdc.cli.manifests.loading import Manifests, load
from kubecdc.errors import UsageError

if TYPE_CHECKING:
    from kubecdc.cli.election import Election


@click.command()
@options.manifests
@options.cluster
@options.lease
@options.concurrency
@options.mounts
@options.logs
@options.metrics
def run(**given: Any) -> None:
    """Watch and work in one process.

    Everything that `kubecdc watch` and `kubecdc work` do, on the same bus.
    """
    _go(watch=True, work=True, **given)


@click.command()
@options.manifests
@options.cluster
@options.lease
@options.secrets
@options.logs
@options.metrics
def watch(**given: Any) -> None:
    """Capture changes: list and watch what the EventSources name, and commit each change to the bus.

    One process leads; further ones on the same bus stand by and take over when it is gone.
    """
    _go(watch=True, work=False, concurrency=1, **given)


@click.command()
@options.manifests
@options.concurrency
@options.mounts
@options.logs
@options.metrics
def work(**given: Any) -> None:
    """Deliver events: take them off the bus and run the Sensors' triggers, any number of processes at once.

    SIGTERM drains: what is in flight is finished or handed back.
    """
    _go(watch=False, work=True, **given)


def _go(
    *,
    watch: bool,
    work: bool,
    filenames: tuple[str, ...],
    concurrency: int,
    log_format: str | None,
    log_level: str,
    metrics_port: int | None,
    **lease: Any,
) -> None:
    logs.configure(log_format, log_level)
    election = _election(**lease) if watch else None
    manifests = load(filenames, stdin=sys.stdin)
    _require(manifests, watch=watch, work=work)
    log = structlog.get_logger()
    for notice in manifests.notices:
        log.warning(notice)
    log.info("kubecdc starts", version=__version__, watch=watch, work=work)
    from kubecdc.cli import buses, process

    if metrics_port is not None:
        _serve_metrics(metrics_port)
    _loop()(
        process.run(
            manifests,
            process.Sides(watch=watch, work=work),
            buses.opening(lead=election.lead if election else None),
            election=election,
            concurrency=concurrency,
            log_event=logs.event_lines(log_format),
        )
    )


def _election(**given: Any) -> Election:
    from kubecdc.cli.election import from_options

    return from_options(**given)


def _require(manifests: Manifests, *, watch: bool, work: bool) -> None:
    if watch and not manifests.sources:
        raise UsageError("there is no EventSource in the manifests: nothing to watch", hint="add one with -f")
    if work and not watch and not manifests.sensors:
        raise UsageError("there is no Sensor in the manifests: nothing to work on", hint="add one with -f")


def _serve_metrics(port: int) -> None:
    from prometheus_client import start_http_server

    try:
        start_http_server(port)
    except OSError as e:
        raise UsageError(f"metrics cannot be served on port {port}: {e}", hint="give another --metrics-port") from e


def _loop() -> Callable[[Any], None]:
    try:
        import uvloop
    except ImportError:
        import asyncio

        return asyncio.run
    return uvloop.run
