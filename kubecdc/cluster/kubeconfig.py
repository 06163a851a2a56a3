"""The kubeconfig, read as kubectl reads it: a cluster, and a user of it.

The rules are those of client-go (k8s.io/client-go/tools/clientcmd). The official client for Python has others: for the
file that wins, the credentials that win, and what is ignored. It also hides why a plugin failed.
"""

from __future__ import annotations

import os
from base64 import b64decode
from binascii import Error as InvalidBase64
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from kubecdc.errors import UsageError

PLUGIN_EXTENSION = "client.authentication.k8s.io/exec"  # of a cluster: configuration for exec plugins


class _Part(msgspec.Struct, frozen=True):
    """A part of the file. Any may hold a secret, so its values are not shown."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


class Cluster(_Part, frozen=True, rename="kebab"):
    """`clusters[].cluster`, without what is never used."""

    server: str = ""
    tls_server_name: str = ""
    insecure_skip_tls_verify: bool = False
    certificate_authority: str = ""
    certificate_authority_data: str = ""
    proxy_url: str = ""
    disable_compression: bool = False
    extensions: list[dict[str, Any]] = []

    @property
    def plugin_config(self) -> Any:
        """What the cluster has for exec plugins; None if it has nothing."""
        return next((e.get("extension") for e in self.extensions if e.get("name") == PLUGIN_EXTENSION), None)


class Variable(_Part, frozen=True):
    """An environment variable of an exec plugin."""

    name: str
    value: str = ""


class Exec(_Part, frozen=True, rename="camel"):
    """`users[].user.exec`."""

    command: str = ""
    args: list[str] = []
    env: list[Variable] = []
    api_version: str = ""
    install_hint: str = ""
    provide_cluster_info: bool = False
    interactive_mode: str = ""


class AuthProvider(_Part, frozen=True):
    """`users[].user.auth-provider`."""

    name: str = ""
    config: dict[str, str] = {}


class User(_Part, frozen=True, rename="kebab"):
    """`users[].user`."""

    client_certificate: str = ""
    client_certificate_data: str = ""
    client_key: str = ""
    client_key_data: str = ""
    token: str = ""
    token_file: str = msgspec.field(name="tokenFile", default="")
    impersonate: str = msgspec.field(name="as", default="")
    impersonate_uid: str = msgspec.field(name="as-uid", default="")
    impersonate_groups: list[str] = msgspec.field(name="as-groups", default_factory=list)
    impersonate_extra: dict[str, list[str]] = msgspec.field(name="as-user-extra", default_factory=dict)
    username: str = ""
    password: str = ""
    auth_provider: AuthProvider | None = None
    exec: Exec | None = None


class _Context(_Part, frozen=True):
    cluster: str = ""
    user: str = ""


@dataclass(frozen=True)
class Kubeconfig:
    """One context of the files, with the names of its parts. All paths are absolute. ``where`` are the files."""

    where: str
    context: str
    cluster: Cluster
    user: User
    user_name: str


P = TypeVar("P", bound=_Part)


def read(files: list[Path], context: str | None = None) -> Kubeconfig | None:
    """The context of that name, or else the current one. None if no file has any content.

    Of two files that define the same, the first wins. Files that do not exist are skipped. Raises UsageError.
    """
    merged = _Merged(files)
    if merged.empty:
        return None
    name = context or merged.current
    if not name:
        raise merged.problem("it has no current-context", "name a context with --context")
    chosen, _ = merged.part("contexts", name, _Context)
    if not chosen.cluster:
        raise merged.problem(f"the context {name!r} names no cluster")
    cluster, origin = merged.part("clusters", chosen.cluster, Cluster)
    if not cluster.server:
        raise merged.problem(f"the cluster {chosen.cluster!r} has no server")
    user = User()
    if chosen.user:
        user, user_origin = merged.part("users", chosen.user, User)
        user = _resolve(user, user_origin.parent, "client_certificate", "client_key", "token_file")
        if user.exec and "/" in user.exec.command:
            user = msgspec.structs.replace(user, exec=_resolve(user.exec, user_origin.parent, "command"))
    cluster = _resolve(cluster, origin.parent, "certificate_authority")
    return Kubeconfig(merged.where, name, cluster, user, chosen.user)


class _Merged:
    """The files, as far as they exist."""

    def __init__(self, files: list[Path]) -> None:
        self.where = os.pathsep.join(map(str, files))
        self._documents = [(file, _document(file)) for file in files if file.exists()]
        self.current = next((c for _, d in self._documents if (c := d.get("current-context"))), "")
        if not isinstance(self.current, str):
            raise self.problem("current-context is not a string")

    @property
    def empty(self) -> bool:
        return not any(d.get(kind) for _, d in self._documents for kind in ("clusters", "contexts", "users"))

    def part(self, kind: str, name: str, model: type[P]) -> tuple[P, Path]:
        """The cluster, context or user of that name, and the file that it is from. Raises UsageError."""
        singular = kind.removesuffix("s")
        for file, document in self._documents:
            entries = document.get(kind) or []
            if not (isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)):
                raise self.problem(f"{kind} is not a list of objects")
            found = [entry for entry in entries if entry.get("name") == name]
            if len(found) > 1:
                raise self.problem(f"{file} has two {kind} named {name!r}")
            if found:
                try:
                    # null means the same as a field that is absent
                    return msgspec.convert(_without_nulls(found[0].get(singular) or {}), model), file
                except msgspec.ValidationError as e:
                    raise self.problem(f"the {singular} {name!r}: {_field(e)}") from e
        known = [str(e.get("name")) for _, d in self._documents for e in d.get(kind) or [] if isinstance(e, dict)]
        raise self.problem(f"there is no {singular} {name!r}", f"it has {', '.join(known) or 'none'}")

    def problem(self, text: str, hint: str = "see `kubectl config view`") -> UsageError:
        return UsageError(f"kubeconfig {self.where}: {text}", hint=hint)


def _document(file: Path) -> dict[str, Any]:
    try:
        document = yaml.load(file.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as e:
        raise UsageError(f"kubeconfig {file} cannot be read: {e}", hint="check it with `kubectl config view`") from e
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise UsageError(f"kubeconfig {file} is not an object", hint="check it with `kubectl config view`")
    return document


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    return [_without_nulls(v) for v in value] if isinstance(value, list) else value


def _field(error: msgspec.ValidationError) -> str:
    text, _, path = str(error).partition(" - at `$.")
    return f"{path.rstrip('`')}: {text}" if path else text


def _resolve(part: P, folder: Path, *fields: str) -> P:
    """The part, with relative paths in these fields made absolute."""
    paths = {field: str(folder.absolute() / value) for field in fields if (value := getattr(part, field))}
    return msgspec.structs.replace(part, **paths)


def pem(data: str, file: str, what: str) -> bytes:
    """PEM blocks from a ``-data`` field (base64), or else from a file; b"" if there is neither. Raises UsageError."""
    try:
        if data:
            return b64decode("".join(data.split("\n")).replace("\r", ""), validate=True)
        return Path(file).read_bytes() if file else b""
    except InvalidBase64 as e:
        raise UsageError(f"{what}-data is not base64: {e}", hint="write it as `base64 -w0` prints it") from e
    except OSError as e:
        raise UsageError(f"{what} cannot be read: {e}", hint="check the path in the kubeconfig") from e
