"""docs/terminal.md: what the commands print in terminals of two widths, made by ``make terminal`` of a real run.

The manifests are the README's, the cluster is the simulated one, the receiver refuses one change. What is never the
same twice is made the same: ages and rates before the tables are laid out, ids and ports after it, at their length.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from aiohttp import web

from tests.apiserver import LocalSimulator, simulator
from tests.docs.blocks import ROOT, blocks_of
from tests.docs.tty import Shell, shell
from tests.harness.other_program import other_program
from tests.workers.peer import serving

PAGE = ROOT / "docs" / "terminal.md"
BEGIN, END = "<!-- made by `make terminal` -->\n", "<!-- the end of what it makes -->\n"
WIDTHS = (80, 200)
DEPLOYMENTS = ("apps", "v1", "deployments", "shop")
BUS = """\
apiVersion: kubecdc.io/v1alpha1
kind: EventBus
metadata: {name: default}
spec: {sqlite: {path: bus.db}}
"""
Steps = dict[str, str]  # commands by their titles
DOCUMENTS = ("$ kubecdc rbac", "$ kubecdc try", "$ kubecdc dlq show")  # which are long, and much the same at any width
BEFORE: Steps = {
    "Manifests with a mistake": "validate -f broken",
    "Manifests without one": "validate -f manifests",
    "The permissions that the manifests need": "rbac -f manifests",
    "What would be sent for an event, which `kubecdc try --sample` printed": "try -f manifests --event event.json",
    "What would be sent for an object of the cluster": "try -f manifests --object deployments/web -n shop",
    "It is sent": "try -f manifests --event event.json --execute",
    "What the bus needs is created, here for manifests whose trigger has another name": "bus ensure -f former",
}
AFTER: Steps = {
    "The state, after `kubecdc run -f manifests` was started": "status -f manifests",
    "The subscriptions": "bus show -f manifests",
    "A subscription that no manifest has is removed": "bus prune -f manifests",
    "The positions": "checkpoint show -f manifests",
    "Whether what was captured matches the cluster": "audit -f manifests",
    "The dead letters": "dlq list -f manifests",
    "One of them, with its event": "dlq show 1 -f manifests",
}
PAUSE: Steps = {
    "Deliveries are paused": "bus pause inventory/post -f manifests",
    "The state during the pause": "status -f manifests",
    "Deliveries are resumed": "bus resume inventory/post -f manifests",
    "A dead letter is delivered again": "dlq redrive 1 -f manifests",
}
REPLAY: Steps = {
    "The number of events that can be delivered again": "replay --subscription inventory/post -f manifests --dry-run",
    "They are delivered again": "replay --subscription inventory/post --since 24h -f manifests",
}
REPAIR: Steps = {
    "A difference is repaired: a row of the inventory was deleted": "audit --repair -f manifests --log-level warning",
}
LAST: Steps = {
    "All dead letters are deleted": "dlq purge --all -f manifests",
    "A watch is moved back to an older version": "checkpoint set deployments/changed --resource-version 8 -f manifests",
    "A watch is reset": "checkpoint reset deployments/changed -f manifests",
}
UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
SOURCE, POST, SEND = "source/deployments/changed", "subscription/inventory/post", "subscription/inventory/send"


def render(made: str) -> str:
    """The page: what is made, in the text around it."""
    before, rest = PAGE.read_text().split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{made}\n{END}{after}"


async def make() -> str:
    """What is made of a run in a terminal of each width."""
    narrow, wide = await asyncio.gather(*map(_run, WIDTHS))
    differ = [title for title in wide if wide[title] != narrow[title] and not wide[title].startswith(DOCUMENTS)]
    parts = [f"## At {WIDTHS[0]} columns\n", *(_block(title, text) for title, text in narrow.items())]
    parts += [f"## At {WIDTHS[1]} columns, where lines are broken in other places\n"]
    return "\n".join([*parts, *(_block(title, wide[title]) for title in differ)])


async def _run(width: int) -> dict[str, str]:
    """The commands and what they print, by their titles."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        async with simulator() as api, serving(_refusing_checkout) as peer, asyncio.timeout(110):
            _lay_out(folder, api, peer.url)
            await api.make_namespaces("shop")
            for deployment in ("cart", "checkout", "web"):
                await api.create(*DEPLOYMENTS, _deployment(deployment))
            with shell(folder, width) as terminal:
                return await asyncio.to_thread(_scene, folder, terminal)


