"""Run the experiment from the command line."""

from slt_jax.report.main import main

if __name__ == "__main__":
    main(__package__)
