from __future__ import annotations

from tests.cli.conftest import alice, api, desk, redis_url

__all__ = ["alice", "api", "desk", "redis_url"]
