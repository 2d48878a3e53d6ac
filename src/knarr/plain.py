"""The part of msgspec's records, typing's NamedTuple and contextlib that a cold knarr-runtime needs, in plain Python.

Same classes, same documents, same words for what is wrong with one (tests/unit/test_plain.py holds them together), a
hundred times slower for large documents, and imported in half a millisecond. Types are what annotations evaluate to:
str, int, float, bool, bytes, None, lists, dicts with str keys, tuples, unions with None, and records.
"""

from __future__ import annotations

import sys
from _json import encode_basestring, make_scanner
from _operator import itemgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Converter = Callable[[Any, str], Any]

_NOTHING: Any = object()


class MsgspecError(ValueError):
    """What is wrong with a document, in msgspec's words."""


# -- records ------------------------------------------------------------------------------------------------------


class Field:
    """How a field is made where it is not given, and what it is called in documents ("" for the usual name)."""

    __slots__ = ("annotation", "is_default", "make", "name")

    annotation: tuple[str, str]

    def __init__(self, default: Any = _NOTHING, default_factory: Any = None, name: str | None = None) -> None:
        if type(default) in (list, dict):
            default, default_factory = _NOTHING, type(default)  # never the same one twice
        self.name = name or ""
        self.make = default_factory or (None if default is _NOTHING else lambda: default)
        if default_factory in (list, dict):
            self.is_default = lambda value: not value
        elif default is not _NOTHING:
            self.is_default = lambda value: value is default or value == default
        else:  # a factory's product is always written
            self.is_default = lambda value: False


def field(*, default: Any = _NOTHING, default_factory: Any = None, name: str | None = None) -> Any:
    """A field with a default or another name."""
    return Field(default, default_factory, name)


class _StructMeta(type):
    """Collects the fields of a class from its annotations, its bases' first."""

    _struct_fields: dict[str, Field]
    _omits: bool
    _camel: bool

    def __new__(
        mcls,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        rename: str | None = None,
        omit_defaults: bool | None = None,
        **_options: object,
    ) -> Any:
        parent: Any = bases[0] if bases else None
        fields = dict(parent._struct_fields) if parent else {}
        for key, annotation in namespace.get("__annotations__", {}).items():
            given = namespace.pop(key, _NOTHING)
            fields[key] = given if type(given) is Field else Field(given)
            fields[key].annotation = (annotation, namespace["__module__"])
        made: Any = super().__new__(mcls, name, bases, namespace)
        made._struct_fields = fields
        made._camel = rename == "camel" or (rename is None and parent is not None and parent._camel)
        made._omits = parent._omits if omit_defaults is None and parent else bool(omit_defaults)
        made._convert = None
        return made


class Struct(metaclass=_StructMeta):
    """A record. Fields by position or by name; equal to another of its class with equal fields."""

    def __init__(self, *args: object, **given: object) -> None:
        fields = type(self)._struct_fields
        values = self.__dict__
        values.update(zip(fields, args))  # noqa: B905 - most are given by name, or not at all
        values.update(given)
        if len(values) < len(fields):
            for key, one in fields.items():
                if key not in values:
                    if one.make is None:
                        raise TypeError(f"Missing required argument '{key}'")
                    values[key] = one.make()
        if len(values) != len(fields) or len(args) > len(fields):
            raise TypeError(f"{type(self).__name__}: unexpected arguments")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in self.__dict__.items())})"


def replace(record: Any, /, **changes: object) -> Any:
    """A copy with changes."""
    return type(record)(**{**record.__dict__, **changes})


