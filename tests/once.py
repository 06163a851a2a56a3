"""What one Python runs for all: these tests hold what does not depend on the interpreter.

Everything else but the long tests also runs on the other versions (``tests/on_python``): what is in one process, the
commands, the watcher, the workers, the buses in SQLite and Redis, TLS, JSON, the examples.
"""

from __future__ import annotations

import pytest

PATHS = {
    "tests/apiserver": "the simulator is for tests: no user runs it, and all that do not stand here run on it",
    "tests/benchmarks": "figures are compared on one Python",
    "tests/deploy": "YAML, the chart, and the image, which has a Python of its own",
    "tests/docs": "pages are read; what they tell the reader to type is in tests/cli and tests/examples too",
    "tests/e2e": "whole setups are judged by what was sent and stored; tests/cli starts the same processes",
    "tests/harness": "what judges the whole setups",
    "tests/packaging": "what is in the wheel is for all versions",
    "tests/test_boundaries.py": "it reads source code",
    "tests/test_contributing.py": "it reads a page",
    "tests/workers/test_no_type_by_name.py": "it reads source code",
}
SERVERS = {
    "elastic_mq": "a server in Java: boto3 and what is built on it also run on moto, and on doubles",
}


def only_on_one(item: pytest.Item) -> bool:
    """Whether the other versions of Python leave the test out."""
    path = item.nodeid.partition("::")[0]
    if any(path == place or path.startswith(f"{place}/") for place in PATHS):
        return True
    return isinstance(item, pytest.Function) and not SERVERS.keys().isdisjoint(item.fixturenames)
