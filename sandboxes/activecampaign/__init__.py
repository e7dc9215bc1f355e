"""The ActiveCampaign API v3, as far as a segment export needs it."""

from sandboxes.activecampaign.app import create_app

__all__ = ["create_app"]
