"""The address of a request. It is sent as it is written, byte for byte: signatures of urls cover their spelling."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes

from yarl import URL

LONGEST = 16 * 1024  # characters; common servers read lines of 8 KiB
LONGEST_HOST = 253  # characters, as in DNS (RFC 1035, section 2.3.4)
SHOWN_CHARACTERS = 200  # of an address that is not valid
HIDDEN = "***"
_NEVER = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_PARTS = re.compile(r"(https?)://([^/?#]*)([^#]*)(?:#.*)?", re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]*))?")
_LABEL = re.compile(r"[A-Za-z0-9_~-]{1,63}")
_VALUE = re.compile(r"([^&=]+=)?[^&]+")  # of a query
_UNWRITTEN = re.compile(r"[^!-~]+")  # what a request line cannot have


class BadAddress(ValueError):
    """A text that is not an HTTP address. ``hint``: what to write instead. The message shows no secret."""

    def __init__(self, text: str, hint: str, *, why: str = "") -> None:
        super().__init__(f"{shown(text)!r} is not an HTTP address" + (f": {why}" if why else ""))
        self.hint = hint


@dataclass(frozen=True)
class Address:
    """Where a request goes. ``user`` and ``password`` are as written, "" without one; ``url`` has neither."""

    url: URL
    where: str  # for messages: without query, user and password
    user: str
    password: str

    @property
    def credentials(self) -> bytes | None:
        """What basic authentication encodes, in the bytes that the address names (UTF-8, as in Go and curl)."""
        if not (self.user or self.password):
            return None
        return unquote_to_bytes(self.user) + b":" + unquote_to_bytes(self.password)

    def preview(self) -> str:
        """The address without its password, a user that has none, and the values of its query."""
        place, mark, query = str(self.url).partition("?")
        shown = place + mark + _VALUE.sub(lambda field: f"{field[1] or ''}{HIDDEN}", query)
        if not (self.user or self.password):
            return shown
        user = f"{self.user}:{HIDDEN}" if self.password else HIDDEN
        return shown.replace("://", f"://{user}@", 1)


@lru_cache(maxsize=256)
def parse(text: str) -> Address:
    """The parts of an address. A space, and what is not ASCII, is percent-encoded after the host.

    Raises BadAddress.
    """
    if len(text) > LONGEST:
        raise BadAddress(text, f"write at most {LONGEST} characters", why=f"it has {len(text)} characters")
    if text != text.strip():
        raise BadAddress(text, "leave the blank out", why="it has a blank at an end")
    if _NEVER.search(text):
        raise BadAddress(text, "percent-encode them", why="it has characters that cannot be sent")
    parts = _PARTS.fullmatch(text)
    if parts is None:
        raise BadAddress(text, "https://host/path")
    scheme, authority, target = parts[1].lower(), parts[2], parts[3]
    userinfo, _, place = authority.rpartition("@")
    user, _, password = userinfo.partition(":")
    try:
        place = _place(place)
    except ValueError as e:
        raise BadAddress(text, "https://example.com:8443/path", why=str(e)) from None
    if not target.startswith("/"):
        target = f"/{target}" if target else ""
    target = _UNWRITTEN.sub(lambda some: quote(some[0], safe=""), target)
    url = URL.build(scheme=scheme, authority=place, path=target, encoded=True)
    return Address(url, f"{scheme}://{place}{target.partition('?')[0]}", user, password)


def shown(text: str) -> str:
    """The start of a text that should be an address, without what may be a password or a token."""
    start = re.split(r"[?#]", text[:LONGEST], maxsplit=1)[0]
    secret, at, rest = start.rpartition("@")
    if not at and "@" in text:  # the user or the password has a `?` or a `#`
        return HIDDEN
    return (f"{HIDDEN}@{rest}" if secret or at else rest)[:SHOWN_CHARACTERS]


def _place(authority: str) -> str:
    """Host and port, as they are sent: a host that is not ASCII in the spelling of DNS. Raises ValueError."""
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise ValueError("what stands for its host and port is neither a name nor an IP address")
    host, port = _host(parts[1]), parts[2] or ""
    if port and not (len(port) <= 5 and 1 <= int(port) <= 65_535):
        raise ValueError(f"there is no port {port[:10]}, only 1 to 65535")
    return f"{host}:{port}" if port else host


def _host(text: str) -> str:
    if not text:
        raise ValueError("it has no host")
    if len(text.removesuffix(".")) > LONGEST_HOST:
        raise ValueError(f"its host has more than {LONGEST_HOST} characters")
    if text.startswith("["):
        ipaddress.IPv6Address(text[1:-1])
        return text
    host = text if text.isascii() or max(map(len, text.split("."))) > 63 else _in_dns(text)
    if not all(_LABEL.fullmatch(label) for label in host.removesuffix(".").split(".")):
        raise ValueError(f"{text!r} is neither a name nor an IP address")
    return host


def _in_dns(host: str) -> str:
    """As DNS has it (RFC 5891): bücher.example is xn--bcher-kva.example. As it is if that has no such form."""
    try:
        return URL.build(scheme="http", host=host).raw_host or host
    except ValueError:
        return host
