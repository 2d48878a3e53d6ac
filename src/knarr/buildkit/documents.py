"""Configurations of finished images: the history completed with what the steps have made, and when."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import msgspec

from knarr.buildkit.caches.layers import diff_ids
from knarr.buildkit.dispatch import Layer, Outcome
from knarr.buildkit.graph import Operation
from knarr.images import config
from knarr.images.config import HistoryEntry, RootFS
from knarr.storage.layers import LayerStore


def document(layers: LayerStore, outcome: Outcome, chain: str | None, epoch: int | None) -> bytes:
    """The configuration of an outcome that has been executed.

    Times are those at which steps were executed, so that the same image comes out when all of them were cached; with
    an `epoch` (in seconds) they are that.
    """
    history = _history(outcome.layers, epoch)
    created = history[-1].created if history else _text(time.time() if epoch is None else epoch)
    return config.encode(
        msgspec.structs.replace(
            outcome.config,
            created=created,
            container="",
            docker_version="",
            comment="",
            rootfs=RootFS(diff_ids=diff_ids(layers, chain)),
            history=history,
        )
    )


def _history(entries: list[Layer], epoch: int | None) -> list[HistoryEntry]:
    """Entries without a layer are as old as the one before them that has one."""
    result: list[HistoryEntry] = []
    moment = ""
    for each in entries:
        entry = each.entry
        if each.operation is not None:
            moment = _text(each.operation.created if epoch is None else epoch)
            entry = msgspec.structs.replace(entry, created=moment, empty_layer=not _has_layer(each.operation))
        elif not entry.created:
            moment = moment or _text(time.time() if epoch is None else epoch)
            entry = msgspec.structs.replace(entry, created=moment)
        else:
            moment = entry.created if epoch is None else _text(epoch)
        result.append(entry)
    return result


def _has_layer(operation: Operation) -> bool:
    return operation.made != (operation.parent.made if operation.parent is not None else None)


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
