"""How an EventBus manifest writes the way into a Redis."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated

from pydantic import AfterValidator

from kubecdc.manifest.fields import invalid
from kubecdc.manifest.model import Model
from kubecdc.manifest.mounts import Mounts
from kubecdc.manifest.secrets import KeyRef, Tls
from kubecdc.storage.redis_server import url as redis_url
from kubecdc.storage.redis_server.settings import Access


def _readable(value: str) -> str:
    try:
        redis_url.parse(value)
    except redis_url.BadUrl as e:
        raise invalid(str(e), e.hint) from None
    return value


Url = Annotated[str, AfterValidator(_readable)]


class Server(Model):
    """How to get into a Redis, beside what its URL says."""

    username: str = ""
    password: KeyRef | None = None
    sentinel_username: str = ""
    sentinel_password: KeyRef | None = None
    tls: Tls | None = None

    def access(self, mounts: Mounts) -> Access:
        """The same with the places where Secrets are mounted."""

        def secret(ref: KeyRef | None) -> Callable[[], str] | None:
            return partial(mounts.secret, ref) if ref else None

        options: dict[str, str | bool | int] = {}
        if tls := self.tls:
            files = (tls.ca_cert_secret, tls.client_cert_secret, tls.client_key_secret)
            for name, ref in zip(("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"), files, strict=True):
                if ref:
                    options[name] = str(mounts.secret_path(ref))
            if tls.insecure_skip_verify:
                options |= {"ssl_cert_reqs": "none", "ssl_check_hostname": False}
        return Access(
            self.username, secret(self.password), self.sentinel_username, secret(self.sentinel_password), options
        )

    def check(self, text: str) -> None:
        """Raise what a validator raises if this does not go with the URL."""
        url = redis_url.parse(text)
        for given, name, there in (
            (self.username, "username", url.username),
            (self.password, "password", url.password),
            (self.sentinel_username, "sentinelUsername", url.sentinel_username),
            (self.sentinel_password, "sentinelPassword", url.sentinel_password),
        ):
            if given and there:
                raise invalid(f"says the {name} twice", f"leave it out of `url`, or leave `{name}` out")
            if given and name.startswith("sentinel") and url.kind != "sentinel":
                raise invalid(f"has a `{name}`, and its `url` names no Sentinels", redis_url.EXAMPLES["sentinel"])
        if self.tls and url.tls is None:
            raise invalid("has `tls`, and its `url` does not ask for TLS", "write rediss instead of redis")
