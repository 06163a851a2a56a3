"""Server-side apply: the configuration that is sent, and the answers that refuse it."""

from __future__ import annotations

from typing import Any

import yaml

from tests.apiserver import errors
from tests.apiserver.bodies import Body
from tests.apiserver.errors import ApiError, Cause, bad_request
from tests.apiserver.managed import FieldsConflict
from tests.apiserver.resources import Kind, Target
from tests.apiserver.schema import prune

APPLY = "application/apply-patch+yaml"


class _Loader(yaml.SafeLoader):
    """YAML as the server reads it: what looks like a time stays text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def check_options(query: dict[str, str], *, applying: bool) -> None:
    """PatchOptions: an apply names its manager, nothing else may force."""
    causes = []
    if applying and not query.get("fieldManager"):
        causes.append(Cause.required("fieldManager", "is required for apply patch"))
    if not applying and "force" in query:
        causes.append(Cause.forbidden("force", "may not be specified for non-apply patch"))
    if causes:
        details = {"group": "meta.k8s.io", "kind": "PatchOptions"}
        raise errors.invalid('PatchOptions.meta.k8s.io ""', details, causes)


def decode_config(raw: bytes, target: Target) -> Body:
    """The configuration to apply; ApiError 400 where it is none for this object."""
    try:
        config: Any = yaml.load(raw, _Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise bad_request(f"error decoding YAML: {e}") from None
    if not isinstance(config, dict):
        raise bad_request("error decoding YAML: the configuration is no object")
    kind = target.kind
    if (found := config.get("apiVersion", "")) != kind.api_version:
        version = found if "/" in found else f"/{found}"
        raise bad_request(f"invalid object type: {version}, Kind={config.get('kind', '')}")
    if not isinstance(config.setdefault("metadata", {}), dict):
        raise bad_request("error decoding YAML: metadata is no object")
    if config["metadata"].get("managedFields") is not None:
        raise bad_request("metadata.managedFields must be nil")
    config["metadata"].setdefault("name", target.name)
    return config


def check_declared(kind: Kind, config: Body) -> None:
    """A field that the schema does not declare cannot be owned: 500."""
    if kind.schema is None:
        return
    if unknown := prune(config, kind.schema):
        metadata = config["metadata"]
        name = f"{metadata.get('namespace', '')}/{metadata['name']}"
        what = f"failed to create typed patch object ({name}; {kind.api_version}, Kind={kind.kind}): "
        faults = [f".{path}: field not declared in schema" for path in unknown]
        text = faults[0] if len(faults) == 1 else "errors:\n" + "\n".join(f"  {fault}" for fault in faults)
        raise errors.internal(what + text)


def refused(conflict: FieldsConflict) -> ApiError:
    """409 with one cause for each field that somebody else owns."""
    return ApiError(409, "Conflict", conflict.message, details={"causes": conflict.causes})
