"""The client of SQS: boto3 in threads, with a deadline for each call, and without repeating any.

A call of boto3 may wait before it sends anything: for a thread, or for credentials that are renewed. A leader that
slept meanwhile must not publish later. So each call is refused if it has not been sent in time, checked right before
the request leaves.
"""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from kubecdc.errors import Unavailable, UsageError
from kubecdc.storage.sqs.errors import TooLate, mapped
from kubecdc.storage.sqs.settings import SqsSettings

PARALLEL = 16  # calls of the publisher at a time
THREADS = 2 * PARALLEL  # the other half is for all other calls
POLLS = 256  # long polls at a time, each of which takes a thread
_CONNECT, _READ = 1.0, 3.0  # seconds
_LEAVE = 2.0  # seconds after which a call is not sent any more
SECONDS = _LEAVE + _CONNECT + _READ  # of a call
Reply = dict[str, Any]


class Client:
    """Calls SQS. Operations have their names in boto3: ``send_message_batch``."""

    def __init__(self, session: boto3.Session, settings: SqsSettings) -> None:
        """Blocks for as long as boto3 takes to load the description of SQS."""
        self.region = settings.region or session.region_name or ""
        self._deadline = threading.local()
        self._calls = ThreadPoolExecutor(THREADS, "sqs")
        self._polls = ThreadPoolExecutor(POLLS, "sqs-poll")
        self._quick = self._boto(session, settings, THREADS, _READ)
        self._slow = self._boto(session, settings, POLLS, _READ + settings.poll)
        self._poll = settings.poll

    @classmethod
    async def connect(cls, settings: SqsSettings) -> Client:
        """A client with boto3's own credentials and region. Raises UsageError if there are none, Unavailable."""

        def connect() -> Client:
            session = boto3.Session()
            if not (settings.region or session.region_name):
                raise UsageError("no AWS region is set", hint="set `sqs.region` in the EventBus, or AWS_REGION")
            if session.get_credentials() is None:
                raise UsageError(
                    "there are no AWS credentials",
                    hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give the pod an IAM role",
                )
            return cls(session, settings)

        try:
            return await asyncio.to_thread(connect)
        except (BotoCoreError, ValueError) as e:
            raise mapped(e, "the first call") from e

    async def call(self, operation: str, **parameters: Any) -> Reply:
        """Call an operation once. Raises UsageError, Unavailable."""
        return await self._run(self._calls, self._quick, SECONDS, operation, parameters)

    async def poll(self, **parameters: Any) -> Reply:
        """``receive_message`` that waits for messages. Raises UsageError, Unavailable."""
        given = {**parameters, "WaitTimeSeconds": self._poll}
        return await self._run(self._polls, self._slow, SECONDS + self._poll, "receive_message", given)

    async def end_polls(self) -> None:
        """Wait for the long polls that are under way, and begin no other."""
        await asyncio.to_thread(self._polls.shutdown)

    async def close(self) -> None:
        """Wait for the calls that are under way, and close the connections."""
        await self.end_polls()
        await asyncio.to_thread(self._calls.shutdown)
        self._quick.close()
        self._slow.close()

    async def _run(self, threads: ThreadPoolExecutor, boto: Any, seconds: float, operation: str, given: Reply) -> Reply:
        leave = time.monotonic() + _LEAVE

        def call() -> Reply:
            self._deadline.leave = leave
            reply: Reply = getattr(boto, operation)(**given)
            return reply

        name = _action(operation)
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.get_running_loop().run_in_executor(threads, call)
        except TimeoutError as e:
            raise Unavailable(f"SQS did not answer to {name} within {seconds:g} s") from e
        except (BotoCoreError, ClientError, TooLate, ValueError, OSError) as e:
            raise mapped(e, name) from e
        except RuntimeError as e:  # the threads have ended
            raise Unavailable(f"{name} was not sent: the bus is closed") from e

    def _boto(self, session: boto3.Session, settings: SqsSettings, connections: int, read: float) -> Any:
        config = Config(
            connect_timeout=_CONNECT,
            read_timeout=read,
            retries={"total_max_attempts": 1},
            max_pool_connections=connections,
            tcp_keepalive=True,
        )
        boto = session.client("sqs", region_name=self.region, endpoint_url=settings.endpoint_url or None, config=config)
        boto.meta.events.register("before-send.sqs", self._check_deadline)
        return boto

    def _check_deadline(self, **_: object) -> None:
        """Raise TooLate if the call waited for too long. Called by boto3 in the thread of the call."""
        if time.monotonic() > self._deadline.leave:
            raise TooLate


def _action(operation: str) -> str:
    """The name of the action in IAM policies: ``SendMessageBatch``."""
    return "".join(part.capitalize() for part in operation.split("_"))
