"""Builds in an EngineBench: a context from a dict, the messages as one text, the image's files."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Mapping
from typing import Any

from engine_bench import EngineBench

from knarr.build.options import BuildOptions
from knarr.engine.config import HostConfig
from knarr.images.config import ImageConfig
from knarr.kernel import paths
from knarr.storage.archive_writer import tree_names

Files = Mapping[str, str | bytes | tarfile.TarInfo]


def context(files: Files) -> bytes:
    """An archive of these files; a TarInfo is a member without content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            data = content if isinstance(content, bytes) else content.encode()
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = len(data), 0o644, 1_600_000_000
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


class Built:
    """What a build has said, and the image."""

    def __init__(self, bench: EngineBench, image_id: str, messages: list[dict[str, Any]]) -> None:
        self.id = image_id
        self.messages = messages
        self.text = "".join(message.get("stream", "") for message in messages)
        self._bench = bench

    @property
    def config(self) -> ImageConfig:
        return self._bench.images.get(self.id).config

    def names(self) -> list[str]:
        """All files of the topmost layer's view that do not come from the base image."""
        with self._view() as root, self._bench.layers.view(self._bench.images.resolve("busybox").chain_id) as base:
            known = set(tree_names(base))
            return sorted(os.fsdecode(name) for name in tree_names(root) if name not in known)

    def read(self, path: str) -> str:
        with self._view() as root:
            return paths.read_regular(root, path).decode()

    def stat(self, path: str) -> os.stat_result:
        with self._view() as root:
            return os.stat(path.lstrip("/"), dir_fd=root, follow_symlinks=False)

    def owner(self, path: str) -> str:
        info = self.stat(path)
        return f"{info.st_uid}:{info.st_gid} {info.st_mode & 0o7777:o}"

    def _view(self) -> Any:
        return self._bench.layers.view(self._bench.images.get(self.id).chain_id)


def build(
    bench: EngineBench,
    text: str | bytes,
    files: Files | None = None,
    *,
    host: HostConfig | None = None,
    said: list[dict[str, Any]] | None = None,
    **options: Any,
) -> Built:
    """Build on a bench, without a network unless `host` says otherwise; `said` gets the messages of a failure too."""
    messages: list[dict[str, Any]] = [] if said is None else said
    archive = io.BytesIO(context({"Dockerfile": text, **(files or {})}))
    image_id = bench.run(
        bench.engine.builds.build(
            BuildOptions(**options), host or HostConfig(network_mode="none"), archive, messages.append
        )
    )
    return Built(bench, image_id, messages)
