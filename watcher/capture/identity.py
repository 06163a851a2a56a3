"""Which cluster this is: the uid of its kube-system namespace.

A checkpoint of another cluster is refused, never repaired: after `kubectl config use-context`, a repair would announce
the deletion of every object.
"""

from __future__ import annotations

import msgspec

from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.errors import ApiError
from kubecdc.cluster.objects import decode_object
from kubecdc.errors import Refused
from kubecdc.watcher.capture.checkpoint_writer import CheckpointWriter
from kubecdc.watcher.ongoing_problems import OngoingProblems


async def cluster_uid(cluster: Cluster, problems: OngoingProblems) -> str:
    """The cluster's uid; "" where it may not be read, which is reported once. Raises ApiError, Malformed."""
    try:
        text = await cluster.get("/api/v1/namespaces/kube-system")
    except ApiError as e:
        if e.status not in {403, 404}:
            raise
        problems.report_once(
            "the cluster's identity is not checked",
            code="cluster-unidentified",
            reason=str(e),
            hint="grant get on the namespace kube-system",
        )
        return ""
    return decode_object(text).uid


async def require_same_cluster(writer: CheckpointWriter, uid: str) -> None:
    """Raise Refused if the checkpoint was made for another cluster; store the cluster's uid if it was not known."""
    known = writer.state.selection.cluster
    if known and uid and known != uid:
        key = writer.entry.key
        raise Refused(
            f"{key}: the checkpoint was made for another cluster (kube-system {known}) than "
            f"{writer.session.cluster.host} (kube-system {uid}); nothing was sent",
            hint=f"select the right context, or start over here with `kubecdc checkpoint reset {key}`",
        )
    if uid and not known and writer.stored:
        await writer.commit(selection=msgspec.structs.replace(writer.state.selection, cluster=uid))
