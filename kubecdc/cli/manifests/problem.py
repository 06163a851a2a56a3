"""The problems in manifests."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from kubecdc.errors import UsageError
from kubecdc.manifest.finding import Location

_PLAIN = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Place:
    """A document in a file. ``manifest`` is its kind and name, if it has them; ``base`` is its location in a List."""

    file: str
    document: int = 0  # counted from 1; 0 = the file itself
    manifest: str = ""
    base: Location = ()

    def __str__(self) -> str:
        parts = [self.file, f"document {self.document}" if self.document else "", self.manifest]
        return ", ".join(part for part in parts if part)

    def holds(self, other: Place) -> bool:
        """Whether the other one is this document, or an item of it."""
        return (self.file, self.document) == (other.file, other.document) and self.base in ((), other.base)


@dataclass(frozen=True)
class Problem:
    """A problem in a manifest. ``str()`` returns it as one line."""

    place: Place
    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        parts = [str(self.place), self.path, self.message]
        return ": ".join(part for part in parts if part) + (f"; {self.hint}" if self.hint else "")


def path_text(location: Location) -> str:
    """A location as text: ``spec.triggers[0].template``."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{json.dumps(part, ensure_ascii=False)}]"
    return text


class ManifestErrors(UsageError):
    """The manifests are invalid. After the first line, the message has a line for each of ``problems``."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n".join([f"the manifests have {count}", *map(str, problems)]))
        self.problems = tuple(problems)
