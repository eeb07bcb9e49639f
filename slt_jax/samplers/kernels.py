"""Kernels of blackjax that samplers here use, imported when they are first needed.

Importing blackjax computes JAX constants: at import of the package that would start the backend,
and inside a trace or under 64-bit types it would leave tracers or doubles behind.
"""

import functools
import importlib
from typing import Any

import jax


@functools.cache
def _module(name: str) -> Any:
    with jax.ensure_compile_time_eval(), jax.enable_x64(False):
        return importlib.import_module(name)


def resampling_module() -> Any:
    """Return ``blackjax.smc.resampling``, with ``systematic`` and its alternatives."""
    return _module("blackjax.smc.resampling")


def chees_module() -> Any:
    """Return ``blackjax.adaptation.chees_adaptation``, with ``chees_adaptation``."""
    return _module("blackjax.adaptation.chees_adaptation")
