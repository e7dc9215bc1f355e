"""Writes a new destination: `make destination NAME=klaviyo` copies `scaffold/model` under another name."""
