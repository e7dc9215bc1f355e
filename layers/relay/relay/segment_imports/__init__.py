"""Importing whole segments: a set of files, or of pages, replaces who is in a segment."""
