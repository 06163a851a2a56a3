"""Loading manifests that are written in the test."""

from __future__ import annotations

import io
import textwrap

import pytest

from kubecdc.cli.manifests.loading import ManifestErrors, Manifests, load

SOURCE = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {name: pods}
spec:
  resource:
    changed: {version: v1, resource: pods, eventTypes: [ADD]}
"""


def loaded(*documents: str, to_run: bool = False) -> Manifests:
    """The documents, as read from standard input."""
    text = "\n---\n".join(map(textwrap.dedent, documents))
    return load(["-"], stdin=io.StringIO(text), to_run=to_run)


def problems(*documents: str, to_run: bool = False) -> list[str]:
    """The lines that say what is wrong with the documents, without the name of the file."""
    with pytest.raises(ManifestErrors) as e:
        loaded(*documents, to_run=to_run)
    assert str(e.value).splitlines()[1:] == [str(problem) for problem in e.value.problems], "a line each"
    return [str(problem).removeprefix("standard input, ") for problem in e.value.problems]


def source(entry: str, spec: str = "") -> str:
    """An EventSource with one entry, which has `entry` beside what is required."""
    return f"""
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: pods}}
spec:
  resource:
    changed: {{version: v1, resource: pods, eventTypes: [ADD], {entry}}}
{textwrap.indent(textwrap.dedent(spec), "  ")}
"""


def sensor(template: str, trigger: str = "", spec: str = "") -> str:
    """A Sensor with one trigger: its template, what stands beside that, and what stands beside the triggers."""
    return f"""
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: notify}}
spec:
  dependencies: [{{name: pod, eventSourceName: pods, eventName: changed}}]
  triggers:
  - template: {{name: tell, {template}}}
{textwrap.indent(textwrap.dedent(trigger), "    ")}
{textwrap.indent(textwrap.dedent(spec), "  ")}
"""


def bus(spec: str) -> str:
    """An EventBus named default."""
    return f"""
apiVersion: kubecdc.io/v1alpha1
kind: EventBus
metadata: {{name: default}}
spec: {{{spec}}}
"""
