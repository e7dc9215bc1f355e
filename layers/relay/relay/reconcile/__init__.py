"""Reconciling: read desired and acknowledged state, send the difference, record the answer."""
