"""Gone, or only out of the selection? A DELETED under a selector says the same of both, so the API is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from kubecdc.cluster.errors import ApiError
from kubecdc.cluster.list_watch import Api
from kubecdc.cluster.objects import Meta
from kubecdc.watcher.ongoing_problems import Notices

LOOKS = 16  # objects asked for at a time


async def still_there(api: Api, objects: Sequence[Meta], notices: Notices) -> frozenset[str]:
    """The uids of those that exist. Raises ApiError; without the right to get them, none, which is said once."""
    if not objects:
        return frozenset()
    limit = asyncio.Semaphore(LOOKS)

    async def exists(meta: Meta) -> str:
        async with limit:
            return meta.uid if await api.uid(meta.namespace, meta.name) == meta.uid else ""

    try:
        return frozenset(await asyncio.gather(*(exists(meta) for meta in objects))) - {""}
    except ApiError as e:
        if e.status != 403:
            raise
        notices.remark("deselected objects cannot be told from deleted ones", reason=str(e), fix="grant get on them")
        return frozenset()
