"""examples/multi-dependency: one Job for each release of which both are done, whichever comes first."""

from __future__ import annotations

import json
from pathlib import Path

from tests.apiserver import WORKFLOWS, ApiServer, RealApiServer, workflow
from tests.cli.rig import Desk
from tests.examples.stage import EXAMPLES, WATCHER, WORKERS, Body, Stage

JOBS = ("batch", "v1", "jobs")


class Releases:
    """Builds and tests as they come about in the cluster."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server

    async def build(self, name: str, release: str) -> None:
        """A Workflow that runs, and succeeds."""
        made = workflow(name, labels={"release": release}, phase="Running")
        await self.server.create(*WORKFLOWS, "default", made)
        await self.server.patch(*WORKFLOWS, "default", name, {"status": {"phase": "Succeeded"}})

    async def test(self, name: str, release: str) -> None:
        """A Job that completes: with 0 completions, the controllers of Kubernetes say so at once."""
        metadata = {"name": name, "labels": {"release": release}}
        pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "tests"}]}
        spec = {"completions": 0, "template": {"spec": pod}}
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}
        await self.server.create(*JOBS, "default", job)
        if not isinstance(self.server, RealApiServer):
            status = {"status": {"conditions": [{"type": "Complete", "status": "True"}]}}
            await self.server.patch(*JOBS, "default", name, status, subresource="status")

    async def touch(self, kind: tuple[str, str, str], name: str) -> None:
        """A change that is no news."""
        await self.server.patch(*kind, "default", name, {"metadata": {"labels": {"touched": "yes"}}})


def deployed(jobs: list[Body]) -> dict[str, tuple[str, str, list[str]]]:
    """What was made for each release: of which build and tests, and the command."""
    found = {}
    for job in jobs:
        if job["metadata"]["name"].startswith("deploy-"):
            said, [container] = job["metadata"]["annotations"], job["spec"]["template"]["spec"]["containers"]
            assert said["release"] not in found, "twice"
            found[said["release"]] = (said["built-by"], said["tested-by"], container["command"])
    return found


async def test_each_release_is_deployed_once(server: ApiServer, tmp_path: Path) -> None:
    stage = Stage(server, tmp_path / "desk", "multi-dependency")
    await stage.print_roles()
    await stage.grant(WATCHER, WORKERS)
    releases = Releases(server)
    async with stage.watch() as watch:
        await watch.until(r'(?s)"listed".*"listed"')
        async with stage.work() as work:
            await releases.build("build-1", "v1")
            await releases.test("tests-2", "v2")
            await releases.test("tests-3", "v3")
            work.process.kill()
            await work.process.wait()
        async with stage.work():
            await releases.test("tests-1", "v1")
            await releases.build("build-2", "v2")
            await stage.until(JOBS, lambda jobs: set(deployed(jobs)) == {"v1", "v2"})
            await releases.touch(WORKFLOWS, "build-1")
            await releases.touch(JOBS, "tests-1")
            await releases.test("tests-4", "v4")
            await releases.build("build-4", "v4")
            jobs = await stage.until(JOBS, lambda jobs: len(deployed(jobs)) == 3)
    assert deployed(jobs) == {f"v{n}": (f"build-{n}", f"tests-{n}", ["echo", "deploy", f"v{n}"]) for n in (1, 2, 4)}
    assert await stage.desk.rows("dlq", "list") == []


async def test_try_shows_what_both_give_in_either_order(desk: Desk) -> None:
    example = EXAMPLES / "multi-dependency"
    built, tested = (f"--event={example}/events/{name}.json" for name in ("built", "tested"))
    done = await desk.call("try", "-f", str(example), built, tested, tested, built, manifests=False)
    assert (done.code, done.err) == (0, "")
    made = [line["request"] for line in map(json.loads, done.out.splitlines()) if line["request"]]
    annotations = [job["object"]["metadata"]["annotations"] for job in made]
    assert len({job["object"]["metadata"]["name"] for job in made}) == 2, "each set makes its own"
    assert [(a["release"], a["built-by"], a["tested-by"]) for a in annotations] == [("v1.2", "build-7", "tests-12")] * 2
