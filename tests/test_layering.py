# SPDX-License-Identifier: Apache-2.0
"""The house rules that a program can see: imports, heavy libraries, prints, asserts, kernels."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "mtquant"
FILES = sorted(PACKAGE.rglob("*.py"))
NAMES = [file.relative_to(PACKAGE).as_posix() for file in FILES]

# The floor table: what each package may import besides itself. Siblings never import each other.
UP_TO_2 = {"core", "data", "risk", "learning", "features", "market", "rewards"}
UP_TO_3 = UP_TO_2 | {"envs", "evaluation"}
BELOW_WORKFLOWS = UP_TO_3 | {"backtest", "paper", "llm", "agents"}
MAY_IMPORT = {
    "core": set(),
    "data": {"core"},
    "risk": {"core"},
    "learning": {"core"},
    "features": {"core", "data"},
    "market": {"core", "data", "risk"},
    "rewards": {"core", "risk"},
    "envs": UP_TO_2,
    "evaluation": {"core", "data", "risk", "market"},
    "backtest": UP_TO_3 - {"envs"},
    "paper": UP_TO_3 - {"envs"},
    "llm": UP_TO_3 - {"envs"},
    "agents": UP_TO_3,
    "workflows": BELOW_WORKFLOWS,
    "dashboard": BELOW_WORKFLOWS | {"workflows"},
    "cli": BELOW_WORKFLOWS | {"workflows", "dashboard"},  # it starts the page
}

TORCH_ALLOWED = ("learning/", "envs/sb3.py", "agents/", "llm/")
BRING_TORCH = {
    "torch",
    "stable_baselines3",
    "sb3_contrib",
    "torchjd",
    "transformers",
    "trl",
    "peft",
    "accelerate",
}
HEAVY = BRING_TORCH | {
    "arch",
    "matplotlib",
    "numba",
    "optuna",
    "pandas",
    "plotly",
    "pyarrow",
    "ray",
    "scipy",
    "sklearn",
    "streamlit",
    "ta",
    "tensorboard",
    "vectorbt",
    "yfinance",
}
# Where numba lives; who wants no kernels imports none of them.
HEAVY_AT_HOME = {
    ("core/compiled.py", "numba"),
    ("core/handover.py", "numba"),
    ("core/lanes.py", "numba"),
    ("core/logarithm.py", "numba"),
    ("core/moves.py", "numba"),
    ("core/prefetch.py", "numba"),
}


def imported(tree: ast.AST, package: str) -> Iterator[str]:
    """Absolute dotted names of every import below a node, those inside functions too.

    Args:
        tree: The node.
        package: Dotted package that the file lies in, for relative imports.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parts, base]).rstrip(".")
            yield from (f"{base}.{alias.name}" for alias in node.names)


