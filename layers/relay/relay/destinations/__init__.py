"""One package per destination, and what all of them promise the engine."""
