"""Profile ids and identity hashes: keyed hashes, because a plain hash of an e-mail is still personal data."""

import hmac

BUCKETS = 256
"""Every key in the stores is spread over this fixed number of buckets; queue shards are made of buckets."""


class KeyedHash:
    """HMAC-SHA256 with the stack's identity key, made once and never rotated."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    def __call__(self, *parts: str) -> str:
        """Hash the parts (their boundaries count) to 32 hexadecimal digits."""
        message = "\x1f".join([part.replace("\x1f", "\x1f\x1f") for part in parts]).encode()
        return hmac.digest(self._key, message, "sha256").hex()[:32]


def bucket_of(profile_id: str) -> int:
    """Return the bucket (0 to 255) of a profile id: its first byte, so ids sort by bucket."""
    return int(profile_id[:2], 16)
