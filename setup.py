"""The packages of the wheel; everything else is in pyproject.toml.

``experiments`` is too common a name to be installed: a user's own folder of that name would hide
it, or be hidden. The wheel has it as ``slt_jax_experiments``; in a checkout it keeps its name.
"""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["slt_jax", "slt_jax.*"]),
        *(f"slt_jax_{name}" for name in find_packages(include=["experiments", "experiments.*"])),
    ],
    package_dir={"slt_jax_experiments": "experiments"},
)
