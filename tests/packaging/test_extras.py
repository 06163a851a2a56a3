"""What needs an extra that is not installed says which, with the command that installs it."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Awaitable, Callable, Mapping
from importlib import util
from typing import Annotated, Any, cast

import pytest
from pydantic import TypeAdapter, ValidationError

from kubecdc.cli import tracing
from kubecdc.cluster.keys import Keys
from kubecdc.errors import UsageError
from kubecdc.manifest.secrets import KeyRef
from kubecdc.storage.encryption import require_library as require_encryption
from kubecdc.storage.pubsub import require_library as require_pubsub
from kubecdc.storage.redis import RedisSettings
from kubecdc.storage.redis import open_bus as open_redis
from kubecdc.storage.redis_server.settings import ServerSettings
from kubecdc.storage.rq import open_bus as open_rq
from kubecdc.storage.sqs import require_libraries as require_sqs
from kubecdc.workers.addresses import EVERYWHERE
from kubecdc.workers.objects.answer import Undone
from kubecdc.workers.objects.sources.manifest import Source
from kubecdc.workers.objects.sources.read import Reader
from kubecdc.workers.scripts import program
from kubecdc.workers.triggers.kafka import type as kafka
from kubecdc.workers.triggers.kafka.manifest import Kafka
from tests.packaging.version import ROOT

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
OF_TOOLS = {"all", "testing", "docs", "dev"}
NOWHERE = "redis://127.0.0.1:1/0"
KEY = {"name": "s", "key": "k"}
GITHUB = {"privateKey": KEY, "appID": 1, "installationID": 1}


class NoKeys:
    """Secrets that are there and empty."""

    async def texts(self, refs: list[KeyRef]) -> Mapping[KeyRef, str]:
        return dict.fromkeys(refs, "")

    def doubt(self, refs: list[KeyRef]) -> None:
        """They are right."""


async def source(**given: object) -> str:
    try:
        reader = Reader(cast(Keys, NoKeys()), EVERYWHERE, None)
        return str(await reader.read(Source.model_validate(given), 1.0))
    except Undone as e:
        return str(e)


async def opened(opening: Awaitable[object]) -> str:
    with pytest.raises(UsageError) as e:
        await opening
    return e.value.hint


async def required(require: Callable[[], None]) -> str:
    with pytest.raises(UsageError) as e:
        require()
    return e.value.hint


def traced() -> None:
    with tracing.running(True, "a test"):
        pass


async def scripts() -> str:
    with pytest.raises(ValidationError) as e:
        TypeAdapter(Annotated[str, program.compiles("jq")]).validate_python(".")
    return str(e.value.errors())


async def kafka_type() -> str:
    (finding,) = kafka.KafkaType().missing(Kafka.model_validate({"url": "k:9092", "topic": "t"}), frozenset())
    return finding.hint


# By extra: a module of its libraries, ours that has it imported, and how to need it.
NEEDS: dict[str, tuple[str, str, Callable[[], Awaitable[str]]]] = {
    "redis": ("redis", "", lambda: opened(open_redis(RedisSettings(NOWHERE), holder="a test"))),
    "rq": ("rq", "", lambda: opened(open_rq(ServerSettings(NOWHERE), holder="a test"))),
    "sqs": ("boto3", "", lambda: required(require_sqs)),
    "pubsub": ("google.pubsub_v1", "", lambda: required(require_pubsub)),
    "encryption": ("cryptography.hazmat.primitives.ciphers", "", lambda: required(require_encryption)),
    "s3": (
        "boto3",
        "kubecdc.workers.objects.sources.bucket",
        lambda: source(s3={"bucket": {"name": "b", "key": "k"}}),
    ),
    "github": (
        "cryptography.hazmat.primitives",
        "kubecdc.workers.objects.sources.github",
        lambda: source(git={"url": "https://github.com/t/r.git", "filePath": "a.yaml", "githubApp": GITHUB}),
    ),
    "scripts": ("jq", "", scripts),
    "kafka": ("confluent_kafka", "", kafka_type),
    "tracing": ("opentelemetry.sdk.trace", "", lambda: required(traced)),
}


def test_each_extra_is_in_all_and_is_looked_at_here() -> None:
    assert set(NEEDS) == set(EXTRAS) - OF_TOOLS
    (whole,) = EXTRAS["all"]
    assert set(whole.removeprefix("kubecdc[").removesuffix("]").split(",")) == set(NEEDS)


@pytest.mark.parametrize("extra", NEEDS)
async def test_what_needs_an_extra_names_it(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    library, ours, need = NEEDS[extra]
    # What is loaded of it is found without it.
    for name in [library, *(name for name in sys.modules if name.startswith(f"{library}."))]:
        monkeypatch.setitem(sys.modules, name, None)
    if ours:
        monkeypatch.delitem(sys.modules, ours, raising=False)
        package, _, name = ours.rpartition(".")
        monkeypatch.delattr(sys.modules[package], name, raising=False)

    def found(name: str, *args: Any) -> Any:
        return None if name == library else util.find_spec(name, *args)

    for module in (program, kafka):
        monkeypatch.setattr(module, "find_spec", found)
    assert f"pip install 'kubecdc[{extra}]'" in await need()
