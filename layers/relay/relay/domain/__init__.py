"""Profiles, memberships, exports, deliveries, claims and runs: pure values and rules, no AWS and no HTTP."""
