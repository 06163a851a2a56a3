"""An example on an API server that allows only what a role grants, with the accounts that `kubecdc rbac` writes."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, cast

import yaml

from kubecdc.cluster.resource import Resource
from kubecdc.workers.objects.kinds import guess
from tests.apiserver import ApiServer, LocalSimulator
from tests.cli.rig import Desk, Running

EXAMPLES = Path(__file__).parents[2] / "examples"
HOME = "kubecdc"
"""The namespace of the pods, and of the accounts."""
WATCHER, WORKERS = "kubecdc-watch", "kubecdc-work"

Body = dict[str, Any]


async def apply(api: ApiServer, documents: list[Body], account: str) -> list[tuple[Resource, str]]:
    """Create what `kubecdc rbac` printed for an account. The kind and name of each."""
    made = []
    for document in documents:
        if document["metadata"]["name"].startswith(account):
            kind = guess(document["apiVersion"], document["kind"], document["metadata"].get("namespace", ""))
            await api.create(kind.group, kind.version, kind.resource, kind.namespace, document)
            made.append((kind, document["metadata"]["name"]))
    return made


class Stage:
    """The manifests of an example in a folder, and a kubeconfig for the watcher and one for the workers.

    Neither may do anything before `grant`. ``documents`` are what `kubecdc rbac` printed.
    """

    def __init__(self, server: ApiServer, folder: Path, example: str) -> None:
        folder.mkdir()
        self.server = server
        self.desk = Desk(folder, cast(LocalSimulator, server))
        for file in self.desk.manifests.iterdir():
            file.unlink()
        for file in (EXAMPLES / example).glob("*.yaml"):
            shutil.copy(file, self.desk.manifests)
        self.documents: list[Body] = []
        self._configs: dict[str, str] = {}
        self._granted: list[tuple[Resource, str]] = []

    async def print_roles(self) -> None:
        """`kubecdc rbac`, and a certificate for each of the two accounts."""
        done = await self.desk.call("rbac", "--namespace", HOME, "--cluster")
        assert (done.code, done.err) == (0, "")
        self.documents = list(yaml.safe_load_all(done.out))
        for account in (WATCHER, WORKERS):
            user, groups = f"system:serviceaccount:{HOME}:{account}", ["system:serviceaccounts", "system:authenticated"]
            path = self.desk.folder / account
            self._configs[account] = str(await self.server.kubeconfig_of(path, user, *groups))

    async def grant(self, *accounts: str) -> None:
        """Apply what belongs to these accounts."""
        for account in accounts:
            self._granted += await apply(self.server, self.documents, account)

    async def revoke(self) -> None:
        """Delete what was applied."""
        for kind, name in self._granted:
            await self.server.delete(kind.group, kind.version, kind.resource, kind.namespace, name)
        self._granted.clear()

    def watch(self) -> AbstractAsyncContextManager[Running]:
        """`kubecdc watch` as its account."""
        return self.desk.running("watch", "--kubeconfig", self._configs[WATCHER])

    def work(self) -> AbstractAsyncContextManager[Running]:
        """`kubecdc work` as its account."""
        return self.desk.running("work", "--kubeconfig", self._configs[WORKERS])

    async def until(self, kind: tuple[str, str, str], condition: Callable[[list[Body]], bool]) -> list[Body]:
        """The objects of a kind in the namespace `default`, once they are as they should be."""
        found: list[Body] = []
        try:
            async with asyncio.timeout(60):
                while not condition(found := (await self.server.list(*kind, "default"))["items"]):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"after 60 s there is still {found}") from None
        return found
