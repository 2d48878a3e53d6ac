"""A template's text as a tree."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container
    from typing import Any

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>"(?:[^"\\\n]|\\.)*")
    | (?P<raw>`[^`]*`)
    | (?P<char>'(?:[^'\\\n]|\\.)')
    | (?P<number>[+-]?(?:0[xX][0-9a-fA-F]+|\d+\.?\d*(?:[eE][+-]?\d+)?))
    | (?P<field>(?:\.\w+)+)
    | (?P<variable>\$\w*(?:\.\w+)*)
    | (?P<dot>\.)
    | (?P<declare>:=)
    | (?P<sign>[|(),=])
    | (?P<word>\w+)
    )""",
    re.VERBOSE,
)
_ACTION = re.compile(r"\{\{(-\s)?(.*?)(\s-)?\}\}", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_CONSTANTS = {"true": True, "false": False, "nil": None}


class TemplateError(Exception):
    """The template is wrong, or does not fit what it is given."""


class Node:
    """One node of the tree. `kind` says what the other members are for."""

    __slots__ = ("body", "kind", "names", "other", "pipeline", "text", "value")

    def __init__(self, kind: str, **members: Any) -> None:
        self.kind = kind
        self.text: str = members.get("text", "")
        self.value: Any = members.get("value")
        self.names: list[str] = members.get("names", [])  # fields of a chain, or declared variables
        self.pipeline: list[Node] = members.get("pipeline", [])  # commands of a pipeline, or words of a command
        self.body: list[Node] = members.get("body", [])
        self.other: list[Node] = members.get("other", [])  # after else


def parse(text: str, functions: Container[str]) -> list[Node]:
    """Raises TemplateError in Go's words."""
    parser = _Parser(_split(text), functions)
    nodes, end = parser.nodes()
    if end:
        raise TemplateError(f"template: :1: unexpected {{{{{end}}}}}")
    return nodes


def _split(text: str) -> list[tuple[bool, str]]:
    """(whether it is an action, text) pieces, with white space trimmed where an action asks for it."""
    pieces: list[tuple[bool, str]] = []
    position, trim = 0, False
    for match in _ACTION.finditer(text):
        plain = text[position : match.start()]
        plain = plain.lstrip() if trim else plain
        pieces.append((False, plain.rstrip() if match[1] else plain))
        pieces.append((True, match[2].strip()))
        position, trim = match.end(), bool(match[3])
    rest = text[position:]
    if "{{" in rest:
        raise TemplateError("template: :1: unclosed action")
    pieces.append((False, rest.lstrip() if trim else rest))
    return pieces


class _Parser:
    def __init__(self, pieces: list[tuple[bool, str]], functions: Container[str]) -> None:
        self._pieces = iter(pieces)
        self._functions = functions

    def nodes(self) -> tuple[list[Node], str]:
        """Nodes up to an `end` or `else`, which is returned too, or up to the end of the text."""
        nodes: list[Node] = []
        for is_action, text in self._pieces:
            if not is_action:
                if text:
                    nodes.append(Node("text", text=text))
            elif text.startswith("/*") and text.endswith("*/"):
                continue
            elif _keyword(text)[0] in ("end", "else"):
                return nodes, text
            else:
                nodes.append(self._action(text))
        return nodes, ""

    def _action(self, text: str) -> Node:
        keyword, rest = _keyword(text)
        if keyword in ("if", "range", "with"):
            return self._block(keyword, rest)
        if keyword in ("break", "continue") and not rest:
            return Node(keyword)
        return self._pipeline_node("print", text)

    def _block(self, keyword: str, condition: str) -> Node:
        if not condition.strip():
            raise TemplateError(f"template: :1: missing value for {keyword}")
        node = self._pipeline_node(keyword, condition)
        node.body, end = self.nodes()
        if end.startswith("else "):
            node.other = [self._block(*_keyword(end[5:].strip()))]
            return node
        if end == "else":
            node.other, end = self.nodes()
        if end != "end":
            raise TemplateError("template: :1: unexpected EOF")
        return node

    def _pipeline_node(self, kind: str, text: str) -> Node:
        tokens = _Tokens(text)
        names = _declared(tokens)
        commands = self._commands(tokens)
        if tokens.kind:
            raise TemplateError(f'template: :1: unexpected "{tokens.text}" in operand')
        return Node(kind, names=names, pipeline=commands)

    def _commands(self, tokens: _Tokens) -> list[Node]:
        commands = [self._command(tokens)]
        while tokens.text == "|" and tokens.kind == "sign":
            tokens.advance()
            commands.append(self._command(tokens))
        return commands

    def _command(self, tokens: _Tokens) -> Node:
        words = []
        while tokens.kind and not (tokens.kind == "sign" and tokens.text in "|)"):
            words.append(self._operand(tokens))
        if not words:
            raise TemplateError("template: :1: missing value for command")
        return Node("command", pipeline=words)

    def _operand(self, tokens: _Tokens) -> Node:
        kind, text = tokens.kind, tokens.text
        tokens.advance()
        if kind == "sign" and text == "(":
            return self._parenthesis(tokens)
        if kind in ("field", "dot"):
            return Node("field", names=[name for name in text.split(".") if name])
        if kind == "variable":
            variable, *names = text.split(".")
            return Node("variable", text=variable, names=names)
        if kind == "word":
            return self._word(text, tokens)
        return Node("literal", value=_literal(kind, text))

    def _parenthesis(self, tokens: _Tokens) -> Node:
        commands = self._commands(tokens)
        if tokens.text != ")":
            raise TemplateError("template: :1: unclosed left paren")
        tokens.advance()
        return self._chained(Node("group", pipeline=commands), tokens)

    def _chained(self, node: Node, tokens: _Tokens) -> Node:
        """The node with the fields that follow it without a space."""
        if tokens.kind == "field" and tokens.adjacent:
            node.names = tokens.text[1:].split(".")
            tokens.advance()
        return node

    def _word(self, text: str, tokens: _Tokens) -> Node:
        if text in _CONSTANTS:
            return Node("literal", value=_CONSTANTS[text])
        if text not in self._functions:
            raise TemplateError(f'template: :1: function "{text}" not defined')
        function = Node("function", text=text)
        if tokens.kind == "field" and tokens.adjacent:
            return self._chained(Node("group", pipeline=[Node("command", pipeline=[function])]), tokens)
        return function


class _Tokens:
    """The tokens of an action, one ahead. `kind` is "" at the end; `adjacent`: no space before it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self.kind = self.text = ""
        self.adjacent = False
        self.advance()

    def advance(self) -> None:
        if not self._text[self._position :].strip():
            self.kind = self.text = ""
            return
        match = _TOKEN.match(self._text, self._position)
        if match is None:
            wrong = self._text[self._position :].lstrip()
            what = "unterminated quoted string" if wrong[0] in "\"`'" else f"unexpected {wrong[0]!r} in command"
            raise TemplateError(f"template: :1: {what}")
        self.kind = match.lastgroup or ""
        self.text = match[self.kind]
        self.adjacent = match.start(self.kind) == self._position
        self._position = match.end()

    def looks_like(self, pattern: str) -> bool:
        return re.match(pattern, self._text) is not None


def _keyword(text: str) -> tuple[str, str]:
    """The word that an action begins with, and the rest: a field may follow without a space."""
    match = re.match(r"\w*", text)
    word = match[0] if match else ""
    return word, text[len(word) :].strip()


def _declared(tokens: _Tokens) -> list[str]:
    """The variables before := or =, if the action begins with a declaration."""
    if not tokens.looks_like(r"\s*\$\w+\s*(,\s*\$\w+\s*)?:?="):
        return []
    names = []
    while tokens.kind != "declare" and tokens.text != "=":
        if tokens.kind == "variable":
            names.append(tokens.text)
        tokens.advance()
    tokens.advance()
    return names


def _literal(kind: str, text: str) -> Any:
    if kind == "raw":
        return text[1:-1]
    if kind in ("string", "char"):
        content = re.sub(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)", _unescape, text[1:-1])
        return content if kind == "string" else ord(content)
    if kind == "number":
        return float(text) if re.search(r"[.eE]", text) and not text.lower().startswith("0x") else int(text, 0)
    raise TemplateError(f'template: :1: unexpected "{text}" in operand')


def _unescape(match: re.Match[str]) -> str:
    code = match[1]
    return chr(int(code[1:], 16)) if len(code) > 1 else _ESCAPES.get(code, code)
