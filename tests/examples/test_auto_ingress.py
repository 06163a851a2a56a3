"""examples/auto-ingress: what becomes of the Ingress in the life of a Service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.apiserver import ApiServer
from tests.cli.rig import Desk
from tests.examples.stage import EXAMPLES, WATCHER, WORKERS, Body, Stage

SERVICES, INGRESSES = ("", "v1", "services"), ("networking.k8s.io", "v1", "ingresses")
HOST, CLASS = "autodeploy-ingress-host", "autodeploy-ingress-class"
SHOWN = {HOST: "web.example.com", CLASS: "nginx"}


def service(name: str, port: int, annotations: dict[str, str]) -> Body:
    spec = {"selector": {"app": name}, "ports": [{"port": port, "protocol": "TCP"}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "annotations": annotations}, "spec": spec}


def route(ingress: Body) -> tuple[Any, ...]:
    """What an Ingress is for: its name, class and host, and the Service and port behind it."""
    [rule] = ingress["spec"]["rules"]
    [path] = rule["http"]["paths"]
    behind = path["backend"]["service"]
    return (
        ingress["metadata"]["name"],
        ingress["spec"]["ingressClassName"],
        rule["host"],
        behind["name"],
        behind["port"]["number"],
    )


async def test_the_ingress_follows_its_service(server: ApiServer, tmp_path: Path) -> None:
    stage = Stage(server, tmp_path / "desk", "auto-ingress")
    await stage.print_roles()
    await stage.grant(WATCHER, WORKERS)

    async def there_is(*wanted: Any) -> Body:
        [ingress] = await stage.until(INGRESSES, lambda found: [route(i) for i in found] == [wanted])
        return ingress

    async def there_is_none() -> None:
        await stage.until(INGRESSES, lambda found: not found)

    async def change(**body: Any) -> None:
        await server.patch(*SERVICES, "default", "web", body)

    def port(number: int) -> Body:
        return {"ports": [{"port": number, "protocol": "TCP"}]}

    async with stage.watch() as watch:
        await watch.until("listed")
        # Made while the workers are down.
        await server.create(*SERVICES, "default", service("plain", 80, {CLASS: "nginx"}))
        await server.create(*SERVICES, "default", service("web", 80, SHOWN))
        async with stage.work() as work:
            first = await there_is("web-ing", "nginx", "web.example.com", "web", 80)
            await change(spec=port(8080))
            await there_is("web-ing", "nginx", "web.example.com", "web", 8080)
            await change(metadata={"annotations": {HOST: "www.example.com", CLASS: "public"}})
            await there_is("web-ing", "public", "www.example.com", "web", 8080)
            await server.delete(*INGRESSES, "default", "web-ing")
            await change(spec=port(9090))
            await there_is("web-ing", "public", "www.example.com", "web", 9090)
            await change(metadata={"annotations": {HOST: None}})
            await there_is_none()
            await change(spec=port(80))  # nothing to do with us any more
            await change(metadata={"annotations": SHOWN})
            await there_is("web-ing", "nginx", "web.example.com", "web", 80)
            await server.delete(*SERVICES, "default", "web")
            await server.create(*SERVICES, "default", service("web", 81, SHOWN))
            last = await there_is("web-ing", "nginx", "web.example.com", "web", 81)
            await server.delete(*SERVICES, "default", "web")
            await there_is_none()
            await work.until(r"(.*\n){9}", out=True)
    owners = [ingress["metadata"]["ownerReferences"][0]["uid"] for ingress in (first, last)]
    assert owners[0] != owners[1]
    told = [json.loads(line)["data"] for line in work.out.splitlines()]
    assert {data["body"]["metadata"]["name"] for data in told} == {"web"}
    operations = [data["operation"] for data in told]
    assert operations == ["create", "update", "update", "update", "delete", "update", "delete", "create", "delete"]
    assert await stage.desk.rows("dlq", "list") == []


async def test_try_shows_each_operation(desk: Desk) -> None:
    example = EXAMPLES / "auto-ingress"
    events = [f"--event={example}/events/{name}.json" for name in ("added", "changed", "deleted")]
    done = await desk.call("try", "-f", str(example), *events, manifests=False)
    assert (done.code, done.err) == (0, "")
    found = [json.loads(line) for line in done.out.splitlines()]
    ingresses, lines = ([line["request"] for line in found if line["trigger"] == name] for name in ("ingress", "print"))
    assert [made["operation"] for made in ingresses] == ["create", "update", "delete"]
    assert [line["data"]["operation"] for line in lines] == ["create", "update", "delete"]
    assert {route(made["object"])[:4] for made in ingresses} == {("web-ing", "nginx", "web.example.com", "web")}
