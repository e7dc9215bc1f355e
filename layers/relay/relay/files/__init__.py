"""Segment files: which objects make one set, their rows, and the changes that the rows describe."""
