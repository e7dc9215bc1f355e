"""What stops and paces calls to a destination: pace, stops, probes, and the one table of failures."""
