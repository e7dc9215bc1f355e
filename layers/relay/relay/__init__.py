"""Audience Relay's library: everything the functions share, from the wire shapes to the engine."""
