"""Producers of librdkafka, one for all triggers with the same connection, each with a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import suppress
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from kubecdc.concurrency import begin_in_thread
from kubecdc.workers.triggers.kafka.connection import Settings

CLOSING = 0.5  # seconds for what is under way to a broker when the last trigger is closed
POLL = 0.2  # seconds between two looks at whether to end
_log = logging.getLogger("kubecdc.kafka")  # what the library says goes nowhere; the reasons of outcomes have it
_log.addHandler(logging.NullHandler())
_log.propagate = False
_shared: dict[tuple[asyncio.AbstractEventLoop, Settings], SharedProducer] = {}

Report = asyncio.Future[KafkaError | None]


class Unusable(Exception):
    """No producer can be made with these settings, for example because a certificate is not valid."""


class SharedProducer:
    """A producer. Its thread serves the reports of delivery, and hands them to the event loop all at once.

    ``broken`` is set after an error that it cannot recover from: then it is to be replaced.
    """

    def __init__(self, settings: Settings) -> None:
        self.users = 0
        self.broken = False
        self.trouble = ""  # what the library last said about the brokers
        self._loop = asyncio.get_running_loop()
        self._settings = settings
        self._made: asyncio.Future[Producer] = self._loop.create_future()
        self._reports: list[tuple[Report, KafkaError | None]] = []
        self._closing = threading.Event()
        self._ended = begin_in_thread(self._run, name="kafka")

    async def send(self, topic: str, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> KafkaError | None:
        """Send a message. Returns once all replicas in sync have it, or the error because of which it was given up.

        Raises Unusable, BufferError if too much waits for the brokers, KafkaException for what is not even queued.
        """
        producer = await asyncio.shield(self._made)
        report: Report = self._loop.create_future()
        delivered = partial(self._delivered, report)
        producer.produce(topic, value, key, headers=list(headers), on_delivery=delivered)
        return await report

    async def close(self) -> None:
        """Send what is under way, and give up what waits. In time, whatever the brokers do."""
        self._closing.set()
        await asyncio.wait([self._ended], timeout=CLOSING + 2 * POLL)

    def _run(self) -> None:
        try:
            producer = Producer(dict(self._settings), error_cb=self._error, logger=_log)
        except (KafkaException, ValueError) as e:
            self.broken = True
            self._tell(partial(_fail, self._made, Unusable(str(e.args[0] if e.args else e))))
            return
        self._tell(partial(_succeed, self._made, producer))
        while not self._closing.is_set():
            producer.poll(POLL)
            self._hand_over()
        producer.purge(in_queue=True, in_flight=False, blocking=False)
        producer.flush(CLOSING)
        producer.purge()  # what a broker has not answered: without this, the end would wait for it
        producer.close()
        self._hand_over()

    def _delivered(self, report: Report, error: KafkaError | None, _: Message) -> None:
        if error is None:
            self.trouble = ""
        self._reports.append((report, error))

    def _error(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN or not self.trouble:  # that says less than what it follows
            self.trouble = error.str()
        self.broken = self.broken or error.fatal()

    def _hand_over(self) -> None:
        if self._reports:
            reports, self._reports = self._reports, []
            self._tell(partial(_settle, reports))

    def _tell(self, call: partial[None]) -> None:
        with suppress(RuntimeError):  # the event loop has ended
            self._loop.call_soon_threadsafe(call)


def acquire(settings: Settings) -> SharedProducer:
    """The producer with these settings, for one more user."""
    key = (asyncio.get_running_loop(), settings)
    found = _shared.get(key)
    if found is None or found.broken:
        found = _shared[key] = SharedProducer(settings)
    found.users += 1
    return found


async def release(producer: SharedProducer) -> None:
    """One user less; the last one closes it."""
    producer.users -= 1
    if producer.users:
        return
    for key in [key for key, shared in _shared.items() if shared is producer]:
        del _shared[key]
    await producer.close()


def _succeed(made: asyncio.Future[Producer], producer: Producer) -> None:
    made.set_result(producer)


def _fail(made: asyncio.Future[Producer], error: Exception) -> None:
    made.set_exception(error)
    made.exception()  # marked as seen, in case nobody waits for it any more


def _settle(reports: list[tuple[Report, KafkaError | None]]) -> None:
    for report, error in reports:
        if not report.done():  # nobody waits any more
            report.set_result(error)
