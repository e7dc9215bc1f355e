"""The Gainsight PX REST API v1, as far as a segment export needs it."""

from sandboxes.gainsight_px.app import create_app

__all__ = ["create_app"]
