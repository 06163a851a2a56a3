"""The picture of docs/concepts.md is the one that its source draws."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from tests.docs import diagram


def test_the_picture_is_what_its_source_draws() -> None:
    assert diagram.FILE.read_text() == diagram.drawn(), "make diagram"
    ET.fromstring(diagram.drawn())
