"""Requests to answers: everything but watches."""

from __future__ import annotations

import json

from tests.apiserver import errors, lists
from tests.apiserver.apply import APPLY, check_options
from tests.apiserver.bodies import Body
from tests.apiserver.changes import Stored, encode
from tests.apiserver.connection import Request, Response
from tests.apiserver.discovery import discover
from tests.apiserver.errors import ApiError, NotSimulated
from tests.apiserver.objects import Registry, Writer
from tests.apiserver.resources import CRD, Kinds, Target, kind_of
from tests.apiserver.schema import beyond

BODY_LIMIT = 3 * 1024 * 1024
_JSON = ("", "application/json")
_OTHER_ENCODINGS = {"application/yaml", "application/vnd.kubernetes.protobuf", "application/cbor"}
_WRITE_QUERY = {"fieldManager", "fieldValidation", "pretty", "force"}


class Routes:
    """The verbs of HTTP on the kinds that are served."""

    def __init__(self, registry: Registry, kinds: Kinds) -> None:
        self.registry = registry
        self.store = registry.store
        self.kinds = kinds

    def answer(self, request: Request, target: Target | None) -> Response:
        """The answer to anything but a watch; raises ApiError and NotYet."""
        if request.path in {"/healthz", "/livez", "/readyz"}:
            return Response(body=b"ok", content_type="text/plain; charset=utf-8")
        if target is None:
            return self._discovery(request)
        acceptable(request)
        if len(request.body) > BODY_LIMIT:
            raise errors.too_large_entity(BODY_LIMIT)
        collection = self.store.collection(target.kind)
        match request.method:
            case "GET" | "HEAD" if not target.name:
                return Response(
                    body=lists.answer_list(self.store, collection, lists.Options.parse(target, request.query))
                )
            case "GET" | "HEAD":
                return self._get(request, target)
            case "POST":
                return self._post(request, target)
            case "PUT" | "PATCH" if not target.name:
                raise errors.bad_request("name must be provided")
            case "PUT":
                _writable(request)
                self._subresource(target)
                return _written(*self.registry.update(target, request.body, _writer(request)))
            case "PATCH":
                _check_query(request, _WRITE_QUERY)
                self._subresource(target)
                return self._patch(request, target)
            case "DELETE":
                return self._delete(request, target)
        message = f' is not supported on resources of kind "{target.kind.qualified}"'
        details = {"group": target.kind.group, "kind": target.kind.plural}
        raise ApiError(405, "MethodNotAllowed", message, details=details)

    def _discovery(self, request: Request) -> Response:
        document = discover(self.kinds, request.path, request.headers.get("host", ""))
        if document is None:
            parts = request.path.strip("/").split("/")
            if parts[0] == "openapi" or parts[:2] == ["apis", "authorization.k8s.io"]:
                raise NotSimulated(request.path)
            if "watch" in parts[2:4]:
                raise NotSimulated("the deprecated watch paths")
            raise errors.page_not_found()
        if request.method not in {"GET", "HEAD"}:
            raise errors.method_not_allowed()
        if request.path.rstrip("/") == "/openapi/v3":
            return Response(body=encode(document) + b"\n", content_type="text/plain; charset=utf-8")
        return Response(body=encode(document) + b"\n")

    def _subresource(self, target: Target) -> None:
        served = {"", "status"} if target.kind.status_subresource else {""}
        if target.subresource not in served:
            raise errors.not_found(target.kind, target.name)

    def _get(self, request: Request, target: Target) -> Response:
        self._subresource(target)
        _check_query(request, {"resourceVersion", "pretty", "watch", "includeObject"})
        version = request.query.get("resourceVersion", "")
        if fault := lists.version_fault(version):
            raise errors.internal(fault)
        if int(version or 0) > self.store.version:
            raise lists.NotYet(int(version), errors.too_large_version(int(version), self.store.version))
        stored = self.store.get(target.kind, target.kind.key(target.namespace, target.name))
        if stored is None:
            raise errors.not_found(target.kind, target.name)
        return Response(body=stored.raw + b"\n")

    def _patch(self, request: Request, target: Target) -> Response:
        kind, writer = _media_type(request.headers.get("content-type", "")), _writer(request)
        check_options(request.query, applying=kind == APPLY)
        if kind == APPLY:
            force = request.query.get("force", "false") not in {"false", "0"}
            body, made = self.registry.apply(target, request.body, writer, force=force)
            return Response(201 if made else 200, encode(body) + b"\n")
        return _written(*self.registry.patch(target, request.body, kind, writer))

    def _post(self, request: Request, target: Target) -> Response:
        if target.kind.namespaced and not target.namespace:
            raise errors.page_not_found()
        _writable(request)
        if target.name:
            raise NotSimulated("POST to an object")
        if target.kind == CRD:
            _check_definition(request.body)
        stored, warnings = self.registry.create(target, request.body, _writer(request))
        return Response(201, stored.raw + b"\n", headers=_warned(warnings))

    def _delete(self, request: Request, target: Target) -> Response:
        options = json.loads(request.body) if request.body else {}
        collection = self.store.collection(target.kind)
        if not target.name:
            query = dict(request.query)
            options |= _delete_options(query)
            selection = lists.Options.parse(target, query)
            version = self.store.version
            gone = self.registry.delete_all(collection, selection.selector, options, _writer(request))
            return Response(body=lists.encode_list(collection, gone, version))
        self._subresource(target)
        query = dict(request.query)
        options |= _delete_options(query)
        if query:
            raise NotSimulated(f"query parameter {next(iter(query))}")
        gone_or_held = self.registry.delete(target, options, _writer(request))
        raw = gone_or_held.raw if isinstance(gone_or_held, Stored) else encode(gone_or_held)
        return Response(body=raw + b"\n")


