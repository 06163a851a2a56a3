"""Where an object comes from besides the manifest."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from aiohttp import web
from moto.server import ThreadedMotoServer
from pydantic import ValidationError

from kubecdc.manifest.mounts import Mounts
from kubecdc.workers.addresses import Addresses
from kubecdc.workers.objects.sources.read import LARGEST
from kubecdc.workers.outcome import Failure, Outcome, Retry
from kubecdc.workers.triggers.k8s.manifest import K8s
from tests.apiserver import LocalSimulator
from tests.apiserver.certificates import server_context
from tests.served import served
from tests.workers.k8s.rig import CONFIGMAPS, Bench, Body, config_map, parameter
from tests.workers.support import event

TEXT = yaml.safe_dump(config_map())
PASSWORD = "pass-w0rd"


@pytest.fixture
def mounts(tmp_path: Path) -> Mounts:
    made = Mounts(tmp_path / "secrets", tmp_path / "configs")
    for folder, name, values in (
        (made.secrets, "keys", {"access": "AKIA", "secret": PASSWORD, "user": "me", "ssh": "no key"}),
        (made.configs, "objects", {"one": TEXT}),
    ):
        (folder / name).mkdir(parents=True)
        for key, value in values.items():
            (folder / name / key).write_text(value)
    return made


def git(folder: Path, *arguments: str) -> None:
    author = {f"GIT_{who}_{what}": "x@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **author, "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(["git", *arguments], cwd=folder, env=environment, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A tag `v1` with the object, and a branch `main` in which it has changed."""
    folder = tmp_path / "repository"
    (folder / "in").mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    (folder / "in" / "one.yaml").write_text(TEXT)
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "one")
    git(folder, "tag", "v1")
    (folder / "in" / "one.yaml").write_text(TEXT.replace("'1'", "'2'"))
    (folder / "link.yaml").symlink_to("/etc/passwd")
    (folder / "large.yaml").write_text("#" * (LARGEST + 1))
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "two")
    return folder


async def data(api: LocalSimulator) -> object:
    return (await api.get(*CONFIGMAPS, "default", "one"))["data"]


async def test_a_file(api: LocalSimulator, it: Bench, tmp_path: Path) -> None:
    file = tmp_path / "object.yaml"
    config = {"source": {"file": {"path": str(file)}}, "parameters": [parameter("data.n", "body.n")]}
    outcome = await it.run(config)
    assert outcome == Retry(f"{file}: there is no such file")
    file.write_text(TEXT)
    await it.done(config)
    assert await data(api) == {"a": "1", "n": "100"}


async def test_a_pipe_is_no_file(it: Bench, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert isinstance(await it.run({"source": {"file": {"path": str(tmp_path / "pipe")}}}), Retry)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"x" * (LARGEST + 1), f"the source has more than {LARGEST} bytes"),
        (b"\xff\xfe", "the source is not text in UTF-8"),
        (b"a: [", "the object cannot be used: it is not plain YAML: "),
        (b"", "the object cannot be used: it is empty"),
        (b"kind: Pod", "the object cannot be used: it has no `apiVersion`"),
        (
            b"a: &a [x, x]\nb: &b [*a, *a]\n" + b"c: [*b, *b]\n" + b"---\n- 1",
            "the object cannot be used: it has several",
        ),
    ],
)
async def test_what_is_no_object_is_a_dead_letter(it: Bench, tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "object").write_bytes(content)
    outcome = await it.run({"source": {"file": {"path": str(tmp_path / "object")}}})
    assert isinstance(outcome, Failure)
    assert outcome.reason.startswith(reason)


async def test_aliases_that_stand_for_billions_are_refused(it: Bench, tmp_path: Path) -> None:
    lines = ["apiVersion: v1", "kind: ConfigMap", "a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (tmp_path / "object").write_text("\n".join(lines))
    outcome = await it.run({"source": {"file": {"path": str(tmp_path / "object")}}})
    assert outcome == Failure("the object cannot be used: it has more than 200000 values")
    merges = ["a0: &a0 {x: 1, y: 2}"]
    merges += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 12)]
    (tmp_path / "object").write_text("\n".join(merges))
    outcome = await it.run({"source": {"file": {"path": str(tmp_path / "object")}}})
    assert outcome == Failure("the object cannot be used: it has no `apiVersion`"), "it took no time and no memory"


