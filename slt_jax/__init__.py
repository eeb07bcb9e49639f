"""Singular learning theory in JAX: exact and sampled Bayesian free energy of toy singular models.

Importing the package does no work: no array is made, no device is touched and 64-bit types are
not switched on. Import the module you need, for example ``from slt_jax import theory``.
"""

__version__ = "0.1.0"
