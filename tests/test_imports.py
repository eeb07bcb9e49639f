"""Who may import whom, what an import may do, and what no file may hold.

The rules are read from the syntax trees, so a room that does not exist yet breaks none of them.
Lest they hold for want of anything to check, every rule is also shown to fail, on a small tree
written to break it.
"""

import ast
import functools
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("slt_jax", "experiments", "tests", "benchmarks")
DISCOVERY = {"slt_jax.model": {"slt_jax.models"}}  # who may find files by folder, and where

# --- reading a tree -------------------------------------------------------------------------


class Module(NamedTuple):
    """One file: its dotted name, its path from the root, its syntax tree and its imports."""

    name: str
    path: str
    tree: ast.Module
    imports: frozenset[str]


Tree = dict[str, Module]


def within(name: str, *rooms: str) -> bool:
    """Whether a dotted name is one of the rooms or lies in one."""
    return any(name == room or name.startswith(room + ".") for room in rooms)


def dotted(node: ast.expr) -> str | None:
    """``a.b.c`` for a chain of attributes that starts at a name, else None."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        head = dotted(node.value)
        return head and f"{head}.{node.attr}"
    return None


def imported(tree: ast.Module, package: str) -> Iterator[str]:
    """Dotted names that a module asks for, wherever in the file it does so.

    ``from a import b`` yields ``a.b`` whether b is a module or not. Chains such as ``a.b.c`` after
    ``import a`` count, and so does ``importlib.import_module`` of a literal.
    """

    def absolute(name: str, level: int) -> str:
        parts = package.split(".")
        return ".".join([*parts[: len(parts) - level + 1], *filter(None, [name])])

    bound: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
                top = alias.name.split(".")[0]
                bound[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom):
            base = absolute(node.module or "", node.level) if node.level else node.module or ""
            yield from (
                base if alias.name == "*" else f"{base}.{alias.name}" for alias in node.names
            )
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called, target = dotted(node.func) or "", node.args[0].value
            if called.split(".")[-1] in ("import_module", "__import__") and isinstance(target, str):
                name = target.lstrip(".")
                level = len(target) - len(name)
                yield absolute(name, level) if level else name
    for node in ast.walk(tree):
        chain = dotted(node) if isinstance(node, ast.Attribute) else None
        if chain and (head := chain.split(".")[0]) in bound:
            yield bound[head] + chain[len(head) :]


@functools.cache
def parsed(text: str, package: str) -> tuple[ast.Module, frozenset[str]]:
    """The syntax tree of a file of ``package``, and what it imports; every rule asks for them."""
    tree = ast.parse(text)
    return tree, frozenset(imported(tree, package))


def read_tree(root: Path) -> Tree:
    """Every Python file of the rooms under ``root``, by dotted name."""
    modules: Tree = {}
    for file in sorted(file for room in ROOMS for file in (root / room).rglob("*.py")):
        parts = file.relative_to(root).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        package = name if is_package else ".".join(parts[:-1])
        tree, imports = parsed(file.read_text(encoding="utf-8"), package)
        imports -= DISCOVERY.get(name, set())
        modules[name] = Module(name, file.relative_to(root).as_posix(), tree, imports)
    return modules


def project_files(root: Path) -> list[Path]:
    """The files git tracks or would add; outside a checkout, all but hidden and made ones."""
    listing = ["git", "-C", str(root), "ls-files", "-z", "-co", "--exclude-standard"]
    try:
        names = subprocess.run(listing, capture_output=True, check=True, text=True).stdout
        files = [root / name for name in names.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        made = {".git", ".venv", "results", "build", "dist", "__pycache__"}
        files = [p for p in root.rglob("*") if not made & set(p.relative_to(root).parts)]
    return [file for file in files if file.is_file()]


# --- the rules: each returns what breaks it, and the empty list is good ---------------------

MODEL_FREE = ("slt_jax.samplers", "slt_jax.estimators", "slt_jax.estimators.diagnostics")


def allow(tree: Tree, rooms: tuple[str, ...], *allowed: str) -> list[str]:
    """Imports of ours by modules of ``rooms`` that lie outside ``allowed``."""
    return [
        f"{module.path} imports {name}"
        for module in tree.values()
        if within(module.name, *rooms)
        for name in sorted(module.imports)
        if within(name, *ROOMS) and not within(name, *allowed)
    ]


def forbid(tree: Tree, rooms: tuple[str, ...], *forbidden: str) -> list[str]:
    """Imports by modules of ``rooms`` that lie inside ``forbidden``."""
    return [
        f"{module.path} imports {name}"
        for module in tree.values()
        if within(module.name, *rooms)
        for name in sorted(module.imports)
        if within(name, *forbidden)
    ]


def forbid_reach(tree: Tree, rooms: tuple[str, ...], *forbidden: str) -> list[str]:
    """Like ``forbid``, but through any number of our own modules; one finding per module."""
    broken = []
    for start in (module for module in tree.values() if within(module.name, *rooms)):
        queue, seen = [(start.name, start.path)], {start.name}
        while queue:
            here, path = queue.pop(0)
            for name in sorted(tree[here].imports):
                if within(name, *forbidden):
                    broken.append(f"{path} imports {name}")
                    queue.clear()
                    break
                prefixes = [name[: m.start()] for m in re.finditer(r"\.|$", name)]
                for known in (p for p in prefixes if p in tree and p not in seen):
                    seen.add(known)
                    queue.append((known, f"{path} -> {tree[known].path}"))
    return broken


def package_stands_alone(root: Path) -> list[str]:
    """Nothing in slt_jax imports experiments, tests or benchmarks."""
    return forbid(read_tree(root), ("slt_jax",), "experiments", "tests", "benchmarks")


def model_is_the_root(root: Path) -> list[str]:
    """The abstract model knows theorems, exact structures and bounds, and nothing else of ours."""
    allowed = ("slt_jax.theory", "slt_jax.oracles.structures", "slt_jax.validation")
    return allow(read_tree(root), ("slt_jax.model",), *allowed)


def structures_are_closed(root: Path) -> list[str]:
    """The exact structures and bounds that models declare import nothing of ours."""
    return allow(read_tree(root), ("slt_jax.oracles.structures", "slt_jax.validation"))


def models_know_model_and_theory(root: Path) -> list[str]:
    """A model family imports the abstract model, adapters and theorems, and no other family."""
    known = ("slt_jax.model", "slt_jax.oracles.structures", "slt_jax.validation")
    allowed = (*known, "slt_jax.theory", "slt_jax.adapters")
    return allow(read_tree(root), ("slt_jax.models",), *allowed)


def theory_is_closed(root: Path) -> list[str]:
    """Theorems import nothing of ours but theorems."""
    return allow(read_tree(root), ("slt_jax.theory",), "slt_jax.theory")


def arrays_know_no_models(root: Path) -> list[str]:
    """Samplers, estimators and diagnostics see functions and arrays, never a model or an oracle."""
    return forbid_reach(read_tree(root), MODEL_FREE, "slt_jax.models", "slt_jax.oracles")


def experiments_are_separate(root: Path) -> list[str]:
    """An experiment imports slt_jax and no other experiment; only ``__main__`` sees them all."""
    tree = read_tree(root)
    tree.pop("experiments.__main__", None)
    return forbid(tree, ("experiments",), "experiments", "tests", "benchmarks")


def plotting_alone_draws(root: Path) -> list[str]:
    """Only slt_jax/plotting.py imports matplotlib."""
    tree = {
        n: m
        for n, m in read_tree(root).items()
        if not within(n, "slt_jax.report.plotting", "tests")
    }
    return forbid(tree, ROOMS, "matplotlib", "mpl_toolkits", "pylab")


def no_utils(root: Path) -> list[str]:
    """No file or folder of the rooms is called utils."""
    return [module.path for module in read_tree(root).values() if "utils" in module.name.split(".")]


def no_global_x64(root: Path) -> list[str]:
    """Nothing in slt_jax switches on 64-bit types for the whole process."""
    broken = []
    switch = ("jax_enable_x64", "JAX_ENABLE_X64")
    for module in read_tree(root).values():
        if not within(module.name, "slt_jax"):
            continue
        if any(within(name, "numpyro") and name.endswith("enable_x64") for name in module.imports):
            broken.append(f"{module.path}: numpyro's global switch")
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call):
                called = (dotted(node.func) or "").split(".")[-1]
                arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
                named = any(isinstance(a, ast.Constant) and a.value in switch for a in arguments)
                hit = named and called in ("update", "setattr", "setdefault", "putenv")
            elif isinstance(node, ast.Attribute):
                hit = isinstance(node.ctx, ast.Store) and node.attr in switch
            elif isinstance(node, ast.Subscript):
                key = node.slice
                hit = isinstance(node.ctx, ast.Store) and isinstance(key, ast.Constant)
                hit = hit and key.value == "JAX_ENABLE_X64"
            else:
                hit = False
            if hit:
                broken.append(f"{module.path}:{node.lineno}")
    return broken


ADDRESS = re.compile(
    r"py[p]i\.(?:org|python)|python[h]osted\.org|https?://\S+/simple\b"
    r"|(?:extra[-_])?index[-_]url|find[-_]links|file:/{3}|googleapis\.com/[j]ax"
    r"|download\.py[t]orch\.org|ana[c]onda\.org",
    re.IGNORECASE,
)


def no_package_index(root: Path) -> list[str]:
    """No file says where packages are fetched from: that is each machine's own affair."""
    return [
        f"{file.relative_to(root).as_posix()}: {match.group()}"
        for file in project_files(root)
        if (match := ADDRESS.search(file.read_text(encoding="utf-8", errors="ignore")))
    ]


