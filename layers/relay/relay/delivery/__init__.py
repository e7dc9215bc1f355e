"""The delivery engine: load, diff, claim, send, record; runs, stops and wake-ups."""
