"""Which objects still exist. A DELETED under a label selector may mean that an object was deleted, or only that it left
the selection, so the API server is asked."""

from __future__ import annotations

from collections.abc import Sequence

from kubecdc.cluster.errors import ApiError
from kubecdc.cluster.list_watch import ListWatch
from kubecdc.cluster.objects import Meta
from kubecdc.concurrency import Limit
from kubecdc.watcher.ongoing_problems import OngoingProblems


async def existing_uids(list_watch: ListWatch, objects: Sequence[Meta], problems: OngoingProblems) -> frozenset[str]:
    """The uids of the objects that exist. Raises ApiError.

    Without the right to get the objects, the result is empty, which is reported once.
    """
    if not objects:
        return frozenset()

    async def exists(meta: Meta) -> bool:
        return await list_watch.uid(meta.namespace, meta.name) == meta.uid

    try:
        found = await Limit().map(exists, objects)
    except ApiError as e:
        if e.status != 403:
            raise
        problems.report_once(
            "deselected objects cannot be told from deleted ones",
            code="deselected-unknown",
            reason=str(e),
            hint="grant get on them",
        )
        return frozenset()
    return frozenset(meta.uid for meta, is_there in zip(objects, found, strict=True) if is_there)