class _TupleMeta(type):
    """A class statement as typing.NamedTuple takes it."""

    def __new__(mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> Any:
        fields = tuple(namespace.get("__annotations__", ()))
        namespace["_field_defaults"] = {key: namespace.pop(key) for key in fields if key in namespace}
        namespace.update((key, property(itemgetter(place))) for place, key in enumerate(fields))
        return super().__new__(mcls, name, bases, {**namespace, "_fields": fields, "__slots__": ()})


class NamedTuple(tuple, metaclass=_TupleMeta):  # type: ignore[type-arg]
    """A tuple whose fields have names."""

    _fields: tuple[str, ...]
    _field_defaults: dict[str, Any]

    def __new__(cls, *args: object, **given: Any) -> NamedTuple:
        fields = cls._fields
        if given or len(args) != len(fields):
            given = {**cls._field_defaults, **given}
            try:
                args += tuple(given.pop(key) for key in fields[len(args) :])
            except KeyError as error:
                raise TypeError(f"{cls.__name__}: missing argument {error}") from None
            if len(args) != len(fields) or given.keys() - cls._field_defaults.keys():
                raise TypeError(f"{cls.__name__}: unexpected arguments")
        return tuple.__new__(cls, args)

    def _replace(self, **changes: Any) -> NamedTuple:
        return type(self)(**{**dict(zip(self._fields, self, strict=True)), **changes})

    def __repr__(self) -> str:
        fields = zip(self._fields, self, strict=True)
        return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in fields)})"


# -- clean-up -----------------------------------------------------------------------------------------------------


class ExitStack:
    """contextlib's, for callbacks."""

    def __init__(self) -> None:
        self._callbacks: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []

    def __enter__(self) -> ExitStack:
        return self

    def __exit__(self, *error: object) -> None:
        while self._callbacks:
            function, args = self._callbacks.pop()
            try:
                function(*args)
            except BaseException:
                self.__exit__()
                raise

    def callback(self, function: Callable[..., Any], /, *args: Any) -> None:
        """Have a function called at the end, before those that were given earlier."""
        self._callbacks.append((function, args))

    def pop_all(self) -> ExitStack:
        """Have another stack call them."""
        other = ExitStack()
        other._callbacks, self._callbacks = self._callbacks, []
        return other


class suppress:
    """contextlib's."""

    def __init__(self, *kinds: type[BaseException]) -> None:
        self._kinds = kinds

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is not None and issubclass(kind, self._kinds)


def cache(function: Callable[..., Any]) -> Callable[..., Any]:
    """functools's, for arguments by position."""
    known: dict[tuple[Any, ...], Any] = {}

    def cached(*args: Any) -> Any:
        if args not in known:
            known[args] = function(*args)
        return known[args]

    return cached


# -- documents ----------------------------------------------------------------------------------------------------


def decode_json(data: bytes, type: Any) -> Any:
    """A JSON document as an instance of `type`. Raises MsgspecError."""
    return _converter(type)(_parse(data), "$")


