"""One module per dialect, each turning a raw body into canonical changes; and what all dialects share."""
