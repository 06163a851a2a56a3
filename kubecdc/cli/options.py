"""Options that several commands share. Each can be given by an environment variable KUBECDC_<NAME>."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kubecdc.manifest.mounts import CONFIGS, SECRETS, Mounts
from kubecdc.manifest.units import duration
from kubecdc.storage.contracts.types import ClusterAccess
from kubecdc.watcher.election.settings import home_namespace

if TYPE_CHECKING:
    from kubecdc.cluster.connection import Cluster

Command = TypeVar("Command", bound=Callable[..., Any])


def _go_duration(_: click.Context, __: click.Parameter, text: str) -> timedelta:
    try:
        return duration(text)
    except ValueError as e:
        raise click.BadParameter(f"{e}: write `15s` or `1m30s`") from e


def _together(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


manifests = _together(
    click.option(
        "-f",
        "--filename",
        "filenames",
        multiple=True,
        required=True,
        metavar="FILE|DIR",
        envvar="KUBECDC_FILENAME",
        show_envvar=True,
        help="Manifests: a file, a directory (its .yaml, .yml and .json), or - for stdin. Repeatable.",
    ),
)


def _kept(name: str, convert: Callable[[str], Any] = str) -> Callable[[click.Context, click.Parameter, Any], None]:
    """The callback of an option that is no parameter of the command: it is in the context, under ``name``."""

    def keep(context: click.Context, _: click.Parameter, value: Any) -> None:
        context.meta[f"{__name__}.{name}"] = None if value is None else convert(value)

    return keep


def _of_context(name: str, default: Any = None) -> Any:
    """What `_kept` kept, or the default for a command that has no such option."""
    return click.get_current_context().meta.get(f"{__name__}.{name}", default)


cluster = _together(
    click.option(
        "--kubeconfig",
        metavar="FILE",
        envvar="KUBECDC_KUBECONFIG",
        show_envvar=True,
        expose_value=False,
        callback=_kept("kubeconfig"),
        help="As for kubectl; else $KUBECONFIG, ~/.kube/config, or the pod's service account.",
    ),
    click.option(
        "--context",
        metavar="NAME",
        envvar="KUBECDC_CONTEXT",
        show_envvar=True,
        expose_value=False,
        callback=_kept("context"),
        help="Context of the kubeconfig.",
    ),
)


def cluster_access() -> ClusterAccess:
    """The way to the cluster that the command which runs was told, or as kubectl finds it."""
    kubeconfig, context = _of_context("kubeconfig"), _of_context("context")

    def connect() -> Cluster:
        from kubecdc.cluster.connection import Cluster

        return Cluster(kubeconfig, context)

    return ClusterAccess(connect, home_namespace())


logs = _together(
    click.option(
        "--log-format",
        type=click.Choice(["json", "console"]),
        envvar="KUBECDC_LOG_FORMAT",
        show_envvar=True,
        help="Default: console on a terminal, else json.",
    ),
    click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        default="info",
        show_default=True,
        envvar="KUBECDC_LOG_LEVEL",
        show_envvar=True,
    ),
)

metrics = _together(
    click.option(
        "--metrics-port",
        type=click.IntRange(0, 65535),
        envvar="KUBECDC_METRICS_PORT",
        show_envvar=True,
        help="Serve Prometheus metrics on this port.  [default: off]",
    ),
)


def _lease_duration(name: str, default: str, text: str) -> Callable[[Any], Any]:
    return click.option(
        f"--{name}",
        callback=_go_duration,
        metavar="DURATION",
        default=default,
        show_default=True,
        envvar=f"KUBECDC_{name.upper().replace('-', '_')}",
        show_envvar=True,
        help=text,
    )


election = _together(
    click.option(
        "--leader-election/--no-leader-election",
        default=None,
        envvar="KUBECDC_LEADER_ELECTION",
        show_envvar=True,
        help="Elect the leader by a Lease in the cluster; without, the bus elects by itself.  "
        "[default: on, except for a bus in a local file, whose lock elects]",
    ),
    click.option(
        "--lease-name",
        metavar="NAME",
        default="kubecdc",
        show_default=True,
        envvar="KUBECDC_LEASE_NAME",
        show_envvar=True,
        help="The Lease; of an EventBus that is not called `default`: NAME-<bus>.",
    ),
    click.option(
        "--lease-namespace",
        metavar="NAME",
        envvar="KUBECDC_LEASE_NAMESPACE",
        show_envvar=True,
        help="Its namespace.  [default: the pod's, or `default`]",
    ),
)

lease = _together(
    election,
    _lease_duration("lease-duration", "15s", "A leader that has not renewed for so long is replaced; whole seconds."),
    _lease_duration("renew-deadline", "10s", "A leader that could not renew for so long stops."),
    _lease_duration("retry-period", "2s", "Between two renewals, or two looks of a process that stands by."),
)

concurrency = _together(
    click.option(
        "--concurrency",
        type=click.IntRange(1, 10_000),
        default=64,
        show_default=True,
        envvar="KUBECDC_CONCURRENCY",
        show_envvar=True,
        help="Events in work at once, for each trigger.",
    ),
)


def _mount(name: str, default: Path, what: str) -> Callable[[Any], Any]:
    """A folder that `mounted` knows; it is no parameter of the command."""
    return click.option(
        f"--{name}-dir",
        metavar="DIR",
        default=str(default),
        show_default=True,
        envvar=f"KUBECDC_{name.upper()}_DIR",
        show_envvar=True,
        expose_value=False,
        callback=_kept(name, Path),
        help=f"Where {what} are mounted: DIR/<name>/<key>.",
    )


secrets = _together(_mount("secrets", SECRETS, "Secrets"))
mounts = _together(secrets, _mount("configmaps", CONFIGS, "ConfigMaps"))


def mounted() -> Mounts:
    """Where the command that runs was told that Secrets and ConfigMaps are."""
    return Mounts(_of_context("secrets", SECRETS), _of_context("configmaps", CONFIGS))


bus = _together(
    click.option(
        "--bus",
        metavar="NAME",
        envvar="KUBECDC_BUS",
        show_envvar=True,
        help="Which EventBus, where the manifests name several.",
    ),
)

output = _together(
    click.option(
        "-o",
        "--output",
        "output_format",
        type=click.Choice(["table", "json", "yaml"]),
        default="table",
        show_default=True,
        envvar="KUBECDC_OUTPUT",
        show_envvar=True,
    ),
)

yes = _together(
    click.option(
        "--yes", is_flag=True, envvar="KUBECDC_YES", show_envvar=True, help="Do not ask before something is discarded."
    ),
)
