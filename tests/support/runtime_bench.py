"""knarr-runtime as engines call it, with a bundle."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from compute_bench import make_root, runtime_spec

from knarr.compute.spec import RuntimeSpec

PROGRAM = Path(sys.executable).with_name("knarr-runtime")


class Runtime:
    """The command with a root of its own, and a bundle."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.bundle = directory / "bundle"
        self.bundle.mkdir()
        make_root(self.bundle / "rootfs")
        self.id = f"rt-{uuid.uuid4().hex[:12]}"

    def __call__(self, *words: str, prefix: Sequence[str] = (), **options: Any) -> subprocess.CompletedProcess[str]:
        """A command, which another may start: the `prefix`."""
        command = [*prefix, str(PROGRAM), "--root", str(self.directory / "root"), *words]
        settings: dict[str, Any] = {"stdin": subprocess.DEVNULL} | options
        return subprocess.run(command, capture_output=True, text=True, timeout=30, cwd=self.bundle, **settings)

    def ok(self, *words: str, **options: Any) -> str:
        """A command that must succeed; what it prints."""
        done = self(*words, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def configure(self, spec: RuntimeSpec) -> None:
        spec.linux.cgroups_path = f"/knarr-test-{self.id}"
        (self.bundle / "config.json").write_bytes(msgspec.json.encode(spec))

    def create(self, *args: str) -> None:
        """A container that waits, its output going nowhere: pipes of ours would stay open with it."""
        self.configure(runtime_spec(*args))
        self.quietly("create", self.id)

    def quietly(self, *words: str) -> None:
        """A command that must succeed and leaves something running behind."""
        command = [str(PROGRAM), "--root", str(self.directory / "root"), *words]
        null = subprocess.DEVNULL
        subprocess.run(command, cwd=self.bundle, stdin=null, stdout=null, stderr=null, timeout=30, check=True)

    def up(self, *args: str) -> None:
        """A container that runs."""
        self.create(*args)
        self.ok("start", self.id)

    def status(self) -> str:
        status: str = json.loads(self.ok("state", self.id))["status"]
        return status
