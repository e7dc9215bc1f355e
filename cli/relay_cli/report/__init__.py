"""The report of a run: one HTML file to look at and to print, with everything it needs inside."""
