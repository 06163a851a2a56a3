"""List and watch of one resource, as client-go's reflector asks for them."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import closing
from dataclasses import replace

from kubecdc.cluster.changes import NO_POSITION, Change, LeftOut, Page, decode_line, decode_page
from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.errors import ApiError, Expired, Malformed, stream_error
from kubecdc.cluster.objects import Meta, decode_object, decode_status
from kubecdc.cluster.own_objects import is_own, may_be_among, without_own
from kubecdc.cluster.resource import Resource
from kubecdc.cluster.watch_lines import Room, WatchLines

SILENCE_SECONDS = 90.0  # bookmarks come about once a minute, but a healthy idle server may be silent for 120 s
WATCH_SECONDS = (300.0, 600.0)  # as client-go
LATE_SECONDS = 5.0  # how long after its timeout a watch may end
READ_INLINE_BYTES = 256 << 10


class ListWatch:
    """Lists and watches one resource of a cluster. What kubecdc writes for itself is left out (`own_objects`).

    ``left_out`` is told of each object that cannot be captured. A watch that is ``essential`` has a connection in any
    case, see `Connections`.
    """

    def __init__(
        self,
        cluster: Cluster,
        resource: Resource,
        *,
        silence: float = SILENCE_SECONDS,
        left_out: Callable[[LeftOut], None] = lambda _: None,
        essential: bool = False,
    ) -> None:
        self.cluster = cluster
        self.resource = resource
        self._left_out = left_out
        self._silence = silence
        self._essential = essential
        self._has_own = may_be_among(resource)
        self._under_way = ("", "")  # of the last list: the token of its next page, and its version
        self._in_pages = True

    async def page(self, limit: int, after: str = "", *, most_bytes: int | None = None) -> Page:
        """One page of a consistent list (no resourceVersion: the most recent).

        Raises ApiError, Expired, Malformed, and TooLarge if the page has more than ``most_bytes``.

        Expired also if a server lists each page as of its own moment. From then on it is asked for all objects at once,
        as client-go's pager does after a 410.
        """
        bounds = {"limit": str(limit)} if self._in_pages or limit == 1 else {}
        query = self.resource.query(**bounds, **({"continue": after} if after else {}))
        most_bytes = most_bytes if self._in_pages else None
        text = await self.cluster.get(self.resource.path, query, most_bytes=most_bytes, essential=self._essential)
        # Decoding a large page here would delay every other watch.
        page = await asyncio.to_thread(decode_page, text) if len(text) > READ_INLINE_BYTES else decode_page(text)
        token, version = self._under_way
        if after and after == token and page.version != version:
            self._in_pages = False
            raise Expired(f"the pages of one list have the versions {version} and {page.version}")
        self._under_way = (page.next, page.version)
        for item in page.left_out:
            self._left_out(item)
        return without_own(page) if self._has_own else page

    async def require_history(self, version: str) -> None:
        """Raise Expired if etcd no longer has the history after the version.

        Only for a resource without bookmarks, which is read from etcd: an expired watch there may just end, without an
        error (kubernetes/kubernetes#104171). Raises ApiError.
        """
        at = {"resourceVersion": version, "resourceVersionMatch": "Exact"}
        await self.cluster.get(self.resource.path, {"limit": "1", **at})

    async def find(self, namespace: str, name: str) -> Meta | None:
        """The object of that name, if it is in the selection now. Raises ApiError, Malformed."""
        place = replace(self.resource, namespace=namespace)
        text = await self.cluster.get(place.path, place.query(fieldSelector=f"metadata.name={_field_value(name)}"))
        items = decode_page(text).items
        return items[0].meta if items else None

    async def uid(self, namespace: str, name: str) -> str:
        """The uid of the object of that name, whether selected or not; "" if there is none, or none that can be read.

        Raises ApiError.
        """
        path = replace(self.resource, namespace=namespace).path_of(name)
        try:
            return decode_object(await self.cluster.get(path)).uid
        except ApiError as e:
            if e.status != 404:
                raise
            return ""
        except Malformed:
            return ""

    async def watch(
        self, version: str, seconds: tuple[float, float] | None = None, room: Room | None = None
    ) -> AsyncGenerator[list[Change]]:
        """Changes after `version`, in chunks as they arrive. The first chunk is empty: the stream is open.

        The server closes the stream after a random time between the two `seconds` (default: WATCH_SECONDS), if not
        earlier. An incomplete last line is dropped; the next watch gets it again. Long lines take ``room``, until the
        next chunk is asked for.
        Raises ApiError, NotResumable, Malformed, Silence.
        """
        lasts = int(random.uniform(*(seconds or WATCH_SECONDS)))
        query = self.resource.query(
            watch="true",
            allowWatchBookmarks="true",
            resourceVersion=version,
            timeoutSeconds=str(lasts),
        )
        async with self.cluster.stream(self.resource.path, query, essential=self._essential) as response:
            yield []
            with closing(WatchLines(response, min(self._silence, lasts + LATE_SECONDS), room)) as arriving:
                while (lines := await arriving.read()) is not None:
                    changes, error = self._decoded(lines)
                    del lines  # which would be held twice, for as long as the changes are
                    if changes:
                        yield changes
                    del changes  # the next may come in a long while
                    if error:
                        raise error

    def _decoded(self, lines: Sequence[bytes]) -> tuple[list[Change], ApiError | None]:
        """The changes of the lines up to an ERROR, and what that says. Raises Malformed."""
        changes: list[Change] = []
        for line in lines:
            try:
                change = decode_line(line)
            except LeftOut as e:
                self._left_out(e)
                if e.meta.resource_version not in NO_POSITION:
                    changes.append(Change("BOOKMARK", e.meta, b""))  # the position moves past it
                continue
            if self._has_own and is_own(change.body):
                continue  # nor does the position move past it: that would be a commit
            if change.type == "ERROR":
                status = decode_status(change.body)
                return changes, stream_error(status.code, status.reason, status.message, status.retry_after)
            changes.append(change)
        return changes, None


def _field_value(text: str) -> str:
    """A value in a field selector (EscapeValue of k8s.io/apimachinery/pkg/fields)."""
    return re.sub(r"[\\,=]", r"\\\g<0>", text)
