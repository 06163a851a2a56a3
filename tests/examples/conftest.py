from __future__ import annotations

from tests.cli.conftest import desk, redis_url

__all__ = ["desk", "redis_url"]
