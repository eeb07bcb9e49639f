"""Side-by-side timings against peers and bare JAX: ``python -m benchmarks``."""
