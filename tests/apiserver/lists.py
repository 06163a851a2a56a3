"""Lists: options, their rules, pages, and lists of the past.

Rules: k8s.io/apimachinery pkg/apis/meta/internalversion/validation, and the storage layer of k8s.io/apiserver.
"""

from __future__ import annotations

import base64
import binascii
import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.apiserver import errors
from tests.apiserver.bodies import json_fault
from tests.apiserver.changes import Stored, encode
from tests.apiserver.errors import ApiError, Cause, NotSimulated, bad_request
from tests.apiserver.resources import BUILT_IN, Target
from tests.apiserver.selectors import Selector
from tests.apiserver.store import Collection, Store

_KNOWN = {
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "includeObject",  # concerns Tables only
    "labelSelector",
    "limit",
    "pretty",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeout",
    "timeoutSeconds",
    "watch",
}
_TOKEN_VERSION = "meta.k8s.io/v1"


class NotYet(Exception):
    """The request names a version that the server has not reached: wait for it for a while, then ``error``."""

    def __init__(self, version: int, error: ApiError) -> None:
        super().__init__(version)
        self.version = version
        self.error = error


def _flag(query: Mapping[str, str], name: str) -> bool | None:
    """Go's conversion of a query value to bool: anything but false and 0 is true."""
    value = query.get(name)
    return None if value is None else value.lower() not in {"false", "0"}


def _number(query: Mapping[str, str], name: str) -> int:
    value = query.get(name) or "0"
    if not value.lstrip("+-").isdecimal():
        raise bad_request(f'strconv.ParseInt: parsing "{value}": invalid syntax')
    return int(value)


def version_fault(text: str) -> str:
    """What Go says of a resourceVersion that is no number; empty where it is one."""
    if not text or text.isdecimal():
        return ""
    return f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'


