"""Which cluster this is: the uid of its kube-system namespace.

A checkpoint of another cluster is refused, never repaired: `kubectl config use-context` must not announce the deletion
of everything.
"""

from __future__ import annotations

import msgspec

from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.errors import ApiError
from kubecdc.cluster.objects import decode_object
from kubecdc.errors import Refused
from kubecdc.watcher.capture.checkpoint_writer import Journal
from kubecdc.watcher.ongoing_problems import Notices


class Identity:
    """Asks the cluster who it is, and holds checkpoints to the answer."""

    def __init__(self, cluster: Cluster, notices: Notices) -> None:
        self._cluster = cluster
        self._notices = notices

    async def cluster(self) -> str:
        """The cluster's uid; "" where it may not be read, which is said once. Raises ApiError."""
        try:
            text = await self._cluster.get("/api/v1/namespaces/kube-system")
        except ApiError as e:
            if e.status not in {403, 404}:
                raise
            self._notices.remark(
                "the cluster's identity is not checked", reason=str(e), fix="grant get on the namespace kube-system"
            )
            return ""
        return decode_object(text).uid

    async def require_same(self, journal: Journal, cluster: str) -> None:
        """Raise Refused if the checkpoint was made for another cluster; remember the cluster if it was not known."""
        known = journal.state.selection.cluster
        if known and cluster and known != cluster:
            key = journal.entry.key
            raise Refused(
                f"{key}: the checkpoint was made for another cluster (kube-system {known}) than {self._cluster.host} "
                f"(kube-system {cluster}); nothing was sent",
                hint=f"select the right context, or start over here with `kubecdc checkpoint reset {key}`",
            )
        if cluster and not known and journal.stored:
            await journal.commit(selection=msgspec.structs.replace(journal.state.selection, cluster=cluster))
