"""How long an import may take, and from when on the account's overview shows what is under way. Pure constants."""

from datetime import timedelta

IMPORT_BOUND = timedelta(hours=24)
"""An import that has not ended by then is looked up contact by contact. Others tell customers to allow for a day:
https://docs.amperity.com/operator/destination_active_campaign.html"""

UNDER_WAY = timedelta(minutes=20)
"""From writing down what is to be sent until an import of it must show: no function runs longer than 15 minutes."""

ENDING = timedelta(minutes=10)
"""How long an import may go on that the overview does not call outstanding any more: nobody says when it stops to."""

ANSWERED_IMPORT = IMPORT_BOUND - UNDER_WAY
"""How long after an answer, such as 500, an import may still take effect that was perhaps queued: it need not get under
way any more, so the overview shows it at once."""
