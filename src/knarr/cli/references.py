"""Names of images as users write them: [host/]name[:tag][@digest]."""

from __future__ import annotations

from knarr.cli.errors import CommandError

DEFAULT_TAG = "latest"

_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_ALPHANUMERIC = _LOWER | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_HEXADECIMAL = frozenset("0123456789abcdefABCDEF")
_LONGEST_TAG = 128
_SHORTEST_DIGEST = 32


class Reference:
    """A parsed name; `tag` and `digest` are "" where the user gave none."""

    __slots__ = ("digest", "name", "tag")

    def __init__(self, name: str, tag: str, digest: str) -> None:
        self.name = name
        self.tag = tag
        self.digest = digest

    @property
    def tagged(self) -> str:
        """The name with a tag or digest: the default tag where there is neither."""
        tag = self.tag or ("" if self.digest else DEFAULT_TAG)
        return self.name + (f":{tag}" if tag else "") + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference:
    """Raises CommandError with docker's words."""
    rest, at, digest = text.partition("@")
    path, slash, last = rest.rpartition("/")
    last, colon, tag = last.partition(":")
    name = path + slash + last
    if (at and not _is_digest(digest)) or (colon and not _is_tag(tag)) or not _is_name(name.lower()):
        raise CommandError("invalid reference format")
    if not _is_name(name):
        full = name if "/" in name else f"library/{name}"
        raise CommandError(f"invalid reference format: repository name ({full}) must be lowercase")
    return Reference(name, tag, digest)


def full_name(reference: Reference) -> str:
    """The name with its registry, as it is printed when it has been pulled."""
    host, slash, _ = reference.name.partition("/")
    if slash and ("." in host or ":" in host or host == "localhost"):
        return reference.tagged
    return f"docker.io/{'' if slash else 'library/'}{reference.tagged}"


def _is_name(name: str) -> bool:
    first, *others = name.split("/")
    if not others:
        return _is_component(first)
    return (_is_component(first) or _is_host(first)) and all(map(_is_component, others))


def _is_component(word: str) -> bool:
    """Lower-case letters and digits, with one of . _ __ or any number of - between them."""
    if not word or word[0] not in _LOWER or word[-1] not in _LOWER:
        return False
    separators = "".join("/" if letter in _LOWER else letter for letter in word).split("/")
    return all(separator in (".", "_", "__") or not separator.strip("-") for separator in separators)


def _is_host(word: str) -> bool:
    host, colon, port = word.rpartition(":")
    if not colon or word.endswith("]"):
        host, port = word, "0"
    if host.startswith("[") and host.endswith("]"):
        return port.isdigit() and _HEXADECIMAL.union(":").issuperset(host[1:-1])
    labels = host.split(".")
    allowed = _ALPHANUMERIC.union("-")
    return port.isdigit() and all(
        label and allowed.issuperset(label) and label[0] != "-" and label[-1] != "-" for label in labels
    )


def _is_tag(word: str) -> bool:
    allowed = _ALPHANUMERIC.union("_")
    return 0 < len(word) <= _LONGEST_TAG and word[0] in allowed and allowed.union(".-").issuperset(word)


def _is_digest(word: str) -> bool:
    algorithm, _, digits = word.partition(":")
    named = _ALPHANUMERIC.union("-_+.").issuperset(algorithm) and algorithm[:1].isalpha()
    return named and len(digits) >= _SHORTEST_DIGEST and _HEXADECIMAL.issuperset(digits)