def at_module_level(tree: ast.AST) -> Iterator[ast.stmt]:
    """The import statements that run when the module is imported."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        type_checking = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        if not type_checking and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from at_module_level(node)


def package_of(name: str) -> str:
    return ".".join(["mtquant", *Path(name).parent.parts])


def wrong_direction(name: str, source: str) -> list[str]:
    """Imports of a file (path below mtquant/) that the floor table forbids."""
    floor = name.split("/")[0] if "/" in name else ""
    if name == "__main__.py":  # `python -m mtquant` is the command line
        floor = "cli"
    allowed = MAY_IMPORT.get(floor, set()) | {floor}
    wrong = []
    for module in imported(ast.parse(source), package_of(name)):
        top, _, rest = module.partition(".")
        if top == "mtquant" and rest != "__version__" and rest.split(".")[0] not in allowed:
            wrong.append(module)
    return wrong


def wrong_torch(name: str, source: str) -> list[str]:
    """Imports of torch, or of what brings it, outside its places."""
    modules = imported(ast.parse(source), package_of(name))
    found = [module for module in modules if module.split(".")[0] in BRING_TORCH]
    return [] if name.startswith(TORCH_ALLOWED) else found


def wrong_weight(name: str, source: str) -> list[str]:
    """Heavy libraries loaded by merely importing core, cli or a package."""
    if not (name.startswith(("core/", "cli/")) or name.endswith("__init__.py")):
        return []
    tops = {
        module.split(".")[0]
        for statement in at_module_level(ast.parse(source))
        for module in imported(statement, package_of(name))
    }
    return sorted(top for top in tops & HEAVY if (name, top) not in HEAVY_AT_HOME)


def wrong_statements(name: str, source: str) -> list[str]:
    """Prints outside cli, asserts, and kernels that bypass `core.compiled.kernel`."""
    wrong = []
    for node in ast.walk(ast.parse(source)):
        called = (
            node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
        )
        if called == "print" and not name.startswith("cli/"):
            wrong.append(f"print at line {node.lineno}")
        if isinstance(node, ast.Assert):
            wrong.append(f"assert at line {node.lineno}")
    names = set(imported(ast.parse(source), package_of(name)))
    used = {node.attr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)}
    if name != "core/compiled.py" and (used | {n.rpartition(".")[2] for n in names}) & {
        "njit",
        "jit",
    }:
        wrong.append("compiles without core.compiled.kernel")
    return wrong


CHECKS = (wrong_direction, wrong_torch, wrong_weight, wrong_statements)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_every_file_keeps_the_rule(check):
    broken = {name: check(name, (PACKAGE / name).read_text(encoding="utf-8")) for name in NAMES}
    assert {name: found for name, found in broken.items() if found} == {}


def test_every_package_has_a_floor():
    packages = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert packages <= set(MAY_IMPORT)


def test_every_file_names_its_licence():
    texts = {name: (PACKAGE / name).read_text(encoding="utf-8") for name in NAMES}
    line = "# SPDX-License-Identifier: Apache-2.0\n"
    assert [name for name, text in texts.items() if text and not text.startswith(line)] == []


@pytest.mark.parametrize(
    ("check", "name", "source"),
    [
        (wrong_direction, "core/a.py", "from mtquant.data import bars"),
        (wrong_direction, "risk/a.py", "def f():\n    import mtquant.data.bars"),
        (wrong_direction, "risk/a.py", "from ..data import bars"),
        (wrong_direction, "backtest/a.py", "from mtquant.envs.sb3 import x"),
        (wrong_direction, "features/a.py", "from mtquant import market"),
        (wrong_direction, "__init__.py", "from mtquant.core import config"),
        (wrong_direction, "dashboard/a.py", "from mtquant.cli import main"),
        (wrong_torch, "market/a.py", "def f():\n    import torch.nn"),
        (wrong_torch, "envs/gym.py", "from stable_baselines3 import PPO"),
        (wrong_weight, "core/a.py", "import pandas as pd"),
        (
            wrong_weight,
            "agents/__init__.py",
            "try:\n    import torch\nexcept ImportError:\n    pass",
        ),
        (wrong_statements, "market/a.py", "print(1)"),
        (wrong_statements, "market/a.py", "assert True"),
        (wrong_statements, "market/a.py", "import numba\n@numba.njit\ndef f(): ..."),
        (wrong_statements, "market/a.py", "from numba import njit"),
    ],
)
def test_each_rule_catches_its_offender(check, name, source):
    assert check(name, source)


@pytest.mark.parametrize(
    ("check", "name", "source"),
    [
        (wrong_direction, "market/a.py", "from . import ledger\nfrom ..risk import limits"),
        (wrong_direction, "market/desk/a.py", "from ..account import x"),
        (wrong_direction, "cli/main.py", "from mtquant import __version__"),
        (wrong_torch, "agents/a.py", "import torch"),
        (wrong_weight, "core/a.py", "def f():\n    import pandas"),
        (wrong_weight, "core/a.py", "if TYPE_CHECKING:\n    import pandas"),
        (wrong_statements, "cli/a.py", "print(1)"),
    ],
)
def test_what_is_allowed_passes(check, name, source):
    assert not check(name, source)


@pytest.mark.parametrize(
    "module",
    [
        "mtquant",
        "mtquant.core.config",
        "mtquant.core.runs",
        "mtquant.core.telemetry",
        "mtquant.data.instruments",
        "mtquant.cli.main",
    ],
)
def test_importing_it_loads_nothing_heavy(module):
    code = f"import sys, {module}; print(*sorted(m for m in sys.modules if '.' not in m))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) & HEAVY == set()
