"""The names of the package itself: lazy, complete, and none hidden by a module."""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import slt_jax

ROOT = Path(__file__).resolve().parents[1]
NAMES = slt_jax._MODULE_OF


def output_of(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_importing_the_package_imports_nothing_else() -> None:
    code = """
import sys
before = set(sys.modules)
import slt_jax
dir(slt_jax)
new = {name.split('.')[0] for name in sys.modules.keys() - before}
print(sorted(new - sys.stdlib_module_names), sorted(m for m in sys.modules if "slt_jax." in m))
"""
    assert output_of(code) == "['slt_jax'] []\n"


def test_theory_needs_no_jax() -> None:
    code = "import sys, slt_jax; slt_jax.Theory; print('jax' in sys.modules)"
    assert output_of(code) == "False\n"


def test_a_posterior_needs_neither_what_draws_nor_what_is_slow_to_import() -> None:
    code = """
import sys, slt_jax
slt_jax.named_problems(), slt_jax.simulate, slt_jax.exact, slt_jax.sample
slow = {"scipy.stats", "scipy.signal", "matplotlib", "tyro", "flax", "blackjax", "xarray"}
slow |= {"pandas", "h5netcdf", "scipy.interpolate", "scipy.optimize"}
print(sorted(slow & sys.modules.keys()))
"""
    assert output_of(code) == "[]\n"


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_what_its_room_defines(name: str) -> None:
    value = getattr(slt_jax, name)
    assert value.__name__ == name
    assert value.__module__.startswith(f"slt_jax.{NAMES[name]}")
    assert value is getattr(slt_jax, name)
    assert name in dir(slt_jax)


# Samplers take densities, and an example of one is no matter of three lines.
@pytest.mark.parametrize("name", [name for name in NAMES if "samplers" not in NAMES[name]])
def test_a_name_has_an_example(name: str) -> None:
    assert ">>> " in (inspect.getdoc(getattr(slt_jax, name)) or "")


def test_no_module_hides_a_name() -> None:
    """An imported submodule becomes an attribute of the package and would win."""
    for module in pkgutil.walk_packages(slt_jax.__path__, "slt_jax."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    modules = {module.name for module in pkgutil.iter_modules(slt_jax.__path__)}
    assert not NAMES.keys() & modules
    for name in NAMES:
        assert not inspect.ismodule(getattr(slt_jax, name))
        assert getattr(slt_jax, name).__name__ == name


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(inspect.getsource(slt_jax))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    seen = {
        alias.asname: statement.module
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert seen == {name: f"slt_jax.{module}" for name, module in NAMES.items()}


def test_another_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="module 'slt_jax' has no attribute 'discover'"):
        _ = slt_jax.discover
    with pytest.raises(ImportError, match="cannot import name 'discover'"):
        from slt_jax import discover  # noqa: F401
