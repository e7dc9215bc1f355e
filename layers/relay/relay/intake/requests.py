"""What API Gateway hands over: a request to the webhook address."""

import base64
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relay import problem_details
from relay.problem_details import Refusal


@dataclass(frozen=True, slots=True)
class Request:
    """A request of a REST API, in the format of Lambda's proxy integration.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
    """

    event: Mapping[str, Any]
    request_id: str

    @classmethod
    def of(cls, event: Mapping[str, Any], context: Any) -> "Request":
        """Return the request of an event, with the id that API Gateway gave it."""
        known = (event.get("requestContext") or {}).get("requestId") or getattr(context, "aws_request_id", None)
        return cls(event, str(known or uuid.uuid4()))

    def source(self) -> str:
        """Return the name of the source that is posted to; raises Refusal (404 or 405) for any other request."""
        name = (self.event.get("pathParameters") or {}).get("source")
        if not name:
            raise self._misdirected()
        return str(name)

    def _misdirected(self) -> Refusal:
        """Return why a request is no webhook: what is posted to `/webhooks/{source}` comes with a source."""
        folder, _, name = str((self.event.get("pathParameters") or {}).get("proxy") or "").partition("/")
        is_webhook = folder == "webhooks" and name != "" and "/" not in name
        return problem_details.method_not_allowed() if is_webhook else problem_details.no_source()

    def body(self) -> bytes:
        """Return the body; raises Refusal (400) when it cannot be what API Gateway says it is."""
        body = self.event.get("body") or ""
        if not self.event.get("isBase64Encoded"):
            return str(body).encode(errors="surrogatepass")
        try:
            return base64.b64decode(body, validate=True)
        except ValueError:
            raise problem_details.malformed_json("The body is not base64, though it is marked so.") from None

    def headers(self) -> dict[str, Sequence[str]]:
        """Return all values of each header, its name in lower case."""
        found: dict[str, list[str]] = {}
        for name, values in (self.event.get("multiValueHeaders") or {}).items():
            found.setdefault(name.lower(), []).extend(values or ())
        given = (self.event.get("headers") or {}).items()
        single = {name.lower(): [value] for name, value in given if value is not None}
        return {**single, **found}
