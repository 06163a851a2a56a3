"""The ``http`` trigger: one request per event."""

from __future__ import annotations

import asyncio
import io
import ssl
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from functools import lru_cache

import aiohttp

from kubecdc.cluster.keys import Keys
from kubecdc.concurrency import INLINE_BYTES
from kubecdc.manifest.mounts import Unreadable
from kubecdc.manifest.secrets import KeyRef, Tls
from kubecdc.names import Names
from kubecdc.workers.addresses import EVERYWHERE, Addresses, AddressRefused, refused
from kubecdc.workers.outcome import Failure, Outcome, Retry, Success
from kubecdc.workers.request import TriggerRequest
from kubecdc.workers.tls import TlsContext, failure
from kubecdc.workers.triggers.http.address import BadAddress, parse
from kubecdc.workers.triggers.http.answer import REFUSED, judge, phrase, retry_after, succeeded
from kubecdc.workers.triggers.http.connection import open_session
from kubecdc.workers.triggers.http.manifest import Http
from kubecdc.workers.triggers.http.message import BadUrl, Message, compose, refs
from kubecdc.workers.triggers.http.request import HttpRequest, prepare

ANSWER_BYTES = 64 * 1024  # of an answer that are read; the connection of a longer one is closed
ANSWER_SECONDS = 5.0  # for the body; the status is known, and only the connection could be used again
SHOWN_CHARACTERS = 200  # of an answer that is no success, in the reason


class HttpTrigger:
    """Sends the event. The status of the answer decides. Redirects are not followed: a POST would become a GET."""

    def __init__(
        self,
        *,
        allow: Collection[int] = (),
        tls: Tls | None = None,
        keys: Keys | None = None,
        concurrency: int = 64,
        addresses: Addresses = EVERYWHERE,
        own: str = "",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """``own`` is the address that the manifest has: another one was chosen by an event."""
        self._allow = frozenset(allow)
        self._keys = keys or Keys()
        self._tls = TlsContext(tls, self._keys)
        self._concurrency = concurrency
        self._addresses = addresses
        self._own = own
        self._now = now
        self._names = Names()
        self._session: aiohttp.ClientSession | None = None

    def prepare(self, request: TriggerRequest[Http]) -> HttpRequest:
        """Apply ``parameters``, ``payload`` and ``dynamicHeaders``. Raises ParameterError."""
        return prepare(request)

    async def execute(self, request: HttpRequest) -> Outcome:
        """Make the request once. Its deadline is the manifest's ``timeout``.

        Secrets are read for each request, and no outcome shows them. If the peer refuses one that has changed
        meanwhile, the event is not at fault.
        """
        try:
            values = await self._keys.texts(refs(request.config))
            message = compose(request, values)
            context = await self._tls.get()
        except BadUrl as e:
            return Failure(str(e))
        except Unreadable as e:
            return Retry(str(e), ours=e.ours)
        return await self._send(message, context, request.config.timeout, values)

    async def _changed(self, values: Mapping[KeyRef, str]) -> bool:
        self._keys.doubt(values)
        try:
            return await self._keys.texts(values) != values
        except Unreadable:
            return True

    async def _send(
        self, message: Message, context: ssl.SSLContext | bool, seconds: int, values: Mapping[KeyRef, str]
    ) -> Outcome:
        try:
            async with self._open().request(
                message.method,
                message.address.url,
                data=_piecewise(message.body),
                headers=message.headers,
                allow_redirects=False,
                ssl=context,
                timeout=_total(seconds),
            ) as answer:
                return await self._judge(answer, message, values)
        except AddressRefused as e:
            return refused(message.where, e, chosen=not self._is_own(message))
        except TimeoutError:
            if self._names.waits_for(host := message.address.url.raw_host):
                return Retry(f"{message.where}: the name {host} could not be looked up within {seconds} s")
            return Retry(f"{message.where}: no answer within {seconds} s")
        except aiohttp.ClientResponseError as e:  # its status is not the peer's, and its text has the address
            what = message.hide(e.message).partition("\n")[0].rstrip(":")
            return Retry(f"{message.where}: the answer cannot be read: {what}")
        except aiohttp.ServerDisconnectedError:
            return Retry(f"{message.where}: the connection was closed before the answer was complete")
        except (aiohttp.ClientError, OSError) as e:  # before ValueError, which a certificate that is refused is too
            reason = failure(e) or message.hide(str(e)) or type(e).__name__
            return Retry(f"{message.where}: {reason}")
        except ValueError as e:  # what the library would not send
            return Failure(f"{message.where}: {message.hide(str(e))}")
        except Exception as e:  # a defect: it is reported with its place, but its text may have the secrets
            raise RuntimeError(message.hide(f"{type(e).__name__}: {e}")).with_traceback(e.__traceback__) from None

    async def _judge(self, answer: aiohttp.ClientResponse, message: Message, values: Mapping[KeyRef, str]) -> Outcome:
        start = await _read(answer)
        if succeeded(answer.status, self._allow):
            return Success()
        shown = message.hide(start.decode(errors="replace"))[:SHOWN_CHARACTERS]
        status = f"{answer.status} {message.hide(phrase(answer.reason or ''))[:SHOWN_CHARACTERS]}".rstrip()
        after = retry_after(answer.headers.get("Retry-After"), self._now())
        reason = f"{message.where}: {status}" + (f": {shown}" if shown else "")
        if answer.status in REFUSED and values and await self._changed(values):
            return Retry(f"{reason}; the Secrets that were sent have changed meanwhile", after, ours=True)
        return judge(answer.status, after, self._allow, reason)

    def preview(self, request: HttpRequest) -> dict[str, object]:
        """The request that `execute` would make, without secrets. Raises BadUrl, also if the address is refused."""
        message = compose(request, None)
        try:
            self._addresses.require_host(message.address.url.raw_host or "")
        except AddressRefused as e:
            raise BadUrl(f"{message.where}: {e}") from e
        return message.preview()

    def _is_own(self, message: Message) -> bool:
        """Whether it goes to the host of the manifest."""
        try:
            own = parse(self._own).url
        except BadAddress:
            return False
        return (own.raw_host, own.port) == (message.address.url.raw_host, message.address.url.port)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:  # made on the loop that uses it
            self._session = open_session(self._concurrency, self._names, self._addresses)
        return self._session

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()


@lru_cache(maxsize=64)  # an event may choose it
def _total(seconds: int) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=seconds)


def _piecewise(body: bytes | None) -> bytes | io.BytesIO | None:
    """A body that is written in pieces if it is large, so that other tasks go on meanwhile."""
    return body if body is None or len(body) <= INLINE_BYTES else io.BytesIO(body)


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """The start of the answer. The connection goes back to the pool only if that was all of it."""
    chunks: list[bytes] = []
    size = 0
    try:
        if answer.content.is_eof():  # it came with the status, as most do: nothing to wait for
            return answer.content.read_nowait()
        async with asyncio.timeout(ANSWER_SECONDS):
            async for chunk in answer.content.iter_any():
                chunks.append(chunk)
                size += len(chunk)
                if size > ANSWER_BYTES:
                    answer.close()
                    break
    except (aiohttp.ClientError, TimeoutError, OSError):
        answer.close()  # the status is known, and that is what counts
    return b"".join(chunks)
