"""The program for consumers of one's own decrypts what the bus has encrypted."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from kubecdc.storage.encryption.sealing import read_key, seal_event
from kubecdc.storage.testing.actors import event
from tests.docs.blocks import ROOT, blocks_of
from tests.storage.keys import NEW, OLD, key_text

PAGE = ROOT / "docs" / "consumers.md"


@pytest.mark.parametrize("smaller", [False, True])
def test_the_program_on_the_page(smaller: bool) -> None:
    [block] = [block for block in blocks_of(PAGE, PAGE.read_text()) if block.runner == Path(__file__)]
    program: dict[str, Any] = {}
    exec(block.text, program)
    keys = [base64.b64decode(key_text(name)) for name in (NEW, OLD)]
    for name in (NEW, OLD):
        stored = json.loads(seal_event(event(1), read_key(key_text(name).encode()), smaller=smaller).encode())
        found = program["decrypted"](stored, keys)
        assert found.pop("encryptionkey") and found == json.loads(event(1).encode())
    assert program["decrypted"](json.loads(event(1).encode()), keys) == json.loads(event(1).encode())
