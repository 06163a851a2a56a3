"""Options that several commands share."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click
from click.core import ParameterSource

from kubecdc.cli.serving.address import Address
from kubecdc.manifest.mounts import CONFIGS, SECRETS, Mounts
from kubecdc.manifest.units import duration
from kubecdc.storage.contracts.types import ClusterAccess
from kubecdc.watcher.election.settings import home_namespace

if TYPE_CHECKING:
    from kubecdc.cluster.connection import Cluster

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
Command = TypeVar("Command", bound=Callable[..., Any])
LONGEST_NAME = 253  # of a cluster, as of most names in Kubernetes
SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://")


class _Option(click.Option):
    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        value = super().resolve_envvar_value(ctx)
        return None if value and SERVICE_LINK.match(value) else value


def option(*names: str, **settings: Any) -> Callable[[Command], Command]:
    """A click option that can also be set with the environment variable ``KUBECDC_<NAME>``.

    NAME is the first long name of the option, in upper case and with ``_`` for ``-``. Kubernetes sets such variables
    too, for Services called ``kubecdc-…``: those have no effect. Options that skip a question or that repair have no
    variable, so that nothing is discarded without being typed: they are plain options of click.
    https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
    """
    long = next(name for name in names if name.startswith("--"))
    variable = long.split("/")[0].removeprefix("--").upper().replace("-", "_")
    return click.option(*names, cls=_Option, envvar=f"KUBECDC_{variable}", show_envvar=True, **settings)


def combined(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """One decorator for several options, which `--help` lists in this order."""

    def decorate(command: Command) -> Command:
        for one in reversed(options):
            command = one(command)
        return command

    return decorate


def _context_option(
    *names: str, key: str, convert: Callable[[Any], Any] = str, **settings: Any
) -> Callable[[Command], Command]:
    """An option that is not a parameter of the command. Its value is in the click context, for `_from_context`."""

    def store(context: click.Context, _: click.Parameter, value: Any) -> None:
        context.meta[f"{__name__}.{key}"] = None if value is None else convert(value)

    return option(*names, expose_value=False, callback=store, **settings)


def _from_context(key: str, default: Any = None) -> Any:
    """The value of a `_context_option`, or the default if the current command does not have that option."""
    return click.get_current_context().meta.get(f"{__name__}.{key}", default)


manifests = option(
    "-f",
    "--filename",
    "filenames",
    multiple=True,
    required=True,
    metavar="FILE|DIR",
    help="Manifests: a file, a directory (its .yaml, .yml and .json files), or - for stdin. Repeatable.",
)

cluster = combined(
    _context_option(
        "--kubeconfig",
        key="kubeconfig",
        metavar="FILE",
        help="Kubeconfig file.  [default: $KUBECONFIG, ~/.kube/config, or the pod's service account]",
    ),
    _context_option("--context", key="context", metavar="NAME", help="Context of the kubeconfig."),
    _context_option("--as", key="as", metavar="USER", help="User to impersonate, as with kubectl."),
    _context_option(
        "--as-group",
        key="as_group",
        convert=tuple,
        multiple=True,
        metavar="GROUP",
        help="Group to impersonate. Repeatable.",
    ),
    _context_option("--as-uid", key="as_uid", metavar="UID", help="UID to impersonate."),
)


def _cluster_name(text: str) -> str:
    if not text.isprintable() or len(text) > LONGEST_NAME:
        raise click.BadParameter(f"a name has at most {LONGEST_NAME} characters, and no control characters")
    return text


cluster_name = _context_option(
    "--cluster-name",
    key="cluster_name",
    convert=_cluster_name,
    default="",
    metavar="NAME",
    help="Name of the cluster, in the attribute `cluster` of each event. For consumers of several clusters.",
)


def cluster_access() -> ClusterAccess:
    """Access to the cluster, with the options of the current command. Without them, the same rules as kubectl apply."""
    kubeconfig, context = _from_context("kubeconfig"), _from_context("context")
    name = _from_context("cluster_name", "")
    user, uid, groups = _from_context("as"), _from_context("as_uid"), _from_context("as_group", ())

    def connect() -> Cluster:
        from kubecdc.cluster.connection import Cluster
        from kubecdc.cluster.impersonation import Impersonation

        return Cluster(kubeconfig, context, Impersonation(user or "", uid or "", groups), name=name)

    return ClusterAccess(connect, home_namespace())


logs = combined(
    option(
        "--log-format",
        type=click.Choice(["json", "console"]),
        help="Format of the log.  [default: console on a terminal, otherwise json]",
    ),
    option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        default="info",
        show_default=True,
        help="Lowest level that is logged.",
    ),
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


def _go_duration(_: click.Context, __: click.Parameter, text: str) -> timedelta:
    try:
        return duration(text)
    except ValueError as e:
        raise click.BadParameter(f"{e}: write `15s` or `1m30s`") from e


def _duration_option(name: str, default: str, text: str) -> Callable[[Command], Command]:
    return option(name, callback=_go_duration, metavar="DURATION", default=default, show_default=True, help=text)


election = combined(
    option(
        "--leader-election/--no-leader-election",
        default=None,
        help="Elect the leader with a Lease in the cluster. If off, the bus elects the leader.  "
        "[default: on, except for a bus in a local file, which a lock protects]",
    ),
    option(
        "--lease-name",
        metavar="NAME",
        default="kubecdc",
        show_default=True,
        help="Name of the Lease. An EventBus that is not called `default` uses NAME-<bus>.",
    ),
    option(
        "--lease-namespace",
        metavar="NAME",
        help="Namespace of the Lease.  [default: the pod's namespace, or `default`]",
    ),
)

lease = combined(
    election,
    _duration_option(
        "--lease-duration", "15s", "A leader that has not renewed for this long is replaced. Whole seconds."
    ),
    _duration_option("--renew-deadline", "10s", "A leader that cannot renew for this long stops leading."),
    _duration_option("--retry-period", "2s", "Time between two renewals, and between two checks by a standby."),
)

concurrency = option(
    "--concurrency",
    type=click.IntRange(1, 10_000),
    default=64,
    show_default=True,
    help="Maximum number of events in progress for each trigger.",
)


def _mount(name: str, default: Path, what: str) -> Callable[[Command], Command]:
    """The option for a directory of `mounted`."""
    return _context_option(
        f"--{name}-dir",
        key=name,
        convert=Path,
        metavar="DIR",
        default=str(default),
        show_default=True,
        help=f"Directory where {what} are mounted, as DIR/<name>/<key>.",
    )


secrets = _mount("secrets", SECRETS, "Secrets")
mounts = combined(secrets, _mount("configmaps", CONFIGS, "ConfigMaps"))


def mounted() -> Mounts:
    """The directories where Secrets and ConfigMaps are mounted, from the options of the current command."""
    return Mounts(_from_context("secrets", SECRETS), _from_context("configmaps", CONFIGS))


bus = option("--bus", metavar="NAME", help="The EventBus to use, if the manifests have several.")

_form = option(
    "-o",
    "--output",
    "form",
    type=click.Choice(["table", "wide", "name", "json", "yaml"]),
    default="table",
    show_default=True,
    help="Format of the output.",
)
_timestamps = click.option("--timestamps", is_flag=True, help="Show times instead of ages in tables.")


def output(command: Command) -> Command:
    """The options of a command that prints rows or one item, as an argument ``output``."""

    @functools.wraps(command)
    def with_output(*args: Any, form: str, timestamps: bool, **given: Any) -> Any:
        from kubecdc.cli.output import Output

        return command(*args, output=Output(form, timestamps=timestamps), **given)

    return cast("Command", _form(_timestamps(with_output)))


watch = click.option(
    "-w", "--watch", is_flag=True, help="Keep running, and print each row again when it changes, until Ctrl-C."
)
yes = click.option("--yes", is_flag=True, help="Do not ask before data is discarded or sent again.")
