"""The examples in docstrings run as they stand."""

import doctest
import importlib
import inspect
from pathlib import Path
from typing import Any

import jax
import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = [path for path in sorted((ROOT / "slt_jax").rglob("*.py")) if ">>> " in path.read_text()]


class Finder(doctest.DocTestFinder):
    """Finds functions behind decorators, too, which seem to come from another module."""

    def _from_module(self, module: Any, object: Any) -> bool:
        return super()._from_module(module, inspect.unwrap(object))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_examples(path: Path) -> None:
    """Every prompt of the file is found, and prints what stands below it."""
    module = importlib.import_module(module_name(path))
    tests = Finder().find(module)
    prompts = sum(line.lstrip().startswith(">>> ") for line in path.read_text().splitlines())
    assert sum(len(test.examples) for test in tests) == prompts
    report: list[str] = []
    for test in tests:
        doctest.DocTestRunner().run(test, out=report.append)
    assert not report, "".join(report)
    assert not jax.config.jax_enable_x64


def test_a_wrong_example_is_noticed() -> None:
    """The control: a sum that is not what the example says."""
    report: list[str] = []
    test = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, None)
    doctest.DocTestRunner().run(test, out=report.append)
    assert "Expected" in "".join(report)
