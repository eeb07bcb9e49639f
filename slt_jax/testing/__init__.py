"""The contract of a problem as checks that anyone runs on their own."""

from slt_jax.testing.contract import check_problem as check_problem

__all__ = ["check_problem"]
