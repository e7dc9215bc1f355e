"""What the errors of AWS mean: failures that say what helps, or conditions that commands know."""

from typing import Any, NoReturn

from relay_cli.failures import AwsRefused, Failure

_SIGN_IN = frozenset({"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"})
_MISSING = frozenset(
    {"ResourceNotFoundException", "ParameterNotFound", "QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"}
)
_UNKNOWN_TO_THE_EMULATOR = frozenset({"InvalidAction", "UnknownOperationException", "UnsupportedOperation"})


class NotThereError(Exception):
    """What was named is not there."""


class BeingDeletedError(Exception):
    """A secret waits for its deletion."""


class UnknownOperationError(Exception):
    """The emulator does not know an operation."""


def raise_refusal(service: str, operation: str, error: Any) -> NoReturn:
    """Raise what an error of AWS means. Its text names resources and rights, never what a request holds."""
    described = error.response.get("Error", {})
    code, text = str(described.get("Code", "unknown")), str(described.get("Message", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    action = f"{service}:{''.join(map(str.capitalize, operation.split('_')))}"
    if code in _MISSING or (code == "ValidationError" and "does not exist" in text):
        raise NotThereError from None
    # Its texts differ: "marked for deletion", "marked deleted", "already scheduled for deletion".
    if code == "InvalidRequestException" and "delet" in text:
        raise BeingDeletedError from None
    if code in _UNKNOWN_TO_THE_EMULATOR:
        raise UnknownOperationError from None
    if code in _SIGN_IN:
        raise AwsRefused(
            "AWS does not know you (any more).", f"{action}: {code}", "aws sso login, or renew the credentials"
        ) from None
    if code.startswith(("AccessDenied", "NotAuthorized", "UnauthorizedOperation")) or status == 403:
        raise AwsRefused("AWS does not let you do this.", f"{action}: {text or code}", "ask for this right") from None
    raise Failure(f"AWS refused {action}.", f"{code}: {text}") from None


def raise_trouble(error: Exception) -> NoReturn:
    """Raise what it means that no answer came: no credentials, no region, no network."""
    name = type(error).__name__
    if name in ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"):
        raise AwsRefused("There are no AWS credentials.", str(error), "aws configure, or --profile NAME") from None
    if name in ("ProfileNotFound", "SSOTokenLoadError", "UnauthorizedSSOTokenError", "TokenRetrievalError", "SSOError"):
        raise AwsRefused(
            "The AWS profile cannot be used.", str(error), "aws configure list-profiles, aws sso login"
        ) from None
    if name == "NoRegionError":
        raise AwsRefused("No AWS region is named.", str(error), "--region REGION, or AWS_REGION") from None
    raise Failure("AWS does not answer.", str(error), "relay check, when the network is back") from None
