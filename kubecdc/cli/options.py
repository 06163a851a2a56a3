"""Options that several commands share, and what is made of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from kubecdc.cli.option import combined, from_context, has_option, in_context, option
from kubecdc.manifest.fields import dns_label
from kubecdc.manifest.mounts import CONFIGS, SECRETS, Mounts
from kubecdc.manifest.units import duration
from kubecdc.storage.contracts.types import ClusterAccess
from kubecdc.watcher.election.settings import home_namespace

if TYPE_CHECKING:
    from kubecdc.cluster.connection import Cluster

Command = TypeVar("Command", bound=Callable[..., Any])
LONGEST_NAME = 253  # of a cluster, as of most names in Kubernetes

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
    in_context(
        "--kubeconfig",
        key="kubeconfig",
        metavar="FILE",
        help="Kubeconfig file.  [default: $KUBECONFIG, ~/.kube/config, or the pod's service account]",
    ),
    in_context("--context", key="context", metavar="NAME", help="Context of the kubeconfig."),
    in_context("--as", key="as", metavar="USER", help="User to impersonate, as with kubectl."),
    in_context(
        "--as-group",
        key="as_group",
        convert=tuple,
        multiple=True,
        metavar="GROUP",
        help="Group to impersonate. Repeatable.",
    ),
    in_context("--as-uid", key="as_uid", metavar="UID", help="UID to impersonate."),
)


def _cluster_name(text: str) -> str:
    if not text.isprintable() or len(text) > LONGEST_NAME:
        raise click.BadParameter(f"a name has at most {LONGEST_NAME} characters, and no control characters")
    return text


cluster_name = in_context(
    "--cluster-name",
    key="cluster_name",
    convert=_cluster_name,
    default="",
    metavar="NAME",
    help="Name of the cluster, in the attribute `cluster` of each event. For consumers of several clusters.",
)


def _namespace(text: str) -> str:
    try:
        return dns_label(text)
    except ValueError as e:
        raise click.BadParameter(str(e)) from e


namespace = in_context(
    "-n",
    "--namespace",
    key="namespace",
    convert=_namespace,
    metavar="NAME",
    help="Namespace of kubecdc's own Secrets and ConfigMaps, and its Lease.  "
    "[default: $POD_NAMESPACE, the pod's namespace, or `default`]",
)


def home() -> str:
    """The namespace of kubecdc's own objects, with the options of the current command."""
    return from_context("namespace") or home_namespace()


def cluster_access() -> ClusterAccess:
    """Access to the cluster, with the options of the current command. Without them, the same rules as kubectl apply."""
    kubeconfig, context = from_context("kubeconfig"), from_context("context")
    name = from_context("cluster_name", "")
    user, uid, groups = from_context("as"), from_context("as_uid"), from_context("as_group", ())

    def connect() -> Cluster:
        from kubecdc.cluster.connection import Cluster
        from kubecdc.cluster.impersonation import Impersonation

        return Cluster(kubeconfig, context, Impersonation(user or "", uid or "", groups), name=name)

    return ClusterAccess(connect, home(), "-n" if has_option("namespace") else "POD_NAMESPACE")


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


def _mount(name: str, default: Path, what: str) -> Callable[[Command], Command]:
    """The option for a directory of `mounted`."""
    return in_context(
        f"--{name}-dir",
        key=name,
        convert=Path,
        metavar="DIR",
        default=str(default),
        show_default=True,
        help=f"Directory where {what} are mounted, as DIR/<name>/<key>.",
    )


secrets = _mount("secrets", SECRETS, "Secrets")
access = combined(secrets, namespace)
mounts = combined(secrets, _mount("configmaps", CONFIGS, "ConfigMaps"))


def mounted() -> Mounts:
    """The directories where Secrets and ConfigMaps are mounted, from the options of the current command."""
    return Mounts(from_context("secrets", SECRETS), from_context("configmaps", CONFIGS))


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
