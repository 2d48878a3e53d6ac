"""What builds take from elsewhere: files by http, repositories by git. The git program does what concerns git."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Struct

from knarr.errors import InvalidParameter, KnarrError, Unsupported

_GIT_URL = re.compile(
    r"(?:https?://[^#?]*\.git(?:[?#].*)?|git://.*|ssh://.*|(?:[\w.-]+@)[\w.-]+:[^/].*|github\.com/.*)\Z"
)
_QUALIFIED = {"tag": "refs/tags/", "branch": "refs/heads/"}
_GIT_SETTINGS = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_ALLOW_PROTOCOL": "http:https:git:ssh",  # no file: and no ext:, to which a submodule could lead
    "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
}


class Download(Struct, frozen=True):
    """A file that was fetched. `name` is "" if the address has none; `mtime_ns` None if the server does not tell."""

    path: Path
    name: str
    kind: str
    mtime_ns: int | None

    def keep(self, directory: Path) -> str:
        """Move it into a directory, as the web's files are there: for its owner, and of the server's time; its name."""
        name = self.name or "download"
        os.rename(self.path, directory / name)
        os.chmod(directory / name, 0o600)
        if self.mtime_ns is not None:
            os.utime(directory / name, ns=(self.mtime_ns, self.mtime_ns))
        return name


def is_url(text: str) -> bool:
    """Whether a source is to be fetched by http."""
    return text.startswith(("http://", "https://"))


def is_git(text: str) -> bool:
    """Whether a source is a git repository's address."""
    return _GIT_URL.match(text) is not None


def download(url: str, path: Path) -> Download:
    """Fetch a file. Blocks. Raises KnarrError."""
    from knarr.images.download import open_url

    with open_url(url) as response, path.open("wb") as file:
        shutil.copyfileobj(response, file, 1 << 20)
        headers: Any = response.headers  # type: ignore[attr-defined]  # an HTTPResponse
    name = unquote(urlsplit(url).path.rpartition("/")[2])
    return Download(path, name if "/" not in name and name not in (".", "..") else "", _kind(headers), _mtime(headers))


def _kind(headers: Any) -> str:
    return str(headers.get("Content-Type") or "").partition(";")[0].strip().lower()


def _mtime(headers: Any) -> int | None:
    try:
        return int(parsedate_to_datetime(headers["Last-Modified"]).timestamp()) * 10**9
    except (TypeError, ValueError, OverflowError):
        return None


class Repository(Struct, frozen=True):
    """A git address: what to clone, which ref ("" the default one), which directory of it."""

    url: str
    ref: str
    directory: str


def parse_git(text: str) -> Repository:
    """An address as `docker build` takes it: URL#REF:DIRECTORY, or URL?ref=REF&subdir=DIRECTORY.

    Raises InvalidParameter.
    """
    address, _, fragment = text.partition("#")
    url, _, query = address.partition("?")
    ref, _, directory = fragment.partition(":")
    for name, value in parse_qsl(query, keep_blank_values=True):
        if fragment or name not in ("ref", "tag", "branch", "commit", "checksum", "subdir"):
            raise InvalidParameter(f"unexpected query {name} in git address {text}")
        if name == "subdir":
            directory = value
        else:
            ref = _QUALIFIED.get(name, "") + value
    if url.startswith("github.com/"):
        url = "https://" + url
    if url.startswith("-") or ref.startswith("-"):
        raise InvalidParameter(f"invalid git address: {text}")
    return Repository(url, ref, directory)


async def clone(repository: Repository, path: Path, *, keep_git_dir: bool = False) -> str:
    """Check a repository out into the empty directory `path`, submodules too; the commit. Raises KnarrError."""
    await _git(path, "init", "--quiet")
    await _git(path, "remote", "add", "origin", repository.url)
    try:
        await _git(path, "fetch", "--quiet", "--depth", "1", "origin", repository.ref or "HEAD")
        await _git(path, "checkout", "--quiet", "FETCH_HEAD")
    except KnarrError:  # a server that does not give single commits, or cannot be asked for parts
        branches = "+refs/heads/*:refs/remotes/origin/*"
        await _git(path, "fetch", "--quiet", "--tags", "origin", branches, "+HEAD:refs/remotes/origin/HEAD")
        wanted = repository.ref or "refs/remotes/origin/HEAD"
        await _git(path, "checkout", "--quiet", wanted.replace("refs/heads/", "refs/remotes/origin/"))
    await _git(path, "submodule", "update", "--quiet", "--init", "--recursive", "--depth", "1")
    commit = await _git(path, "rev-parse", "HEAD")
    if not keep_git_dir:
        await asyncio.to_thread(shutil.rmtree, path / ".git")
    return commit.strip()


async def _git(path: Path, *arguments: str) -> str:
    environment = {**os.environ, **_GIT_SETTINGS, "HOME": str(path)}
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            "git", *arguments, cwd=path, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
        )
    except FileNotFoundError:
        raise Unsupported("a build from a git repository needs git, which is not installed here") from None
    try:
        output, errors = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        words = errors.decode(errors="replace").strip()
        raise KnarrError(f"error fetching: git {arguments[0]}: {words}")
    return output.decode(errors="replace")
