"""`project`: which parts of an object go into the queue."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, model_validator

from kubecdc import jsonpath
from kubecdc.jsonpath.read import Each, Key
from kubecdc.manifest.fields import Items, ReadPath, invalid
from kubecdc.manifest.model import Model

EACH = "#"
IDENTITY = (  # of an object, always kept
    "apiVersion",
    "kind",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "metadata.resourceVersion",
)


def names(path: str) -> tuple[str, ...]:
    """The names of a path one below the other, `EACH` for the elements of an array. Raises ValueError."""
    (steps, *more) = jsonpath.compile(path).stages
    found: list[str] = []
    for step in () if more else steps:
        if isinstance(step, Key):
            found.append(step.name)
        elif isinstance(step, Each):
            return (*found, EACH, *names(step.path.source))
        else:
            break
    else:
        if not more:
            return tuple(found)
    raise ValueError(f"{path!r} may have only names and `#`")


def _plain(path: str) -> str:
    try:
        names(path)
    except ValueError as e:
        hint = "write names with dots between them, `#` for each element: spec.containers.#.env"
        raise invalid(str(e), hint) from e
    return path


def _not_identity(path: str) -> str:
    taken = names(_plain(path))
    for known in IDENTITY:
        if names(known)[: len(taken)] == taken:
            raise invalid(
                f"{path!r} contains {known}, which identifies the object", "name the parts to drop, not the whole"
            )
    return path


PlainPath = Annotated[ReadPath, AfterValidator(_plain)]
OtherPath = Annotated[ReadPath, AfterValidator(_not_identity)]


def _begins(path: str) -> tuple[str, ...]:
    """The names that any path begins with."""
    return tuple(key.name for key in jsonpath.compile(path).keys)


class Projection(Model):
    """Parts of an object by their paths. ``redact`` keeps a part, and the keys of an object, but no value.

    With ``keep``, everything else goes, but for what tells which object it is.
    """

    drop: Items[OtherPath] = ()
    keep: Items[PlainPath] = ()
    redact: Items[OtherPath] = ()

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not (self.drop or self.keep or self.redact):
            raise invalid("is empty", "name paths in `drop`, `keep` or `redact`, or leave it out")
        return self

    def hides(self, path: str) -> bool:
        """Whether what is at a path, or a part of it, is not the object's own any more."""
        looked = _begins(path)
        given = [names(given) for given in (*self.drop, *self.redact)]
        return self.hides_all(path) or any(taken[: len(looked)] == looked for taken in given)

    def hides_all(self, path: str) -> bool:
        """Whether nothing of what is at a path is the object's own any more."""
        looked = _begins(path)
        if any(looked[: len(taken)] == taken for taken in map(names, (*self.drop, *self.redact))):
            return True
        return bool(self.keep) and not any(looked[: len(kept)] == kept for kept in map(names, (*IDENTITY, *self.keep)))
