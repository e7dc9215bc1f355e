"""What commands show: pure functions from answers to lines, facts and tables."""
