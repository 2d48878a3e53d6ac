"""The shape of the house: who may import whom, and what the small processes may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import knarr

ROOT = Path(knarr.__file__).parent
# A package and those that it may import from, itself aside. `errors`, `database`, `ignore`, `places`, `template` are
# for all but the kernel, `light` is for the kernel too.
BELOW = {
    "cli": {"client", "doctor"},
    "doctor": {"rootless", "engine", "network", "storage", "kernel"},
    "embedding": {"client"},
    "runtime": {"compute", "kernel", "plain"},
    "client": set[str](),
    "daemon": {"rootless", "api", "build", "engine", "images", "network", "storage", "compute", "kernel"},
    "api": {"build", "buildkit", "engine", "images", "compute"},
    "engine": {"build", "dockerfile", "images", "network", "compute", "storage", "kernel"},
    "buildkit": {"build", "dockerfile", "engine", "images", "storage", "kernel"},
    "build": {"dockerfile", "images", "storage", "kernel"},
    "images": {"dockerfile", "storage", "kernel"},
    "dockerfile": set[str](),
    "storage": {"kernel"},
    "network": {"kernel"},
    "compute": {"kernel"},
    "rootless": {"kernel"},
    "kernel": set[str](),
    "template": set[str](),
}


def imports(path: Path) -> Iterator[str]:
    """The knarr packages that a module imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("knarr."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.ImportFrom) and node.module == "knarr":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("knarr."))


@pytest.mark.parametrize("package", BELOW)
def test_a_package_imports_only_what_is_below_it(package: str) -> None:
    allowed = BELOW[package] | {
        *(package, "errors", "database", "ignore", "light", "places", "template", "__version__"),
    }
    wrong = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in (ROOT / package).rglob("*.py")
        for name in imports(path)
        if name not in allowed
    }
    assert not wrong


def test_every_package_has_its_place() -> None:
    found = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert found == set(BELOW)


def loaded(module: str) -> set[str]:
    """The modules that an isolated interpreter has after an import, as the zygote is started."""
    code = f"import sys; sys.path[:] = {sys.path!r}; import {module}; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_the_zygote_loads_little() -> None:
    modules = loaded("knarr.compute.native.zygote")
    unwanted = {"asyncio", "ssl", "http", "urllib", "sqlite3", "subprocess", "logging", "email", "threading", "h11"}
    assert not modules & unwanted
    assert len(modules) < 185
    assert not {
        name
        for name in modules
        if name.startswith("knarr.") and name.split(".")[1] not in ("compute", "kernel", "errors", "light")
    }


def test_importing_knarr_loads_nothing_else() -> None:
    assert {name for name in loaded("knarr") if name.startswith("knarr.")} == set()


def test_a_cold_runtime_loads_next_to_nothing() -> None:
    """What takes longer to import than a container takes to start, and the engine's half of the runtime, stay out."""
    modules = loaded("knarr.plain, knarr.runtime.main")
    assert not modules & {
        *("argparse", "asyncio", "dataclasses", "enum", "hashlib", "json", "logging", "msgspec", "pathlib", "re"),
        *("shutil", "signal", "socket", "subprocess", "sysconfig", "typing"),
        *("knarr.compute.interface", "knarr.compute.native.messages", "knarr.compute.native.streams"),
    }
    assert len(modules) < 105