@dataclass(frozen=True, slots=True)
class Options:
    """ListOptions, parsed and validated."""

    watch: bool
    version: str
    match: str
    limit: int
    token: str
    bookmarks: bool
    timeout_seconds: int
    initial_events: bool | None
    selector: Selector

    @classmethod
    def parse(cls, target: Target, query: Mapping[str, str]) -> Options:
        """From a query; ApiError 400 and 422 in the server's words, 501 for parameters that are not simulated."""
        for name in query.keys() - _KNOWN:
            raise NotSimulated(f"query parameter {name}")
        if _flag(query, "pretty"):
            raise NotSimulated("pretty printing")
        limit, timeout = _number(query, "limit"), _number(query, "timeoutSeconds")
        selector = Selector(
            target.kind, target.namespace, query.get("labelSelector", ""), query.get("fieldSelector", "")
        )
        options = cls(
            watch=bool(_flag(query, "watch")),
            version=query.get("resourceVersion", ""),
            match=query.get("resourceVersionMatch", ""),
            limit=max(limit, 0),
            token=query.get("continue", ""),
            bookmarks=bool(_flag(query, "allowWatchBookmarks")),
            timeout_seconds=timeout,
            initial_events=_flag(query, "sendInitialEvents"),
            selector=selector,
        )
        if causes := options._watch_faults() if options.watch else options._list_faults():
            raise errors.invalid_options(causes)
        return options

    def _list_faults(self) -> list[Cause]:
        causes, field = [], "resourceVersionMatch"
        if self.match:
            if not self.version:
                why = "resourceVersionMatch is forbidden unless resourceVersion is provided"
                causes.append(Cause.forbidden(field, why))
            if self.token:
                causes.append(Cause.forbidden(field, "resourceVersionMatch is forbidden when continue is provided"))
            if self.match not in {"Exact", "NotOlderThan"}:
                causes.append(Cause.unsupported(field, self.match, ["Exact", "NotOlderThan", ""]))
            if self.match == "Exact" and self.version == "0":
                why = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
                causes.append(Cause.forbidden(field, why))
        if self.initial_events is not None:
            causes.append(Cause.forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
        return causes

    def _watch_faults(self) -> list[Cause]:
        causes, field = [], "resourceVersionMatch"
        if self.initial_events is not None and self.match != "NotOlderThan":
            why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            causes.append(Cause.forbidden(field, why))
        if self.match:
            if self.initial_events is None:
                why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
                causes.append(Cause.forbidden(field, why))
            if self.match != "NotOlderThan":
                causes.append(Cause.unsupported(field, self.match, ["NotOlderThan"]))
            if self.token:
                causes.append(Cause.forbidden(field, "resourceVersionMatch is forbidden when continue is provided"))
        return causes


def make_token(version: int, start: str) -> str:
    """A continue token: ``start`` is the key to go on from; version -1 means whatever is there then."""
    raw = encode({"v": _TOKEN_VERSION, "rv": version, "start": start})
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def read_token(token: str) -> tuple[int, str]:
    """(version, start) of a continue token; ApiError 400 in the server's words."""
    refused = "invalid continue token: continue key is not valid: "
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        at = next((i for i, c in enumerate(token) if not (c.isascii() and (c.isalnum() or c in "-_"))), len(token))
        raise bad_request(f"{refused}illegal base64 data at input byte {at}") from None
    try:
        fields = json.loads(raw)
        if not isinstance(fields, dict):
            raise TypeError("not an object")
    except UnicodeDecodeError as e:
        first = raw[e.start]
        raise bad_request(f"{refused}invalid character '\\u{first:04x}' looking for beginning of value") from None
    except (ValueError, TypeError):
        raise bad_request(refused + json_fault(raw)) from None
    if (found := fields.get("v", "")) != _TOKEN_VERSION:
        raise bad_request(f"{refused}server does not recognize this encoded version {found}")
    if not fields.get("start"):
        raise bad_request(f"{refused}encoded start key empty (version {_TOKEN_VERSION})")
    if not fields.get("rv"):
        raise bad_request(f"{refused}incorrect encoded start resourceVersion (version {_TOKEN_VERSION})")
    return fields["rv"], fields["start"]


def answer_list(store: Store, collection: Collection, options: Options) -> bytes:
    """The JSON of a list. Raises NotYet for a version from the future."""
    version, start = store.version, ""
    fault = version_fault(options.version)
    if options.token:
        version, start = read_token(options.token)
        if options.version not in {"", "0"}:
            raise bad_request("specifying resource version is not allowed when using continue")
    if fault:
        raise bad_request(f"invalid resource version: {fault}")
    # Lists of the past are answered from memory where there is a watch cache, and from etcd for events.
    uncached = collection.kind.plural == "events"
    oldest = max(store.compacted, store.compacted_in_etcd) if uncached else store.compacted
    prefix = f"{options.selector.namespace}/" if options.selector.namespace else ""
    exact = False
    if start:
        exact = version > 0
        version = version if exact else store.version
        if exact and version < oldest:
            raise errors.too_old_token(make_token(-1, start))
        if version > store.version:  # from before a backup was put back
            raise NotYet(version, errors.too_large_version(version, store.version))
    elif options.version not in {"", "0"}:
        wanted = int(options.version)
        if wanted > store.version:
            raise NotYet(wanted, errors.too_large_version(wanted, store.version))
        # Without a match, a limit makes a version exact (the rule from before resourceVersionMatch).
        exact = options.match == "Exact" or (not options.match and options.limit > 0)
        if exact:
            if wanted < oldest:
                raise errors.too_old_list()
            version = wanted
    if options.version == "0" and not start:
        version = collection.seen
    elif not exact:
        collection.seen = version
    objects = collection.at(version) if exact else collection.now()
    first = bisect_left(objects, prefix + start.lstrip("/"), key=lambda o: o.key)
    # At version 0 a list comes from the watch cache, which knows no limit.
    limit = 0 if options.version == "0" and not start else options.limit
    page, rest = _page(objects, first, prefix, limit, options.selector)
    token = make_token(version, "/" + page[-1].key.removeprefix(prefix) + "\x00") if rest else ""
    remaining = rest if options.selector.everything else 0
    return encode_list(collection, page, version, token, remaining)


def _page(
    objects: Sequence[Stored], first: int, prefix: str, limit: int, selector: Selector
) -> tuple[list[Stored], int]:
    """The objects of a page, and how many keys lie behind it."""
    matches = selector.matcher()
    page: list[Stored] = []
    end = bisect_left(objects, prefix[:-1] + "0", key=lambda o: o.key) if prefix else len(objects)
    for at in range(first, end):
        stored = objects[at]
        if matches is None or matches(stored):
            page.append(stored)
            if limit and len(page) == limit:
                return page, end - at - 1
    return page, 0


def encode_list(
    collection: Collection, page: Sequence[Stored], version: int, token: str = "", remaining: int = 0
) -> bytes:
    """A list of objects whose bytes are taken as they are. Items of a built-in kind do not say their kind, and the
    last page has no empty token."""
    kind = collection.kind
    if kind in BUILT_IN:
        more: dict[str, Any] = {"continue": token, **({"remainingItemCount": remaining} if remaining else {})}
        items = [o.body() for o in page]
        for item in items:
            del item["apiVersion"], item["kind"]
        metadata = {"resourceVersion": str(version), **(more if token else {})}
        head = {"apiVersion": kind.api_version, "kind": f"{kind.kind}List"}
        return encode({**head, "items": items, "metadata": metadata}) + b"\n"
    rest = b'"remainingItemCount":%d,' % remaining if token and remaining else b""
    return (
        b'{"apiVersion":"%s","items":[%s],"kind":"%sList","metadata":{"continue":"%s",%s"resourceVersion":"%d"}}\n'
        % (
            kind.api_version.encode(),
            b",".join(o.raw for o in page),
            kind.kind.encode(),
            token.encode(),
            rest,
            version,
        )
    )