async def test_a_config_map_that_is_mounted(api: LocalSimulator, it: Bench, mounts: Mounts) -> None:
    await it.done({"source": {"configmap": {"name": "objects", "key": "one"}}}, mounts=mounts)
    assert await data(api) == {"a": "1"}
    outcome = await it.run({"source": {"configmap": {"name": "objects", "key": "two"}}}, mounts=mounts)
    assert isinstance(outcome, Retry)
    assert "key `two` of ConfigMap `objects` is not mounted" in outcome.reason


@asynccontextmanager
async def serving(handler: Any, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    async with served(app, context) as url:
        yield url


async def answer(request: web.Request) -> web.StreamResponse:
    if request.path == "/to":
        raise web.HTTPFound("/object")
    if request.path == "/round":
        raise web.HTTPFound("/round")
    if request.path == "/large":
        return web.Response(body=b"x" * (LARGEST + 1))
    return web.Response(text=TEXT) if request.path == "/object" else web.Response(status=503)


async def test_a_document_on_the_web(api: LocalSimulator, it: Bench) -> None:
    async with serving(answer) as url:
        place = url.replace("//", f"//me:{PASSWORD}@")

        async def run(path: str) -> Outcome:
            return await it.run({"source": {"url": {"path": f"{place}/{path}?token={PASSWORD}"}}})

        await it.done({"source": {"url": {"path": f"{place}/to"}}})
        assert await data(api) == {"a": "1"}
        assert await run("away") == Retry(f"{url}/away: 503 Service Unavailable")
        assert await run("round") == Retry(f"{url}/round: it is redirected more than 5 times")
        assert await run("large") == Failure(f"{url}/large has more than {LARGEST} bytes")
    outcome = await run("object")
    assert isinstance(outcome, Retry)
    assert outcome.reason.startswith(f"{url}/object: ")


async def test_a_certificate_that_nobody_vouches_for_is_refused(it: Bench, tmp_path: Path) -> None:
    async with serving(answer, server_context(tmp_path)) as url:
        outcome = await it.run({"source": {"url": {"path": f"{url}/object", "verifyCert": False}}})
    assert isinstance(outcome, Retry)
    assert outcome.reason.startswith(f"{url}/object: the server's certificate is not accepted: ")


@pytest.fixture
def bucket() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"aws_access_key_id": "AKIA", "aws_secret_access_key": PASSWORD, "region_name": "us-east-1"}
    client = boto3.session.Session().client("s3", endpoint_url=f"http://{host}:{port}", **keys)
    client.create_bucket(Bucket="objects")
    client.put_object(Bucket="objects", Key="w1.yaml", Body=TEXT.encode())
    yield f"{host}:{port}"
    server.stop()


async def test_an_object_in_a_bucket(api: LocalSimulator, it: Bench, mounts: Mounts, bucket: str) -> None:
    keys = {"accessKey": {"name": "keys", "key": "access"}, "secretKey": {"name": "keys", "key": "secret"}}
    place = {"bucket": {"name": "objects", "key": "to be replaced"}, "endpoint": bucket, "insecure": True, **keys}
    given = [
        parameter("k8s.source.s3.bucket.key", "body.metadata.name"),
        parameter("k8s.source.s3.bucket.key", value=".yaml") | {"operation": "append"},
    ]
    await it.done({"source": {"s3": place}}, mounts=mounts, parameters=given)
    assert await data(api) == {"a": "1"}
    outcome = await it.run({"source": {"s3": place}}, mounts=mounts)
    assert isinstance(outcome, Retry)
    assert outcome.reason.startswith(f"s3://objects/to be replaced at {bucket}: NoSuchKey: ")
    outcome = await it.run({"source": {"s3": place}}, mounts=Mounts(Path("/nowhere"), Path("/nowhere")))
    assert isinstance(outcome, Retry)
    assert "key `access` of Secret `keys` is not mounted" in outcome.reason


async def test_a_bucket_that_is_away_is_retried_without_its_keys(it: Bench, mounts: Mounts) -> None:
    keys = {"accessKey": {"name": "keys", "key": "access"}, "secretKey": {"name": "keys", "key": "secret"}}
    place = {"bucket": {"name": PASSWORD, "key": "k"}, "endpoint": "127.0.0.1:9", "insecure": True, **keys}
    outcome = await it.run({"source": {"s3": place}}, mounts=mounts)
    assert isinstance(outcome, Retry)
    assert PASSWORD not in outcome.reason


@pytest.mark.parametrize(("at", "value"), [({"tag": "v1"}, "1"), ({"branch": "main"}, "2"), ({}, "2")])
async def test_a_file_in_a_repository(api: LocalSimulator, it: Bench, repository: Path, at: Body, value: str) -> None:
    place = {"url": f"file://{repository}", "filePath": "in/one.yaml", "cloneDirectory": "/git", **at}
    await it.done({"source": {"git": place}})
    assert await data(api) == {"a": value}


