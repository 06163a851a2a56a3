"""The options of the servers, as users give them."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from kubecdc.cli.commands.run import certificate, work
from kubecdc.errors import UsageError
from tests.cli.rig import SENSOR


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--metrics-bind-address", "9464"], "'9464' is not HOST:PORT: write `127.0.0.1:9464`"),
        (["--health-bind-address", "::1:9465"], "an IPv6 address is written in brackets"),
        (["--metrics-cert-file", "no/such"], "'no/such' does not exist"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(tmp_path: Path, given: list[str], says: str) -> None:
    (tmp_path / "sensor.yaml").write_text(SENSOR)
    done = CliRunner().invoke(work, ["-f", str(tmp_path), *given])
    assert done.exit_code == 2
    assert says in " ".join(done.output.split())


@pytest.mark.parametrize("given", [(Path("crt"), None), (None, Path("key"))])
def test_a_certificate_needs_its_key(given: tuple[Path | None, Path | None]) -> None:
    with pytest.raises(UsageError, match="--metrics-cert-file and --metrics-key-file belong together"):
        certificate(*given)
