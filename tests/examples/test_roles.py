"""Each example with the roles that `kubecdc rbac` writes, and without them."""

from __future__ import annotations

import asyncio
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.apiserver import WORKFLOWS, ApiServer, RealApiServer, workflow
from tests.apiserver.client import RequestFailed
from tests.examples.stage import EXAMPLES, WATCHER, WORKERS, Body, Stage

FOLDERS = sorted(file.parent.name for file in EXAMPLES.glob("*/README.md"))
LABELS = {"track-me": "true", "report": "true", "release": "v1", "team": "ml"}
JOBS, SERVICES, DEPLOYMENTS = ("batch", "v1", "jobs"), ("", "v1", "services"), ("apps", "v1", "deployments")
POD = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "i"}]}
INGRESS = {"autodeploy-ingress-host": "a.example.com", "autodeploy-ingress-class": "nginx"}


def body(api: str, kind: str, name: str, spec: Body, **metadata: Any) -> Body:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, **metadata}, "spec": spec}


SELECTED: list[tuple[tuple[str, str, str], Body]] = [
    (WORKFLOWS, workflow("good", labels=LABELS, phase="Succeeded")),
    (WORKFLOWS, workflow("bad", labels=LABELS, phase="Failed")),
    (JOBS, body("batch/v1", "Job", "done", {"completions": 0, "template": {"spec": POD}}, labels=LABELS)),
    (SERVICES, body("v1", "Service", "web", {"ports": [{"port": 80}]}, annotations=INGRESS)),
    (
        DEPLOYMENTS,
        body(
            "apps/v1",
            "Deployment",
            "web",
            {
                "replicas": 0,
                "selector": {"matchLabels": {"a": "b"}},
                "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": POD["containers"]}},
            },
        ),
    ),
]
"""Objects of which each entry of each example selects one."""


async def make(server: ApiServer) -> None:
    for kind, document in SELECTED:
        await server.create(*kind, "default", document)
    if not isinstance(server, RealApiServer):  # there the controllers do it
        complete = {"status": {"conditions": [{"type": "Complete", "status": "True"}]}}
        await server.patch(*JOBS, "default", "done", complete, subresource="status")


async def remove(server: ApiServer) -> None:
    for kind in {kind for kind, _ in SELECTED}:
        names = {document["metadata"]["name"] for document in (await server.list(*kind, "default"))["items"]}
        for name in names - {"kubernetes"}:  # the Service of the server itself
            try:
                await server.delete(*kind, "default", name)
            except RequestFailed as e:
                if e.code != 404:  # what an object owned goes with it
                    raise


class Set(Stage):
    """An example with what it needs beside its manifests, and a Sensor that prints the events of each entry."""

    def __init__(self, server: ApiServer, folder: Path, example: str) -> None:
        super().__init__(server, folder, example)
        if example == "custom-trigger":
            shutil.copy(EXAMPLES / "workflow-tracker" / "eventsource.yaml", self.desk.manifests)
            (folder / "events").mkdir()
        if example.startswith("custom-"):
            self._install(example)
        elif example == "python-function":
            self.desk.environment["PYTHONPATH"] = str(EXAMPLES / example)
        files = [yaml.safe_load_all(file.read_text()) for file in self.desk.manifests.iterdir()]
        sources = [document for file in files for document in file if document["kind"] == "EventSource"]
        self.entries = [(made["metadata"]["name"], entry) for made in sources for entry in made["spec"]["resource"]]
        read = (entry for made in sources for entry in made["spec"]["resource"].values())
        self.resources = {(entry["resource"], entry.get("namespace", "")) for entry in read}
        self.desk.write("probe.yaml", yaml.safe_dump_all(map(_probe, self.entries)))

    async def done(self) -> None:
        """Wait until nothing is pending."""
        async with asyncio.timeout(120):
            while any(row["pending"] for row in await self.desk.rows("bus", "show")):  # noqa: ASYNC110
                await asyncio.sleep(0.5)

    def _install(self, example: str) -> None:
        """Its package, as far as entry points are concerned."""
        project = tomllib.loads((EXAMPLES / example / "pyproject.toml").read_text())["project"]
        info = self.desk.folder / "packages" / f"{project['name'].replace('-', '_')}-1.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 1\n")
        lines = []
        for group, points in project["entry-points"].items():
            lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
        (info / "entry_points.txt").write_text("\n".join(lines))
        self.desk.environment["PYTHONPATH"] = f"{info.parent}:{EXAMPLES / example}"


def _probe(entry: tuple[str, str]) -> Body:
    source, name = entry
    dependency = {"name": "event", "eventSourceName": source, "eventName": name}
    spec = {"dependencies": [dependency], "triggers": [{"template": {"name": "print", "log": {}}}]}
    return {"apiVersion": "kubecdc.io/v1alpha1", "kind": "Sensor", "metadata": {"name": f"probe-{name}"}, "spec": spec}


@pytest.mark.long
@pytest.mark.parametrize("example", FOLDERS)
async def test_they_are_enough_and_without_them_one_line_says_what_is_missing(
    server: ApiServer, tmp_path: Path, example: str
) -> None:
    stage = Set(server, tmp_path / "desk", example)
    await stage.print_roles()
    acts = any(document["metadata"]["name"].startswith(WORKERS) for document in stage.documents)
    try:
        async with stage.watch() as watch:
            await watch.until(f"(?s)(cannot list resource.*){{{len(stage.resources)}}}")
            missing = watch.lines("cannot list resource")
            assert len(missing) == len(stage.resources), "one line for each"
            await stage.grant(WATCHER)
            await watch.until(f'(?s)("code":"listed".*){{{len(stage.entries)}}}')
            await make(server)
            async with stage.work() as work:
                for _, name in stage.entries:
                    await work.until(f'"sensor":"probe-{name}"', out=True)
                if acts:
                    await work.until("the trigger failed")
                    [reason] = {str(line["reason"]) for line in work.lines("the trigger failed")}
                    assert "`kubectl create role kubecdc-" in reason
                    await stage.grant(WORKERS)
                    await stage.done()
                assert work.lines("dead letter") == []
            assert [line for line in watch.lines("cannot ") if line not in missing] == []
    finally:
        await stage.revoke()
        await remove(server)


def test_the_index_has_each_example() -> None:
    index = (EXAMPLES / "README.md").read_text()
    folders = sorted(file.parent.name for file in EXAMPLES.glob("*/*.yaml"))
    assert sorted(set(folders)) == FOLDERS, "each has a README"
    assert [name for name in FOLDERS if f"({name}/README.md)" not in index] == []
