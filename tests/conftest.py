"""Set-up shared by all tests.

The tests run on the CPU unless ``JAX_PLATFORMS`` says otherwise; nothing here switches on 64-bit
types, since the package must not rely on it. They neither read nor fill the user's cache of
compiled programs.
"""

import os

import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["JAX_COMPILATION_CACHE_DIR"] = ""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip the tests marked ``gpu`` where JAX finds no accelerator."""
    if item.get_closest_marker("gpu") is None:
        return
    import jax

    if jax.default_backend() == "cpu":
        pytest.skip("needs an accelerator (set JAX_PLATFORMS to use one)")