def failure(error: ApiError) -> Response:
    """The HTTP answer of an error."""
    if error.code == 404 and not error.reason:
        return Response(404, error.message.encode(), "text/plain; charset=utf-8")
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return Response(error.code, encode(error.status()) + b"\n", headers=headers)


def _warned(warnings: list[str]) -> dict[str, str]:
    return {"Warning": ", ".join(warnings)} if warnings else {}


def _written(body: Body, warnings: list[str]) -> Response:
    return Response(body=encode(body) + b"\n", headers=_warned(warnings))


def _media_type(header: str) -> str:
    return header.partition(";")[0].strip().lower()


def acceptable(request: Request) -> None:
    accept = request.headers.get("accept", "")
    if not accept or "*/*" in accept:
        return
    offers = [part.strip() for part in accept.split(",")]
    if any(
        _media_type(o) in {"application/json", "application/*"} and ";as=" not in o.replace(" ", "") for o in offers
    ):
        return
    if any(_media_type(o) in {"application/json", *_OTHER_ENCODINGS} for o in offers):
        raise NotSimulated(f"Accept: {accept}")
    raise errors.not_acceptable()


def _check_query(request: Request, known: set[str]) -> None:
    for name in request.query.keys() - known:
        raise NotSimulated(f"query parameter {name}")


def _writable(request: Request) -> None:
    _check_query(request, _WRITE_QUERY)
    kind = _media_type(request.headers.get("content-type", ""))
    if kind in _OTHER_ENCODINGS:
        raise NotSimulated(f"Content-Type: {kind}")
    if kind not in _JSON:
        raise errors.unsupported_media(["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"])


def manager_of(request: Request) -> str:
    """Whom managedFields name."""
    return request.query.get("fieldManager") or request.headers.get("user-agent", "").partition("/")[0] or "unknown"


def _writer(request: Request) -> Writer:
    return Writer(manager_of(request), request.query.get("fieldValidation") or "Warn")


def _delete_options(query: dict[str, str]) -> Body:
    """Take the DeleteOptions out of a query."""
    options: Body = {}
    for name in ("propagationPolicy", "gracePeriodSeconds", "orphanDependents"):
        if name in query:
            options[name] = query.pop(name)
    return options


def _check_definition(raw: bytes) -> None:
    try:
        kind = kind_of(json.loads(raw))
    except ValueError as e:
        raise NotSimulated(str(e)) from e
    except (KeyError, TypeError) as e:
        raise NotSimulated(f"validation of a CustomResourceDefinition without {e}") from e
    if kind.schema and (keyword := beyond(kind.schema)):
        raise NotSimulated(f"the schema keyword {keyword}")