async def test_a_repository_is_read_from_the_first_address_of_its_remote(
    api: LocalSimulator, it: Bench, repository: Path, tmp_path: Path
) -> None:
    place = {"url": f"file://{tmp_path}/none", "filePath": "in/one.yaml"}
    urls = [f"file://{repository}", f"file://{tmp_path}/none"]
    await it.done({"source": {"git": {**place, "remote": {"name": "fork", "urls": urls}}}})
    assert await data(api) == {"a": "2"}
    outcome = await it.run({"source": {"git": {**place, "remote": {"name": "fork", "urls": urls[::-1]}}}})
    assert isinstance(outcome, Retry)
    assert outcome.reason.startswith(f"{urls[1]}, in/one.yaml: git fetch: ")


async def test_a_remote_is_judged_like_a_repository(it: Bench) -> None:
    source = {"url": "https://git.example.com/r", "filePath": "a"}
    remote = {"name": "fork", "urls": ["http://127.0.0.1:9/r"]}
    outcome = await it.run({"source": {"git": {**source, "remote": remote}}}, addresses=INSIDE)
    assert outcome == Retry(f"the source: {REFUSED}meant to be reached", ours=True)
    app = {"privateKey": {"name": "app", "key": "key"}, "appID": 1, "installationID": 1}
    for wrong in (
        {"name": "fork", "urls": []},
        {"name": "fork", "urls": ["ext::sh -c id"]},
        {"urls": ["https://git.example.com/r"]},
    ):
        with pytest.raises(ValidationError):
            K8s.model_validate({"source": {"git": {**source, "remote": wrong}}})
    of_github = {**source, "url": "https://github.com/o/r", "githubApp": app}
    K8s.model_validate({"source": {"git": of_github}})
    with pytest.raises(ValidationError, match="whose token is for"):
        K8s.model_validate({"source": {"git": {**of_github, "remote": remote}}})


async def test_nothing_leads_out_of_a_repository(it: Bench, repository: Path) -> None:
    async def run(path: str, **more: object) -> Outcome:
        return await it.run({"source": {"git": {"url": f"file://{repository}", "filePath": path, **more}}})

    url = f"file://{repository}"
    assert await run("link.yaml") == Failure(f"{url}, link.yaml: it is not a regular file")
    assert await run("in") == Failure(f"{url}, in: it is not a regular file")
    assert await run("large.yaml") == Failure(f"{url}, large.yaml has more than {LARGEST} bytes")
    assert await run("none.yaml") == Retry(f"{url}, none.yaml: there is no such file at HEAD")
    outcome = await run("in/one.yaml", branch="none")
    assert isinstance(outcome, Retry)
    assert "couldn't find remote ref refs/heads/none" in outcome.reason
    for path in ("abc/efg/../../../root", "/etc/passwd", "../x", "", "~/x", "--upload-pack=x", "a/./b"):
        with pytest.raises(ValidationError):
            K8s.model_validate({"source": {"git": {"url": url, "filePath": path}}})
    for wrong in ("ext::sh -c id", "-x", "fake", "fd::17"):
        with pytest.raises(ValidationError):
            K8s.model_validate({"source": {"git": {"url": wrong, "filePath": "a"}}})
    with pytest.raises(ValidationError):
        K8s.model_validate({"source": {"git": {"url": url, "filePath": "a", "branch": "--upload-pack=id"}}})


