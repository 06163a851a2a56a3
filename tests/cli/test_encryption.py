"""A bus that encrypts, as users run it: what objects contain is in the log of the trigger, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from kubecdc.cli.commands.rbac import rbac
from tests.apiserver import WORKFLOWS, workflow
from tests.cli.rig import HTTP, Desk
from tests.storage.keys import NEW, OLD, SECRET, KeyFolder
from tests.workers.peer import saying, serving
from tests.workers.support import until

MARKER = "s3cret-of-an-object"


def bus(*keys: str, **spec: object) -> str:
    encryption = {"keys": [{"name": SECRET, "key": key} for key in keys]}
    redelivery = {"backoff": {"duration": "100ms", "cap": "500ms"}}
    given = {
        "sqlite": {"path": "./bus.db"},
        "redelivery": redelivery,
        **spec,
        **({"encryption": encryption} if keys else {}),
    }
    about = {"apiVersion": "kubecdc.io/v1alpha1", "kind": "EventBus", "metadata": {"name": "default"}}
    return yaml.safe_dump({**about, "spec": given})


@pytest.fixture
async def keys(desk: Desk) -> AsyncIterator[KeyFolder]:
    desk.environment["KUBECDC_SECRETS_DIR"] = str(desk.folder / "secrets")
    desk.entry(inventory="objects")
    yield KeyFolder(desk.folder / "secrets").write(NEW, OLD)


def stored(folder: Path) -> bytes:
    """All that SQLite has on the disk."""
    return b"".join(file.read_bytes() for file in folder.iterdir() if file.name.startswith("bus.db"))


async def test_what_objects_contain_is_stored_in_no_file_and_waits_for_its_key(desk: Desk, keys: KeyFolder) -> None:
    desk.write("bus.yaml", bus(OLD))
    async with desk.running("run") as run:
        await run.until('"leading"')
        await desk.api.create(*WORKFLOWS, "default", {**workflow("a"), "spec": {"password": MARKER}})
        await run.until(MARKER, out=True)
    keys.write(NEW)
    desk.write("bus.yaml", bus(NEW, OLD))
    async with desk.running("run") as run:
        await run.until('"leading"')
        await run.until("encryption-key-unusable")
        await desk.api.create(*WORKFLOWS, "default", workflow("b"))
        await run.until(r"changed\.[^ ]+ADD", out=True)
        changed = await desk.api.get(*WORKFLOWS, "default", "a")
        await desk.api.update(*WORKFLOWS, "default", {**changed, "spec": {"password": f"{MARKER}-2"}})
        await run.until("the encryption key [0-9a-f]{16} is not here")  # that of the body that it had before
        rows: dict[str, dict[str, str]] = {}
        while "not here" not in rows.get("source/workflows/changed", {}).get("cause", ""):
            rows = {row["name"]: row for row in json.loads((await desk.call("status", "-o", "json")).out)}
        assert rows["source/workflows/changed"]["verdict"] == "blocked"
        [process] = [row for name, row in rows.items() if name.startswith("process/")]
        assert "encryption of default: key `old` of Secret `bus-keys` is not mounted" in process["cause"]
        keys.write(NEW, OLD)
        await run.until(f"{MARKER}-2", out=True)
        update = json.loads(next(line for line in run.out.splitlines() if f"{MARKER}-2" in line))
        assert update["data"]["oldBody"]["spec"] == {"password": MARKER}
    assert b"argoproj.io/default/a" in stored(desk.folder), "the names of objects are not hidden"
    assert MARKER.encode() not in stored(desk.folder)


async def test_a_dead_letter_is_shown_with_its_key_and_can_be_redriven_without(desk: Desk, keys: KeyFolder) -> None:
    desk.write("bus.yaml", bus(NEW))
    async with serving(saying(400)) as peer:
        desk.write("sensor.yaml", HTTP.format(url=peer.url))
        async with desk.running("run") as run:
            await run.until('"leading"')
            await desk.api.create(*WORKFLOWS, "default", {**workflow("a"), "spec": {"password": MARKER}})
            await run.until("dead-letter")
    [letter] = await desk.rows("dlq", "list")
    shown = await desk.call("dlq", "show", letter["id"], "-o", "json")
    assert json.loads(shown.out)["content"]["data"]["body"]["spec"] == {"password": MARKER}
    keys.write()
    shown = await desk.call("dlq", "show", letter["id"], "-o", "json")
    assert shown.code == 0 and MARKER not in shown.out
    sealed = json.loads(shown.out)["content"]
    assert (
        f"encrypted with key {sealed['encryptionkey']}, which `encryption.keys` of default does not give" in shown.err
    )
    tried = await desk.call("try", "--event", "-", stdin=json.dumps(sealed))
    assert (tried.code, f"is encrypted with key {sealed['encryptionkey']}" in tried.err) == (2, True)
    done = await desk.call("dlq", "redrive", letter["id"], "--superseded", "deliver")
    assert done.code == 0, done.err
    async with serving(saying(200)) as peer:
        desk.write("sensor.yaml", HTTP.format(url=peer.url))
        async with desk.running("work") as work:
            await work.until("event-locked")
            [row] = [row for row in await desk.rows("bus", "show") if row["subscription"] == "post/send"]
            assert row["pending"] == 1
            keys.write(NEW)
            await until(lambda: bool(peer.received))
    assert MARKER.encode() not in stored(desk.folder)


async def test_status_names_the_key_for_which_events_wait(desk: Desk, keys: KeyFolder) -> None:
    desk.write("bus.yaml", bus(NEW))
    async with desk.running("watch") as watch:
        await watch.until('"leading"')
        await desk.create("a")
        while (await desk.rows("bus", "show"))[0]["pending"] != 1:
            pass
    desk.write("bus.yaml", bus())  # turned off too early
    async with desk.running("work") as work:
        await work.until("event-locked")
        cause = ""
        while "encryption key" not in cause:
            done = await desk.call("status", "-o", "json")
            [row] = [row for row in json.loads(done.out) if row["name"] == "subscription/print/line"]
            cause = row["cause"]
        assert (row["verdict"], done.code) == ("blocked", 1)
        assert "is not here: the EventBus has no `encryption`" in cause
        assert work.out == ""
    desk.write("bus.yaml", bus(OLD, NEW))
    async with desk.running("work") as work:
        await work.until("ADD", out=True)


async def test_the_keys_are_references_like_others(desk: Desk, keys: KeyFolder) -> None:
    desk.write("bus.yaml", bus(NEW, NEW, encryption=None))
    done = await desk.call("validate")
    assert (
        done.code == 2
        and "encryption.keys" in done.err
        and f"names the key `{NEW}` of Secret `{SECRET}` twice" in done.err
    )
    desk.write("bus.yaml", bus().replace("spec:", "spec:\n  encryption: {keys: []}"))
    done = await desk.call("validate")
    assert done.code == 2 and "leave `encryption` out to encrypt nothing" in done.err
    desk.write("bus.yaml", bus(NEW))
    assert (await desk.call("validate")).code == 0
    keys.put(NEW, "c2hvcnQ=")
    done = await desk.call("validate", "--cluster", "--no-leader-election")
    assert done.code == 1
    assert f"encryption.keys.0: key `{NEW}` of Secret `{SECRET}` has 5 bytes, and a key has 32" in done.err
    assert "`openssl rand -base64 32` makes a key" in done.err
    printed = CliRunner().invoke(rbac, ["-f", str(desk.manifests), "--namespace", "default"]).stdout
    assert printed.count(f"resourceNames: [{SECRET}]") == 2
