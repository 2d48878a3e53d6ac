"""Marks of tests that an ordinary user's engine cannot pass, with the reason (see docs/rootless.md)."""

from __future__ import annotations

import pytest

LOOPBACK = pytest.mark.rootful("the machine's 127.0.0.1 is not the engine's")
LIMITS = pytest.mark.rootful("there are no control groups")
OWNERS = pytest.mark.rootful("the ids of mounts are mapped for the host's root only")
FILES = pytest.mark.rootful("its files are for root alone")
GROUPS = pytest.mark.rootful("groups of the machine are not the user's to give")
LINKS = pytest.mark.rootful("its bridges are in a network namespace of its own")
