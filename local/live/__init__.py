"""Smoke tests of real accounts: what only a live account can prove, one command per destination.

    python -m local.live activecampaign|gainsight-px [--json]

The real destination packages make the calls, through the real HTTP door; no AWS stack takes part. Settings come from
environment variables (see `access` and each destination's `settings_of`), never from the command line.
"""
