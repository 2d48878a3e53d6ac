"""References to targets in BuildKit's own terms: a definition that clients can hand from one build to another.

LLB is how BuildKit writes graphs down. Ours are not written down: a definition is one source, which names the target.
"""

from __future__ import annotations

import hashlib

from knarr.buildkit.proto import ops_pb2 as pb
from knarr.errors import Unsupported

_SCHEME = "knarr-target://"


def definition(id: str) -> pb.Definition:
    """The definition that stands for a target."""
    source = pb.Op(source=pb.SourceOp(identifier=_SCHEME + id)).SerializeToString(deterministic=True)
    digest = "sha256:" + hashlib.sha256(source).hexdigest()
    last = pb.Op(inputs=[pb.Input(digest=digest)]).SerializeToString(deterministic=True)
    return pb.Definition(**{"def": [source, last]}, metadata={digest: pb.OpMetadata()})


def target(definition: pb.Definition) -> str:
    """The target that a definition stands for, "" for an empty one. Raises Unsupported for anybody else's."""
    operations = [pb.Op.FromString(data) for data in getattr(definition, "def")]
    if not operations:
        return ""
    found = [each.source.identifier for each in operations if each.HasField("source")]
    if len(found) != 1 or not found[0].startswith(_SCHEME):
        raise Unsupported("LLB definitions cannot be solved: only Dockerfiles")
    return found[0].removeprefix(_SCHEME)
