"""The queue on Amazon SQS: a queue and a dead-letter queue for each subscription, FIFO or standard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kubecdc.errors import UsageError
from kubecdc.storage.sqs.settings import SqsSettings

if TYPE_CHECKING:
    from kubecdc.storage.sqs.opened import SqsQueue

__all__ = ["SqsSettings", "open_queue", "require_libraries"]


async def open_queue(settings: SqsSettings, *, holder: str) -> SqsQueue:
    """Open the queue of a bus. ``holder`` names this process. Nothing is created: a bus without queues is empty.

    Raises UsageError if boto3 is not installed, or region or credentials are missing; Unavailable if SQS does not
    answer.
    """
    require_libraries()
    from kubecdc.storage.sqs.opened import SqsQueue

    queue = await SqsQueue.connect(settings, holder)
    try:
        await queue.check()
    except BaseException:
        await queue.close()
        raise
    return queue


def require_libraries() -> None:
    """Raise UsageError if a library is missing. They are imported when a bus is opened: a manifest can be checked
    without them."""
    try:
        import boto3  # noqa: F401
        import zstandard  # noqa: F401
    except ImportError as e:
        hint = "pip install 'kubecdc[sqs]'"
        raise UsageError(f"an sqs bus needs the Python libraries of AWS and Zstandard: {e}", hint=hint) from e
