"""Documents on the web."""

from __future__ import annotations

import aiohttp

from kubecdc.workers.addresses import Addresses
from kubecdc.workers.connector import Connector
from kubecdc.workers.objects.answer import Undone
from kubecdc.workers.objects.sources.manifest import UrlSource, shown
from kubecdc.workers.objects.sources.read import LARGEST, too_large
from kubecdc.workers.outcome import Failure, Retry

REDIRECTS = 5


async def read(source: UrlSource, addresses: Addresses) -> bytes:
    """The document. Its server's certificate is verified, and redirects do not leave HTTPS.

    Raises Undone; AddressRefused, also for where it is redirected to.
    """
    where = shown(source.path)
    try:
        async with (
            aiohttp.ClientSession(
                connector=Connector(addresses),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "kubecdc", "Accept-Encoding": "identity"},
                auto_decompress=False,
            ) as session,
            session.get(source.path, max_redirects=REDIRECTS) as answer,
        ):
            if source.path.lower().startswith("https:") and answer.url.scheme != "https":
                raise Undone(Failure(f"{where}: it is redirected to an address without TLS"))
            if answer.status != 200:
                raise Undone(Retry(f"{where}: {answer.status} {answer.reason or ''}"))
            return await _limited(answer, where)
    except aiohttp.ClientConnectorCertificateError as e:
        raise Undone(Retry(f"{where}: the server's certificate is not accepted: {e.certificate_error}")) from None
    except aiohttp.TooManyRedirects:
        raise Undone(Retry(f"{where}: it is redirected more than {REDIRECTS} times")) from None
    except (aiohttp.ClientConnectorError, OSError) as e:
        reason = getattr(e, "strerror", None) or type(e).__name__
        raise Undone(Retry(f"{where}: {reason}")) from None
    except (aiohttp.ClientError, ValueError) as e:  # whose texts may have the address
        raise Undone(Retry(f"{where}: {type(e).__name__}")) from None


async def _limited(answer: aiohttp.ClientResponse, where: str) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for piece in answer.content.iter_any():
        pieces.append(piece)
        size += len(piece)
        if size > LARGEST:
            raise too_large(where)
    return b"".join(pieces)
