"""The commands: each asks, and hands the answer to its view."""
