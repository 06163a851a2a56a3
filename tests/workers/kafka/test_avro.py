"""Messages in Avro: what fits a schema of a registry, and what is said of the rest."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fastavro import parse_schema, schemaless_reader

from kubecdc.cluster.keys import Keys
from kubecdc.workers.outcome import Failure, Outcome, Retry, Success
from kubecdc.workers.testing.case import event_of, running
from kubecdc.workers.triggers.kafka.avro import DEEPEST, Schema
from kubecdc.workers.triggers.kafka.undone import Undone
from tests.workers.kafka.mock import consume, mock_cluster
from tests.workers.kafka.registries import SmallRegistry, small_registry
from tests.workers.kafka.test_kafka import Setting
from tests.workers.pod import Pod, ref
from tests.workers.test_http_tls import certified

NAME = {"src": {"dependencyName": "dep", "dataKey": "body.metadata.name"}, "dest": "name"}
RECORD = {
    "type": "record",
    "name": "Change",
    "namespace": "io.example",
    "fields": [
        {"name": "name", "type": "string"},
        {"name": "count", "type": "long", "default": 7},
        {"name": "note", "type": ["null", "string"], "default": None},
    ],
}
SUB = {
    "type": "record",
    "name": "S",
    "fields": [{"name": "kind", "type": {"type": "enum", "name": "K", "symbols": ["A"]}}],
}
ALL = {
    "type": "record",
    "name": "R",
    "fields": [
        {"name": "long", "type": "long"},
        {"name": "int", "type": "int"},
        {"name": "double", "type": "double"},
        {"name": "flag", "type": "boolean"},
        {"name": "union", "type": ["null", "string", "long"], "default": None},
        {"name": "bytes", "type": ["null", "bytes"], "default": None},
        {"name": "list", "type": {"type": "array", "items": "string"}, "default": []},
        {"name": "map", "type": {"type": "map", "values": "long"}, "default": {}},
        {"name": "at", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "default": None},
        {"name": "sub", "type": ["null", SUB], "default": None},
    ],
}
FITS = {"long": 1, "int": 2, "double": 3, "flag": True}


def read(value: bytes, schema: Any) -> tuple[int, Any]:
    """The id of the schema and the value, as a consumer reads them."""
    assert value[0] == 0
    return int.from_bytes(value[1:5], "big"), schemaless_reader(io.BytesIO(value[5:]), parse_schema(schema), None)


async def encoded(schema: Any, value: Any) -> bytes:
    return await Schema(7, [json.dumps(schema)]).encoded(json.dumps(value).encode(), 60)


async def refused(schema: Any, value: Any) -> str:
    with pytest.raises(Undone) as caught:
        await encoded(schema, value)
    assert isinstance(caught.value.outcome, Failure)
    return caught.value.outcome.reason


async def test_json_becomes_avro_with_the_id_of_the_schema_and_its_defaults() -> None:
    number, value = read(await encoded(ALL, {**FITS, "more": "left out", "union": 5, "map": {"k": 1}}), ALL)
    assert number == 7
    wanted = {**FITS, "union": 5, "map": {"k": 1}, "list": []}
    assert {name: value[name] for name in wanted} == wanted
    assert "more" not in value
    assert read(await encoded("string", "text"), "string") == (7, "text")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"long": 1.5}, "field `R.long` must be long, and is a number"),
        ({"long": "1"}, "field `R.long` must be long, and is text"),
        ({"long": True}, "field `R.long` must be long, and is true or false"),
        ({"long": 2**70}, "field `R.long` must be long, and is a whole number"),
        ({"long": None}, "field `R.long` must be long, and is missing or null"),
        ({"int": 2**40}, "field `R.int` must be int, and is a whole number"),
        ({"double": "x"}, "field `R.double` must be double, and is text"),
        ({"flag": 1}, "field `R.flag` must be boolean, and is a whole number"),
        ({"union": [1]}, "field `R.union` must be null or string or long, and is a list"),
        ({"bytes": "text"}, "field `R.bytes` must be null or bytes, and is text"),
        ({"list": "abc"}, "field `R.list` must be array, and is text"),
        ({"list": [1]}, "field `R.list` must be string, and is a whole number"),
        ({"map": {"k": "v"}}, "field `R.map` must be long, and is text"),
        ({"at": "2026-01-01T00:00:00Z"}, "field `R.at` must be null or long (timestamp-millis), and is text"),
    ],
)
async def test_what_does_not_fit_names_the_field_and_shows_no_value(change: dict[str, Any], said: str) -> None:
    assert await refused(ALL, {**FITS, **change}) == f"schema 7 does not fit the value: {said}"


async def test_what_is_wrong_inside_is_named_too() -> None:
    said = await refused(ALL, {**FITS, "sub": {"kind": "secret-word"}})
    assert "R.sub" in said
    assert "secret-word" not in said
    assert await refused(RECORD, [1]) == "schema 7 does not fit the value: it must be io.example.Change, and is a list"


async def test_data_for_a_schema_that_contains_itself_are_not_endlessly_deep() -> None:
    node = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"], "default": None}]}
    deep: Any = {}
    for _ in range(DEEPEST - 2):
        deep = {"next": deep}
    await encoded(node, deep)
    for _ in range(200):
        deep = {"next": deep}
    assert await refused(node, deep) == f"schema 7: the value is nested more than {DEEPEST} levels deep"
    await encoded(RECORD, {"name": "n", "ignored": deep})


async def test_a_large_value_is_written_beside_the_event_loop() -> None:
    texts = {"type": "array", "items": "string"}
    value = ["x" * 100] * 5000
    assert read(await encoded(texts, value), texts)[1] == value


@pytest.fixture
async def registry() -> AsyncIterator[SmallRegistry]:
    async with small_registry() as made:
        made.put(9, RECORD)
        yield made


class Sender:
    """Triggers that send to a topic of a mock cluster."""

    def __init__(self, url: str) -> None:
        self._url = url

    def running(self, registry: SmallRegistry, pod: Pod | None = None, **more: Any) -> Any:
        given = {"url": registry.url, "schemaId": 9, **more}
        keys = pod.keys if pod else Keys()
        setting = Setting(self._url, keys, topic="avro", payload=[NAME], schemaRegistry=given, timeout=20)
        return running(setting)  # type: ignore[arg-type]

    async def send(self, registry: SmallRegistry, pod: Pod | None = None, **more: Any) -> Outcome:
        async with self.running(registry, pod, **more) as made:
            outcome: Outcome = await made.execute(event_of(1))
            return outcome

    def received(self) -> list[Any]:
        return consume(self._url, "avro")


@pytest.fixture(scope="module")
def sender() -> Any:
    with mock_cluster() as cluster:
        cluster.create("avro", 1)
        yield Sender(cluster.url)


async def test_the_schema_is_read_once_and_the_message_says_what_it_is(sender: Sender, registry: SmallRegistry) -> None:
    async with sender.running(registry) as made:
        assert [await made.execute(event_of(number)) for number in range(3)] == [Success()] * 3
        shown = made.trigger.preview(made.prepare(event_of(1)))
    assert registry.asked == ["/schemas/ids/9"]
    message = sender.received()[-1]
    assert read(message.value, RECORD) == (9, {"name": "w1", "count": 7, "note": None})
    assert message.headers["content-type"] == "application/avro"
    assert shown["schemaRegistry"] == {"url": registry.url, "schemaId": 9}
    assert msgspec.json.decode(msgspec.json.encode(shown["value"])) == {"name": "w1"}


async def test_a_registry_that_is_away_is_waited_for(sender: Sender, registry: SmallRegistry) -> None:
    registry.statuses = [503]
    async with sender.running(registry) as made:
        assert await made.execute(event_of(1)) == Retry(f"schema 9 of {registry.url}: 503 Service Unavailable")
        assert await made.execute(event_of(1)) == Success()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "404 Not Found: Schema 9 not found"),
        ("no json", "the answer is not that of a schema registry"),
        ({"schema": "{}", "schemaType": "PROTOBUF"}, "it is not in Avro, but of type PROTOBUF"),
        ({"schema": "{"}, "it cannot be used: "),
        ({"schema": '"Unknown"'}, "it cannot be used: "),
    ],
)
async def test_a_schema_that_is_missing_or_unusable_is_waited_for(
    sender: Sender, registry: SmallRegistry, answer: Any, said: str
) -> None:
    registry.answers = {} if answer is None else {"/schemas/ids/9": answer}
    outcome = await sender.send(registry)
    assert isinstance(outcome, Retry)
    assert outcome.reason.startswith(f"schema 9 of {registry.url}: {said}")


async def test_a_schema_may_refer_to_others(sender: Sender, registry: SmallRegistry) -> None:
    inner = {"type": "record", "name": "io.example.In", "fields": [{"name": "x", "type": "long", "default": 1}]}
    fields = [{"name": "name", "type": "string"}, {"name": "in", "type": "io.example.In", "default": {"x": 2}}]
    outer = {"type": "record", "name": "Out", "fields": fields}
    registry.put(9, outer, references=[{"name": "io.example.In", "subject": "a/b", "version": 3}])
    registry.answers["/subjects/a/b/versions/3"] = {"schema": json.dumps(inner), "id": 4}
    assert await sender.send(registry) == Success()
    known: dict[str, Any] = {}
    parse_schema(inner, known)
    value = sender.received()[-1].value
    written = schemaless_reader(io.BytesIO(value[5:]), parse_schema(outer, known), None)
    assert written == {"name": "w1", "in": {"x": 2}}


async def test_user_and_password_come_from_secrets_and_are_not_told(
    sender: Sender, registry: SmallRegistry, pod: Pod
) -> None:
    registry.login = "me:pass-w0rd"
    auth = {"username": ref("registry", "user"), "password": ref("registry", "password")}
    pod.mount("registry", user="me", password="wr0ng-word")
    async with sender.running(registry, pod, auth=auth) as made:
        outcome = await made.execute(event_of(1))
        assert outcome == Retry(f"schema 9 of {registry.url}: 401 Unauthorized: no: Basic ***")
        pod.mount("registry", password="pass-w0rd")
        assert await made.execute(event_of(1)) == Success()


async def test_the_certificate_of_the_registry_is_verified(sender: Sender, pod: Pod, tmp_path: Path) -> None:
    pki = certified(tmp_path / "pki")
    pod.mount("pki", ca_crt=pki.read("ca.crt"))
    async with small_registry(pki.context()) as registry:
        registry.put(9, RECORD)
        outcome = await sender.send(registry)
        assert isinstance(outcome, Retry)
        assert "the server's certificate is not accepted" in outcome.reason
        assert await sender.send(registry, pod, tls={"caCertSecret": ref("pki", "ca.crt")}) == Success()


async def test_what_does_not_fit_is_a_dead_letter_and_sent_nowhere(sender: Sender, registry: SmallRegistry) -> None:
    registry.put(9, {**RECORD, "fields": [{"name": "name", "type": "long"}]})
    before = len(sender.received())
    said = "field `io.example.Change.name` must be long, and is text"
    assert await sender.send(registry) == Failure(f"schema 9 does not fit the value: {said}")
    assert len(sender.received()) == before
