"""Options of the long-running commands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from kubecdc.cli.option import combined, option
from kubecdc.cli.serving.address import Address

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
Command = TypeVar("Command", bound=Callable[..., Any])

concurrency = option(
    "--concurrency",
    type=click.IntRange(1, 10_000),
    default=64,
    show_default=True,
    help="Maximum number of events in progress for each trigger.",
)

tracing = option(
    "--tracing/--no-tracing",
    default=None,
    help="Trace each change to its triggers with OpenTelemetry. The variables OTEL_* configure it.  "
    "[default: on if OTEL_EXPORTER_OTLP_ENDPOINT is set]",
)


def _address(context: click.Context, parameter: click.Parameter, text: str) -> Address | None:
    try:
        found = Address.parse(text)
    except ValueError as e:
        raise click.BadParameter(f"{e}: write `127.0.0.1:9464`, `:9464` or `[::1]:9464`, or `0` for none") from e
    given = context.get_parameter_source(parameter.name or "") is not ParameterSource.DEFAULT
    return found if found is None or given else replace(found, optional=True)


def _address_option(name: str, default: str, what: str) -> Callable[[Command], Command]:
    text = f"Address to serve {what}, or 0 for none. Without HOST: all addresses."
    return option(name, callback=_address, metavar="HOST:PORT", default=default, show_default=True, help=text)


serving = combined(
    _address_option("--metrics-bind-address", "127.0.0.1:9464", "Prometheus metrics, as /metrics"),
    option(
        "--metrics-cert-file", metavar="FILE", type=FILE, help="Certificate with its chain, to serve metrics over TLS."
    ),
    option(
        "--metrics-key-file",
        metavar="FILE",
        type=FILE,
        help="Key of that certificate. Both files are read again when they change.",
    ),
    _address_option("--health-bind-address", "127.0.0.1:9465", "/livez, /readyz and /startupz"),
)


reload = option(
    "--reload/--no-reload",
    default=True,
    help="Read the manifests again when they change. If off, only on SIGHUP.  [default: on]",
)
