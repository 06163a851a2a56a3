"""The configuration and credentials in use. They are read again after a failure, because all of them may be rotated."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace

import aiohttp

from kubecdc.cluster.configuration import Configuration
from kubecdc.cluster.credentials import Credential
from kubecdc.cluster.errors import ApiError
from kubecdc.cluster.open_files import is_out_of_files
from kubecdc.cluster.tls import KeyPair, Trust, tls_context
from kubecdc.errors import UsageError


@dataclass(frozen=True)
class Settings:
    """What a request is sent with. ``reading`` numbers the readings of the configuration."""

    configuration: Configuration
    credential: Credential
    tls: ssl.SSLContext | bool
    reading: int

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The headers that say who we are."""
        authorization = self.credential.authorization or self.configuration.server.authorization
        own = [("Authorization", authorization)] if authorization else []
        return own + self.configuration.impersonation.headers()


class Rotation:
    """Gives each request its settings. ``load`` reads the configuration of a context, None for the current one.

    Raises UsageError if that fails at first. Later, what was read last is used until a file can be read again.
    """

    def __init__(self, load: Callable[[str | None], Configuration], context: str | None) -> None:
        self._load = load
        self.configuration = load(context)
        self._tls: tuple[Trust, KeyPair | None, ssl.SSLContext] | None = None
        self._context(self.configuration)
        self._reading = 0
        self._stale = False
        self._unreadable: UsageError | None = None
        self._lock = asyncio.Lock()

    @property
    def waiting_for(self) -> str:
        """Who has been asked for credentials and has not answered yet; "" for nobody."""
        return self.configuration.source.waiting_for

    async def current(self) -> Settings:
        """The settings for a request. Raises ApiError (401) if there are no credentials: then it must not be sent."""
        if self._stale:
            async with self._lock:
                if self._stale:
                    await self._read()
        try:
            credential = await self.configuration.source.get()
        except (ApiError, asyncio.CancelledError):
            self._stale = True  # another user may have been put in its place
            raise
        tls = self._context(self.configuration, credential.pair)
        return Settings(self.configuration, credential, tls, self._reading)

    def failed(self, settings: Settings, error: Exception) -> None:
        """A request failed: read everything again before the next one, unless that was done since it was sent.

        Certificates may have been replaced, and the server may have another address. Credentials were refused only if
        the server says so, or ended the handshake.
        """
        if settings.reading != self._reading or is_out_of_files(error):
            return
        self._stale = True
        refused = isinstance(error, ApiError) and error.status == 401
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            self._tls = None  # the authorities of the system may have changed
        elif isinstance(error, aiohttp.ClientSSLError) or isinstance(error.__cause__, ssl.SSLError):
            refused = settings.credential.pair is not None
        if refused:
            settings.configuration.source.reject(settings.credential)

    def late(self) -> None:
        """A request had no answer in its time: read everything again before the next one."""
        self._stale = True

    def explained(self, settings: Settings, error: ApiError) -> ApiError:
        """The error, with what is known about its cause."""
        notes = [settings.credential.doubt] if error.status == 401 and settings.credential.doubt else []
        if self._unreadable is not None:
            notes.append(f"reading the credentials again failed: {self._unreadable}")
        if not notes:
            return error
        return ApiError("; ".join([str(error), *notes]), status=error.status, hint=error.hint)

    async def close(self) -> None:
        """Stop what is running."""
        await self.configuration.source.close()

    async def _read(self) -> None:
        """Read the configuration of the same context again."""
        old = self.configuration
        try:
            new = await asyncio.to_thread(self._load, old.context or None)
            self._context(new)
        except UsageError as e:
            self._unreadable = e
            return
        if new.origin == old.origin:
            new = replace(new, source=old.source)
        else:
            await old.source.close()
        self.configuration = new
        self._reading += 1
        self._stale, self._unreadable = False, None

    def _context(self, configuration: Configuration, pair: KeyPair | None = None) -> ssl.SSLContext | bool:
        """The TLS context, made anew only if a certificate has changed. Raises UsageError.

        True, for any context, if none is needed: to read the authorities of the system takes some 20 ms.
        """
        trust, pair = configuration.trust, pair or configuration.pair
        if not (configuration.server.uses_tls or trust.ca or pair):
            return True
        if self._tls is None or self._tls[:2] != (trust, pair):
            self._tls = trust, pair, tls_context(trust, pair)
        return self._tls[2]
