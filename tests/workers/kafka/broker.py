"""Kafka itself, one node in KRaft mode."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from tests.apiserver.certificates import Authority
from tests.maven import Jars
from tests.ports import free_port

VERSION = "4.1.1"
START = 90.0  # seconds
JARS = Jars(
    "Kafka",
    VERSION,
    [
        f"org.apache.kafka:kafka_2.13:{VERSION}",
        f"org.apache.kafka:kafka-tools:{VERSION}",
        "org.slf4j:slf4j-simple:1.7.36",
    ],
)
USER, PASSWORD = "kubecdc", "pass-w0rd"
CONFIG = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},SASL_SSL://127.0.0.1:{secure_port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SASL_SSL://127.0.0.1:{secure_port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
log.dirs={folder}/data
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
log.cleaner.enable=false
num.network.threads=1
num.io.threads=2
"""  # noqa: E501 - a property is a line


class Kafka:
    """A broker that can be killed, and started again with what it has on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"127.0.0.1:{free_port()}"
        self.secure_url = f"127.0.0.1:{free_port()}"
        self.authority = Authority(folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._config = folder / "server.properties"
        self._format()

    def start(self) -> None:
        """Start it. Returns once it answers."""
        with (self.folder / "kafka.log").open("ab") as log:
            self._process = subprocess.Popen(self._java("kafka.Kafka", str(self._config)), stdout=log, stderr=log)
        deadline = time.monotonic() + START
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                self._admin().list_topics(timeout=1)
            except KafkaException:
                continue
            return
        raise AssertionError(f"Kafka does not answer: {(self.folder / 'kafka.log').read_text()[-2000:]}")

    def create(self, topic: str, **settings: str) -> None:
        """Make a topic of four partitions."""
        admin = self._admin()
        admin.create_topics([NewTopic(topic, 4, 1, config=settings)])[topic].result(60)

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.url, "log_level": 0})

    def _format(self) -> None:
        self.authority.issue("broker", "broker")
        key = load_pem_private_key((self.folder / "broker.key").read_bytes(), None)
        keystore = self.folder / "keystore.pem"
        key_text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # Kafka takes no other form
        keystore.write_bytes(key_text + (self.folder / "broker.crt").read_bytes())
        ports = {"port": self.url.rpartition(":")[2], "secure_port": self.secure_url.rpartition(":")[2]}
        text = CONFIG.format(
            **ports, controller=free_port(), user=USER, password=PASSWORD, keystore=keystore, folder=self.folder
        )
        self._config.write_text(text)
        cluster = "AAAAAAAAAAAAAAAAAAAAAQ"
        command = self._java("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self._config))
        done = subprocess.run(command, capture_output=True, timeout=START, check=False)
        assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()

    def _java(self, *args: str) -> list[str]:
        memory = ["-Xmx256m", "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        return ["java", *memory, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{JARS.library}/*", *args]
