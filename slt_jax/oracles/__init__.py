"""Exact answers at finite n: log Z of weighted data, with a bound on its error."""
