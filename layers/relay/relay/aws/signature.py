"""Signature Version 4: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence


def signed(headers: Mapping[str, str], body: bytes, *, path: str, scope: Sequence[str], secret: str) -> str:
    """Return the `Authorization` header of a POST, all `headers` (names in lower case, `x-amz-date` among them) signed.

    `scope` is key id, region and service.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
    """
    key_id, region, service = scope
    moment = headers["x-amz-date"]
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    request = f"POST\n{path}\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    credential = f"{moment[:8]}/{region}/{service}/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{moment}\n{credential}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = _signing_key(secret, moment[:8], region, service)
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    return f"AWS4-HMAC-SHA256 Credential={key_id}/{credential}, SignedHeaders={names}, Signature={signature}"


def _signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
