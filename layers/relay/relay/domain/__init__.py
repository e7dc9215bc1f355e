"""Profiles, exports, identity records, assignments and runs: pure values and rules, no AWS and no HTTP."""
