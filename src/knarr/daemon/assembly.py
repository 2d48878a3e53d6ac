"""The parts of an engine, built by hand from the bottom up, each handed what it needs.

database ─► layers ─► images ─┐
     └────► network ──────────┼─► engine ─► API
backends ─────────────────────┘
"""

from __future__ import annotations
