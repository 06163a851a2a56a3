"""Hides secrets in what a peer or a library says. It may repeat what was sent, also in another spelling."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import parse_qsl, quote, quote_plus

from kubecdc.workers.triggers.http.address import HIDDEN, Address

SHORTEST = 4  # characters of a part of a secret that is hidden by itself
MOST = 64  # secrets that are looked for; each has about twenty spellings
LONGEST = 8 * 1024  # characters of all of them
_BASE64_CHARACTERS = 8  # of a piece of base64 that is recognized
_ESCAPE = re.compile(r"%[0-9A-F]{2}")


def hide(text: str, secrets: Iterable[str]) -> str:
    """The text without the secrets, in whatever spelling. No text at all if there is too much to look for."""
    known: set[str] = set()
    for secret in secrets:
        known.add(secret)
        if len(known) > MOST or sum(map(len, known)) > LONGEST:
            return HIDDEN
    found = {spelling for secret in known for part in _parts(secret) for spelling in _spellings(part)}
    for spelling in sorted(filter(None, found), key=len, reverse=True):
        text = text.replace(spelling, HIDDEN)
    return text


def of_address(address: Address) -> Iterator[str]:
    """What may be secret in an address: its password, a user without one, the query and its values."""
    credentials = (address.credentials or b"").decode(errors="replace")
    user, _, password = credentials.partition(":")
    yield from (password, address.password) if password else (user, address.user)
    yield credentials
    query = str(address.url).partition("?")[2]
    yield query
    for field in query.split("&"):
        yield from (value for value in (field.partition("=")[2],) if len(value) >= SHORTEST)
    for _, value in parse_qsl(query):
        yield from (value,) if len(value) >= SHORTEST else ()


def _parts(secret: str) -> Iterator[str]:
    """The secret, and what is secret in it by itself: the token behind `Bearer`, the password in `Basic …`."""
    yield secret
    for word in secret.split()[1:]:
        if len(word) >= SHORTEST:
            yield word
        try:
            decoded = base64.b64decode(word, validate=True).decode()
        except ValueError:  # no base64, or not of a text
            continue
        yield from (part for part in (decoded, decoded.partition(":")[2]) if len(part) >= SHORTEST)


def _spellings(secret: str) -> Iterator[str]:
    """The secret as it is, and as JSON, HTML, Python, urls and base64 have it."""
    yield secret
    yield html.escape(secret)
    yield repr(secret)[1:-1]
    for ascii_only in (True, False):
        escaped = json.dumps(secret, ensure_ascii=ascii_only)[1:-1]
        yield from (escaped, escaped.replace("/", "\\/"), json.dumps(escaped)[1:-1])
    for quoted in (quote(secret, safe=""), quote(secret, safe="/"), quote_plus(secret)):
        yield from (quoted, _ESCAPE.sub(lambda escape: escape[0].lower(), quoted))
    for coded in _base64(secret.encode(errors="replace")):
        yield from (coded, coded.replace("/", "\\/"), quote(coded, safe=""))
        yield coded.replace("+", "-").replace("/", "_")


def _base64(secret: bytes) -> Iterator[str]:
    """The secret in base64, by itself and inside of something longer, where it may begin at each of three places."""
    whole = base64.b64encode(secret).decode()
    yield from (whole, whole.rstrip("="))
    for before in range(3):
        coded = base64.b64encode(bytes(before) + secret).decode()
        piece = coded[-(-before * 8 // 6) : (before + len(secret)) * 8 // 6]  # only what nothing around it changes
        if len(piece) >= _BASE64_CHARACTERS:
            yield piece
