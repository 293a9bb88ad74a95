"""How times and dates are written for people."""
