"""Writing single objects: create, update, patch, delete, as the registry of an API server does it."""

from __future__ import annotations

import random
import time
import uuid
from dataclasses import dataclass

import msgspec

from tests.apiserver import errors, namespaces
from tests.apiserver.apply import APPLY, check_declared, decode_config, refused
from tests.apiserver.bodies import Body, decode, json_fault, loads, validate
from tests.apiserver.changes import Stored
from tests.apiserver.errors import ApiError, Cause, bad_request
from tests.apiserver.managed import Entry, FieldsConflict, Manager, applied, managed_after_update, without_structs
from tests.apiserver.patches import apply_json_patch, merge, refuse_directives, refuse_unknown
from tests.apiserver.resources import BUILT_IN, CRD, NAMESPACE, Kind, Target
from tests.apiserver.schema import prune
from tests.apiserver.selectors import Selector
from tests.apiserver.store import Collection, Store

ETCD_LIMIT = 1_572_864
"""Bytes of one etcd request (its default --max-request-bytes)."""

_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"  # the alphabet of generateName: k8s.io/apimachinery util/rand
_GO_TYPES = {(kind.api_version, kind.kind) for kind in BUILT_IN}
_MERGE, _JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"
_STRATEGIC = "application/strategic-merge-patch+json"


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes: the manager named in managedFields, and what becomes of unknown fields (Ignore, Warn, Strict)."""

    manager: str = "unknown"
    validation: str = "Warn"


def now() -> str:
    """The time as Kubernetes writes it: RFC 3339, UTC, whole seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class Registry:
    """The verbs on single objects, over a store."""

    def __init__(self, store: Store, *, managed_fields: bool = True) -> None:
        self.store = store
        self.managed_fields = managed_fields

    # -- create

    def create(self, target: Target, raw: bytes, writer: Writer) -> tuple[Stored, list[str]]:
        """The new object and the warnings for the client."""
        kind = target.kind
        body = decode(raw, kind)
        metadata = body["metadata"]
        if kind.namespaced:
            if metadata.setdefault("namespace", target.namespace) != target.namespace:
                raise bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request"
                )
        else:
            metadata.pop("namespace", None)
        if metadata.get("resourceVersion"):
            raise errors.internal("resourceVersion should not be set on objects to be created")
        namespaces.check_creation(self.store, kind, target.namespace, metadata.get("name") or "")
        warnings = self._prune(kind, body, writer)
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + "".join(random.choices(_SUFFIX, k=5))
        validate(kind, body)
        if self.store.get(kind, kind.key(target.namespace, metadata["name"])):
            raise errors.already_exists(kind, metadata["name"])
        return self._insert(kind, body, writer), warnings

    def _insert(self, kind: Kind, body: Body, writer: Writer, managed: list[Entry] | None = None) -> Stored:
        metadata = body["metadata"]
        for server_side in ("deletionTimestamp", "deletionGracePeriodSeconds", "managedFields", "selfLink"):
            metadata.pop(server_side, None)
        if kind.status_subresource:
            body.pop("status", None)
        metadata.pop("generation", None)
        metadata.update(uid=str(uuid.uuid4()), creationTimestamp=now(), **({"generation": 1} if kind.counted else {}))
        if kind == CRD:
            established(body)
        if kind == NAMESPACE:
            namespaces.named(body)
        self._manage(None, body, writer, managed=managed)
        if kind == NAMESPACE:
            namespaces.active(body)
        return self._put(kind, body)

    def put_as_is(self, kind: Kind, body: Body) -> Stored:
        """An object that the server itself makes, with the given uid if it has one."""
        metadata = body["metadata"]
        metadata.setdefault("uid", str(uuid.uuid4()))
        metadata.update(creationTimestamp=now(), **({"generation": 1} if kind.counted else {}))
        self._manage(None, body, Writer("kube-apiserver"))
        return self.store.put(kind, body)

    # -- update and patch

    def update(self, target: Target, raw: bytes, writer: Writer) -> tuple[Body, list[str]]:
        """PUT: the whole object, under the version it was read at. The new state and the warnings for the client."""
        kind = target.kind
        body = decode(raw, kind)
        self._same_name(target, body)
        stored = self._existing(target)
        version, uid = str(body["metadata"].get("resourceVersion") or ""), body["metadata"].get("uid")
        if uid and uid != stored.uid:
            raise errors.conflict(kind, target.name, self._uid_fault(target, uid, stored.uid))
        if not version:
            raise errors.invalid_update(kind, target.name)
        self._same_version(target, version, stored)
        return self._replace(target, stored, body, writer)

    def patch(self, target: Target, raw: bytes, content_type: str, writer: Writer) -> tuple[Body, list[str]]:
        """Merge patch and JSON patch; of a built-in kind a strategic merge patch, taken as a merge patch. A version in
        the patch is a precondition."""
        kind = target.kind
        strategic = content_type == _STRATEGIC and kind in BUILT_IN
        if content_type not in {_MERGE, _JSON_PATCH} and not strategic:
            raise errors.unsupported_media([_JSON_PATCH, _MERGE, APPLY])
        try:
            patch = loads(raw)
        except msgspec.DecodeError:
            raise bad_request(f"error decoding patch: {json_fault(raw)}") from None
        stored = self._existing(target)
        old = stored.body()
        if strategic:
            refuse_directives(patch)
        if content_type != _JSON_PATCH:
            if not isinstance(patch, dict):
                raise bad_request(
                    "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"
                )
            body = merge(old, patch)
        else:
            body = apply_json_patch(old, patch)
        if writer.validation == "Strict" and kind.schema is not None:
            refuse_unknown(body, kind.schema)
        if not isinstance(body.get("metadata"), dict):
            body["metadata"] = {}
        body["metadata"].setdefault("name", target.name)
        body["metadata"].setdefault("namespace", target.namespace)
        self._same_name(target, body)
        self._same_version(target, str(body["metadata"].get("resourceVersion") or stored.version), stored)
        if (uid := body["metadata"].get("uid")) not in {None, stored.uid}:
            raise _immutable_uid(kind, target.name, uid)
        return self._replace(target, stored, body, writer)

    def apply(self, target: Target, raw: bytes, writer: Writer, *, force: bool) -> tuple[Body, bool]:
        """Server-side apply: the object as it is then, and whether it was made."""
        kind = target.kind
        if not self.managed_fields:
            raise errors.NotSimulated("server-side apply without managedFields")
        config = decode_config(raw, target)
        self._same_name(target, config)
        stored = self.store.get(kind, kind.key(target.namespace, target.name))
        version, uid = config["metadata"].get("resourceVersion"), config["metadata"].get("uid")
        if stored is None and target.subresource:
            raise errors.not_found(kind, target.name)
        if stored is None and uid:
            why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            raise errors.conflict(kind, target.name, why)
        if stored is None:
            namespaces.check_creation(self.store, kind, target.namespace, target.name)
        check_declared(kind, config)
        if target.subresource:
            config.pop("spec", None)
        elif kind.status_subresource:
            config.pop("status", None)
        manager = Manager(writer.manager, now(), "Apply", target.subresource)
        try:
            body = applied(
                stored.body() if stored else _empty(kind, target), config, manager, schema=kind.schema, force=force
            )
        except FieldsConflict as e:
            raise refused(e) from None
        if stored is not None:
            self._same_version(target, str(version or stored.version), stored)
            if uid not in {None, stored.uid}:
                raise _immutable_uid(kind, target.name, uid)
            return self._replace(target, stored, body, writer, body["metadata"]["managedFields"])[0], False
        validate(kind, body)
        return self._insert(kind, body, writer, body["metadata"]["managedFields"]).body(), True

    def _replace(
        self, target: Target, stored: Stored, body: Body, writer: Writer, managed: list[Entry] | None = None
    ) -> tuple[Body, list[str]]:
        kind, old = target.kind, stored.body()
        before, metadata = old["metadata"], body["metadata"]
        metadata.pop("namespace", None)
        if kind.namespaced:
            metadata["namespace"] = stored.namespace
        for fixed in ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds"):
            metadata.pop(fixed, None)
            if fixed in before:
                metadata[fixed] = before[fixed]
        metadata["resourceVersion"] = before["resourceVersion"]
        if target.subresource == "status":
            body = (
                {**old, "status": body["status"]}
                if "status" in body
                else {k: v for k, v in old.items() if k != "status"}
            )
            body["metadata"] = metadata = dict(before)
        elif kind.status_subresource:
            body.pop("status", None)
            if "status" in old:
                body["status"] = old["status"]
        warnings = self._prune(kind, body, writer)
        validate(kind, body, before)
        skipped = {"metadata", "status"} if kind.status_subresource else {"metadata"}
        if kind.counted and any(
            old.get(key) != body.get(key) for key in old.keys() | body.keys() if key not in skipped
        ):
            metadata["generation"] = before.get("generation", 0) + 1
        for empty in ("labels", "annotations", "finalizers", "ownerReferences"):
            if not metadata.get(empty):
                metadata.pop(empty, None)
        self._manage(old, body, writer, target.subresource, managed)
        if _without_times(body) == _without_times(old):
            return old, warnings
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            self._remove(kind, stored)
            return body, warnings
        return self._put(kind, body).body(), warnings

    # -- delete

    def delete(self, target: Target, options: Body, writer: Writer) -> Stored | Body:
        """A Status for what is gone, the object itself while finalizers hold it."""
        kind = target.kind
        stored = self._existing(target)
        policy = options.get("propagationPolicy")
        if policy not in {None, "", "Background"} or options.get("orphanDependents") is not None:
            raise errors.NotSimulated(f"propagationPolicy {policy} (there is no garbage collector)")
        wanted = options.get("preconditions") or {}
        if (uid := wanted.get("uid")) and uid != stored.uid:
            raise errors.delete_precondition(kind, target.name, "UID", uid, stored.uid)
        if (version := wanted.get("resourceVersion")) and version != str(stored.version):
            raise errors.delete_precondition(kind, target.name, "ResourceVersion", version, str(stored.version))
        body = stored.body()
        metadata = body["metadata"]
        if kind == NAMESPACE:
            return self._terminate(stored, writer)
        if not metadata.get("finalizers"):
            self._remove(kind, stored)
            details = {**errors.details_of(kind, stored.name), "uid": stored.uid}
            return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        if "deletionTimestamp" in metadata:
            return stored
        metadata.update(deletionTimestamp=now(), deletionGracePeriodSeconds=0)
        if kind.counted:
            metadata["generation"] = metadata.get("generation", 0) + 1
        return self.store.put(kind, body)

    def _terminate(self, stored: Stored, writer: Writer) -> Stored:
        """Delete a namespace and what is in it. It is gone at once, unless finalizers hold some of that."""
        namespaces.check_deletion(stored.name)
        if stored.deleting:
            return stored
        body = stored.body()
        namespaces.terminating(body, now())
        stored = self.store.put(NAMESPACE, body)
        for kind, inside in namespaces.content(self.store, stored.name):
            self.delete(Target(kind, inside.namespace, inside.name), {}, writer)
        self._end(stored)
        return stored

    def _remove(self, kind: Kind, stored: Stored) -> None:
        """An object goes; if it was what held its namespace, so does that."""
        self.store.remove(kind, stored)
        place = self.store.get(NAMESPACE, stored.namespace) if kind.namespaced else None
        if place and place.deleting:
            self._end(place)

    def _end(self, place: Stored) -> None:
        if self.store.get(NAMESPACE, place.name) and not namespaces.content(self.store, place.name):
            self.store.remove(NAMESPACE, place)

    def delete_all(self, collection: Collection, selector: Selector, options: Body, writer: Writer) -> list[Stored]:
        """deletecollection: what was there and matched."""
        found = [o for o in collection.now() if selector.matches(o)]
        for stored in found:
            self.delete(Target(collection.kind, stored.namespace, stored.name), options, writer)
        return found

    # -- rules

    def _existing(self, target: Target) -> Stored:
        stored = self.store.get(target.kind, target.kind.key(target.namespace, target.name))
        if stored is None:
            raise errors.not_found(target.kind, target.name)
        return stored

    def _same_name(self, target: Target, body: Body) -> None:
        metadata = body["metadata"]
        if metadata.get("name") != target.name:
            raise bad_request(
                f"the name of the object ({metadata.get('name', '')}) does not match the name on the URL "
                f"({target.name})"
            )
        if target.kind.namespaced and metadata.get("namespace", target.namespace) not in {target.namespace, ""}:
            raise bad_request("the namespace of the object does not match the namespace on the URL")

    def _same_version(self, target: Target, version: str, stored: Stored) -> None:
        if not version.isdecimal():
            raise errors.internal(f'strconv.ParseUint: parsing "{version}": invalid syntax')
        if int(version) != stored.version:
            raise errors.conflict(target.kind, target.name)

    def _uid_fault(self, target: Target, wanted: str, found: str) -> str:
        key = f"/registry/{target.kind.group}/{target.kind.plural}/{target.kind.key(target.namespace, target.name)}"
        return (
            f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition "
            f"failed: UID in precondition: {wanted}, UID in object meta: {found}"
        )

    def _prune(self, kind: Kind, body: Body, writer: Writer) -> list[str]:
        dropped = prune(body, kind.schema) if kind.schema is not None else []
        unknown = [f'unknown field "{path}"' for path in dropped]
        if unknown and writer.validation == "Strict":
            shown = (
                f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: strict decoding error: '
            )
            raise bad_request(shown + ", ".join(unknown))
        if writer.validation == "Ignore":
            return []
        return ['299 - "' + text.replace('"', '\\"') + '"' for text in unknown]

    def _manage(
        self,
        old: Body | None,
        body: Body,
        writer: Writer,
        subresource: str = "",
        managed: list[Entry] | None = None,
    ) -> None:
        if not self.managed_fields:
            body["metadata"].pop("managedFields", None)
            return
        if managed is None:
            manager = Manager(writer.manager, now(), "Update", subresource)
            managed = managed_after_update(old, body, manager)
        if (body["apiVersion"], body["kind"]) in _GO_TYPES:
            managed = without_structs(managed)
        if managed:
            body["metadata"]["managedFields"] = managed
        else:
            body["metadata"].pop("managedFields", None)

    def _put(self, kind: Kind, body: Body) -> Stored:
        stored = self.store.prepare(kind, body)
        if len(stored.raw) > ETCD_LIMIT:
            raise errors.internal("etcdserver: request is too large")
        return self.store.commit(kind, stored)


