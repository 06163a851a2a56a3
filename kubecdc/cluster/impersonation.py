"""Requests that are made as another user, with that user's rights.

https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kubecdc.cluster.credentials import header_value
from kubecdc.cluster.kubeconfig import User
from kubecdc.errors import UsageError

_LEGAL = frozenset(b"!#$&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


@dataclass(frozen=True)
class Impersonation:
    """Who the API server is asked to take us for. ``user`` "" means nobody else."""

    user: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, list[str]] = field(default_factory=dict)

    def over(self, user: User) -> Impersonation:
        """These options, and what the kubeconfig's user has where an option is not given. Raises UsageError."""
        merged = Impersonation(
            self.user or user.impersonate,
            self.uid or user.impersonate_uid,
            self.groups or tuple(user.impersonate_groups),
            user.impersonate_extra,
        )
        if not merged.user and (merged.uid or merged.groups or merged.extra):
            raise UsageError(
                "a uid, groups or user-extra to impersonate are given without a user",
                hint="name the user with --as, or `as` in the kubeconfig",
            )
        return merged

    def headers(self) -> list[tuple[str, str]]:
        """The request headers. Raises UsageError."""
        if not self.user:
            return []
        found = [("Impersonate-User", self.user)]
        if self.uid:
            found.append(("Impersonate-Uid", self.uid))
        found += [("Impersonate-Group", group) for group in self.groups]
        for key, values in self.extra.items():
            found += [(f"Impersonate-Extra-{_escaped(key)}", value) for value in values]
        return [(name, header_value(value, f"what {name} is to hold")) for name, value in found]


NOBODY = Impersonation()


def _escaped(key: str) -> str:
    """The key as part of a header's name, escaped as client-go does."""
    return "".join(chr(byte) if byte in _LEGAL else f"%{byte:02X}" for byte in key.encode())
