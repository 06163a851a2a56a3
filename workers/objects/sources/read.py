"""Reading the object of a source."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from kubecdc.cluster.keys import Keys
from kubecdc.concurrency import in_thread
from kubecdc.manifest.mounts import Unreadable
from kubecdc.manifest.secrets import key_refs
from kubecdc.workers.addresses import Addresses, AddressRefused, refused
from kubecdc.workers.objects.answer import Undone
from kubecdc.workers.objects.document import Document, parsed
from kubecdc.workers.objects.sources.manifest import Source
from kubecdc.workers.outcome import Failure, Retry

LARGEST = 512 * 1024  # bytes, as in Argo Events
FILE_SECONDS = 10.0


class Reader:
    """Reads the sources of a trigger. ``own`` is the one that its manifest has: another one was chosen by an event."""

    def __init__(self, keys: Keys, addresses: Addresses, own: Source | None) -> None:
        self._keys = keys
        self._addresses = addresses
        self._own = own

    async def read(self, source: Source, seconds: float) -> Document:
        """The object. Raises Undone, Unusable, and TimeoutError for a text that takes longer to read."""
        text = await _text(source, self._keys, seconds, self._addresses, chosen=source != self._own)
        return await in_thread(partial(parsed, text), seconds=seconds)


async def _text(source: Source, keys: Keys, seconds: float, addresses: Addresses, *, chosen: bool) -> str:
    """The text of a source that is not in the manifest, or that an event has ``chosen``. Raises Undone.

    Whatever is wrong may be right later, and for events that do not choose the source it is no fault of theirs: it is
    retried. Only a text that no object can be made of is a failure, and an address that an event must not choose.
    """
    # Each is imported when it is used: its library takes a while.
    needed = [ref for part in (source.s3, source.git) for ref in key_refs(part)]
    try:
        values = await keys.texts(needed)
        if source.file:
            content = await _file(Path(source.file.path))
        elif source.configmap:
            content = (await keys.text(source.configmap)).encode()
        elif source.url:
            from kubecdc.workers.objects.sources import web

            content = await web.read(source.url, addresses)
        elif source.s3:
            try:
                from kubecdc.workers.objects.sources import bucket
            except ImportError:
                missing = "s3: boto3 is not installed: pip install 'kubecdc[s3]'"
                raise Undone(Retry(missing, ours=True)) from None
            content = await in_thread(partial(bucket.read, source.s3, values, seconds, addresses), seconds=seconds)
        else:
            assert source.git
            from kubecdc.workers.objects.sources import repository

            content = await repository.read(source.git, values, addresses)
    except AddressRefused as e:
        raise Undone(refused("the source", e, chosen=chosen)) from None
    except Unreadable as e:
        raise Undone(Retry(str(e), ours=e.ours)) from None
    except Undone:
        keys.doubt(needed)  # they may be why
        raise
    if len(content) > LARGEST:
        raise too_large("the source")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Undone(Failure("the source is not text in UTF-8")) from None


def too_large(what: str) -> Undone:
    """The error for a text that cannot be an object."""
    return Undone(Failure(f"{what} has more than {LARGEST} bytes"))


async def _file(path: Path) -> bytes:
    def content() -> bytes:
        if not path.is_file():  # a pipe would never end
            raise FileNotFoundError(2, "there is no such file")
        with path.open("rb") as opened:
            return opened.read(LARGEST + 1)

    try:
        return await in_thread(content, seconds=FILE_SECONDS)
    except TimeoutError:
        raise Undone(Retry(f"{path}: it could not be read within {FILE_SECONDS:g} s")) from None
    except OSError as e:
        raise Undone(Retry(f"{path}: {e.strerror or type(e).__name__}")) from None
