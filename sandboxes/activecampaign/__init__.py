"""The ActiveCampaign API v3, as far as a segment export needs it."""

from sandboxes.activecampaign.app import create_app
from sandboxes.activecampaign.settings import SAMPLE
from sandboxes.activecampaign.settings import ActiveCampaignConfig as Config

__all__ = ["SAMPLE", "Config", "create_app"]
