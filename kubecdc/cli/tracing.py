"""Whether this process traces: as `--tracing` and the standard variables of OpenTelemetry say."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import structlog

from kubecdc import tracing
from kubecdc.errors import UsageError

log = structlog.get_logger()
PROTOCOL = "http/protobuf"


@contextmanager
def running(flag: bool | None, instance: str) -> Iterator[None]:
    """Trace during the block, if that is wanted. Raises UsageError if ``flag`` asks for what is not possible.

    Without ``flag``, a variable may have been set for other programs: then the process runs without, and says so.
    """
    if wanted(flag, os.environ):
        problem, hint = _started(instance)
        if problem and flag:
            raise UsageError(f"--tracing: {problem}", hint=hint)
        if problem:
            log.warning(f"nothing is traced: {problem}", code="tracing-unavailable", hint=hint)
        else:
            log.info("tracing", code="tracing", endpoint=tracing.endpoint())
    try:
        yield
    finally:
        tracing.stop()


def wanted(flag: bool | None, environment: Mapping[str, str]) -> bool:
    """Whether to trace. Without ``flag``, an endpoint or an exporter that is named turns it on.

    https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
    """
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    if flag is not None:
        return flag
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").lower()
    if exporter:
        return exporter != "none"
    return any(environment.get(f"OTEL_EXPORTER_OTLP_{name}ENDPOINT") for name in ("", "TRACES_"))


def _started(instance: str) -> tuple[str, str]:
    """Start it. What is wrong and what to do; empty if nothing is."""
    exporter = os.environ.get("OTEL_TRACES_EXPORTER", "").lower() or "otlp"
    if exporter != "otlp":
        return f"OTEL_TRACES_EXPORTER={exporter} is not supported", "write otlp, or none"
    names = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"
    protocol = next((os.environ[name] for name in names if os.environ.get(name)), PROTOCOL)
    if protocol != PROTOCOL:
        return f"OTLP over {protocol} is not supported", f"write {PROTOCOL}, and the port of that, 4318 by default"
    try:
        tracing.start("kubecdc", instance)
    except ImportError as e:
        return f"OpenTelemetry is not installed ({e})", "pip install 'kubecdc[tracing]'"
    except ValueError as e:
        return f"a variable OTEL_* is wrong: {e}", "correct it"
    return "", ""
