"""Tokens of GitHub Apps, with which git reads a repository.

https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/authenticating-as-a-github-app-installation
"""

from __future__ import annotations

import base64
import json
import time

import aiohttp
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from kubecdc.workers.addresses import Addresses
from kubecdc.workers.connector import Connector
from kubecdc.workers.objects.answer import Undone
from kubecdc.workers.objects.sources.manifest import GithubApp
from kubecdc.workers.outcome import Retry

API = "https://api.github.com"
USER = "x-access-token"  # the user name that goes with a token
EARLIER = 30  # seconds, for a clock of ours that is ahead
VALID = 120  # seconds
LARGEST = 64 * 1024  # bytes of an answer


async def token(app: GithubApp, private_key: str, addresses: Addresses) -> str:
    """A token for what the installation of the app may read. Raises Undone, AddressRefused."""
    where = f"GitHub App {app.app_id}, installation {app.installation_id}"
    headers = {"Authorization": f"Bearer {_claim(app, private_key, where)}", "Accept": "application/vnd.github+json"}
    address = f"{API}/app/installations/{app.installation_id}/access_tokens"
    try:
        async with (
            aiohttp.ClientSession(connector=Connector(addresses), headers={"User-Agent": "kubecdc"}) as session,
            session.post(address, headers=headers, allow_redirects=False) as answer,
        ):
            if answer.status != 201:
                raise Undone(Retry(f"{where}: {answer.status} {answer.reason or ''}"))
            content = await answer.content.read(LARGEST)
    except (aiohttp.ClientError, OSError) as e:
        raise Undone(Retry(f"{where}: {getattr(e, 'strerror', None) or type(e).__name__}")) from None
    try:
        given = json.loads(content)["token"]
    except (ValueError, LookupError, TypeError):
        given = None
    if not isinstance(given, str):
        raise Undone(Retry(f"{where}: the answer has no token"))
    return given


def _claim(app: GithubApp, private_key: str, where: str) -> str:
    """A JSON Web Token that says that we are the app (RFC 7519), signed with RS256."""
    try:
        key = load_pem_private_key(private_key.encode(), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise Undone(Retry(f"{where}: {app.private_key} is not a private key in PEM"))
    now = int(time.time())
    parts = {"alg": "RS256", "typ": "JWT"}, {"iat": now - EARLIER, "exp": now + VALID, "iss": str(app.app_id)}
    signed = ".".join(_encoded(json.dumps(part).encode()) for part in parts)
    return f"{signed}.{_encoded(key.sign(signed.encode(), PKCS1v15(), SHA256()))}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
