"""Where the file of a manifest is."""

from __future__ import annotations

import os
from pathlib import Path

from kubecdc.errors import UsageError
from kubecdc.storage.contracts.types import Opening


def identity(path: str) -> str:
    """The same for all ways to write the path of a file."""
    return os.path.realpath(path)


def located(path: str, opening: Opening, missing: str) -> Path:
    """The absolute path. Raises UsageError, which begins with ``missing``, if the file has to exist and does not."""
    found = Path(path).absolute()
    if not opening.create and not found.exists():
        raise UsageError(f"{missing} at {found} yet", hint="start `kubecdc run`, `watch` or `work` first")
    return found
