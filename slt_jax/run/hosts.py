"""Processes on several hosts, joined by JAX's distributed runtime.

Each computes its own tasks on its own devices. The runtime counts and names them, and ends all
when one of them dies; that all are done is read from the folder that they share, since a barrier
of the runtime would time out while some still compute.
"""

import os

import jax

from slt_jax.run.config import Worker


def join(coordinator: str | None, num_processes: int | None, process_id: int | None) -> None:
    """Join the other processes, if there are any: call before anything touches a device.

    ``coordinator`` is HOST:PORT of process 0, or "auto" where JAX can ask the cluster (Slurm,
    Open MPI, Kubernetes, TPU pods). What is None is taken from JAX_COORDINATOR_ADDRESS,
    JAX_NUM_PROCESSES and JAX_PROCESS_ID; without a coordinator nothing happens. Raises
    ValueError for what does not fit together, OSError if the others cannot be reached.
    """
    coordinator = coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS")
    if coordinator is None:
        if num_processes is not None or process_id is not None:
            raise ValueError(
                f"num_processes = {num_processes}, process_id = {process_id}: "
                "a coordinator is needed too"
            )
        return
    try:
        if coordinator == "auto":
            jax.distributed.initialize()
            return
        num_processes = _number("num_processes", num_processes, "JAX_NUM_PROCESSES")
        process_id = _number("process_id", process_id, "JAX_PROCESS_ID")
        if not 0 <= process_id < num_processes:
            raise ValueError(f"process_id = {process_id}: must be from 0 to {num_processes - 1}")
        jax.distributed.initialize(coordinator, num_processes, process_id)
    except RuntimeError as error:
        raise OSError(f"coordinator {coordinator!r}: {error}") from error


def _number(name: str, given: int | None, variable: str) -> int:
    text = os.environ.get(variable, "") if given is None else str(given)
    if not text.isdigit():
        raise ValueError(f"{name} = {text or None}: must be given with a coordinator, from 0")
    return int(text)


def are_joined() -> bool:
    """True if this process is one of several that were joined."""
    return bool(jax.distributed.is_initialized()) and jax.process_count() > 1


def worker() -> Worker:
    """This process's share of the work."""
    return Worker(jax.process_index(), jax.process_count())
