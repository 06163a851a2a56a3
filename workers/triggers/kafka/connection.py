"""The settings of librdkafka that a manifest and its Secrets make.

https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md
"""

from __future__ import annotations

from collections.abc import Mapping

from kubecdc.manifest.secrets import KeyRef, Tls, key_refs
from kubecdc.workers.triggers.kafka.manifest import Kafka

Settings = tuple[tuple[str, str | int | bool], ...]  # sorted: triggers with the same settings share a producer
MESSAGE_BYTES = 100_000_000  # at most; the broker's own limit decides
QUEUE_KILOBYTES = 128 * 1024  # of messages that wait for a broker
LINGER = 5  # milliseconds that a message waits for others
LONGEST_SOCKET_TIMEOUT = 300_000  # milliseconds; the library takes no more
UNKNOWN_TOPIC = 10_000  # milliseconds until a topic that no broker knows is taken for missing


def refs(config: Kafka) -> list[KeyRef]:
    """What `settings` needs the values of."""
    skipped = config.tls.ca_cert_secret if config.tls and config.tls.insecure_skip_verify else None
    return [ref for part in (config.tls, config.sasl) for ref in key_refs(part) if ref is not skipped]


def settings(config: Kafka, values: Mapping[KeyRef, str]) -> Settings:
    """The settings of the producer."""
    made: dict[str, str | int | bool] = {
        "bootstrap.servers": config.url.replace(" ", ""),
        "client.id": "kubecdc",
        "enable.idempotence": True,  # with it acks=all, and order survives the client's own retries
        "message.timeout.ms": config.timeout * 1000,
        "socket.timeout.ms": min(config.timeout * 500, LONGEST_SOCKET_TIMEOUT),  # one more try if a broker hangs
        "topic.metadata.propagation.max.ms": UNKNOWN_TOPIC,
        "reconnect.backoff.max.ms": 1000,
        "socket.keepalive.enable": True,
        "linger.ms": config.flush_frequency or LINGER,
        "compression.type": "snappy" if config.compress else "none",
        "partitioner": "murmur2_random",  # as the clients in Java
        "message.max.bytes": MESSAGE_BYTES,
        "queue.buffering.max.kbytes": QUEUE_KILOBYTES,
    }
    made["security.protocol"] = ("SASL_" if config.sasl else "") + ("SSL" if config.tls else "PLAINTEXT")
    if config.tls:
        made |= _tls(config.tls, values)
    if config.sasl:
        made["sasl.mechanism"] = config.sasl.mechanism
        made["sasl.username"] = values[config.sasl.user_secret]
        made["sasl.password"] = values[config.sasl.password_secret]
    return tuple(sorted(made.items()))


def _tls(tls: Tls, values: Mapping[KeyRef, str]) -> dict[str, str | int | bool]:
    made: dict[str, str | int | bool] = {}
    if tls.insecure_skip_verify:
        made["enable.ssl.certificate.verification"] = False
        made["ssl.endpoint.identification.algorithm"] = "none"
    elif tls.ca_cert_secret:
        made["ssl.ca.pem"] = values[tls.ca_cert_secret]
    if tls.client_cert_secret and tls.client_key_secret:
        made["ssl.certificate.pem"] = values[tls.client_cert_secret]
        made["ssl.key.pem"] = values[tls.client_key_secret]
    return made
