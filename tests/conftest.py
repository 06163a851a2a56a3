"""For all tests."""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterator
from typing import Any

import pytest
import structlog
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from tests import once
from tests.apiserver import RealApiServer, require_assets
from tests.apiserver.real import started
from tests.storage import redis_server
from tests.storage.redis_server import RedisServer

# A busy machine makes single examples slow; what is too slow altogether is found by each test's own timeout.
settings.register_profile("kubecdc", deadline=None, print_blob=True)
settings.load_profile("kubecdc")

END_TO_END = "tests/e2e/"
TOGETHER = (f"{END_TO_END}test_kill", END_TO_END, "tests/storage/sqs/")
"""What begins alike, by the first of these, runs in one process."""
LONG_SECONDS = 300  # for a long test that has no timeout of its own


class Scheduling(LoadScopeScheduling):  # type: ignore[misc] # the library has no types
    """In parallel file by file. Of what fills a machine by itself, few run at a time, and first: they take longest.

    What shares a server that costs seconds of CPU to start goes one after another, for each worker would start one.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((begin for begin in TOGETHER if file.startswith(begin)), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling:
    config.option.loadscopereorder = False
    return Scheduling(config, log)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--another-python", action="store_true", help="without what one runs for all: tests/once.py")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Nothing that is collected is garbage: to look through it again and again takes a fifth of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and _needs_a_real_server(item):
            item.add_marker(pytest.mark.long)
        if item.get_closest_marker("long") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(LONG_SECONDS))
    if config.getoption("--another-python"):
        left = [item for item in items if once.only_on_one(item)]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if not once.only_on_one(item)]
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: not item.nodeid.startswith(END_TO_END))


def _needs_a_real_server(item: pytest.Function) -> bool:
    return "real_api" in item.fixturenames or (hasattr(item, "callspec") and "real" in item.callspec.id.split("-"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tell `tests.conformance` which case of the suite this is, and of which back end."""
    marker = item.get_closest_marker("conformance")
    if marker and isinstance(item, pytest.Function):
        case: Any = item.callspec.params["case"]
        item.user_properties.append(("conformance", f"{marker.args[0]}\n{case.name}"))


@pytest.fixture(autouse=True)
def log_of_its_own() -> Iterator[None]:
    """A command that runs in the process of the tests sets up the log of the process."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """For tests that leave the server alone."""
    redis_server.require()
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def real_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealApiServer]:
    """A real API server, for tests that leave it alone. Who asks it closes it: its connections are of an event loop."""
    require_assets()
    with started(tmp_path_factory.mktemp("real")) as server:
        yield server
