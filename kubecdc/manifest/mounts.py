"""Secrets and ConfigMaps that a pod has mounted.

The paths are those of Argo Events (pkg/shared/util, GetSecretFromVolume): a folder for each object, a file for each
key. Nothing is cached, because a mounted Secret may be rotated at any time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kubecdc.errors import Unavailable
from kubecdc.manifest.secrets import KeyRef

SECRETS = Path("/argo-events/secrets")
CONFIGS = Path("/argo-events/config")


class Unreadable(Unavailable):
    """A key cannot be read now. The message has its name, the reason and what to do.

    ``ours``: whatever the key is, this process cannot read it, because the API server does not answer. ``denied``: RBAC
    does not let it.
    """

    def __init__(self, message: str, *, ours: bool = False, denied: bool = False) -> None:
        super().__init__(message)
        self.ours = ours
        self.denied = denied


@dataclass(frozen=True)
class Mounts:
    """The folders in which Secrets and ConfigMaps are mounted."""

    secrets: Path = SECRETS
    configs: Path = CONFIGS

    def folder(self, ref: KeyRef) -> Path:
        """Where the object is mounted, if it is."""
        return (self.secrets if ref.kind == "Secret" else self.configs) / ref.name

    def content(self, ref: KeyRef) -> bytes | None:
        """What the file of the key has; None if there is no such file. Raises Unreadable for one that is not read."""
        path = self.folder(ref) / ref.key
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as e:
            raise Unreadable(f"{ref} cannot be read from {path}: {e.strerror}") from e
