"""Carrying a template out on data."""

from __future__ import annotations

from knarr.template.parse import TemplateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TypeAlias

    from knarr.template.parse import Node

    Functions: TypeAlias = dict[str, Callable[..., Any]]
else:
    Functions = dict

# In the engine's types these are maps: a name that is not in one has no value, where elsewhere it is an error.
_MAPS = frozenset(
    {
        *("Labels", "Options", "Ports", "Networks", "ExposedPorts", "Volumes", "Annotations", "Sysctls", "Tmpfs"),
        *("StorageOpt", "DriverOpts", "Data", "Attributes", "Containers", "PortBindings", "Runtimes"),
    }
)
# … and these are pointers, or are left out of JSON when they are empty.
_POINTERS = frozenset({"Health", "Healthcheck", "Init", "OomKillDisable", "PidsLimit", "StopTimeout", "ExitCode"})
_LEFT_OUT: dict[str, Any] = {
    "Health": None,
    "Healthcheck": None,
    "Init": None,
    "StopTimeout": None,
    "SizeRw": None,
    "SizeRootFs": None,
    "StopSignal": "",
    "MacAddress": "",
    "ExposedPorts": {},
    "Annotations": {},
    "Mounts": [],
    "Sysctls": {},
    "Tmpfs": {},
    "StorageOpt": {},
    "Shell": [],
}


class Map(dict):  # type: ignore[type-arg]
    """A member that is a map in the engine's types; other objects are structs."""


class Renamed(dict):  # type: ignore[type-arg]
    """An object whose members are also found under other names: Go's field names where JSON has different ones."""

    def __init__(self, members: Any, names: dict[str, str]) -> None:
        super().__init__(members)
        self._names = names

    def __contains__(self, name: object) -> bool:
        return super().__contains__(self._names.get(str(name), name))

    def __getitem__(self, name: str) -> Any:
        return super().__getitem__(self._names.get(name, name))


