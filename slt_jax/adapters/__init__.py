"""Models that are written elsewhere: a flax module, a numpyro model."""
