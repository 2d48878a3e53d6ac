"""What a build needs of the engine: a place to run commands in, images by name, users by name.

A step that runs a command goes like this: the build makes a root over the layers so far (`LayerStore.create_root`), the
runner starts the command on it and is done when nothing uses the root any more, the build makes a layer of the root.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from msgspec import Struct, field

from knarr.images.image import Image

Report = Callable[[dict[str, Any]], None]
"""Takes one of the API's progress messages; from any thread."""

Output = Callable[[int, bytes], None]
"""Takes what a command writes: 1 standard output, 2 standard error."""


class StepMount(Struct, frozen=True, kw_only=True):
    """What is mounted for one step: a file or directory of the host at `source`, or a tmpfs (`size` 0: unlimited)."""

    target: str
    source: str = ""
    tmpfs: bool = False
    readonly: bool = False
    size: int = 0


class RunStep(Struct, frozen=True, kw_only=True):
    """One command. `id` is also that of the root; `network` is default (as the build was told), none or host.

    `hostname` is "" for one that is made of the id.
    """

    id: str
    args: list[str]
    env: list[str]
    user: str = ""
    working_dir: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    network: str = "default"
    hostname: str = ""
    insecure: bool = False
    mounts: list[StepMount] = field(default_factory=list)


class Runner(Protocol):
    """Runs the commands of one build."""

    async def run(self, step: RunStep, output: Output) -> int:
        """The exit code; nothing of the command is left then. Cancelled, it is killed. Raises KnarrError."""
        ...

    def owner(self, root_fd: int, text: str) -> tuple[int, int]:
        """The ids of `user[:group]`, by name or number, in a root. Raises InvalidParameter."""
        ...


class Images(Protocol):
    """Images for FROM and --from."""

    async def find(self, reference: str, platform: str, report: Report) -> Image:
        """The image, pulled if it has to be. Raises NotFound, InvalidParameter, what pulling raises."""
        ...
