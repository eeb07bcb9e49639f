"""Exact answers at finite n: log Z of weighted data, with a bound on its error."""

from slt_jax.oracles.oracle import Exact, ExactMoments, Oracle, oracle_for

__all__ = ["Exact", "ExactMoments", "Oracle", "oracle_for"]
