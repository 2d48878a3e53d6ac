"""knarr stop"""

from __future__ import annotations

from knarr.cli import stopping
from knarr.client import containers

COMMAND = stopping.command("stop", containers.stop)
