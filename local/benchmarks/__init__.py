"""Benchmarks: the code as it is deployed, against the destinations' sandboxes, a million profiles if asked."""
