"""Errors of boto3 and SQS, by what the caller should do."""

from __future__ import annotations

import botocore.exceptions as aws
import pytest

from kubecdc.errors import KubecdcError, Unavailable, UsageError
from kubecdc.storage.contracts.errors import ClaimLost
from kubecdc.storage.sqs.errors import QueueExists, QueueGone, TooLate, entry_error, mapped, settle_error

EXPIRED = "Value AQE for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired."
BEYOND = "Value 40000 for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout is beyond the limit."


def refused(code: str) -> aws.ClientError:
    return aws.ClientError({"Error": {"Code": code, "Message": "told"}}, "SendMessage")


@pytest.mark.parametrize(
    ("error", "kind", "hint"),
    [
        (refused("AWS.SimpleQueueService.NonExistentQueue"), QueueGone, "bus ensure"),
        (refused("QueueDoesNotExist"), QueueGone, "bus ensure"),
        (refused("AccessDenied"), UsageError, "allow sqs:SendMessage "),
        (refused("InvalidClientTokenId"), UsageError, "AWS_PROFILE"),
        (refused("SignatureDoesNotMatch"), UsageError, "clock"),
        (refused("ExpiredToken"), Unavailable, "renew"),
        (refused("QueueNameExists"), QueueExists, "bus ensure"),
        (refused("AWS.SimpleQueueService.QueueDeletedRecently"), Unavailable, "a minute"),
        (refused("RequestThrottled"), Unavailable, ""),
        (refused("KmsThrottled"), Unavailable, "KMS"),
        (refused("InternalFailure"), Unavailable, ""),
        (aws.NoCredentialsError(), UsageError, "IAM role"),
        (aws.NoRegionError(), UsageError, "sqs.region"),
        (aws.ProfileNotFound(profile="x"), UsageError, "AWS_PROFILE"),
        (aws.EndpointConnectionError(endpoint_url="x"), Unavailable, ""),
        (aws.ConnectTimeoutError(endpoint_url="x"), Unavailable, ""),
        (aws.ReadTimeoutError(endpoint_url="x"), Unavailable, ""),
        (aws.ConnectionClosedError(endpoint_url="x"), Unavailable, ""),
        (TooLate(), Unavailable, "CPU"),
    ],
    ids=str,
)
def test_an_error_tells_what_to_do(error: Exception, kind: type[KubecdcError], hint: str) -> None:
    found = mapped(error, "SendMessageBatch")
    assert type(found) is kind
    assert hint in found.hint


def test_who_may_not_create_is_told_who_may() -> None:
    assert "kubecdc bus ensure" in mapped(refused("AccessDenied"), "CreateQueue").hint


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        ("ReceiptHandleIsInvalid", "", ClaimLost),
        ("AWS.SimpleQueueService.MessageNotInflight", "", ClaimLost),
        ("InvalidParameterValue", EXPIRED, ClaimLost),
        ("InvalidParameterValue", BEYOND, ClaimLost),
        ("InvalidParameterValue", "Value x for parameter Id is invalid", Unavailable),
        ("InternalError", "", Unavailable),
    ],
)
def test_a_claim_that_is_not_ours_is_lost(code: str, text: str, kind: type[KubecdcError]) -> None:
    assert type(settle_error({"Id": "0", "Code": code, "Message": text}, "DeleteMessageBatch", "m")) is kind


def test_an_entry_that_is_refused_is_tried_again() -> None:
    error = entry_error({"Id": "0", "Code": "InternalError", "Message": "told"}, "SendMessageBatch")
    assert type(error) is Unavailable
    assert "InternalError: told" in str(error)
