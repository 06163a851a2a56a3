"""Impersonation: the headers of every request, from the kubeconfig and the options."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.impersonation import NOBODY, Impersonation
from kubecdc.errors import UsageError
from tests.cluster.https_server import HttpsServer, headers
from tests.cluster.kubeconfigs import kubeconfig

USER = {
    "token": "me",
    "as": "jané",
    "as-uid": "1-2",
    "as-groups": ["developers", "system:masters"],
    "as-user-extra": {"scopes": ["view", "edit"], "Example.com/a%b ü": ["c"]},
}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            NOBODY,
            [
                ("Impersonate-User", "jané"),
                ("Impersonate-Uid", "1-2"),
                ("Impersonate-Group", "developers"),
                ("Impersonate-Group", "system:masters"),
                ("Impersonate-Extra-Example.com%2Fa%25b%20%C3%BC", "c"),
                ("Impersonate-Extra-scopes", "view"),
                ("Impersonate-Extra-scopes", "edit"),
            ],
        ),
        (
            Impersonation("other", groups=("viewers",)),
            [
                ("Impersonate-User", "other"),
                ("Impersonate-Uid", "1-2"),
                ("Impersonate-Group", "viewers"),
                ("Impersonate-Extra-Example.com%2Fa%25b%20%C3%BC", "c"),
                ("Impersonate-Extra-scopes", "view"),
                ("Impersonate-Extra-scopes", "edit"),
            ],
        ),
    ],
    ids=["of the kubeconfig", "options go before the kubeconfig"],
)
async def test_who_is_impersonated_is_sent_with_every_request(
    tmp_path: Path, options: Impersonation, expected: list[tuple[str, str]]
) -> None:
    async with HttpsServer(tmp_path).listening() as server:
        fields = {"server": server.url, "certificate-authority": "ca.crt"}
        async with Cluster(kubeconfig(tmp_path, USER, **fields), None, options) as cluster:
            sent = await headers(cluster)
    assert [header for header in sent if header[0].startswith("Impersonate")] == expected
    assert ("Authorization", "Bearer me") in sent


async def test_nobody_is_impersonated_unless_somebody_is_named(tmp_path: Path) -> None:
    async with HttpsServer(tmp_path).listening() as server:
        fields = {"server": server.url, "certificate-authority": "ca.crt"}
        async with Cluster(kubeconfig(tmp_path, {"token": "me", "as": ""}, **fields)) as cluster:
            assert not [name for name, _ in await headers(cluster) if name.startswith("Impersonate")]


def test_groups_without_a_user_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="without a user") as raised:
        Cluster(kubeconfig(tmp_path, {"token": "me"}), None, Impersonation(groups=("a",)))
    assert "--as" in raised.value.hint
