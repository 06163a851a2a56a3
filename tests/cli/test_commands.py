"""What a user types, and what comes of it."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import msgspec
import pytest
import yaml

from tests.apiserver import CRDS, WORKFLOW_DEFINITION, simulator
from tests.cli.rig import SENSOR, SOURCE, Desk, Done
from tests.harness.processes import until
from tests.ports import free_port


async def test_run_captures_and_delivers_in_one_process(desk: Desk) -> None:
    await desk.create("before")
    async with desk.running("run") as kubecdc:
        await kubecdc.until('"name":"before"', out=True)
        await desk.create("after")
        await kubecdc.until('"name":"after"', out=True)
    assert kubecdc.process.returncode == 0
    lines = [msgspec.json.decode(line) for line in kubecdc.out.splitlines()]
    assert [line["data"]["body"]["metadata"]["name"] for line in lines] == ["before", "after"]
    assert (lines[0]["sensor"], lines[0]["trigger"], lines[0]["dependencyName"]) == ("print", "line", "change")
    assert lines[0]["eventContext"]["source"] == "workflows"


async def test_watch_and_work_are_two_processes_on_one_file(desk: Desk) -> None:
    async with desk.running("watch") as watch, desk.running("work") as work:
        await desk.create("a")
        await work.until('"name":"a"', out=True)
    assert (watch.process.returncode, work.process.returncode) == (0, 0)
    assert str(desk.folder / "kubecdc.db") in (watch.err + work.err)
    assert watch.out == ""


async def test_manifests_come_from_standard_input_too(desk: Desk) -> None:
    done = await desk.call("validate", "-f", "-", stdin=f"{SOURCE}---\n{SENSOR}", manifests=False)
    assert (done.code, done.out) == (0, "valid: 1 EventSource, 1 Sensor, bus default\n")


async def test_every_problem_of_the_manifests_is_told_and_nothing_is_started(desk: Desk) -> None:
    desk.write("source.yaml", SOURCE.replace("eventTypes: [ADD,", "eventTypes: [add,").replace("group:", "gruop:"))
    desk.write("sensor.yaml", SENSOR.replace("eventName: changed", "eventName: chnaged"))
    for command in ("validate", "run", "watch", "work"):
        done = await desk.call(command)
        assert done.code == 2, command
        for expected in (
            "source.yaml",
            "gruop",
            "`group`",
            "add",
            "ADD",
            "sensor.yaml",
            "chnaged",
            "`changed`",
        ):
            assert expected in done.err, (command, expected)
    assert not (desk.folder / "kubecdc.db").exists()


@pytest.mark.parametrize(
    ("command", "left", "text"),
    [("watch", "sensor.yaml", "nothing to watch"), ("work", "source.yaml", "nothing to work on")],
)
async def test_a_side_without_its_manifest_has_nothing_to_do(desk: Desk, command: str, left: str, text: str) -> None:
    for path in desk.manifests.iterdir():
        if path.name != left:
            path.unlink()
    done = await desk.call(command)
    assert (done.code, text in done.err) == (2, True), done.err


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--kubeconfig", "missing"], "missing"),
        (["--kubeconfig", "manifests"], "manifests"),
        (["--kubeconfig", "broken"], "broken"),
        (["--kubeconfig", "list"], "list"),
        (["--context", "nowhere"], "nowhere"),
    ],
)
async def test_a_kubeconfig_that_cannot_be_used_ends_the_start(desk: Desk, args: list[str], text: str) -> None:
    (desk.folder / "broken").write_text("{unclosed: [")
    (desk.folder / "list").write_text("- 1\n- 2\n")
    done = await desk.call("watch", *args)
    assert (done.code, text in done.err) == (2, True), done.err


async def test_without_any_kubeconfig_the_error_says_where_it_was_sought(desk: Desk) -> None:
    desk.environment = {"HOME": str(desk.folder)}
    done = await desk.call("watch")
    assert done.code == 2
    assert "--kubeconfig" in done.err


async def test_the_kubeconfig_may_be_several_files(desk: Desk) -> None:
    whole = yaml.safe_load(desk.kubeconfig.read_text())
    names = []
    for part in ("clusters", "users", "contexts"):
        piece = desk.folder / part
        names.append(str(piece))
        piece.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", part: whole[part]}))
    desk.environment["KUBECONFIG"] = ":".join([*names, str(desk.folder / "not-there")])
    async with desk.running("run", "--context", "test") as kubecdc:
        await desk.create("a")
        await kubecdc.until('"name":"a"', out=True)


async def test_no_cluster_is_one_line_and_is_waited_for(desk: Desk) -> None:
    port = desk.api.simulator.port
    await desk.api.stop()
    async with desk.running("run") as kubecdc:
        await kubecdc.until("cannot be reached")
        await asyncio.sleep(2.5)  # long enough for two more tries, which must not be said
        assert len(kubecdc.lines("cannot be reached")) == 1
        assert kubecdc.lines("cannot be reached")[0]["hint"]
        await desk.api.simulator.start(port)
        await kubecdc.until("recovered")
        await desk.create("a")
        await kubecdc.until('"name":"a"', out=True)


async def test_an_expired_token_is_one_line_and_the_renewed_one_is_taken(tmp_path: Path) -> None:
    async with simulator(tokens=["good"]) as api:
        desk = Desk(tmp_path, api)
        desk.kubeconfig.write_text(desk.kubeconfig.read_text().replace("good", "expired"))
        async with desk.running("run") as kubecdc:
            await kubecdc.until("does not accept the credentials")
            api.kubeconfig(desk.kubeconfig)
            await kubecdc.until("recovered")
            await desk.create("a")
            await kubecdc.until('"name":"a"', out=True)
        assert len(kubecdc.lines("does not accept the credentials")) == 1


async def test_a_token_file_is_read_again_when_it_is_rotated(tmp_path: Path) -> None:
    async with simulator(tokens=["first"]) as api:
        desk = Desk(tmp_path, api)
        token = tmp_path / "token"
        token.write_text("first")
        config = yaml.safe_load(desk.kubeconfig.read_text())
        config["users"][0]["user"] = {"tokenFile": str(token)}
        desk.kubeconfig.write_text(yaml.safe_dump(config))
        async with desk.running("run") as kubecdc:
            await desk.create("a")
            await kubecdc.until('"name":"a"', out=True)
            api.simulator.tokens = {"second"}
            token.write_text("second")
            api.cut_streams(mid_line=False)
            await desk.create("b")
            await kubecdc.until('"name":"b"', out=True)


async def test_an_exec_plugin_gives_the_token_and_is_asked_again(tmp_path: Path) -> None:
    async with simulator(tokens=["one"]) as api:
        desk = Desk(tmp_path, api)
        plugin = tmp_path / "plugin"
        credential = '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"%s"}}'
        plugin.write_text(f"#!/bin/sh\ncat {tmp_path}/credential\n")
        plugin.chmod(0o755)
        (tmp_path / "credential").write_text(credential % "one")
        config = yaml.safe_load(desk.kubeconfig.read_text())
        config["users"][0]["user"] = {
            "exec": {
                "apiVersion": "client.authentication.k8s.io/v1",
                "command": str(plugin),
                "interactiveMode": "Never",
            }
        }
        desk.kubeconfig.write_text(yaml.safe_dump(config))
        async with desk.running("run") as kubecdc:
            await desk.create("a")
            await kubecdc.until('"name":"a"', out=True)
            api.simulator.tokens = {"two"}
            (tmp_path / "credential").write_text(credential % "two")
            api.cut_streams(mid_line=False)
            await desk.create("b")
            await kubecdc.until('"name":"b"', out=True)


@pytest.mark.long
@pytest.mark.parametrize("command", ["plugin", "no-such-plugin"])
async def test_an_exec_plugin_that_fails_is_one_line_and_recovers(tmp_path: Path, command: str) -> None:
    async with simulator(tokens=["one"]) as api:
        desk = Desk(tmp_path, api)
        plugin = tmp_path / command
        if command == "plugin":
            plugin.write_text("#!/bin/sh\necho run >> runs\necho 'session expired, run login' >&2\nexit 1\n")
            plugin.chmod(0o755)
        config = yaml.safe_load(desk.kubeconfig.read_text())
        version = "client.authentication.k8s.io/v1beta1"
        hint = "get it from example.com"
        config["users"][0]["user"] = {"exec": {"apiVersion": version, "command": f"./{command}", "installHint": hint}}
        desk.kubeconfig.write_text(yaml.safe_dump(config))
        text = f"the exec plugin {plugin} {'failed with exit code 1' if command == 'plugin' else 'is not there'}"
        done = await desk.call("validate", "--cluster")
        assert (done.code, text in done.err, hint in done.err) == (1, True, True), done.err
        async with desk.running("run") as kubecdc:
            await kubecdc.until("exec plugin")
            if command == "plugin":
                await until(lambda: len((tmp_path / "runs").read_text().split()) >= 4, 20, "retries")
            (line,) = [line for line in kubecdc.lines("") if line["level"] != "info"]
            assert text in str(line["event"])
            assert hint in str(line["hint"])
            assert ("session expired, run login" in str(line["hint"])) == (command == "plugin")
            assert api.simulator.asked == 0
            answer = {"apiVersion": version, "kind": "ExecCredential", "status": {"token": "one"}}
            (tmp_path / "answer").write_text(json.dumps(answer))
            plugin.write_text(f"#!/bin/sh\ncat {tmp_path}/answer\n")
            plugin.chmod(0o755)
            await kubecdc.until("recovered", seconds=40)
            await desk.create("a")
            await kubecdc.until('"name":"a"', out=True)


async def test_a_missing_crd_is_one_line_and_is_waited_for(desk: Desk) -> None:
    await desk.api.delete(*CRDS, "", WORKFLOW_DEFINITION["metadata"]["name"])
    async with desk.running("run") as kubecdc:
        await kubecdc.until("install the CRD")
        await desk.api.create(*CRDS, "", WORKFLOW_DEFINITION)
        await desk.create("a")
        await kubecdc.until('"name":"a"', out=True)
    assert len(kubecdc.lines("does not know")) == 1


async def test_a_forbidden_list_is_one_line_that_names_the_right(desk: Desk) -> None:
    desk.api.fail(403, path="/workflows")
    async with desk.running("run") as kubecdc:
        await kubecdc.until("cannot list resource")
        (line,) = kubecdc.lines("forbidden")
        assert "cannot list resource" in str(line["event"])
        assert "workflows" in str(line["event"])
        assert "get, list and watch" in str(line["hint"])
        desk.api.faults.clear()
        await desk.create("a")
        await kubecdc.until('"name":"a"', out=True)


@pytest.mark.long
async def test_another_cluster_ends_the_watcher_with_the_way_out(desk: Desk) -> None:
    async with desk.running("run") as kubecdc:
        await desk.create("a")
        await kubecdc.until('"name":"a"', out=True)
    async with simulator() as other:
        other.kubeconfig(desk.kubeconfig)
        done = await desk.call("watch")
        assert done.code == 1
        assert "another cluster" in done.err
        assert "kubecdc checkpoint reset workflows/changed" in done.err
        reset = await desk.call("checkpoint", "reset", "workflows/changed", "--yes")
        assert reset.code == 0, reset.err
        async with desk.running("watch") as kubecdc:
            await kubecdc.until('"event":"listed"')


@pytest.mark.parametrize(
    ("bus", "other"),
    [
        ("sqlite: {path: ./a.db}", "configMap: {name: kubecdc-checkpoint, namespace: default}"),
        ("sqlite: {path: ./a.db}", "sqlite: {path: ./b.db}"),
        ("redis: {url: 'redis://a'}", "redis: {url: 'redis://b'}"),
    ],
)
async def test_a_checkpoint_elsewhere_is_refused_with_the_reason(bus: str, other: str, desk: Desk) -> None:
    manifest = "apiVersion: kubecdc.io/v1alpha1\nkind: EventBus\nmetadata: {name: default}\n"
    desk.write("bus.yaml", manifest + f"spec: {{{bus}, checkpoint: {{{other}}}}}\n")
    done = await desk.call("validate")
    assert done.code == 2
    assert "bus.yaml, document 1, EventBus/default: spec.checkpoint: names a" in done.err
    assert "holds its own checkpoint, because events would be lost if only the bus were restored" in done.err


async def test_a_position_that_no_watch_can_resume_from_is_refused(desk: Desk) -> None:
    made = await desk.create("a")
    async with desk.running("watch") as kubecdc:
        await kubecdc.until('"event":"listed"')

    async def move(version: str) -> Done:
        return await desk.call("checkpoint", "set", "workflows/changed", "--resource-version", version, "--yes")

    done = await move("latest")
    assert done.code == 2 and "'latest' is not a resourceVersion" in done.err
    done = await move("99999999")
    assert done.code == 2 and "the cluster has not reached 99999999 yet" in done.err
    assert f"give {made['metadata']['resourceVersion']} or less" in done.err  # type: ignore[index]
    await desk.api.stop()
    done = await move("99999999")
    assert done.code == 0 and "could not check whether the cluster has reached 99999999: " in done.err
    assert "workflows/changed is at 99999999" in done.out


@pytest.mark.long
async def test_checkpoints_are_shown_set_and_reset(desk: Desk) -> None:
    empty = await desk.call("checkpoint", "show")
    assert (empty.code, "there is no bus" in empty.err) == (2, True)
    async with desk.running("run") as kubecdc:
        made = await desk.create("a")
        await kubecdc.until('"name":"a"', out=True)
        shown = await desk.call("checkpoint", "show", "-o", "json")
        (row,) = msgspec.json.decode(shown.out)
        metadata = made["metadata"]
        assert isinstance(metadata, dict)
        assert (row["key"], row["position"], row["objects"]) == ("workflows/changed", metadata["resourceVersion"], 1)
        table = await desk.call("checkpoint", "show")
        assert "workflows/changed" in table.out
        # Without a terminal nobody can be asked.
        asked = await desk.call("checkpoint", "set", "workflows/changed", "--resource-version", "1")
        assert (asked.code, "--yes" in asked.err) == (2, True)
        before = str(int(metadata["resourceVersion"]) - 1)
        done = await desk.call("checkpoint", "set", "workflows/changed", "--resource-version", before, "--yes")
        assert done.code == 0, done.err
        # The leader notices at its next commit, and reads again from there.
        await desk.create("b")
        await kubecdc.until('"name":"b"', out=True)
        assert kubecdc.out.count('"name":"a"') == 2
        missing = await desk.call("checkpoint", "reset", "no/such", "--yes")
        assert missing.code == 1
        reset = await desk.call("checkpoint", "reset", "workflows/changed", "--yes")
        assert reset.code == 0
        await desk.create("c")
        await kubecdc.until('"name":"c"', out=True)
        assert kubecdc.out.count('"name":"b"') == 2


@pytest.mark.long
async def test_subscriptions_are_shown_and_the_renamed_one_is_pruned(desk: Desk) -> None:
    async with desk.running("run") as kubecdc:
        await desk.create("a")
        await kubecdc.until('"name":"a"', out=True)
        (row,) = msgspec.json.decode((await desk.call("bus", "show", "-o", "json")).out)
        assert (row["subscription"], row["pending"], row["named"]) == ("print/line", 0, "yes")
        assert row["workers"]
        assert (await desk.call("bus", "prune", "--yes")).out.startswith("nothing to prune")
        desk.write("sensor.yaml", SENSOR.replace("name: print", "name: renamed"))
        used = await desk.call("bus", "prune", "--yes")  # as a manifest that was not passed may have it
        assert (used.code, used.out) == (0, "") and used.err.startswith("print/line is kept: ")
    async with desk.running("run") as kubecdc:
        await kubecdc.until("no manifest names this subscription")
        await desk.create("b")
        await kubecdc.until('"name":"b"', out=True)
        assert '"name":"a"' not in kubecdc.out  # a rename is a new subscription
        rows = {r["subscription"]: r for r in msgspec.json.decode((await desk.call("bus", "show", "-o", "json")).out)}
        assert (rows["print/line"]["named"], rows["print/line"]["pending"]) == ("no", 1)
        named = await desk.call("bus", "prune", "renamed/line", "--yes")
        assert (named.code, "a manifest has the subscription" in named.err) == (2, True)
        pruned = await desk.call("bus", "prune", "--yes")
        assert pruned.out == "print/line removed\n"
        assert "print/line" not in (await desk.call("bus", "show")).out


async def test_rows_are_printed_again_as_they_change_until_ctrl_c(desk: Desk) -> None:
    async with desk.running("run") as kubecdc:
        await kubecdc.until('"listed"')
    # What is started in the background of a shell ignores SIGINT, and so would all that it starts.
    async with desk.running("bus", "show", "--watch", logs=False, preexec=_heed_sigint) as shown:
        await shown.until("print/line +0 +- .* no +-", out=True)
        assert (await desk.call("bus", "pause", "print/line")).code == 0
        await shown.until("print/line +0 +- .* command +-", out=True)
        shown.process.send_signal(signal.SIGINT)
        assert await shown.process.wait() == 130
    assert (shown.err.strip(), shown.out.count("SUBSCRIPTION")) == ("", 1)


def _heed_sigint() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


async def test_what_is_named_and_not_there_is_an_error(desk: Desk) -> None:
    assert (await desk.call("bus", "ensure")).code == 0
    for command in ("dlq list --subscription print/lien", "bus prune no", "bus pause no", "checkpoint show no"):
        done = await desk.call(*command.split())
        assert (done.code, done.out, "kubecdc: there is no" in done.err) == (1, "", True), command
    done = await desk.call("dlq", "list", "--subscription", "print/line")
    assert (done.code, done.out) == (0, "no dead letters\n")


async def test_metrics_are_served_on_request(desk: Desk) -> None:
    import aiohttp

    port = free_port()
    async with desk.running("run", "--metrics-bind-address", f"127.0.0.1:{port}") as kubecdc:
        await desk.create("a")
        await kubecdc.until('"name":"a"', out=True)
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/metrics") as answer:
            text = await answer.text()
    assert 'kubecdc_events_total{watch="workflows/changed"} 1.0' in text
    assert 'kubecdc_leader{bus="default"} 1.0' in text
    assert 'kubecdc_pending_events{bus="default",subscription="print/line"} ' in text
    assert 'kubecdc_trigger_executions_total{sensor="print",trigger="line",result="success"} 1.0' in text


async def test_what_the_subscriptions_need_is_created_before_anything_runs(desk: Desk) -> None:
    done = await desk.call("bus", "ensure", "--dry-run")
    assert done.code == 2, "without a bus, nothing can be said of its subscriptions"
    assert "kubecdc.db yet" in done.err
    done = await desk.call("bus", "ensure")
    assert (done.code, done.err) == (0, "")
    (line,) = done.out.splitlines()
    assert line.startswith("ensured subscription print/")
    for command in (["ensure"], ["ensure", "--dry-run"]):
        done = await desk.call("bus", *command)
        assert (done.code, done.out) == (0, "nothing to do: everything is there\n")
    shown = await desk.call("bus", "show")
    assert line.split()[2].rstrip(",") in shown.out