class _Dialect:
    """What the C scanner of the json package asks for."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float, parse_int = float, int

    @staticmethod
    def parse_constant(name: str) -> None:
        raise ValueError(f"{name} is not JSON")


def _parse(data: bytes) -> Any:
    try:
        text = data.decode().strip(" \t\n\r")
        value, end = make_scanner(_Dialect)(text, 0)  # type: ignore[arg-type]
        if end == len(text):
            return value
    except (ValueError, StopIteration, SystemError):  # the last if nobody has imported json, whose error it wants
        pass
    raise MsgspecError(f"JSON is malformed: {_complaint(data)}")


def _complaint(data: bytes) -> str:
    import json

    try:
        json.loads(data.decode())
    except ValueError as error:
        return str(error)
    return "it has a number that is none"


def encode_json(value: Any) -> bytes:
    """A record, or what records are made of, as JSON."""
    return _text(value).encode()


def _text(value: Any) -> str:
    kind = type(value)
    if kind is str:
        return encode_basestring(value)
    if value is None or kind is bool:
        return {None: "null", True: "true", False: "false"}[value]
    if kind is bytes:
        if not value:
            return '""'
        from binascii import b2a_base64

        return f'"{b2a_base64(value, newline=False).decode()}"'
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(_text, value))}]"
    if isinstance(value, Struct):
        value = {
            one.name or (_camel(key) if kind._camel else key): item
            for key, one in kind._struct_fields.items()
            for item in (getattr(value, key),)
            if not (kind._omits and one.is_default(item))
        }
    if isinstance(value, dict):
        return f"{{{','.join(f'{encode_basestring(key)}:{_text(item)}' for key, item in value.items())}}}"
    return repr(value)


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(part.capitalize() for part in others)


# -- from JSON's values to types ----------------------------------------------------------------------------------

_NAMES = {str: "str", int: "int", float: "float", bool: "bool", dict: "object", list: "array", type(None): "null"}
_UNION: Any = type(int | str)


def _converter(kind: Any) -> Converter:
    """What makes an instance of `kind` of a parsed value, or raises MsgspecError with the place."""
    if isinstance(kind, _StructMeta):
        made: Converter = kind._convert or _record(kind)  # type: ignore[attr-defined]
        return made
    if kind in (str, int, bool, type(None)):
        return _exactly(kind)
    if kind is float:
        return lambda value, place: float(value) if type(value) in (int, float) else _refuse("float", value, place)
    if kind is bytes:
        return _bytes
    if type(kind) is _UNION:
        return _optional(*kind.__args__)
    if kind.__origin__ is dict:
        return _dictionary(_converter(kind.__args__[1]))
    if kind.__origin__ is tuple:
        return _tuple([_converter(one) for one in kind.__args__])
    return _list(_converter(kind.__args__[0]))


def _refuse(wanted: str, value: Any, place: str) -> Any:
    at = f" - at `{place}`" if place != "$" else ""
    raise MsgspecError(f"Expected `{wanted}`, got `{_NAMES[type(value)]}`{at}")


def _bytes(value: Any, place: str) -> bytes:
    if type(value) is not str:
        _refuse("bytes", value, place)
    if not value:
        return b""
    from binascii import a2b_base64

    return a2b_base64(value)


def _exactly(kind: Any) -> Converter:
    def convert(value: Any, place: str) -> Any:
        return value if type(value) is kind else _refuse(_NAMES[kind], value, place)

    return convert


def _optional(*kinds: Any) -> Converter:
    """A union of one type with None."""
    (kind,) = (one for one in kinds if one is not type(None))
    inner = _converter(kind)
    wanted = "object" if isinstance(kind, _StructMeta) else _NAMES.get(getattr(kind, "__origin__", kind), "")

    def convert(value: Any, place: str) -> Any:
        if value is None:
            return None
        try:
            return inner(value, place)
        except MsgspecError as error:
            if type(value) is dict or not str(error).endswith((f"at `{place}`", f"got `{_NAMES[type(value)]}`")):
                raise
        return _refuse(f"{wanted} | null", value, place)

    return convert


def _list(inner: Converter) -> Converter:
    def convert(value: Any, place: str) -> Any:
        if type(value) is not list:
            _refuse("array", value, place)
        return [inner(item, f"{place}[{index}]") for index, item in enumerate(value)]

    return convert


def _dictionary(inner: Converter) -> Converter:
    def convert(value: Any, place: str) -> Any:
        if type(value) is not dict:
            _refuse("object", value, place)
        return {key: inner(item, f"{place}[...]") for key, item in value.items()}

    return convert


def _tuple(inner: list[Converter]) -> Converter:
    def convert(value: Any, place: str) -> Any:
        if type(value) is not list:
            _refuse("array", value, place)
        if len(value) != len(inner):
            raise MsgspecError(f"Expected `array` of length {len(inner)}, got {len(value)} - at `{place}`")
        return tuple(one(item, f"{place}[{index}]") for index, (one, item) in enumerate(zip(inner, value, strict=True)))

    return convert


def _record(kind: Any) -> Converter:
    """Fields' own converters are made when they are first met: a document has few of the fields there are."""
    keys = {one.name or (_camel(key) if kind._camel else key): key for key, one in kind._struct_fields.items()}
    converters: dict[str, Converter] = {}

    def convert(value: Any, place: str) -> Any:
        if type(value) is not dict:
            _refuse("object", value, place)
        given = {}
        for name, item in value.items():
            key = keys.get(name)
            if key is not None:
                inner = converters.get(key)
                if inner is None:
                    inner = converters[key] = _converter(_annotation(kind, key))
                given[key] = inner(item, f"{place}.{name}")
        for name, key in keys.items():
            if key not in given and kind._struct_fields[key].make is None:
                at = f" - at `{place}`" if place != "$" else ""
                raise MsgspecError(f"Object missing required field `{name}`{at}")
        return kind(**given)

    kind._convert = convert
    return convert


def _annotation(kind: Any, key: str) -> Any:
    """The type of a field: annotations are texts (PEP 563) in the names of the module that they are in."""
    text, module = kind._struct_fields[key].annotation
    return eval(text, vars(sys.modules[module]))
