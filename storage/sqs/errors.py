"""Errors of boto3 and SQS, by what the caller should do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import botocore.exceptions as aws

from kubecdc.errors import KubecdcError, Unavailable, UsageError
from kubecdc.storage.contracts.errors import ClaimLost

_GONE = ("QueueDoesNotExist", "NonExistentQueue")
_DENIED = ("AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation")
_BAD_CREDENTIALS = (
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "SignatureDoesNotMatch",
    "InvalidAccessKeyId",
    "IncompleteSignature",
    "MissingAuthenticationToken",
    "InvalidSecurity",
    "OptInRequired",
)
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired")
_CHAIN = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give the pod an IAM role"


class QueueGone(Unavailable):
    """There is no such queue."""


class QueueExists(UsageError):
    """There is a queue of that name, with other attributes."""


class TooLate(Exception):
    """A call would have been sent after its deadline. It was not sent."""


def mapped(error: Exception, operation: str) -> KubecdcError:
    """The error to raise for an error of boto3 in a call. ``operation`` is the name of the action: ``SendMessage``."""
    match error:
        case aws.ClientError():
            return _refused(error, operation)
        case TooLate():
            return Unavailable(f"{operation} was not sent: the process was too slow", hint="give it more CPU")
        case aws.NoCredentialsError() | aws.PartialCredentialsError() | aws.ProfileNotFound():
            return UsageError(f"there are no AWS credentials: {error}", hint=_CHAIN)
        case aws.UnauthorizedSSOTokenError() | aws.SSOTokenLoadError() | aws.TokenRetrievalError():
            return UsageError(f"the AWS credentials cannot be used: {error}", hint="log in again: aws sso login")
        case aws.NoRegionError():
            return UsageError("no AWS region is set", hint="set `sqs.region` in the EventBus, or AWS_REGION")
        case aws.ParamValidationError() | aws.InvalidRegionError() | ValueError():
            return UsageError(f"{operation} cannot be called: {error}", hint="check `sqs` in the EventBus")
        case _:
            return Unavailable(f"SQS did not answer to {operation}: {error}")


def entry_error(failed: Mapping[str, Any], operation: str) -> KubecdcError:
    """The error for an entry of a batch that SQS refused."""
    code = str(failed.get("Code", ""))
    text = f"SQS refused a message in {operation}: {code}: {failed.get('Message', '')}"
    return Unavailable(text, hint=_key_hint(code))


def settle_error(failed: Mapping[str, Any], operation: str, message: object) -> KubecdcError:
    """The error for a message that could not be settled. It is ClaimLost if the claim is no longer ours."""
    code = _short(str(failed.get("Code", "")))
    text = str(failed.get("Message", ""))
    if code in {"ReceiptHandleIsInvalid", "MessageNotInflight"} or (
        code in {"InvalidParameterValue", "InvalidParameterValueException"} and _about_claim(text)
    ):
        return ClaimLost.lapsed(message)
    return entry_error(failed, operation)


def _about_claim(text: str) -> bool:
    """Whether a receipt has expired, or a claim cannot be extended beyond the 12 hours of SQS."""
    lowered = text.lower()
    return "receipt" in lowered or "visibilitytimeout" in lowered.replace(" ", "")


def _refused(error: aws.ClientError, operation: str) -> KubecdcError:
    details = error.response.get("Error", {})
    code, text = _short(str(details.get("Code", ""))), str(details.get("Message", "")).strip()
    message = f"SQS refused {operation}: {code}: {text}"
    if code in _GONE:
        return QueueGone(f"SQS knows no such queue ({operation})", hint="run `kubecdc bus ensure`")
    if code in _DENIED:
        hint = f"allow sqs:{operation.removesuffix('Batch')} for these credentials"
        if operation in {"CreateQueue", "TagQueue", "SetQueueAttributes"}:
            hint = f"run `kubecdc bus ensure` with credentials that may, or {hint}"
        return UsageError(message, hint=hint)
    if code in _BAD_CREDENTIALS:
        return UsageError(message, hint=f"check credentials, region and clock; {_CHAIN}")
    if code in _EXPIRED:
        return Unavailable(message, hint="the credentials have expired: renew them, and check the clock")
    if code == "QueueDeletedRecently":
        return Unavailable(message, hint="SQS makes a queue of the same name again only a minute after it was deleted")
    if code in {"QueueNameExists", "QueueAlreadyExists"}:
        return QueueExists(message, hint="run `kubecdc bus ensure`, which sets the attributes that differ")
    return Unavailable(message, hint=_key_hint(code))


def _key_hint(code: str) -> str:
    return "check the KMS key of the queue and the rights to use it" if code.lower().startswith("kms") else ""


def _short(code: str) -> str:
    """The code without the names that the older protocol puts before it: ``AWS.SimpleQueueService.…``."""
    return code.rpartition(".")[2] if code.startswith("AWS.") else code.rpartition("#")[2]
