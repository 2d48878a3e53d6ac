"""JSON and numbers as Go's decoders take them, which is what clients have been tested against.

Keys match without regard to case, null counts as absent, unknown keys are ignored; wrong types, a second document and
numbers out of range are InvalidParameter, in words close to Go's.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from knarr.errors import InvalidParameter

T = TypeVar("T")

_MISMATCH = re.compile(r"Expected `(?P<expected>.+?)`, got `(?P<got>.+?)`(?: - at `\$?(?P<path>.*)`)?$")
_RANGE = re.compile(r"Expected `(?P<expected>\w+)` (?P<bound>[<>]=? .+?)(?: - at `\$?(?P<path>.*)`)?$")
_MALFORMED = re.compile(r"JSON is malformed: (?P<what>.+) \(byte (?P<at>\d+)\)$")
_EXPECTATIONS = {
    "expected ':'": "after object key",
    "object keys must be strings": "looking for beginning of object key string",
    "trailing comma in object": "looking for beginning of object key string",
    "expected ',' or '}'": "after object key:value pair",
    "expected ',' or ']'": "after array element",
    "invalid number": "in numeric literal",
    "invalid escape character in string": "in string escape code",
}
_JSON_WORDS = {"int": "number", "float": "number", "str": "string", "null": "null"}
_GO_TYPES = {"int": "int64", "str": "string", "float": "float64", "array": "[]string", "object": "object"}

_Fold = Callable[[Any], Any]


def decode(data: bytes, kind: type[T]) -> T:
    """A JSON document as a `kind` (a Struct). Raises InvalidParameter.

    No string may have a NUL character: all of them are to become arguments, paths or files' content some day.
    """
    plain = parse(data)
    if plain is None:
        plain = {}
    if b"\\u0000" in data and _has_nul(plain):
        raise InvalidParameter("invalid JSON: a string has a NUL character")
    try:
        return msgspec.convert(fold(plain, kind), kind)
    except msgspec.ValidationError as error:
        raise InvalidParameter(f"invalid JSON: {_in_go_words(str(error), kind)}") from None


def parse(data: bytes) -> Any:
    """A JSON document as plain objects. Raises InvalidParameter."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidParameter(_malformed(data, str(error))) from None


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_has_nul(key) or _has_nul(item) for key, item in value.items())
    return isinstance(value, list) and any(map(_has_nul, value))


def fold(value: Any, kind: Any) -> Any:
    """`value`, with the keys of what will be structs of `kind` spelled as these want them, and without nulls."""
    folding = _folding(kind)
    return value if folding is None else folding(value)


def check_content_type(text: str) -> None:
    """Raises InvalidParameter unless the media type is application/json."""
    media_type = text.partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise InvalidParameter(f"unsupported Content-Type header ({text}): must be 'application/json'")


def integer(text: str) -> int:
    """A decimal 64-bit integer. Raises InvalidParameter in the words of Go's strconv."""
    digits = text[1:] if text[:1] in "+-" else text
    if not (digits.isascii() and digits.isdigit()):
        raise InvalidParameter(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    if len(digits) > 19 or not -(2**63) <= int(text) < 2**63:
        raise InvalidParameter(f'strconv.ParseInt: parsing "{text}": value out of range')
    return int(text)


@functools.cache
def _folding(kind: Any) -> _Fold | None:
    return _folding_of(inspect.type_info(kind))


def _folding_of(info: inspect.Type) -> _Fold | None:
    """A function that folds values of a type, None where there is nothing to do."""
    if isinstance(info, inspect.UnionType):
        foldings = [folding for folding in map(_folding_of, info.types) if folding is not None]
        return foldings[0] if len(foldings) == 1 else None if not foldings else _chain(foldings)
    if isinstance(info, inspect.StructType):
        return _struct_folding(info.cls)
    if isinstance(info, inspect.ListType):
        return functools.partial(_fold_list, _folding_of(info.item_type), _zero(info.item_type))
    if isinstance(info, inspect.DictType):
        return functools.partial(_fold_dict, _folding_of(info.value_type), _zero(info.value_type))
    return None


def _chain(foldings: list[_Fold]) -> _Fold:
    """Each takes only values of its own JSON kind, so they may run one after the other."""
    return lambda value: functools.reduce(lambda result, folding: folding(result), foldings, value)


@functools.cache
def _struct_folding(struct: type[Any]) -> _Fold:
    """Fields are looked up by their exact name first: nearly all clients spell them right."""
    fields: dict[str, tuple[str, _Fold | None]] = {}

    def fold_struct(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        result = {}
        for key, member in value.items():
            known = fields.get(key) or fields.get(key.lower())
            if known is not None and member is not None:
                name, folding = known
                result[name] = member if folding is None else folding(member)
        return result

    for info in inspect.type_info(struct).fields:  # type: ignore[attr-defined]
        entry = (info.encode_name, _folding_of(info.type))
        fields[info.encode_name] = fields[info.encode_name.lower()] = entry
    return fold_struct


def _fold_list(folding: _Fold | None, zero: Any, value: Any) -> Any:
    if not isinstance(value, list):
        return value
    items = [zero if item is None else item for item in value] if None in value else value
    return items if folding is None else [folding(item) for item in items]


def _fold_dict(folding: _Fold | None, zero: Any, value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    items = {key: zero if item is None else item for key, item in value.items()} if None in value.values() else value
    return items if folding is None else {key: folding(item) for key, item in items.items()}


def _zero(info: inspect.Type) -> Any:
    """What Go leaves in a list or a map where the JSON has null."""
    if isinstance(info, inspect.UnionType) and any(isinstance(part, inspect.NoneType) for part in info.types):
        return None
    zeros: dict[type[inspect.Type], Any] = {inspect.StrType: "", inspect.IntType: 0, inspect.BoolType: False}
    zeros |= {inspect.StructType: {}, inspect.DictType: {}, inspect.ListType: []}
    return zeros.get(type(info))


def _malformed(data: bytes, error: str) -> str:
    if not data.strip():
        return "invalid JSON: got EOF while reading request body"
    match = _MALFORMED.match(error)
    if match is None:
        return "invalid JSON: unexpected EOF" if "truncated" in error else f"invalid JSON: {error}"
    if "trailing characters" in match["what"]:
        return "unexpected content after JSON"
    character = data[int(match["at"]) :][:1].decode("latin-1")
    expected = _EXPECTATIONS.get(match["what"], "looking for beginning of value")
    return f"invalid JSON: invalid character '{character}' {expected}"


def _in_go_words(error: str, kind: type[Any]) -> str:
    match = _MISMATCH.match(error)
    if match is not None:
        expected = match["expected"].split(" | ")[0]
        wanted, got = _GO_TYPES.get(expected, expected), _JSON_WORDS.get(match["got"], match["got"])
        return f"json: cannot unmarshal {got} into Go {_place(match['path'], kind)} of type {wanted}"
    match = _RANGE.match(error)
    if match is not None:
        wanted = _GO_TYPES.get(match["expected"], match["expected"])
        return f"json: cannot unmarshal number into Go {_place(match['path'], kind)} of type {wanted}: {match['bound']}"
    return error


def _place(path: str | None, kind: type[Any]) -> str:
    return f"struct field {kind.__name__}{path}" if path else "value"
