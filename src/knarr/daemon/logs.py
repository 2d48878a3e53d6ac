"""The daemon's own log: lines on standard error."""

from __future__ import annotations

import logging
import os

from knarr.daemon.config import DaemonConfig

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
}


def set_up(config: DaemonConfig) -> None:
    """Log to standard error; under systemd without times, which the journal keeps itself."""
    form = "%(levelname)s %(name)s: %(message)s"
    if "JOURNAL_STREAM" not in os.environ:
        form = "%(asctime)s.%(msecs)03d " + form
    logging.basicConfig(format=form, datefmt="%Y-%m-%dT%H:%M:%S")
    set_level(config)


def set_level(config: DaemonConfig) -> None:
    """Show what the configuration wants to see."""
    logging.getLogger("knarr").setLevel(logging.DEBUG if config.debug else _LEVELS[config.log_level])
