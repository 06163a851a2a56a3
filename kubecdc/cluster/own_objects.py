"""The objects that kubecdc writes for itself: its Leases, Events, and the ConfigMaps of checkpoints and state.

An entry that captured them would never come to rest: each commit may write one, and that is a change, which would be
committed. Two watchers would keep each other awake in the same way, so the objects are recognized by an annotation and
not by their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from kubecdc.cluster.changes import Change, LeftOut, Page
from kubecdc.cluster.objects import UNREADABLE
from kubecdc.cluster.resource import Resource

ANNOTATION = "kubecdc.io/internal"
KINDS = {("", "configmaps"), ("", "events"), ("coordination.k8s.io", "leases"), ("events.k8s.io", "events")}
_NAME = ANNOTATION.encode()


class _Meta(msgspec.Struct):
    annotations: dict[str, str] = {}


class _Object(msgspec.Struct):
    metadata: _Meta


_decoder = msgspec.json.Decoder(_Object)


def marked(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of an object of our own."""
    return {**metadata, "annotations": {**(metadata.get("annotations") or {}), ANNOTATION: "true"}}


def may_be_among(resource: Resource) -> bool:
    """Whether objects of our own are of that resource."""
    return (resource.group, resource.resource) in KINDS


def is_own(body: bytes) -> bool:
    """Whether an object, as JSON, is one of our own."""
    if _NAME not in body:
        return False
    try:
        return ANNOTATION in _decoder.decode(body).metadata.annotations
    except UNREADABLE:
        return False


def without_own(page: Page) -> Page:
    """The page with our own objects left out."""
    items: list[Change] = []
    left_out = list(page.left_out)
    for item in page.items:
        if is_own(item.body):
            left_out.append(LeftOut("an object of kubecdc itself", item.body, item.meta))
        else:
            items.append(item)
    return replace(page, items=items, left_out=left_out)
