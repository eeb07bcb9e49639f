"""Set-up shared by all tests.

The tests run on the CPU unless ``JAX_PLATFORMS`` says otherwise; nothing here switches on 64-bit
types, since the package must not rely on it. They neither read nor fill the user's cache of
compiled programs. Most of their time goes into compiling programs that run once: what is not
compiled with options of its own is optimised as samplers are, kernels are made by the older
emitter, which gives the same numbers in two thirds of the time, and by one thread of each of the
two processes, as are sums and products of NumPy. ``XLA_FLAGS`` that are set stay.
"""

import gc
import os
import re

import pytest
from xdist.scheduler import LoadScopeScheduling

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["JAX_COMPILATION_CACHE_DIR"] = ""
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=1 --xla_cpu_use_fusion_emitters=false "
    "--xla_cpu_parallel_codegen_split_count=1",
)
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Leave modules and collected tests to themselves, which the collector of garbage would visit.

    Tracing makes many small objects, and with three thousand tests beside them each of its rounds
    takes long: a tenth of the time of a test that compiles.
    """
    del session
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip the tests marked ``gpu`` where JAX finds no accelerator."""
    if item.get_closest_marker("gpu") is None:
        return
    import jax

    if jax.default_backend() == "cpu":
        pytest.skip("needs an accelerator (set JAX_PLATFORMS to use one)")


class ByFileAndExperiment(LoadScopeScheduling):
    """Keeps the tests of a file in one process, which has compiled for them.

    The contract is for all experiments: its tests of one are where that one's own tests are.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        own = re.search(r"tests/experiments/test_contract\.py.*\[(\w+)", nodeid)
        return f"tests/experiments/test_{own.group(1)}.py" if own else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFileAndExperiment:
    """Share the tests out by file, and the contract by experiment."""
    return ByFileAndExperiment(config, log)