class Null:
    """A null of JSON, with what Go prints for one of its type."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __bool__(self) -> bool:
        return False

    def __len__(self) -> int:
        return 0

    def __iter__(self) -> Any:
        return iter(())


NO_VALUE = Null("<no value>")


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


def execute(nodes: list[Node], data: Any, functions: Functions) -> str:
    """Raises TemplateError."""
    out: list[str] = []
    _Execution(functions, data, out).run(nodes, data)
    return "".join(out)


def show(value: Any) -> str:
    """A value as Go prints it with %v."""
    if value is None:
        return "<no value>"
    if isinstance(value, Null):
        return value.text
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Map):
        return f"map[{' '.join(f'{key}:{_of_map(value[key])}' for key in sorted(value))}]"
    if isinstance(value, dict):
        return f"{{{' '.join(_inner(_typed(item, name)) for name, item in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{' '.join(map(_inner, value))}]"
    return str(value)


def _of_map(value: Any) -> str:
    return "[]" if value is None else show(value)


def _inner(value: Any) -> str:
    return "<nil>" if value is None else show(value)


class _Execution:
    def __init__(self, functions: Functions, root: Any, out: list[str]) -> None:
        self._functions = functions
        self._variables: dict[str, Any] = {"$": root}
        self._out = out

    def run(self, nodes: Iterable[Node], dot: Any) -> None:
        for node in nodes:
            if node.kind == "text":
                self._out.append(node.text)
            elif node.kind == "print":
                value = self._pipeline(node, dot)
                if not node.names:
                    self._out.append(show(value))
            elif node.kind == "range":
                self._range(node, dot)
            elif node.kind == "break":
                raise _Break
            elif node.kind == "continue":
                raise _Continue
            else:
                self._branch(node, dot)

    def _branch(self, node: Node, dot: Any) -> None:
        value = self._pipeline(node, dot)
        if truth(value):
            self.run(node.body, value if node.kind == "with" else dot)
        else:
            self.run(node.other, dot)

    def _range(self, node: Node, dot: Any) -> None:
        value = self._value(node.pipeline, dot)
        items = _items(value)
        if not items:
            self.run(node.other, dot)
            return
        for key, item in items:
            self._variables.update(zip(reversed(node.names), (item, key), strict=False))
            try:
                self.run(node.body, item)
            except _Continue:
                continue
            except _Break:
                break

    def _pipeline(self, node: Node, dot: Any) -> Any:
        value = self._value(node.pipeline, dot)
        for name in node.names:
            self._variables[name] = value
        return value

    def _value(self, commands: list[Node], dot: Any) -> Any:
        piped: list[Any] = []
        for command in commands:
            piped = [self._command(command.pipeline, dot, piped)]
        return piped[0]

    def _command(self, words: list[Node], dot: Any, piped: list[Any]) -> Any:
        first, rest = words[0], words[1:]
        if first.kind == "function":
            if first.text in ("and", "or"):
                return self._and_or(first.text == "and", rest, dot, piped)
            arguments = [self._operand(word, dot) for word in rest]
            return self._call(first.text, self._functions[first.text], arguments + piped)
        value = self._operand(first, dot)
        if callable(value):
            return self._call(first.names[-1], value, [self._operand(word, dot) for word in rest] + piped)
        if rest or piped:
            raise TemplateError(f"template: :1: can't give argument to non-function {'.'.join(['', *first.names])}")
        return value

    def _and_or(self, is_and: bool, words: list[Node], dot: Any, piped: list[Any]) -> Any:
        """The first argument that decides; those after it are not evaluated."""
        value: Any = None
        for word in words:
            value = self._operand(word, dot)
            if truth(value) != is_and:
                return value
        return piped[0] if piped else value

    def _call(self, name: str, function: Callable[..., Any], arguments: list[Any]) -> Any:
        try:
            return function(*arguments)
        except TemplateError:
            raise
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            raise TemplateError(f'template: :1: executing "" at <{name}>: error calling {name}: {error}') from error

    def _operand(self, node: Node, dot: Any) -> Any:
        if node.kind == "literal":
            return node.value
        if node.kind == "field":
            return self._chain(dot, node.names)
        if node.kind == "variable":
            if node.text not in self._variables:
                raise TemplateError(f'template: :1: undefined variable "{node.text}"')
            return self._chain(self._variables[node.text], node.names)
        if node.kind == "group":
            return self._chain(self._value(node.pipeline, dot), node.names)
        return self._call(node.text, self._functions[node.text], [])

    def _chain(self, value: Any, names: list[str]) -> Any:
        parent = ""
        for name in names:
            value = _member(value, name, parent, names)
            parent = name
        return value


def _member(value: Any, name: str, parent: str, names: list[str]) -> Any:
    where = f'template: :1:2: executing "" at <.{".".join(names)}>'
    if isinstance(value, Null) or value is None:
        raise TemplateError(f"{where}: nil pointer evaluating {parent or 'interface {}'}.{name}")
    if not isinstance(value, dict):
        raise TemplateError(f"{where}: can't evaluate field {name} in type {type(value).__name__}")
    if name in value or name in _LEFT_OUT:
        return _typed(value[name] if name in value else _LEFT_OUT[name], name)
    if isinstance(value, Map):
        return NO_VALUE
    raise TemplateError(f'{where}: map has no entry for key "{name}"')


def _typed(value: Any, name: str) -> Any:
    """A member's value as what it is in the engine's types, as far as its name tells."""
    if value is None:
        return Null("<nil>" if name in _POINTERS else "map[]" if name in _MAPS else "[]")
    if not isinstance(value, dict):
        return value
    is_map = name in _MAPS or (name == "Config" and all(isinstance(item, str) for item in value.values()))
    return Map(value) if is_map else value


def truth(value: Any) -> bool:
    """Go's truth: everything but zero and empty values."""
    return True if callable(value) else bool(value)


def _items(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, dict):
        return [(key, value[key]) for key in sorted(value)]
    if isinstance(value, list | tuple):
        return list(enumerate(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return [(index, index) for index in range(value)]
    if value is None or isinstance(value, Null):
        return []
    raise TemplateError(f"template: :1: range can't iterate over {show(value)}")
