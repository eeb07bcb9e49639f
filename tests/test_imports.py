"""Who may import whom, what an import may do, and what no file may hold.

The layers are contracts of import-linter in ``pyproject.toml``; the other rules are read from the
syntax trees. Lest a rule hold for want of anything to check, each is also shown to fail.
"""

import ast
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("slt_jax", "experiments", "tests", "benchmarks")
PACKAGES = ("slt_jax", "experiments")
# Discovery by folder and name, the lazy front door, the generic command line, and blackjax.
DYNAMIC = (
    "slt_jax/models/__init__.py", "slt_jax/__init__.py", "slt_jax/report/main.py",
    "slt_jax/samplers/kernels.py",
)  # fmt: skip


# --- layers ---------------------------------------------------------------------------------


def linted(root: Path) -> subprocess.CompletedProcess[str]:
    """Run all contracts on the packages that lie in ``root``."""
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--config"]
    return subprocess.run(
        [*command, ROOT / "pyproject.toml"],
        cwd=root, env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_layers_hold() -> None:
    done = linted(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


# What breaks a contract, and how the report names the import.
BREAKERS = [
    ("slt_jax/run/sweep.py", "import experiments.free_energy", "Layers",
     "slt_jax.run.sweep -> experiments.free_energy"),
    ("slt_jax/model.py", "from slt_jax.models import linear", "Layers",
     "slt_jax.model -> slt_jax.models.linear"),
    ("slt_jax/run/store.py", "from slt_jax import model", "Layers",
     "slt_jax.run.store -> slt_jax.model"),
    ("slt_jax/theory/monomial.py", "def f():\n    from slt_jax import problem", "Layers",
     "slt_jax.theory.monomial -> slt_jax.problem"),
    ("slt_jax/models/linear.py", "from slt_jax.curves import jobs", "Layers",
     "slt_jax.models.linear -> slt_jax.curves.jobs"),
    ("slt_jax/models/linear.py", "from slt_jax.models.monomial import Monomial", "families",
     "slt_jax.models.linear -> slt_jax.models.monomial"),
    ("slt_jax/samplers/hmc.py", "from slt_jax.statistics import Data", "never a model",
     "slt_jax.samplers.hmc -> slt_jax.statistics"),
    ("experiments/free_energy/study.py", "from experiments import unrealisable", "experiment",
     "experiments.free_energy.study -> experiments.unrealisable"),
    ("experiments/free_energy/study.py", "import matplotlib.pyplot", "draws",
     "experiments.free_energy.study -> matplotlib"),
]  # fmt: skip


@pytest.fixture(scope="module")
def report_on_breakers(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report on a tree with all of them, section by section of a broken contract."""
    root = tmp_path_factory.mktemp("broken")
    for package in PACKAGES:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, root / package, ignore=ignore)
    for file, line, *_ in BREAKERS:
        with (root / file).open("a", encoding="utf-8") as module:
            module.write(f"\n{line}\n")
    done = linted(root)
    assert done.returncode != 0
    return done.stdout


@pytest.mark.parametrize(("file", "line", "contract", "named"), BREAKERS)
def test_a_contract_can_fail(
    file: str, line: str, contract: str, named: str, report_on_breakers: str
) -> None:
    summary, *sections = report_on_breakers.split("\nBroken contracts\n")
    assert any(contract in row and "BROKEN" in row for row in summary.splitlines()), summary
    assert named in "".join(sections), (file, line)


# --- rules on syntax trees: each returns what breaks it, and the empty list is good ----------


@functools.cache
def trees(root: Path) -> dict[str, ast.Module]:
    """The syntax tree of every file of the rooms under ``root``, by its path from there."""
    files = sorted(file for room in ROOMS for file in (root / room).rglob("*.py"))
    return {
        file.relative_to(root).as_posix(): ast.parse(file.read_text(encoding="utf-8"))
        for file in files
    }


def dotted(node: ast.expr) -> str:
    """``a.b.c`` for a chain of attributes that starts at a name, else nothing."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (head := dotted(node.value)):
        return f"{head}.{node.attr}"
    return ""


def dynamic_imports(root: Path) -> list[str]:
    """Modules are imported by name only where they are found by their being there."""
    return [
        f"{path}:{node.lineno}"
        for path, tree in trees(root).items()
        if path.startswith("slt_jax/") and path not in DYNAMIC
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and dotted(node.func).split(".")[-1] in ("import_module", "__import__", "run_module")
        and not names_a_third_party(node)
    ]


def names_a_third_party(call: ast.Call) -> bool:
    """True if a call names, as a literal, a module that is none of ours."""
    name = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else ""
    return isinstance(name, str) and bool(name) and name.split(".")[0] not in ("", *ROOMS)


def no_utils(root: Path) -> list[str]:
    """No file or folder of the rooms is called utils."""
    return [path for path in trees(root) if "utils" in Path(path).with_suffix("").parts]


def no_global_x64(root: Path) -> list[str]:
    """Nothing in slt_jax switches on 64-bit types for the whole process."""
    return [
        f"{path}:{node.lineno}"
        for path, tree in trees(root).items()
        if path.startswith("slt_jax/")
        for node in ast.walk(tree)
        if switches_x64(node)
    ]


SWITCHES = ("jax_enable_x64", "JAX_ENABLE_X64")


def switches_x64(node: ast.AST) -> bool:
    """True if a node sets the switch, as an attribute, an entry or an argument."""
    if isinstance(node, ast.Call):
        called = dotted(node.func)
        arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
        named = any(isinstance(a, ast.Constant) and a.value in SWITCHES for a in arguments)
        setter = called.split(".")[-1] in ("update", "setattr", "setdefault", "putenv")
        return (named and setter) or called.endswith("numpyro.enable_x64")
    if isinstance(node, ast.Attribute):
        return isinstance(node.ctx, ast.Store) and node.attr in SWITCHES
    if isinstance(node, ast.Subscript):
        key = node.slice
        stored = isinstance(node.ctx, ast.Store)
        return stored and isinstance(key, ast.Constant) and key.value in SWITCHES
    return False


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
    paths = [Path(path) for path in trees(root) if path.startswith("slt_jax/")]
    names = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in paths]
    probe = [sys.executable, "-c", IMPORT_EACH, *names]
    done = subprocess.run(probe, cwd=root, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        return [done.stderr]
    failures: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return [f"{name}: {error}" for name, error in failures.items()]


# --- this tree keeps the rules, and other trees do not --------------------------------------

CLEAN = {
    "slt_jax/__init__.py": "import importlib\n\ndef f(name):\n    importlib.import_module(name)",
    "slt_jax/run/precision.py": "with_x64 = 'jax_enable_x64'",
    "experiments/__main__.py": "import runpy\n\ndef f(name):\n    runpy.run_module(name)",
    "README.md": "pip install -c constraints.txt -e .",
}
BROKEN: dict[Callable[[Path], list[str]], list[tuple[str, str]]] = {
    dynamic_imports: [
        ("slt_jax/model.py", "import importlib\nimportlib.import_module('experiments.one')"),
        ("slt_jax/run/sweep.py", "from importlib import import_module\nimport_module('tests')"),
    ],
    no_utils: [
        ("slt_jax/utils.py", ""),
        ("slt_jax/samplers/utils.py", ""),
        ("tests/utils/keys.py", ""),
    ],
    no_global_x64: [
        ("slt_jax/run/precision.py", "import jax\njax.config.update('jax_enable_x64', True)"),
        ("slt_jax/run/precision.py", "import jax\njax.config.jax_enable_x64 = True"),
        ("slt_jax/run/precision.py", "import os\nos.environ['JAX_ENABLE_X64'] = '1'"),
        ("slt_jax/run/precision.py", "import numpyro\nnumpyro.enable_x64()"),
    ],
    no_package_index: [
        ("constraints.txt", "jax @ https://py" + "pi.org/jax.whl"),
        ("Makefile", "pip install --extra-index" + "-url https://example.org"),
        ("notes/install.md", "pip install -i https://example.org/" + "simple jax"),
    ],
    no_work_at_import: [
        ("slt_jax/plot.py", "import jax.numpy as jnp\nONE = jnp.ones(1)"),
        ("slt_jax/plot.py", "import blackjax"),
        ("slt_jax/plot.py", "import jax\njax.config.update('jax_enable_x64', True)"),
    ],
}
CASES = [(rule, *case) for rule, cases in BROKEN.items() for case in cases]


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize("rule", BROKEN, ids=lambda rule: rule.__name__)
def test_rule_holds(rule: Callable[[Path], list[str]]) -> None:
    assert "slt_jax/model.py" in trees(ROOT)
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
    name = ".".join(Path(file).with_suffix("").parts)
    assert any(file in each or name in each for each in rule(tmp_path)), rule.__doc__


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
