from __future__ import annotations

from pathlib import Path

import pytest

from kubecdc.manifest.mounts import Mounts
from tests.workers.pod import Pod


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(Mounts(tmp_path / "secrets", tmp_path / "config"))
