"""COPY and ADD: from the instruction to a `Transfer`, with its sources brought here and its trees open."""

from __future__ import annotations

import asyncio
import hashlib
import os
import posixpath
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from knarr.build import fetching
from knarr.build.copying import Identify, Ownership
from knarr.build.interface import Runner
from knarr.build.run_mounts import Tree
from knarr.build.state import State
from knarr.build.threads import in_thread
from knarr.build.transfer import Transfer
from knarr.dockerfile.instructions import Add, Copy
from knarr.dockerfile.instructions import Transfer as Instruction
from knarr.errors import InvalidParameter
from knarr.storage.layers import LayerStore
from knarr.storage.trees import DIRECTORY_FLAGS


class Transferring:
    """Prepares the transfers of one build. Files that are fetched are kept in `scratch`, a directory of the build's."""

    def __init__(
        self,
        layers: LayerStore,
        runner: Runner,
        tree: Tree,
        scratch: Path,
        identify: Identify | None = None,
        *,
        may_be_empty: bool = False,
    ) -> None:
        """`identify` knows files of the tree that COPY takes them from, so that they need not be read.

        `may_be_empty`: see Transfer.
        """
        self._may_be_empty = may_be_empty
        self._identify = identify
        self._layers = layers
        self._runner = runner
        self._tree = tree
        self._scratch = scratch
        self._fetched = 0
        self.pins: dict[str, str] = {}
        """The digests of what was fetched, by its address."""

    async def prepare(
        self, instruction: Copy | Add, before: State, document: Callable[[str], str], stack: AsyncExitStack
    ) -> Transfer:
        """The transfer on top of `before`, good as long as `stack` is open; `document` replaces variables in texts.

        Raises InvalidParameter, MissingFile, NotFound (stage, image), KnarrError (fetching).
        """
        keyword = "COPY" if isinstance(instruction, Copy) else "ADD"
        view = stack.enter_context(self._layers.view(before.chain))
        ownership = Ownership(self._owner(instruction, view), _mode(instruction.chmod))
        identify = self._identify if isinstance(instruction, Copy) else None
        transfer = Transfer(
            keyword,
            view,
            before.defaults.working_dir,
            instruction.destination,
            ownership,
            identify,
            may_be_empty=self._may_be_empty,
        )
        if len(instruction.sources) + len(instruction.documents) > 1:
            transfer.need_directory()
        for heredoc in instruction.documents:
            text = document(heredoc.text) if heredoc.expand else heredoc.text
            transfer.add_document(posixpath.basename(heredoc.name), text.encode("utf-8", "surrogateescape"))
        if isinstance(instruction, Copy):
            await self._copy(instruction, transfer, stack)
        else:
            await self._add(instruction, transfer, stack)
        return transfer

    def _owner(self, instruction: Instruction, view: int) -> tuple[int, int] | None:
        if instruction.chown:
            try:
                return self._runner.owner(view, instruction.chown)
            except InvalidParameter as error:
                raise InvalidParameter(f"unable to convert uid/gid chown string to host mapping: {error}") from None
        keeps = isinstance(instruction, Copy) and instruction.from_stage
        return None if keeps else (0, 0)

    async def _copy(self, instruction: Copy, transfer: Transfer, stack: AsyncExitStack) -> None:
        root_fd = await self._tree(instruction.from_stage, stack)
        where = "" if instruction.from_stage else "file not found in build context or excluded by .dockerignore: "

        def add() -> None:
            transfer.add_sources(
                root_fd,
                instruction.sources,
                where=where,
                parents=instruction.parents,
                excludes=instruction.excludes,
            )

        await in_thread(add)

    async def _add(self, instruction: Add, transfer: Transfer, stack: AsyncExitStack) -> None:
        for source in instruction.sources:
            if fetching.is_git(source):
                root_fd = await self._clone(source, instruction, stack)
                await in_thread(lambda fd: transfer.add_sources(fd, [""], where=""), root_fd)
            elif fetching.is_url(source):
                await self._add_download(source, instruction, transfer, stack)
            else:
                root_fd = await self._tree("", stack)
                await in_thread(self._add_local, root_fd, source, instruction, transfer)

    def _add_local(self, root_fd: int, source: str, instruction: Add, transfer: Transfer) -> None:
        if instruction.checksum:
            raise InvalidParameter("checksum requires a single HTTP source")
        if instruction.unpack is not False and transfer.add_archive(root_fd, source):
            return
        where = "file not found in build context or excluded by .dockerignore: "
        transfer.add_sources(root_fd, [source], where=where, excludes=instruction.excludes)

    def _directory(self, stack: AsyncExitStack) -> tuple[Path, int]:
        self._fetched += 1
        path = self._scratch / f"fetched-{self._fetched}"
        path.mkdir(mode=0o700)
        fd = os.open(path, DIRECTORY_FLAGS)
        stack.callback(os.close, fd)
        return path, fd

    async def _clone(self, source: str, instruction: Add, stack: AsyncExitStack) -> int:
        path, _ = self._directory(stack)
        repository = fetching.parse_git(source)
        commit = await fetching.clone(repository, path, keep_git_dir=instruction.keep_git_dir)
        if instruction.checksum and not commit.startswith(instruction.checksum.removeprefix("sha1:")):
            raise InvalidParameter(f"expected checksum to match {instruction.checksum}, got {commit}")
        self.pins[source] = f"sha1:{commit}"
        fd = os.open(path / repository.directory.strip("/"), DIRECTORY_FLAGS)
        stack.callback(os.close, fd)
        return fd

    async def _add_download(self, url: str, instruction: Add, transfer: Transfer, stack: AsyncExitStack) -> None:
        path, fd = self._directory(stack)
        found = await asyncio.to_thread(fetching.download, url, path / "download")
        if not found.name and transfer.wants_name:
            raise InvalidParameter(f"cannot determine filename for source {url}")
        name = found.keep(path)
        self.pins[url] = await in_thread(_checked, path / name, instruction.checksum)
        if not (instruction.unpack and await in_thread(transfer.add_archive, fd, name)):
            await in_thread(lambda: transfer.add_sources(fd, [name], where=""))


def _checked(path: Path, checksum: str) -> str:
    """The digest of a file, which has to be `checksum` if that is given. Raises InvalidParameter."""
    algorithm, _, wanted = (checksum or "sha256:").partition(":")
    if algorithm not in ("sha256", "sha384", "sha512") or (checksum and not wanted):
        raise InvalidParameter(f"invalid checksum digest format: {checksum}")
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, algorithm).hexdigest()
    if checksum and actual != wanted.lower():
        raise InvalidParameter(f"digest mismatch {algorithm}:{actual}: {algorithm}:{wanted}")
    return f"{algorithm}:{actual}"


def _mode(text: str) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or set(text) - set("01234567") or int(text, 8) > 0o7777:
        raise InvalidParameter(f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777")
    return int(text, 8)
