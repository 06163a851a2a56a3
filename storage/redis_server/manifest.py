"""How an EventBus manifest writes the way into a Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from typing import Annotated

from pydantic import AfterValidator

from kubecdc.cluster.keys import Keys
from kubecdc.cluster.pem_file import as_file
from kubecdc.manifest.fields import invalid
from kubecdc.manifest.model import Model
from kubecdc.manifest.secrets import KeyRef, Tls
from kubecdc.storage.redis_server import url as redis_url
from kubecdc.storage.redis_server.settings import Access, Password, no_certificates


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

    def access(self, keys: Keys) -> Access:
        """The same with what reads the Secrets."""

        def secret(ref: KeyRef | None) -> Password | None:
            async def read() -> str:
                assert ref is not None
                keys.doubt([ref])
                return await keys.text(ref)

            return read if ref else None

        options: dict[str, str | bool | int] = {}
        if self.tls and self.tls.insecure_skip_verify:
            options = {"ssl_cert_reqs": "none", "ssl_check_hostname": False}
        return Access(
            self.username,
            secret(self.password),
            self.sentinel_username,
            secret(self.sentinel_password),
            options,
            partial(_certificates, self.tls, keys) if self.tls else no_certificates,
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
                raise invalid(f"has a `{name}`, but its `url` names no Sentinels", redis_url.EXAMPLES["sentinel"])
        if self.tls and url.tls is None:
            raise invalid("has `tls`, but its `url` does not ask for TLS", "write rediss instead of redis")


@asynccontextmanager
async def _certificates(tls: Tls, keys: Keys) -> AsyncIterator[Mapping[str, str]]:
    """redis-py's options for the certificates. Raises Unreadable."""
    given = {
        "ssl_ca_certs": tls.ca_cert_secret,
        "ssl_certfile": tls.client_cert_secret,
        "ssl_keyfile": tls.client_key_secret,
    }
    refs = {option: ref for option, ref in given.items() if ref}
    keys.doubt(refs.values())
    with ExitStack() as files:
        yield {option: files.enter_context(as_file(await keys.content(ref))) for option, ref in refs.items()}
