"""HOST:PORT, as users write it."""

from __future__ import annotations

import pytest

from kubecdc.cli.serving.address import Address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:9464", "127.0.0.1", 9464),
        (":8080", "", 8080),
        ("[::1]:9464", "::1", 9464),
        ("[::]:9464", "::", 9464),
        ("localhost:0", "localhost", 0),
    ],
)
def test_an_address_is_read_and_written(text: str, host: str, port: int) -> None:
    found = Address.parse(text)
    assert found == Address(host, port)
    assert str(found) == text


def test_zero_is_off() -> None:
    assert Address.parse("0") is None


@pytest.mark.parametrize("text", ["", "9464", "::1:9464", "host:", "host:99999", "host:http", "host:-1", "host:٣"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not HOST:PORT"):
        Address.parse(text)
