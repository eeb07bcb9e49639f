"""The machine that a run was measured on, without a name that tells whose it was."""

import contextlib
import os
import platform
from pathlib import Path
from typing import Any

from slt_jax.run import provenance


def describe(config: dict[str, Any]) -> dict[str, Any]:
    """Processor, memory in GiB, load, and the provenance of the configuration."""
    gibibytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory_gib": round(gibibytes, 1),
        "load_at_start": round(os.getloadavg()[0], 1),
        **provenance.provenance(config),
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return f"{line.split(':')[1].strip()}, {platform.machine()}"
    return platform.machine()


def sentence(machine: dict[str, Any]) -> str:
    """The machine in words."""
    versions = ", ".join(
        f"{name} {machine[f'{name}_version']}" for name in ("python", *provenance.PACKAGES)
    )
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, JAX on "
        f"{machine['device_platform']} ({machine['device_kind']}); {versions}; "
        f"{machine['created_utc'][:10]}. Load average when the run began: "
        f"{machine['load_at_start']}."
    )