async def test_credentials_go_to_the_repository_alone_and_are_not_told(it: Bench, mounts: Mounts) -> None:
    seen: list[str] = []

    async def refuse(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization", ""))
        return web.Response(status=403, text=seen[-1])

    keys = {"username": {"name": "keys", "key": "user"}, "password": {"name": "keys", "key": "secret"}}
    async with serving(refuse) as url:
        place = {"url": f"{url}/r.git", "filePath": "a", "creds": keys}
        outcome = await it.run({"source": {"git": place}}, mounts=mounts)
    assert isinstance(outcome, Retry)
    assert seen[0] == "Basic bWU6cGFzcy13MHJk"
    assert PASSWORD not in outcome.reason
    assert "bWU6cGFzcy13MHJk" not in outcome.reason


async def test_git_that_hangs_is_ended_with_the_timeout(it: Bench) -> None:
    hanging = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        await hanging.wait()
        return web.Response()

    async with serving(hang) as url:
        outcome = await it.run({"source": {"git": {"url": f"{url}/r.git", "filePath": "a"}}, "timeout": 1})
        hanging.set()
    assert outcome == Retry("create an object: no answer within 1 s")


INSIDE = Addresses.parse([], ["127.0.0.0/8"])
REFUSED = "127.0.0.1 is refused by --deny-addresses 127.0.0.0/8; correct the address, or the rule if 127.0.0.1 is "


async def test_no_source_leads_to_an_address_that_is_denied(it: Bench, mounts: Mounts, bucket: str) -> None:
    """What the manifest names waits until somebody corrects it; what an event names is a dead letter at once."""
    asked: list[str] = []

    async def record(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(text=TEXT)

    keys = {"accessKey": {"name": "keys", "key": "access"}, "secretKey": {"name": "keys", "key": "secret"}}
    async with serving(record) as url:
        sources: dict[str, Body] = {
            "url.path": {"url": {"path": f"{url}/object"}},
            "git.url": {"git": {"url": f"{url}/r.git", "filePath": "a"}},
            "s3.endpoint": {
                "s3": {"endpoint": bucket, "insecure": True, "bucket": {"name": "objects", "key": "w1.yaml"}, **keys}
            },
        }
        for path, source in sources.items():
            outcome = await it.run({"source": source}, mounts=mounts, addresses=INSIDE)
            assert outcome == Retry(f"the source: {REFUSED}meant to be reached", ours=True), path
            first, second = path.split(".")
            value = {"src": {"dependencyName": "dep", "value": source[first][second]}, "dest": f"k8s.source.{path}"}
            elsewhere = {first: source[first] | {second: source[first][second].replace("127.0.0.1", "localhost")}}
            chosen = await it.run({"source": elsewhere}, mounts=mounts, addresses=INSIDE, parameters=[value])
            assert chosen == Failure(f"the source: {REFUSED}meant to be reached"), path
    assert asked == []


async def test_a_redirect_does_not_lead_to_an_address_that_is_denied(api: LocalSimulator, it: Bench) -> None:
    only_named = Addresses.parse(["localhost"], [])
    to = ""

    async def redirect(request: web.Request) -> web.Response:
        raise web.HTTPFound(to)

    async with serving(answer) as target, serving(redirect) as url:
        named, to = url.replace("127.0.0.1", "localhost"), f"{target}/object"
        outcome = await it.run({"source": {"url": {"path": f"{named}/x"}}}, addresses=only_named)
        assert isinstance(outcome, Retry)
        assert "the source: 127.0.0.1 is not among --allow-addresses" in outcome.reason
        outcome = await it.run({"source": {"git": {"url": f"{named}/r", "filePath": "a"}}}, addresses=only_named)
        assert isinstance(outcome, Retry)
        assert "unable to update url base from redirection" in outcome.reason or "302" in outcome.reason
        to = to.replace("127.0.0.1", "localhost")
        await it.done({"source": {"url": {"path": f"{named}/x"}}}, addresses=only_named)
    assert await data(api) == {"a": "1"}


@pytest.mark.parametrize(
    "url",
    [
        "https://169.254.169.254\\@good.example/r",
        "https://a@b@169.254.169.254/r",
        "ssh://git@[::ffff:169.254.169.254]/r",
        "git@169.254.169.254:r",
        "http://0xa9fea9fe/r",
        "http://2852039166/r",
    ],
)
async def test_no_spelling_of_a_repository_leads_past_the_rules(it: Bench, url: str) -> None:
    rules = Addresses.parse([], ["169.254.0.0/16"])
    outcome = await it.run({"source": {"git": {"url": url, "filePath": "a"}}}, addresses=rules)
    assert isinstance(outcome, Retry)
    assert outcome.ours
    assert "is refused by --deny-addresses" in outcome.reason or "no rule can judge" in outcome.reason


async def test_the_preview_shows_the_source_and_reads_nothing(it: Bench, mounts: Mounts) -> None:
    place = f"https://me:{PASSWORD}@example.com/object?token={PASSWORD}"
    to = it.route({"source": {"url": {"path": place}}, "parameters": [parameter("data.n", "body.n")]})
    shown = to.trigger.preview(to.request(event()))
    assert shown == {
        "operation": "create",
        "reads": "the source",
        "source": {"url": {"path": "https://example.com/object"}},
        "parameters": [{"dest": "data.n", "value": "100"}],
    }
    remote = {"name": "fork", "urls": [place]}
    to = it.route({"source": {"git": {"url": place, "filePath": "a", "remote": remote}}})
    shown = to.trigger.preview(to.request(event()))
    assert "https://example.com/object" in str(shown)
    assert PASSWORD not in str(shown)
