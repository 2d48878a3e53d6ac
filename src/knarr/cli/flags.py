"""Flags of a command: how they are declared, and a parser with the rules of the docker command line (GNU style).

argparse has other rules: it takes `--rm=false` and `-e -x` for errors, completes shortened names, and cannot stop at
the first argument, after which everything belongs to the container's command.
"""

from __future__ import annotations

from knarr.cli.errors import FlagError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    Parser = Callable[[str], Any]

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


class Flag:
    """One flag. `metavar` is shown in the help ("" for a switch); a repeatable one collects a list.

    `names` is "name", "letter name", or "letter name other-name" with "-" for no letter; other names are not shown.
    `parse` makes the value of a word and raises ValueError with the user's words.
    """

    __slots__ = ("aliases", "default", "help", "hidden", "metavar", "name", "parse", "repeatable", "short")

    def __init__(
        self,
        names: str,
        metavar: str,
        help: str,
        parse: Parser,
        default: object,
        *,
        repeatable: bool = False,
        hidden: bool = False,
    ) -> None:
        *letter, name = names.split(" ")[:2]
        self.name = name
        self.short = letter[0] if letter and letter != ["-"] else ""
        self.aliases = tuple(names.split(" ")[2:])
        self.metavar = metavar
        self.help = help
        self.parse = parse
        self.default = default
        self.repeatable = repeatable
        self.hidden = hidden

    @property
    def is_switch(self) -> bool:
        return self.metavar == ""

    @property
    def title(self) -> str:
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"


def parse_bool(word: str) -> bool:
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError(f'strconv.ParseBool: parsing "{word}": invalid syntax')


def parse_int(word: str) -> int:
    """A 64-bit integer in Go's notation: 0x…, 0o… and a leading 0 for octal are allowed."""
    return _parse_integer(word, "ParseInt", -(2**63), 2**63 - 1)


def parse_uint(word: str, bits: int = 64) -> int:
    return _parse_integer(word, "ParseUint", 0, 2**bits - 1)


def _parse_integer(word: str, function: str, lowest: int, highest: int) -> int:
    digits = word.lstrip("+-")
    octal = len(digits) > 1 and digits[0] == "0" and digits[1:].isdigit()
    try:
        value = int(word, 8 if octal else 0)
    except ValueError:
        raise ValueError(f'strconv.{function}: parsing "{word}": invalid syntax') from None
    if word != word.strip() or (lowest == 0 and word[0] in "+-"):
        raise ValueError(f'strconv.{function}: parsing "{word}": invalid syntax')
    if not lowest <= value <= highest:
        raise ValueError(f'strconv.{function}: parsing "{word}": value out of range')
    return value


def switch(names: str, help: str, *, default: bool = False, hidden: bool = False) -> Flag:
    return Flag(names, "", help, parse_bool, default, hidden=hidden)


def text(names: str, help: str, *, default: str = "", metavar: str = "string", hidden: bool = False) -> Flag:
    return Flag(names, metavar, help, str, default, hidden=hidden)


def number(names: str, help: str, *, default: int = 0, metavar: str = "int", hidden: bool = False) -> Flag:
    return Flag(names, metavar, help, parse_int, default, hidden=hidden)


def words(names: str, help: str, *, metavar: str = "list", parse: Parser = str, hidden: bool = False) -> Flag:
    return Flag(names, metavar, help, parse, (), repeatable=True, hidden=hidden)


def value(names: str, metavar: str, help: str, parse: Parser, default: object = None, *, hidden: bool = False) -> Flag:
    return Flag(names, metavar, help, parse, default, hidden=hidden)


class Options:
    """What a command line gave: flags by their long names, and the arguments after them."""

    def __init__(self, flags: Sequence[Flag]) -> None:
        self._flags = {flag.name: flag for flag in flags}
        self._values: dict[str, Any] = {}
        self.arguments: list[str] = []

    def given(self, name: str) -> bool:
        return self._flags[name].name in self._values

    def get(self, name: str) -> Any:
        """The value that the flag's `parse` made, or its default."""
        flag = self._flags[name]
        return self._values.get(name, flag.default)

    def on(self, name: str) -> bool:
        return bool(self.get(name))

    def text(self, name: str) -> str:
        return str(self.get(name))

    def number(self, name: str) -> int:
        return int(self.get(name))

    def words(self, name: str) -> list[Any]:
        return list(self.get(name))

    def set(self, flag: Flag, word: str) -> None:
        """Take one word for a flag. Raises FlagError."""
        try:
            parsed = flag.parse(word)
        except ValueError as error:
            raise FlagError(f'invalid argument "{word}" for "{flag.title}" flag: {error}') from None
        if flag.repeatable:
            self._values.setdefault(flag.name, []).append(parsed)
        else:
            self._values[flag.name] = parsed


def parse(flags: Sequence[Flag], argv: Sequence[str], *, interspersed: bool = True) -> Options:
    """Parse a command line. Without `interspersed` the first argument ends the flags. Raises FlagError."""
    return _Parse(flags, argv, interspersed).run()


class _Parse:
    def __init__(self, flags: Sequence[Flag], argv: Sequence[str], interspersed: bool) -> None:
        self._long = {name: flag for flag in flags for name in (flag.name, *flag.aliases)}
        self._short = {flag.short: flag for flag in flags if flag.short}
        self._rest: Iterator[str] = iter(argv)
        self._interspersed = interspersed
        self._options = Options(flags)

    def run(self) -> Options:
        arguments = self._options.arguments
        for word in self._rest:
            if word == "--":
                break
            if word.startswith("--"):
                self._take_long(word)
            elif word.startswith("-") and word != "-":
                self._take_short(word)
            else:
                arguments.append(word)
                if not self._interspersed:
                    break
        arguments.extend(self._rest)
        return self._options

    def _take_long(self, word: str) -> None:
        name, separator, given = word[2:].partition("=")
        if not name or name.startswith("-"):
            raise FlagError(f"bad flag syntax: {word}")
        flag = self._long.get(name)
        if flag is None:
            raise FlagError(f"unknown flag: --{name}")
        if not separator:
            given = "true" if flag.is_switch else self._next(f"--{name}")
        self._options.set(flag, given)

    def _take_short(self, word: str) -> None:
        letters = word[1:]
        while letters:
            where = f"'{letters[0]}' in -{letters}"
            letter, letters = letters[0], letters[1:]
            flag = self._short.get(letter)
            if flag is None:
                raise FlagError(f"unknown shorthand flag: {where}")
            if letters.startswith("=") and len(letters) > 1:
                given, letters = letters[1:], ""
            elif flag.is_switch:
                given = "true"
            elif letters:
                given, letters = letters, ""
            else:
                given = self._next(where)
            self._options.set(flag, given)

    def _next(self, where: str) -> str:
        for word in self._rest:
            return word
        raise FlagError(f"flag needs an argument: {where}")
