"""Objects in S3. boto3 blocks: it is called in a thread."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from kubecdc.cluster.pem_file import as_file
from kubecdc.manifest.secrets import KeyRef
from kubecdc.workers.addresses import Addresses
from kubecdc.workers.objects.answer import Undone
from kubecdc.workers.objects.sources.manifest import S3Source
from kubecdc.workers.objects.sources.read import LARGEST
from kubecdc.workers.outcome import Retry

CONNECT_SECONDS = 10.0


def read(source: S3Source, values: Mapping[KeyRef, str], seconds: float, addresses: Addresses) -> bytes:
    """The object, of one that is too large only the start. ``values`` are those of its keys.

    Raises Undone, AddressRefused. The library looks the name up again that is judged.
    """
    keys = [values[ref] for ref in (source.access_key, source.secret_key) if ref]
    where = f"s3://{source.bucket.name}/{source.bucket.key} at {source.endpoint}"
    try:
        authority = source.ca_certificate
        with as_file(values[authority].encode()) if authority else nullcontext() as file:
            client = _client(source, file, keys, seconds)
            if addresses.given:
                client.meta.events.register("before-send.s3", partial(_judge, addresses))
            answer = client.get_object(Bucket=source.bucket.name, Key=source.bucket.key)
            content: bytes = answer["Body"].read(LARGEST + 1)
    except ClientError as e:
        said = e.response.get("Error", {})
        raise Undone(Retry(_hidden(f"{where}: {said.get('Code')}: {said.get('Message')}", keys))) from None
    except (BotoCoreError, OSError, ValueError) as e:
        raise Undone(Retry(_hidden(f"{where}: {e}", keys))) from None
    return content


def _judge(addresses: Addresses, request: Any, **_: Any) -> None:
    """Before each request, so that a redirect is judged too. Raises AddressRefused, OSError."""
    addresses.look_up(urlsplit(request.url).hostname or "")


def _client(source: S3Source, authority: str | None, keys: list[str], seconds: float) -> Any:
    endpoint = source.endpoint
    if "://" not in endpoint:
        endpoint = f"{'http' if source.insecure else 'https'}://{endpoint}"
    virtual = endpoint.endswith("amazonaws.com")
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name=source.region or "us-east-1",
        aws_access_key_id=keys[0] if keys else None,
        aws_secret_access_key=keys[1] if keys else None,
        verify=authority or True,
        config=Config(
            connect_timeout=min(CONNECT_SECONDS, seconds),
            read_timeout=seconds,
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "virtual" if virtual else "path"},
        ),
    )


def _hidden(text: str, secrets: list[str]) -> str:
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return text
