"""Secrets and ConfigMaps, read from where a pod has them mounted.

The paths are those of Argo Events (pkg/shared/util, GetSecretFromVolume): a folder for each object, a file for each
key. Nothing is cached, because a mounted Secret may be rotated at any time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kubecdc.errors import Unavailable
from kubecdc.manifest.secrets import KeyRef, ValueFrom

SECRETS = Path("/argo-events/secrets")
CONFIGS = Path("/argo-events/config")


class Unreadable(Unavailable):
    """A key cannot be read now. The message has its name, its path and what to do."""


@dataclass(frozen=True)
class Mounts:
    """The folders in which Secrets and ConfigMaps are mounted."""

    secrets: Path = SECRETS
    configs: Path = CONFIGS

    def secret(self, ref: KeyRef) -> str:
        """The text of a Secret's key. Raises Unreadable."""
        return _text(self.secret_bytes(ref), _name("Secret", ref))

    def secret_bytes(self, ref: KeyRef) -> bytes:
        """The bytes of a Secret's key. Raises Unreadable."""
        return _read(self.secret_path(ref), _name("Secret", ref), "--secrets-dir")

    def secret_path(self, ref: KeyRef) -> Path:
        """The file of a Secret's key."""
        return self.secrets / ref.name / ref.key

    def value(self, source: ValueFrom) -> str:
        """The text that it refers to. Raises Unreadable."""
        if source.secret_key_ref:
            return self.secret(source.secret_key_ref)
        assert source.config_map_key_ref  # the manifest has exactly one of them
        return self.config(source.config_map_key_ref)

    def config(self, ref: KeyRef) -> str:
        """The text of a ConfigMap's key. Raises Unreadable."""
        name = _name("ConfigMap", ref)
        return _text(_read(self.configs / ref.name / ref.key, name, "--configmaps-dir"), name)


def _name(kind: str, ref: KeyRef) -> str:
    return f"key `{ref.key}` of {kind} `{ref.name}`"


def _read(path: Path, name: str, option: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as e:
        hint = "add the key" if path.parent.is_dir() else f"mount it at {path.parent}, or give its place with {option}"
        raise Unreadable(f"{name} is not mounted: there is no file {path}; {hint}") from e
    except OSError as e:
        raise Unreadable(f"{name} cannot be read from {path}: {e.strerror}") from e


def _text(content: bytes, name: str) -> str:
    """The text without a line break at its end, as in Argo."""
    try:
        return content.decode().removesuffix("\n")
    except UnicodeDecodeError:
        raise Unreadable(f"{name} is not text in UTF-8") from None
