"""Certificates and keys as files, for OpenSSL."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kubecdc.errors import UsageError


@contextmanager
def as_file(content: bytes) -> Iterator[str]:
    """A path to the content: OpenSSL's API takes certificates and keys from files only.

    Where possible it is in memory, because the file system may be read-only, and should not get a key.
    Raises UsageError if it cannot be made.
    """
    if hasattr(os, "memfd_create") and Path("/proc/self/fd").exists():
        descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{descriptor}"
    else:
        try:
            named = tempfile.NamedTemporaryFile()  # noqa: SIM115 - it is the next statement's
        except OSError as e:
            raise UsageError(
                f"certificates and their keys need a temporary file, which cannot be made: {e}",
                hint="set TMPDIR to a directory that can be written, in memory if possible: the file has the key",
            ) from e
        with named as file:
            file.write(content)
            file.flush()
            yield file.name
