"""The smoke test of an ActiveCampaign account, on a throw-away list.

Variables, besides those of `local.live.access`: `LIST` (the number of an empty list), `EMAIL_DOMAIN` (of the some 14
contacts that are made and deleted; `example.com` never gets mail), `FIELD` (optional: a text field's number).
"""

from local.live.activecampaign.run import PAUSE_SECONDS, run

__all__ = ["PAUSE_SECONDS", "run"]