def _without_times(body: Body) -> Body:
    metadata = dict(body["metadata"])
    entries = metadata.pop("managedFields", None) or []
    return {**body, "metadata": metadata, "": [{**e, "time": ""} for e in entries]}


def _immutable_uid(kind: Kind, name: str, uid: str) -> ApiError:
    cause = Cause.invalid("metadata.uid", f'"{uid}"', "field is immutable")
    return errors.invalid_object(kind, name, [cause, cause])


def _empty(kind: Kind, target: Target) -> Body:
    metadata = {"name": target.name, **({"namespace": target.namespace} if kind.namespaced else {})}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}


def established(crd: Body) -> None:
    """Give a CustomResourceDefinition the status that its controllers give: accepted at once."""
    stamp, names = now(), crd["spec"]["names"]
    names.setdefault("singular", names["kind"].lower())
    names.setdefault("listKind", names["kind"] + "List")
    crd["spec"].setdefault("conversion", {"strategy": "None"})

    def condition(of: str, reason: str, message: str) -> Body:
        return {"type": of, "status": "True", "lastTransitionTime": stamp, "reason": reason, "message": message}

    crd["status"] = {
        "acceptedNames": names,
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
        "storedVersions": [v["name"] for v in crd["spec"]["versions"] if v.get("storage")],
    }
