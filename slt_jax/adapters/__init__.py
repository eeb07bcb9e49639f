"""Models that are written elsewhere: plain functions, a flax module, a numpyro model."""
