"""Which file, context, cluster and user count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from kubecdc.cluster.configuration import load_configuration
from kubecdc.errors import UsageError
from tests.cluster.kubeconfigs import configured, kubeconfig


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def write(folder: Path, **document: Any) -> str:
    folder.mkdir()
    (folder / "config").write_text(yaml.safe_dump(document))
    return str(folder / "config")


async def test_of_several_files_the_first_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def user(name: str, token_file: str) -> dict[str, Any]:
        return {"name": name, "user": {"tokenFile": token_file}}

    def cluster(host: str) -> dict[str, Any]:
        return {"name": "c", "cluster": {"server": f"https://{host}"}}

    def context(name: str, user: str) -> dict[str, Any]:
        return {"name": name, "context": {"cluster": "c", "user": user}}

    one = write(tmp_path / "one", users=[user("me", "token")], clusters=[cluster("one")])
    two = write(
        tmp_path / "two",
        users=[user("me", "token"), user("you", "token")],
        clusters=[cluster("two")],
        contexts=[context("mine", "me"), context("yours", "you")],
        **{"current-context": "yours"},
    )
    three = write(tmp_path / "three", contexts=[context("yours", "me")], **{"current-context": "mine"})
    for folder in ("one", "two"):
        (tmp_path / folder / "token").write_text(folder)
    monkeypatch.setenv("KUBECONFIG", ":".join([str(tmp_path / "missing"), one, "", two, three]))
    yours = load_configuration(None, None)
    assert (yours.context, yours.user, str(yours.server)) == ("yours", "you", "https://one")
    assert (await yours.source.get()).authorization == "Bearer two"  # the path is relative to its own file
    mine = load_configuration(None, "mine")
    assert (mine.context, mine.user) == ("mine", "me")
    assert (await mine.source.get()).authorization == "Bearer one"


@pytest.mark.parametrize("content", ["", "apiVersion: v1\nkind: Config\nclusters: []\n", "users: null\n"])
def test_without_any_content_it_is_as_without_files(tmp_path: Path, content: str) -> None:
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_text(content)
    with pytest.raises(UsageError, match="no Kubernetes cluster is configured"):
        load_configuration(None, None)


def test_what_is_not_used_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_MASTER", "https://elsewhere.example.com")
    extension = [{"name": "minikube.sigs.k8s.io", "extension": {"version": "1"}}]
    path = Path(kubeconfig(tmp_path, {"token": "a", "extensions": extension, "unknown": 5}, extensions=extension))
    document = yaml.safe_load(path.read_text())
    document |= {"apiVersion": "x/v9", "kind": "Any", "preferences": {"colors": True}, "extensions": extension}
    document["contexts"][0]["context"] |= {"namespace": "elsewhere", "extensions": extension}
    document["clusters"][0]["cluster"]["disable-compression"] = True
    document["users"].append({"name": "broken", "user": {"token": 5}})
    path.write_text(yaml.safe_dump(document))
    found = load_configuration(str(path), None)
    assert (found.user, found.server.url.host) == ("me", "api.example.com")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"current-context": None}, "it has no current-context"),
        ({"current-context": 5}, "current-context is not a string"),
        ({"current-context": "x"}, "there is no context 'x'"),
        ({"contexts": [{"name": "it", "context": {}}]}, "the context 'it' names no cluster"),
        ({"contexts": [{"name": "it", "context": {"cluster": "x"}}]}, "there is no cluster 'x'"),
        ({"contexts": [{"name": "it"}, {"name": "it"}]}, "two contexts named 'it'"),
        ({"contexts": {"it": {}}}, "contexts is not a list of objects"),
        ({"contexts": ["it"]}, "contexts is not a list of objects"),
        ({"clusters": [{"name": "it", "cluster": {"server": 5}}]}, "server: Expected `str`, got `int`"),
    ],
)
def test_a_file_of_another_shape_is_refused_by_name(tmp_path: Path, change: dict[str, Any], text: str) -> None:
    path = Path(kubeconfig(tmp_path, {"token": "a"}))
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | change))
    with pytest.raises(UsageError) as raised:
        load_configuration(str(path), None)
    assert text in str(raised.value)
    assert str(path) in str(raised.value)
    assert raised.value.hint


def test_a_user_need_not_be_named(tmp_path: Path) -> None:
    path = Path(kubeconfig(tmp_path, {"token": "a"}))
    path.write_text(path.read_text().replace("user: me", "user: ''"))
    assert load_configuration(str(path), None).user == ""
    assert configured(tmp_path, {}).user == "me"


def test_a_user_without_a_home_has_no_kubeconfig(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose user is in no /etc/passwd."""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    with pytest.raises(UsageError, match="no Kubernetes cluster is configured"):
        load_configuration(None, None)
