"""Comparing resourceVersions: opaque unless well-formed, then by length and text (KEP-5504), never as an int64."""

from __future__ import annotations

import re

_WELL_FORMED = re.compile(r"[1-9][0-9]*", re.ASCII)


def well_formed(version: str) -> bool:
    """Whether versions like this one can be ordered: decimal digits without a leading zero."""
    return _WELL_FORMED.fullmatch(version) is not None


def older(version: str, than: str) -> bool:
    """Whether `version` came before `than`. False if either is opaque, because then they cannot be compared."""
    less = version < than if len(version) == len(than) else len(version) < len(than)
    return less and well_formed(version) and well_formed(than)


def before(version: str) -> str:
    """The version just below, which orders an event in front of this one. An opaque version is returned unchanged."""
    return str(int(version) - 1) if well_formed(version) else version
