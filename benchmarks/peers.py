"""Peers that a user might pick: SMC and MCLMC of blackjax, numpyro's NUTS, a loop for the LLC."""

from types import ModuleType
from typing import Any

from benchmarks import peer_chains, peer_local, peer_smc
from benchmarks.timing import Row

PARTS: dict[str, ModuleType] = {"smc": peer_smc, "chains": peer_chains, "local": peer_local}


def measure(quick: bool) -> dict[str, Any]:
    """The timings of each part, all in this one run."""
    return {name: part.measure(quick) for name, part in PARTS.items()}


def rows(timings: dict[str, Any]) -> list[Row]:
    """The lines of all parts."""
    return [row for name, part in PARTS.items() for row in part.rows(timings[name])]
