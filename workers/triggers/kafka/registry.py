"""Schemas from a registry with Confluent's API, which Apicurio and Karapace have too.

https://docs.confluent.io/platform/current/schema-registry/develop/api.html
"""

from __future__ import annotations

import asyncio
import base64
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec

from kubecdc.cluster.keys import Keys
from kubecdc.manifest.secrets import key_refs
from kubecdc.workers.addresses import EVERYWHERE, Addresses, AddressRefused, refused
from kubecdc.workers.connector import Connector
from kubecdc.workers.outcome import Retry
from kubecdc.workers.tls import TlsContext, failure
from kubecdc.workers.triggers.kafka.avro import Schema, UnusableSchema
from kubecdc.workers.triggers.kafka.manifest import SchemaRegistry
from kubecdc.workers.triggers.kafka.undone import Undone

LARGEST = 4 << 20  # bytes of an answer
MOST = 200  # schemas that one refers to, all together
ACCEPT = "application/vnd.schemaregistry.v1+json, application/json"


class _Reference(msgspec.Struct):
    subject: str
    version: int


class _Answer(msgspec.Struct, rename="camel"):
    schema: str
    schema_type: str | None = "AVRO"
    references: list[_Reference] | None = None


class Registry:
    """The schema that a manifest names. It is read once, because the schema of an id never changes."""

    def __init__(self, config: SchemaRegistry, keys: Keys, addresses: Addresses = EVERYWHERE) -> None:
        self._config = config
        self._keys = keys
        self._addresses = addresses
        self._tls = TlsContext(config.tls, keys)
        self._reading = asyncio.Lock()
        self._secrets: list[str] = []
        self._schema: Schema | None = None

    async def schema(self, seconds: float) -> Schema:
        """The schema. Raises Undone, with a Retry for whatever keeps it from being read; Unreadable."""
        if self._schema is None:
            try:
                async with asyncio.timeout(seconds), self._reading:
                    self._schema = self._schema or await self._read()
            except TimeoutError:
                raise self._undone(f"no answer within {seconds:g} s") from None
        return self._schema

    async def _read(self) -> Schema:
        auth, number = self._config.auth, self._config.schema_id
        headers = {"Accept": ACCEPT, "User-Agent": "kubecdc"}
        self._secrets = []
        if auth.username and auth.password:
            user, password = await self._keys.text(auth.username), await self._keys.text(auth.password)
            token = base64.b64encode(f"{user}:{password}".encode()).decode()
            headers["Authorization"] = f"Basic {token}"
            self._secrets = [token, password, user]
        async with aiohttp.ClientSession(
            connector=Connector(self._addresses, ssl=await self._tls.get()),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=headers,
        ) as session:
            try:
                texts = await self._texts(session, f"schemas/ids/{number}", {})
            except Undone:
                self._keys.doubt(key_refs(self._config))  # they may be why
                raise
        try:
            return Schema(number, texts)
        except UnusableSchema as e:
            raise self._undone(f"it cannot be used: {e}") from None

    async def _texts(self, session: aiohttp.ClientSession, path: str, known: dict[str, str]) -> list[str]:
        """The texts of a schema and of all that it refers to, each before those that need it."""
        found = await self._get(session, path)
        if found.schema_type not in (None, "AVRO"):
            raise self._undone(f"it is not in Avro, but of type {found.schema_type}")
        for reference in found.references or ():
            needed = f"subjects/{quote(reference.subject, safe='')}/versions/{reference.version}"
            if needed not in known:
                if len(known) >= MOST:
                    raise self._undone(f"it refers to more than {MOST} others")
                known[needed] = ""
                await self._texts(session, needed, known)
        known.pop(path, None)
        known[path] = found.schema  # behind those that it needs
        return list(known.values())

    async def _get(self, session: aiohttp.ClientSession, path: str) -> _Answer:
        try:
            async with session.get(f"{self._config.url}/{path}", allow_redirects=False) as answer:
                text = await answer.content.read(LARGEST + 1)
                while len(text) <= LARGEST and not answer.content.at_eof():
                    text += await answer.content.read(LARGEST + 1 - len(text))
        except AddressRefused as e:
            raise Undone(refused(f"the schema registry {self._config.url}", e, chosen=False)) from None
        except (aiohttp.ClientError, OSError, ValueError) as e:
            raise self._undone(failure(e) or str(e) or type(e).__name__) from None
        if answer.status != 200:
            raise self._undone(f"{answer.status} {answer.reason or ''}{_said(text)}")
        try:
            return msgspec.json.decode(text, type=_Answer)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise self._undone("the answer is not that of a schema registry") from None

    def _undone(self, why: str) -> Undone:
        for secret in filter(None, self._secrets):
            why = why.replace(secret, "***")
        return Undone(Retry(f"schema {self._config.schema_id} of {self._config.url}: {why}"))


def _said(text: bytes) -> str:
    """What a registry says of an error, in its own form."""
    try:
        found: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    message = found.get("message") if isinstance(found, dict) else None
    return f": {message[:200]}" if isinstance(message, str) else ""
