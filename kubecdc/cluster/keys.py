"""The values that keys of Secrets and ConfigMaps have: from where a pod has them mounted, or else from the cluster."""

from __future__ import annotations

from collections.abc import Iterable

from kubecdc.cluster.shared import SharedCluster, no_cluster
from kubecdc.errors import KubecdcError, UsageError
from kubecdc.manifest.mounts import Mounts, Unreadable
from kubecdc.manifest.secrets import KeyRef

OPTIONS = {"Secret": "--secrets-dir", "ConfigMap": "--configmaps-dir"}


class Keys:
    """Reads keys anew whenever they are asked for. ``namespace`` is that of the manifest that refers to them.

    A mounted file has the value of now. One that comes from the cluster is at most `contents.KEPT` seconds old, unless
    the API server does not answer.
    """

    def __init__(self, mounts: Mounts | None = None, cluster: SharedCluster | None = None, namespace: str = "") -> None:
        self.mounts = mounts or Mounts()
        self._cluster = cluster or SharedCluster(no_cluster)
        self._namespace = namespace or self._cluster.namespace
        is_home = self._namespace == self._cluster.namespace
        self._naming = f"name another one with {self._cluster.naming}, " if is_home else ""

    async def content(self, ref: KeyRef) -> bytes:
        """The bytes of a key. Raises Unreadable."""
        mounted = self.mounts.content(ref)
        return await self._in_cluster(ref) if mounted is None else mounted

    async def text(self, ref: KeyRef) -> str:
        """The text of a key, without a line break at its end, as in Argo. Raises Unreadable."""
        try:
            return (await self.content(ref)).decode().removesuffix("\n")
        except UnicodeDecodeError:
            raise Unreadable(f"{ref} is not text in UTF-8") from None

    async def texts(self, refs: Iterable[KeyRef]) -> dict[KeyRef, str]:
        """The text of each key. Raises Unreadable."""
        return {ref: await self.text(ref) for ref in refs}

    def doubt(self, refs: Iterable[KeyRef]) -> None:
        """A peer has refused what was made of these keys: those that the cluster gave are read there anew."""
        for ref in refs:
            self._cluster.contents.doubt(ref.kind, self._namespace, ref.name)

    async def _in_cluster(self, ref: KeyRef) -> bytes:
        folder, namespace = self.mounts.folder(ref), self._namespace
        missing = f"{ref} is not mounted: there is no file {folder / ref.key}"
        mount = f"mount it at {folder}, or give its place with {OPTIONS[ref.kind]}"
        if folder.is_dir():
            mount = "add the key"
        try:
            data = await self._cluster.contents.of(ref.kind, namespace, ref.name)
        except UsageError as e:
            raise Unreadable(f"{missing}, and the cluster cannot be asked: {e}; {mount}") from e
        except KubecdcError as e:
            match getattr(e, "status", 0):
                case 404:
                    nowhere = f"and namespace {namespace} has no such {ref.kind}; {self._naming}create it, or {mount}"
                    raise Unreadable(f"{missing}, {nowhere}") from e
                case 403:
                    forbidden = f"and reading it in namespace {namespace} is forbidden (403)"
                    grant = "or grant `get` on it: `kubecdc rbac` prints the Role"
                    raise Unreadable(f"{missing}, {forbidden}; {mount}, {grant}", denied=True) from e
            raise Unreadable(f"{missing}, and it cannot be read from the cluster: {e}", ours=True) from e
        if ref.key not in data:
            has_not = f"and the {ref.kind} in namespace {namespace} has no such key; add the key"
            raise Unreadable(f"{missing}, {has_not}")
        return data[ref.key]
