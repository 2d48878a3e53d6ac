"""Which attestations a client asks for (`attest:…` frontend attributes; BuildKit's docs/attestations)."""

from __future__ import annotations

from collections.abc import Mapping
from csv import reader

from msgspec import Struct

from knarr.dockerfile.values import boolean
from knarr.errors import InvalidParameter, Unsupported

_PREFIX = "attest:"
_VERSIONS = ("v0.2", "v1")
_MODES = {"": "max", "full": "max", "max": "max", "min": "min"}


class ProvenanceRequest(Struct, frozen=True, kw_only=True):
    """How a build's provenance is to be told. `version` is SLSA's.

    With `inline_only` it is not asked for in words: an image has it where that costs nothing, files do not.
    """

    mode: str = "max"
    version: str = "v0.2"
    inline_only: bool = False
    reproducible: bool = False
    builder_id: str = ""


class Wanted(Struct, frozen=True):
    """`provenance` and `sbom` are None unless asked for; the latter is the name of a scanner's image."""

    provenance: ProvenanceRequest | None = None
    sbom: str | None = None


DEFAULT_SCANNER = "docker/buildkit-syft-scanner:stable-1"


def wanted_by(attributes: Mapping[str, str]) -> Wanted:
    """What the attributes ask for. Raises InvalidParameter, Unsupported."""
    provenance: ProvenanceRequest | None = None
    sbom: str | None = None
    for name, text in attributes.items():
        if not name.startswith(_PREFIX):
            continue
        settings = _settings(text)
        if boolean(settings.get("disabled", "false")):
            continue
        match name.removeprefix(_PREFIX):
            case "provenance":
                provenance = _provenance(settings)
            case "sbom":
                sbom = settings.get("generator") or DEFAULT_SCANNER
            case other:
                raise InvalidParameter(f'unknown attestation type "{other}"')
    return Wanted(provenance, sbom)


def _settings(text: str) -> dict[str, str]:
    found = {}
    for field in next(reader([text]), []):
        name, equals, value = field.partition("=")
        if not equals:
            raise InvalidParameter(f"invalid value {field}")
        found[name] = value
    return found


def _provenance(settings: Mapping[str, str]) -> ProvenanceRequest:
    mode = settings.get("mode", "")
    if mode not in _MODES:
        raise InvalidParameter(f'invalid mode "{mode}"')
    version = settings.get("version", _VERSIONS[0])
    if version not in _VERSIONS:
        raise InvalidParameter(f"invalid provenance SLSA version: {version}")
    if boolean(settings.get("capture-usage", "false")):
        raise Unsupported("provenance with resource usage (capture-usage) is not supported")
    return ProvenanceRequest(
        mode=_MODES[mode],
        version=version,
        inline_only=boolean(settings.get("inline-only", "false")),
        reproducible=boolean(settings.get("reproducible", "false")),
        builder_id=settings.get("builder-id", ""),
    )
