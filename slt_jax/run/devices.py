"""Independent jobs over all local devices, as many at a time as their memory holds.

Jobs lie on the first axis of arrays. Each device gets a slice of them by ``shard_map`` and works
alone: partitioned by the compiler instead, every loop of a vmapped sampler would wait for all
devices at every step.
"""

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, Var
from jax.sharding import Mesh, PartitionSpec

from slt_jax.run import executables
from slt_jax.run.compilation import compiler_options, keep_compilations

AXIS = "jobs"
SHARE_OF_MEMORY = 0.5
CPU_BUDGET = 2 * 2**30
DEVICES_FLAG = "xla_force_host_platform_device_count"


class JobFunction:
    """``function(*static, *shared, *jobs)`` compiled once for all jobs, n, β and data.

    ``function`` maps ``num_static`` hashable constants, ``num_shared`` arrays that all jobs use
    and any number of pytrees with a leading job axis to a pytree with that axis. It must treat
    jobs independently, as ``vmap`` does.
    """

    def __init__(self, function: Callable[..., Any], num_static: int, num_shared: int) -> None:
        self._function = function
        self._num_static = num_static
        self._num_shared = num_shared
        self._programs: dict[tuple[jax.Device, ...], Any] = {}
        self._loaded: dict[str, tuple[Callable[..., Any], int]] = {}
        self._lock = threading.Lock()
        functools.update_wrapper(self, function)

    def __call__(self, *arguments: Any, rows: int | None = None, budget: int | None = None) -> Any:
        """The results of all jobs, as NumPy arrays with their leading axis.

        ``budget`` bounds the bytes that a device uses at a time; without it, half of what the
        device has, or on CPUs 2 GiB, and together half of the machine's. Jobs beyond it wait for
        the next round. A round that is not full is filled up with copies of the last job, so that
        all have one shape; ``rows`` is the number of jobs of the fullest call, if this one has
        fewer.
        """
        first_job = self._num_static + self._num_shared
        fixed = arguments[:first_job]
        jobs = jax.tree.map(np.asarray, arguments[first_job:])
        count = len(jax.tree.leaves(jobs)[0])
        devices = tuple(jax.local_devices()[: max(count, rows or 0)])
        with self._lock:  # two threads would each make a program, and compile it
            if devices not in self._programs:
                self._programs[devices] = self._compiled(devices)
        width = -(-max(count, rows or 0) // len(devices))
        allowed = budget or device_budget(devices[0])
        width, call = self._width_and_call(devices, fixed, jobs, width, allowed)
        step = width * len(devices)
        rounds = []
        for start in range(0, count, step):
            rounds.append(jax.tree.map(np.asarray, call(_rows(jobs, start, step))))
        return jax.tree.map(lambda *parts: np.concatenate(parts)[:count], *rounds)

    def _width_and_call(
        self, devices: tuple[jax.Device, ...], fixed: Any, jobs: Any, width: int, allowed: int
    ) -> tuple[int, Callable[[Any], Any]]:
        """Return how many jobs fit on a device at a time, and what computes all devices' share.

        Executables that hold all jobs at once are kept on disk.
        """
        program, whole = self._programs[devices], _shapes(jobs, width * len(devices))
        static, shared = fixed[: self._num_static], fixed[self._num_static :]
        key = executables.key_of(self._function, static, (shared, whole), devices)
        kept = None if key is None else self._kept(key, devices)
        if kept is None or (kept[1] > allowed and width > 1):
            traced = program.trace(*fixed, *whole)
            memory = peak_bytes(traced.jaxpr)
            # What is traced is one device's share of the jobs that come first.
            fitting = max(1, min(width, int(width * allowed / memory)))
            if key is None or fitting < width:
                return fitting, functools.partial(self._run, program, None, fixed)
            lowered = traced.lower()
            executable, is_fresh = executables.compiled(lowered)
            self._loaded[key] = executable, memory
            executables.save(key, executable, memory, lowered, is_fresh)
        return width, functools.partial(self._run, program, key, fixed)

    def _run(self, program: Any, key: str | None, fixed: Any, part: Any) -> Any:
        """Run the executable of a key, or the program it is of, should it not run."""
        kept = self._loaded.get(key or "")
        if key is None or kept is None:
            return program(*fixed, *part)
        try:
            done = kept[0](*fixed[self._num_static :], *part)
            return jax.block_until_ready(done)  # type: ignore[no-untyped-call]
        except jax.errors.JaxRuntimeError:
            executables.forget(key)
            del self._loaded[key]
            return program(*fixed, *part)

    def _kept(
        self, key: str, devices: tuple[jax.Device, ...]
    ) -> tuple[Callable[..., Any], int] | None:
        """Return the executable of a key and its bytes, of this process or of an earlier one."""
        name = self._function.__name__
        if key not in self._loaded and (found := executables.load(key, name, devices)):
            self._loaded[key] = found
        return self._loaded.get(key)

    def _compiled(self, devices: tuple[jax.Device, ...]) -> Any:
        keep_compilations()
        mesh = Mesh(np.array(devices), (AXIS,))
        num_static, num_shared = self._num_static, self._num_shared

        def sharded(*arguments: Any) -> Any:
            static, arrays = arguments[:num_static], arguments[num_static:]
            whole, split = PartitionSpec(), PartitionSpec(AXIS)  # type: ignore[no-untyped-call]
            specs = tuple(whole if i < num_shared else split for i in range(len(arrays)))
            return jax.shard_map(
                functools.partial(self._function, *static),
                mesh=mesh, in_specs=specs, out_specs=split, check_vma=False,
            )(*arrays)  # fmt: skip

        sharded.__name__ = self._function.__name__
        return jax.jit(
            sharded,
            static_argnums=tuple(range(num_static)),
            compiler_options=compiler_options(devices[0].platform),
        )


def _rows(jobs: Any, start: int, size: int) -> Any:
    """Rows start … start + size, the last one repeated where there are too few."""
    return jax.tree.map(
        lambda leaf: leaf[np.minimum(np.arange(start, start + size), len(leaf) - 1)], jobs
    )


def _shapes(jobs: Any, size: int) -> Any:
    """Shapes and types of ``size`` rows, which is all that tracing needs."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(  # type: ignore[no-untyped-call]
            (size, *leaf.shape[1:]), leaf.dtype
        ),
        jobs,
    )


def device_budget(device: jax.Device) -> int:
    """Bytes that a task may use: half of the device's memory, or 2 GiB where it does not say.

    Devices that share the memory of this machine share half of it.
    """
    statistics = device.memory_stats() or {}
    limit = statistics.get("bytes_limit")
    if limit:
        return int(SHARE_OF_MEMORY * limit)
    return min(CPU_BUDGET, int(SHARE_OF_MEMORY * _host_memory() / jax.local_device_count()))


def use_all_cores() -> None:
    """Make every core of this machine a device of its own, for jobs to be spread over.

    A program on one device leaves the other cores idle: what chains compute in one step is too
    little to be divided among threads. Numbers stay the same. Does nothing once JAX has started its
    backend, or where its number of CPU devices was chosen (``jax_num_cpu_devices``, XLA's flag).
    Experiments call it; a script does so before it makes its first key or array.

    >>> from slt_jax import use_all_cores
    >>> use_all_cores()
    >>> import jax
    >>> jax.local_device_count() >= 1
    True
    """
    config: Any = jax.config
    if config.jax_num_cpu_devices > 0 or DEVICES_FLAG in os.environ.get("XLA_FLAGS", ""):
        return
    known = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1
    with contextlib.suppress(RuntimeError):  # the backend has started
        config.update("jax_num_cpu_devices", cores)


def _host_memory() -> int:
    """Bytes of this machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def refuse_beyond_memory(name: str, num_bytes: float) -> None:
    """Refuse what this machine cannot hold, before anything starts.

    Raises ValueError, after ``name``, for more bytes than the host has memory.
    """
    memory = _host_memory()
    if num_bytes > memory:
        raise ValueError(
            f"{name} would take {num_bytes / 2**30:.1f} GiB; must fit into this machine's memory "
            f"of {memory / 2**30:.1f} GiB"
        )


@functools.lru_cache(maxsize=256)
def peak_bytes(jaxpr: ClosedJaxpr | Jaxpr) -> int:
    """Bytes that are alive at once when the equations run in their order, one by one.

    A bound from above: a compiler reuses buffers and fuses what it can. Mapped and looped
    programs count once, since their iterations follow each other.
    """
    inner = jaxpr.jaxpr if isinstance(jaxpr, ClosedJaxpr) else jaxpr
    last_use: dict[Var, int] = {}
    for index, equation in enumerate(inner.eqns):
        for variable in equation.invars:
            if not isinstance(variable, Literal):
                last_use[variable] = index
    kept = {v for v in inner.outvars if not isinstance(v, Literal)}
    alive = sum(_bytes(v) for v in (*inner.invars, *inner.constvars))
    peak = alive
    for index, equation in enumerate(inner.eqns):
        inside = max(
            (peak_bytes(j) for p in equation.params.values() for j in _programs(p)), default=0
        )
        made = sum(_bytes(v) for v in equation.outvars)
        peak = max(peak, alive + max(inside, made))
        alive += made
        for variable in {v for v in equation.invars if not isinstance(v, Literal)}:
            if last_use[variable] == index and variable not in kept:
                alive -= _bytes(variable)
    return peak


def _programs(parameter: Any) -> Sequence[ClosedJaxpr | Jaxpr]:
    if isinstance(parameter, ClosedJaxpr | Jaxpr):
        return (parameter,)
    if isinstance(parameter, tuple | list):
        return [p for p in parameter if isinstance(p, ClosedJaxpr | Jaxpr)]
    return ()


def _bytes(variable: Any) -> int:
    shape = getattr(variable.aval, "shape", ())
    dtype = getattr(variable.aval, "dtype", None)
    return int(np.prod(shape, dtype=np.int64)) * getattr(dtype, "itemsize", 8)