def _scene(folder: Path, terminal: Shell) -> dict[str, str]:
    (folder / "event.json").write_text(terminal.run("try -f manifests --sample"))
    shown = _shown(BEFORE, terminal)
    terminal.begin("run -f manifests")
    _settle({POST: (0, 1), SEND: (3, 0)}, terminal)
    shown |= _shown(AFTER, terminal) | _shown(PAUSE, terminal)
    _settle({POST: (0, 1)}, terminal)
    shown |= _shown(REPLAY, terminal)
    _settle({POST: (0, 2)}, terminal)
    with other_program(folder / "bus.db") as db:
        db.execute("DELETE FROM inventory WHERE name = 'web'")
    shown |= _shown(REPAIR, terminal)
    _settle({POST: (0, 2)}, terminal)
    return shown | _shown(LAST, terminal)


def _shown(steps: Steps, terminal: Shell) -> dict[str, str]:
    """What the commands print, in lines as the terminal breaks them."""
    shown = {title: f"$ kubecdc {command}\n{_same(terminal.run(command))}" for title, command in steps.items()}
    return {title: "\n".join(_broken(text.splitlines(), terminal.width)) for title, text in shown.items()}


def _broken(lines: list[str], width: int) -> Iterator[str]:
    for line in lines:
        assert line.isprintable(), line
        yield from (line[at : at + width].rstrip() for at in range(0, max(len(line), 1), width))


def _settle(wanted: dict[str, tuple[int, int]], terminal: Shell) -> None:
    """Wait until the rows have so many events pending and dead, and the process has reported all it has to."""
    for _ in range(600):
        rows = {row["name"]: row for row in json.loads(terminal.run("status -f manifests -o json"))}
        found = {name: (rows[name]["pending"], rows[name]["dead"]) for name in wanted if name in rows}
        if found == wanted and rows[SOURCE]["verdict"] == "ok" and rows[POST]["by"]:
            return
        time.sleep(0.1)
    raise AssertionError(f"it does not settle: {rows}")


def _block(title: str, text: str) -> str:
    return f"{title}:\n\n```text\n{text}\n```\n"


def _same(text: str) -> str:
    """With the same ids, ports, times and terms in every run, as long as they were."""
    uids = {uid: f"7d2c0f9a-1b3e-4c5d-8e6f-{n:012x}" for n, uid in enumerate(dict.fromkeys(UID.findall(text)), 1)}
    text = UID.sub(lambda found: uids[found[0]], text)
    text = re.sub(r"\b[2-9]\d{8}\b", "192009600", text)
    text = re.sub(r"(?<=127\.0\.0\.1:)\d{5}", "18080", text)
    text = re.sub(r"20\d\d-[\d-]+T[\d:]+(?=\.\d{6}Z)", "2026-01-31T08:00:00", text)
    text = re.sub(r"\.\d{6}Z", ".123456Z", text)
    return re.sub(r"20\d\d-[\d-]+T[\d:]+(?=Z|\+00:00)", "2026-01-31T08:00:00", text)


def _lay_out(folder: Path, api: LocalSimulator, url: str) -> None:
    [readme] = [b.text for b in blocks_of(ROOT / "README.md", (ROOT / "README.md").read_text()) if b.language == "yaml"]
    given = readme.replace("https://inventory.example.com", url)
    made = {"manifests": given, "broken": given.replace("retryStrategy", "retryStrateggy")}
    for name, text in {**made, "former": given.replace("name: post", "name: send")}.items():
        (folder / name).mkdir()
        (folder / name / "inventory.yaml").write_text(text)
        (folder / name / "bus.yaml").write_text(BUS)
    api.kubeconfig(folder / "kubeconfig")


async def _refusing_checkout(request: web.Request) -> web.Response:
    refused = b'"name":"checkout"' in await request.read()
    return web.Response(status=422, text="checkout has no price list") if refused else web.Response(status=204)


def _deployment(name: str) -> dict[str, object]:
    labels = {"app": name, "team": "platform"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": f"shop/{name}:1"}]}}
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": pod}
    metadata = {"name": name, "labels": labels}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


if __name__ == "__main__":
    PAGE.write_text(render(asyncio.run(make())))
