"""The URL of a Redis, as manifests write it: one server, a primary that Sentinels name, or a cluster.

It needs no library, so that a manifest can be checked where there is none. No message here repeats what it was given:
there may be a password in it, in a place where none is expected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

Kind = Literal["server", "socket", "sentinel", "cluster"]
EXAMPLES: Mapping[Kind, str] = {
    "server": "redis://localhost:6379/0",
    "socket": "unix:///run/redis/redis.sock?db=0",
    "sentinel": "redis+sentinel://host:26379,host2:26379/mymaster/0",
    "cluster": "redis+cluster://host:6379,host2:6379",
}
SCHEMES: Mapping[str, tuple[Kind, bool]] = {  # what each is, and whether it speaks TLS
    "redis": ("server", False),
    "rediss": ("server", True),
    "unix": ("socket", False),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
PORTS: Mapping[Kind, int] = {"server": 6379, "socket": 0, "sentinel": 26379, "cluster": 6379}
# redis-py's own names. What else it takes from a URL (its retries, timeouts, protocol) is not the operator's to set:
# the promises of a bus rest on it.
TLS_OPTIONS = frozenset({
    "ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_password", "ssl_cert_reqs",
    "ssl_check_hostname", "ssl_min_version", "ssl_ciphers",
})  # fmt: skip
OPTIONS = TLS_OPTIONS | {"db", "username", "password", "sentinel_username", "sentinel_password"}
CHECKS = ("none", "optional", "required")
TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
VERSIONS = {"TLSv1.2": 771, "TLSv1.3": 772, "771": 771, "772": 772}


@dataclass(frozen=True)
class Address:
    """Of a server."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class BadUrl(ValueError):
    """It cannot be used; ``hint`` is how to write it."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True)
class RedisUrl:
    """What a URL says. ``addresses`` are of the server, the Sentinels or nodes of the cluster; ``tls`` is None without
    TLS, else redis-py's options for it.
    """

    kind: Kind
    addresses: tuple[Address, ...] = ()
    path: str = ""  # of the socket
    primary: str = ""  # as the Sentinels call it
    db: int = 0
    tls: Mapping[str, str | bool | int] | None = None
    username: str = ""
    password: str = field(default="", repr=False)
    sentinel_username: str = ""
    sentinel_password: str = field(default="", repr=False)

    @property
    def place(self) -> str:
        """Where it is, for people: without users, passwords and options."""
        if self.kind == "socket":
            return f"unix://{self.path}" + (f"?db={self.db}" if self.db else "")
        scheme = next(name for name, what in SCHEMES.items() if what == (self.kind, self.tls is not None))
        hosts = ",".join(map(str, self.addresses))
        path = {"sentinel": f"/{self.primary}/{self.db}", "cluster": ""}.get(self.kind, f"/{self.db}")
        return f"{scheme}://{hosts}{path}"


def parse(text: str) -> RedisUrl:
    """Raises BadUrl."""
    scheme, separator, rest = text.partition("://")
    if scheme not in SCHEMES or not separator or not rest:
        raise BadUrl(
            "is not the URL of a Redis",
            f"write it like {EXAMPLES['server']}, or rediss:// for TLS; {EXAMPLES['sentinel']} for Sentinels, "
            f"{EXAMPLES['cluster']} for a cluster",
        )
    kind, tls = SCHEMES[scheme]
    example = f"write it like {EXAMPLES[kind]}"
    try:
        parts = urlsplit(text)
    except ValueError:
        raise BadUrl("has a host that cannot be read", example) from None
    login, _, hosts = parts.netloc.rpartition("@")
    if parts.fragment or "#" in text or ("@" in parts.path + parts.query and not login):
        raise BadUrl("cannot be read", "write `/`, `?`, `#` and `@` in a user or password as %2F, %3F, %23 and %40")
    options = _options(parts.query, tls=tls, sentinel=kind == "sentinel")
    username, _, password = login.partition(":")
    primary, db = _path(kind, parts, options, example)
    return RedisUrl(
        kind,
        () if kind == "socket" else _addresses(hosts, kind, example),
        unquote(parts.path) if kind == "socket" else "",
        primary,
        db,
        _tls(options) if tls else None,
        unquote(username) or options.get("username", ""),
        unquote(password) or options.get("password", ""),
        options.get("sentinel_username", ""),
        options.get("sentinel_password", ""),
    )


def _addresses(hosts: str, kind: Kind, example: str) -> tuple[Address, ...]:
    found = []
    for host in hosts.split(","):
        try:
            parts = urlsplit(f"//{host}")
            port = parts.port or PORTS[kind]
        except ValueError:
            raise BadUrl("has a port or host that cannot be read", example) from None
        if not parts.hostname and (kind != "server" or parts.port):
            raise BadUrl("has no host, or an empty one", example)
        found.append(Address(unquote(parts.hostname or "localhost"), port))
    if kind == "server" and len(found) > 1:
        raise BadUrl(
            "names several hosts", f"write {EXAMPLES['sentinel']} for Sentinels, {EXAMPLES['cluster']} for a cluster"
        )
    return tuple(found)


def _path(kind: Kind, parts: SplitResult, options: Mapping[str, str], example: str) -> tuple[str, int]:
    """The name of the primary, and the number of the database."""
    primary, db = "", parts.path.strip("/")
    if kind == "sentinel":
        primary, _, db = db.partition("/")
        if not primary:
            raise BadUrl("does not name the primary to ask the Sentinels for", example)
    elif kind == "socket":
        db = ""
        if not parts.path.strip("/"):
            raise BadUrl("has no path of a socket", example)
        if parts.netloc.rpartition("@")[2]:
            raise BadUrl("has a host, or a path that does not begin with `/`", example)
    db = options.get("db", db) or "0"
    if not (db.isascii() and db.isdigit()):
        raise BadUrl("has a database that is not a number", example)
    if kind == "cluster" and int(db):
        raise BadUrl("names a database, and a cluster has only 0", example)
    return unquote(primary), int(db)


def _options(query: str, *, tls: bool, sentinel: bool) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in OPTIONS:
            raise BadUrl("has an option that a bus does not support", f"the options are {', '.join(sorted(OPTIONS))}")
        if name in TLS_OPTIONS and not tls:
            raise BadUrl(f"has the option {name}, but does not ask for TLS", "write rediss instead of redis")
        if name.startswith("sentinel_") and not sentinel:
            raise BadUrl(f"has the option {name}, but names no Sentinels", f"write it like {EXAMPLES['sentinel']}")
        options[name] = value
    return options


def _tls(options: Mapping[str, str]) -> dict[str, str | bool | int]:
    """The options for TLS, as redis-py's connections take them."""
    tls: dict[str, str | bool | int] = {name: value for name, value in options.items() if name in TLS_OPTIONS}
    if "ssl_check_hostname" in options:
        wanted = TRUTH.get(options["ssl_check_hostname"].lower())
        if wanted is None:
            raise BadUrl("has an ssl_check_hostname that is neither true nor false", "write true or false")
        tls["ssl_check_hostname"] = wanted
    if options.get("ssl_cert_reqs", CHECKS[0]) not in CHECKS:
        raise BadUrl("has an ssl_cert_reqs that is not known", f"write one of {', '.join(CHECKS)}")
    if "ssl_min_version" in options:
        if options["ssl_min_version"] not in VERSIONS:
            raise BadUrl("has an ssl_min_version that is not known", "write TLSv1.2 or TLSv1.3")
        tls["ssl_min_version"] = VERSIONS[options["ssl_min_version"]]
    return tls
