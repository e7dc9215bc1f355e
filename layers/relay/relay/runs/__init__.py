"""Runs: full exports as cursors, and the ledger that says what became of everybody."""