IMPORT_EACH = """
import importlib, json, sys
import jax
failures = {}
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except BaseException as error:
        failures[name] = f"{type(error).__name__}: {error}"
    if jax.config.jax_enable_x64:
        failures[name] = "switches on 64-bit types"
        jax.config.update("jax_enable_x64", False)
try:
    jax.devices()
    failures["trap"] = "JAX found a device, so that the check proves nothing"
except RuntimeError:
    pass
print(json.dumps(failures))
"""


def no_work_at_import(root: Path) -> list[str]:
    """Importing every module of slt_jax touches no device and leaves 64-bit types switched off.

    JAX starts its backends on first use and raises if it knows none of those it is told to use;
    told to use one that does not exist, it lets nothing but idle imports through. blackjax makes
    an array when it is imported, so import it inside the functions that need it (CONTRIBUTING.md).
    """
    env = {name: value for name, value in os.environ.items() if name != "JAX_ENABLE_X64"}
    env |= {"JAX_PLATFORMS": "no_such_platform", "PYTHONPATH": str(root)}
    tree = read_tree(root)
    names = [n for n in tree if within(n, "slt_jax") and not n.endswith("__main__")]
    probe = [sys.executable, "-c", IMPORT_EACH, *names]
    done = subprocess.run(probe, cwd=root, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        return [done.stderr]
    failures: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return [f"{tree[n].path if n in tree else n}: {error}" for n, error in failures.items()]


# --- this tree keeps the rules, and other trees do not --------------------------------------

CLEAN = {
    "slt_jax/__init__.py": "",
    "slt_jax/model.py": (
        "import importlib\nfrom slt_jax.theory import Theory\n\nclass Model: ...\n\n"
        "def discover():\n    return importlib.import_module('slt_jax.models')"
    ),
    "slt_jax/models/__init__.py": "",
    "slt_jax/models/coin.py": "from slt_jax import theory\nfrom slt_jax.model import Model",
    "slt_jax/theory/__init__.py": "from slt_jax.theory.real import Theory",
    "slt_jax/theory/real.py": "import numpy as np\n\nclass Theory: ...",
    "slt_jax/model_free.py": "from slt_jax.models import coin",
    "slt_jax/oracles/quadrature.py": "import slt_jax.models.coin",
    "slt_jax/samplers/smc.py": "import jax\nfrom slt_jax import diagnostics",
    "slt_jax/diagnostics.py": "with_x64 = 'jax_enable_x64'",
    "slt_jax/plotting.py": "import matplotlib.pyplot as plt",
    "experiments/__main__.py": "from experiments import one",
    "experiments/one.py": "from slt_jax import plotting, sweep",
    "README.md": "pip install -c constraints.txt -e .",
}
BROKEN: dict[Callable[[Path], list[str]], list[tuple[str, str]]] = {
    package_stands_alone: [
        ("slt_jax/sweep.py", "import experiments.one"),
        ("slt_jax/sweep.py", "def f():\n    from tests import conftest"),
        ("slt_jax/sweep.py", "import importlib\nimportlib.import_module('experiments.one')"),
    ],
    model_is_the_root: [
        ("slt_jax/model.py", "from slt_jax.models.coin import Coin"),
        ("slt_jax/model.py", "from . import oracles"),
    ],
    structures_are_closed: [
        ("slt_jax/structures.py", "from slt_jax.model import Model"),
        ("slt_jax/structures.py", "from slt_jax import oracles"),
        ("slt_jax/validation.py", "from slt_jax.model import Model"),
    ],
    models_know_model_and_theory: [
        ("slt_jax/models/dice.py", "from slt_jax.models.coin import Coin"),
        ("slt_jax/models/dice.py", "from ..oracles import quadrature"),
        ("slt_jax/models/dice.py", "from slt_jax import samplers"),
        ("slt_jax/models/__init__.py", "from . import coin"),
    ],
    theory_is_closed: [
        ("slt_jax/theory/monomial.py", "from slt_jax.model import Model"),
        ("slt_jax/theory/monomial.py", "from .. import model"),
    ],
    arrays_know_no_models: [
        ("slt_jax/samplers/hmc.py", "from slt_jax.models import coin"),
        ("slt_jax/estimators/losses.py", "import slt_jax.oracles.quadrature"),
        ("slt_jax/estimators/losses.py", "import slt_jax\nx = slt_jax.models.coin.Coin"),
        ("slt_jax/diagnostics.py", "from slt_jax.models.coin import Coin"),
        ("slt_jax/samplers/hmc.py", "from slt_jax import model_free"),
    ],
    experiments_are_separate: [
        ("experiments/two.py", "from experiments.one import run"),
        ("experiments/two.py", "from . import one"),
        ("experiments/two.py", "from tests.conftest import key"),
    ],
    plotting_alone_draws: [
        ("experiments/two.py", "def plot():\n    import matplotlib.pyplot as plt"),
        ("slt_jax/store.py", "from matplotlib import figure"),
    ],
    no_utils: [
        ("slt_jax/utils.py", ""),
        ("slt_jax/samplers/utils.py", ""),
        ("tests/utils/keys.py", ""),
    ],
    no_global_x64: [
        ("slt_jax/precision.py", "import jax\njax.config.update('jax_enable_x64', True)"),
        ("slt_jax/precision.py", "import jax\njax.config.jax_enable_x64 = True"),
        ("slt_jax/precision.py", "import os\nos.environ['JAX_ENABLE_X64'] = '1'"),
        ("slt_jax/precision.py", "import numpyro\nnumpyro.enable_x64()"),
    ],
    no_package_index: [
        ("constraints.txt", "jax @ https://py" + "pi.org/jax.whl"),
        ("Makefile", "pip install --extra-index" + "-url https://example.org"),
        ("notes/install.md", "pip install -i https://example.org/" + "simple jax"),
    ],
    no_work_at_import: [
        ("slt_jax/plotting.py", "import jax.numpy as jnp\nONE = jnp.ones(1)"),
        ("slt_jax/plotting.py", "import blackjax"),
        ("slt_jax/plotting.py", "import jax\njax.config.update('jax_enable_x64', True)"),
    ],
}
CASES = [(rule, *case) for rule, cases in BROKEN.items() for case in cases]


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize("rule", BROKEN, ids=lambda rule: rule.__name__)
def test_rule_holds(rule: Callable[[Path], list[str]]) -> None:
    assert "slt_jax" in read_tree(ROOT)
    assert rule(ROOT) == [], rule.__doc__


@pytest.mark.parametrize("rule", BROKEN, ids=lambda rule: rule.__name__)
def test_rule_lets_a_clean_tree_pass(rule: Callable[[Path], list[str]], tmp_path: Path) -> None:
    write(tmp_path, CLEAN)
    assert rule(tmp_path) == []


@pytest.mark.parametrize(
    ("rule", "file", "text"), CASES, ids=[f"{case[0].__name__}-{i}" for i, case in enumerate(CASES)]
)
def test_rule_can_fail(
    rule: Callable[[Path], list[str]], file: str, text: str, tmp_path: Path
) -> None:
    write(tmp_path, CLEAN | {file: text})
    assert any(file in finding for finding in rule(tmp_path)), rule.__doc__


def test_dependencies_are_pinned_and_explained() -> None:
    """constraints.txt is names and versions alone; CONTRIBUTING.md gives each its reason."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins == sorted(pins)
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.+]*", pin) for pin in pins)
    versions = dict(pin.split("==") for pin in pins)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for name in (re.split(r"[^A-Za-z0-9-]", requirement)[0] for requirement in wanted):
        row = rf"^\| {name} \| {re.escape(versions[name])} \| \S.* \|$"
        assert re.search(row, contributing, re.MULTILINE), f"{name} {versions[name]}"
