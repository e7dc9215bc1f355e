"""Honest local stand-ins of the destinations' APIs, for demos, stack tests, contract tests and benchmarks.

They answer as the vendors document it; where the vendors document nothing, a comment at the place says what was
chosen and why. Nothing of the product is imported here, and nothing here by the product.
"""
