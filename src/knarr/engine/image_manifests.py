"""The manifests of an index in the Engine API's JSON (ImageManifestSummary): what of them is here, and how large."""

from __future__ import annotations

from typing import Any

import msgspec

from knarr.images import layouts, packing, trees
from knarr.images.store import ImageStore
from knarr.images.trees import Member

Rows = list[dict[str, Any]]


def summaries(store: ImageStore, target: str, users: dict[str, list[str]]) -> Rows:
    """All that an index lists, or the one manifest; none of an image that has no manifest yet.

    `users`: by an image's id, the ids of the containers made from it.
    """
    return [_summary(store, member, users) for member in store.members(target)]


def _summary(store: ImageStore, member: Member, users: dict[str, list[str]]) -> dict[str, Any]:
    content = _content(store, member)
    row = {
        "ID": member.digest,
        "Descriptor": msgspec.to_builtins(member.descriptor),
        "Available": _available(store, member),
        "Kind": member.kind,
        "Size": {"Content": content, "Total": content},
    }
    if member.kind == trees.ATTESTATION:
        return row | {"AttestationData": {"For": member.descriptor.subject}}
    if member.kind == trees.IMAGE:
        here = store.has(member.image_id)
        unpacked = store.get(member.image_id).size if here else 0
        row["Size"]["Total"] = content + unpacked
        row["ImageData"] = {
            "Platform": _platform(store, member),
            "Containers": users.get(member.image_id, []),
            "Size": {"Unpacked": unpacked},
        }
    return row


def _available(store: ImageStore, member: Member) -> bool:
    """Whether it can be used: an image that is unpacked can, whatever has become of its archives."""
    if member.document is None:
        return False
    return store.has(member.image_id) or packing.complete(store, member.document)


def _content(store: ImageStore, member: Member) -> int:
    """The bytes of the manifest and its blobs, as far as they are here."""
    if member.document is None:
        return 0
    here = [blob.size for blob in member.document.blobs if store.content.has(blob.digest)]
    if store.has(member.image_id):  # whose configuration is no blob
        here.append(member.document.blobs[0].size)
    return len(member.document.document) + sum(here)


def _platform(store: ImageStore, member: Member) -> dict[str, str]:
    described = member.descriptor.platform
    if described is None and store.has(member.image_id):
        described = layouts.platform_field(store.get(member.image_id).platform)
    platform: dict[str, str] = {"architecture": "", "os": ""}
    return platform | (msgspec.to_builtins(described) if described is not None else {})
