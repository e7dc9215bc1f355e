"""The Gainsight PX REST API v1, as far as a segment export needs it."""

from sandboxes.gainsight_px.app import create_app
from sandboxes.gainsight_px.settings import SAMPLE
from sandboxes.gainsight_px.settings import GainsightPxConfig as Config

__all__ = ["SAMPLE", "Config", "create_app"]
