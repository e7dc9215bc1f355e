"""What operators ask, and the answers: runs, checks of everything, probes."""
