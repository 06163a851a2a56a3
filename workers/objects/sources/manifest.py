"""Where an object comes from, as a manifest writes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, Field, model_validator

from kubecdc.manifest.fields import Items, invalid
from kubecdc.manifest.model import Model
from kubecdc.manifest.secrets import ConfigMapKeyRef, KeyRef

_CONTROL = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_URL = re.compile(r"https?://[^/?#\s]", re.IGNORECASE)
_GITHUB = re.compile(r"https://github\.com/", re.IGNORECASE)
_SSH = re.compile(r"[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:.*")  # git@github.com:argoproj/argo.git


def _text(value: str) -> str:
    if not value or _CONTROL.search(value):
        raise invalid("is empty, or has characters that cannot be sent")
    return value


def _argument(value: str) -> str:
    """An argument of git, which must not be an option."""
    if value.startswith("-"):
        raise invalid("must not begin with `-`")
    return value and _text(value)


def _web_address(value: str) -> str:
    if not _URL.match(_text(value)):
        raise invalid("is not an address of HTTP", "begin it with https://")
    return value


def _repository(value: str) -> str:
    if not re.match(r"(https?|ssh|git|file)://", _argument(value)) and not _SSH.fullmatch(value):
        raise invalid("is not an address of a repository", "write it like https://HOST/PATH or USER@HOST:PATH")
    return value


def _inside(value: str) -> str:
    """A path that does not lead out of the repository."""
    parts = _argument(value).split("/")
    if not value or parts[0] in {"", "~"} or {"..", "."} & set(parts):
        raise invalid(f"{value!r} is not a path inside the repository", "write it like examples/job.yaml")
    return value


def shown(address: str) -> str:
    """The address without user, password and query, which may be secret."""
    scheme, separator, rest = address.partition("://")
    if not separator:
        return address
    host, slash, path = rest.partition("?")[0].partition("#")[0].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


_NEEDED = {  # of a place; a parameter of the trigger may give it
    "file": ("path",),
    "url": ("path",),
    "s3": ("endpoint", "bucket.name", "bucket.key"),
    "git": ("url", "filePath"),
}

Text = Annotated[str, AfterValidator(_text)]
Argument = Annotated[str, AfterValidator(_argument)]
Repository = Annotated[str, AfterValidator(_repository)]


class FileSource(Model):
    """A file of the pod."""

    path: Text = ""


class UrlSource(Model):
    """A document on the web. Certificates are always verified."""

    ignored: ClassVar[frozenset[str]] = frozenset({"verifycert"})  # Argo does not mind the case

    path: Annotated[str, AfterValidator(_web_address)] = ""
    verify_cert: bool = True


class ConfigMapSource(ConfigMapKeyRef):
    """A key of a ConfigMap."""

    ignored: ClassVar[frozenset[str]] = frozenset({"optional", "namespace"})


class Bucket(Model):
    """An object in a bucket."""

    name: Text = ""
    key: Text = ""


class S3Source(Model):
    """An object in S3, or a store that speaks its protocol. Without keys, boto3 finds the credentials."""

    endpoint: Text = ""
    bucket: Bucket = Bucket()
    region: str = ""
    insecure: bool = False
    access_key: KeyRef | None = None
    secret_key: KeyRef | None = None
    ca_certificate: KeyRef | None = None

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.access_key is None) != (self.secret_key is None):
            raise invalid("needs both `accessKey` and `secretKey`, or neither")
        return self


class GitCredentials(Model):
    """User and password, or token, for HTTP."""

    username: KeyRef
    password: KeyRef


class GithubApp(Model):
    """The app of GitHub as which a repository is read, and its installation that may read it."""

    private_key: KeyRef
    app_id: int = Field(alias="appID", ge=1)
    installation_id: int = Field(alias="installationID", ge=1)


class GitRemote(Model):
    """Where a repository is fetched from. Of several addresses the first counts: git pushes to the others."""

    name: Text
    urls: Items[Repository]

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.urls:
            raise invalid("has no address in `urls`")
        return self


class GitSource(Model):
    """A file in a repository, at a branch, tag or ref: the last one that is given counts."""

    without_effect: ClassVar[Mapping[str, str]] = {
        "namespace": "Secrets are those of the Sensor's namespace",
        "sshKeyPath": "`sshKeySecret` counts",
    }
    ignored: ClassVar[frozenset[str]] = frozenset({"cloneDirectory"})  # it is read into a folder of its own

    url: Repository = ""
    remote: GitRemote | None = None
    file_path: Annotated[str, AfterValidator(_inside)] = ""
    branch: Argument = ""
    tag: Argument = ""
    ref: Argument = ""
    creds: GitCredentials | None = None
    github_app: GithubApp | None = None
    ssh_key_secret: KeyRef | None = None
    insecure_ignore_host_key: bool = False

    @model_validator(mode="after")
    def _of_github(self) -> Self:
        if self.github_app and self.creds:
            raise invalid("has both `creds` and `githubApp`", "leave one of them out")
        if self.github_app and self.address and not _GITHUB.match(self.address):
            field = "remote.urls" if self.remote else "url"
            raise invalid(
                "has `githubApp`, whose token is for https://github.com alone", f"correct `{field}`, or use `creds`"
            )
        return self

    @property
    def address(self) -> str:
        """Where the file is read. In Argo Events the refs of ``remote`` replace those of the clone of ``url``."""
        return self.remote.urls[0] if self.remote else self.url


class Source(Model):
    """Where the object comes from: exactly one place."""

    renamed: ClassVar[Mapping[str, str]] = {"configMap": "configmap"}

    resource: dict[str, Any] | None = None
    inline: str | None = None
    file: FileSource | None = None
    url: UrlSource | None = None
    configmap: ConfigMapSource | None = Field(None, alias="configmap")
    s3: S3Source | None = Field(None, alias="s3")
    git: GitSource | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            has = f"has {len(given)} sources: {', '.join(given)}" if given else "has no source"
            raise invalid(has, "write exactly one, such as `resource: {apiVersion: …, kind: …}`")
        return self

    def lacks(self) -> list[str]:
        """The fields that the place needs and does not have: their paths."""
        lacking: list[str] = []
        for place, fields in _NEEDED.items():
            if (model := getattr(self, place)) is not None:
                given = model.model_dump(by_alias=True)
                for field in fields:
                    value: Any = given
                    for part in field.split("."):
                        value = value[part]
                    lacking += [] if value else [f"{place}.{field}"]
        return lacking


def described(source: Source) -> dict[str, Any]:
    """A source outside the manifest, without what may be secret in an address."""
    found: dict[str, Any] = source.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if source.url:
        found["url"]["path"] = shown(source.url.path)
    if source.git:
        found["git"]["url"] = shown(source.git.url)
        if source.git.remote:
            found["git"]["remote"]["urls"] = [shown(url) for url in source.git.remote.urls]
    return found
