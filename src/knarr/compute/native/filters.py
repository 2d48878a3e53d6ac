"""Seccomp profiles of a runtime spec as classic BPF programs.

The names' numbers come from libseccomp; the program is made here and not by libseccomp, so that system calls newer
than the installed release can be named, and compiles in a few milliseconds. For each architecture a binary search
over ranges of numbers with the same verdict ends at a return or at the comparisons of arguments. Meaning, as far as
the specification leaves it open, is libseccomp's, which is the oracle in the tests:

- a rule without arguments beats those with arguments for the same system call; among the others the first wins;
- several conditions on one argument within a rule are alternatives, on different arguments all must hold;
- 32-bit architectures (x32 too) compare the low halves of arguments;
- other architectures than those listed (and the native one) kill the thread.
"""

from __future__ import annotations

import errno
import os
import struct

from knarr.compute.spec import Seccomp, SeccompArg, SeccompSyscall
from knarr.errors import InvalidParameter
from knarr.kernel import seccomp
from knarr.light import NamedTuple, encode_json

ACTIONS = {
    "SCMP_ACT_KILL": seccomp.RET_KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": seccomp.RET_KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": seccomp.RET_KILL_PROCESS,
    "SCMP_ACT_TRAP": seccomp.RET_TRAP,
    "SCMP_ACT_ERRNO": seccomp.RET_ERRNO,
    "SCMP_ACT_TRACE": seccomp.RET_TRACE,
    "SCMP_ACT_LOG": seccomp.RET_LOG,
    "SCMP_ACT_NOTIFY": seccomp.RET_USER_NOTIF,
    "SCMP_ACT_ALLOW": seccomp.RET_ALLOW,
}
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": seccomp.FLAG_TSYNC,
    "SECCOMP_FILTER_FLAG_LOG": seccomp.FLAG_LOG,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": seccomp.FLAG_SPEC_ALLOW,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": seccomp.FLAG_WAIT_KILLABLE_RECV,
}
OPERATORS = frozenset(
    {
        "SCMP_CMP_NE",
        "SCMP_CMP_LT",
        "SCMP_CMP_LE",
        "SCMP_CMP_EQ",
        "SCMP_CMP_GE",
        "SCMP_CMP_GT",
        "SCMP_CMP_MASKED_EQ",
    }
)
_MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS


class _Architecture(NamedTuple):
    """`audit` is what the kernel reports; x32 shares it with x86_64 and is told apart by a bit of the number."""

    audit: int
    x32: bool = False
    narrow: bool = False


ARCHITECTURES = {
    "SCMP_ARCH_X86_64": _Architecture(seccomp.AUDIT_ARCH_X86_64),
    "SCMP_ARCH_X86": _Architecture(seccomp.AUDIT_ARCH_I386, narrow=True),
    "SCMP_ARCH_X32": _Architecture(seccomp.AUDIT_ARCH_X86_64, x32=True, narrow=True),
    "SCMP_ARCH_AARCH64": _Architecture(seccomp.AUDIT_ARCH_AARCH64),
    "SCMP_ARCH_ARM": _Architecture(seccomp.AUDIT_ARCH_ARM, narrow=True),
}
_NATIVE = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}[os.uname().machine]

# i386 programs reach these through another call too, whose first argument is the number (<linux/net.h>, <linux/ipc.h>).
_MULTIPLEXED = {
    "socket": ("socketcall", 1),
    "bind": ("socketcall", 2),
    "connect": ("socketcall", 3),
    "listen": ("socketcall", 4),
    "accept": ("socketcall", 5),
    "getsockname": ("socketcall", 6),
    "getpeername": ("socketcall", 7),
    "socketpair": ("socketcall", 8),
    "send": ("socketcall", 9),
    "recv": ("socketcall", 10),
    "sendto": ("socketcall", 11),
    "recvfrom": ("socketcall", 12),
    "shutdown": ("socketcall", 13),
    "setsockopt": ("socketcall", 14),
    "getsockopt": ("socketcall", 15),
    "sendmsg": ("socketcall", 16),
    "recvmsg": ("socketcall", 17),
    "accept4": ("socketcall", 18),
    "recvmmsg": ("socketcall", 19),
    "sendmmsg": ("socketcall", 20),
    "semop": ("ipc", 1),
    "semget": ("ipc", 2),
    "semctl": ("ipc", 3),
    "semtimedop": ("ipc", 4),
    "msgsnd": ("ipc", 11),
    "msgrcv": ("ipc", 12),
    "msgget": ("ipc", 13),
    "msgctl": ("ipc", 14),
    "shmat": ("ipc", 21),
    "shmdt": ("ipc", 22),
    "shmget": ("ipc", 23),
    "shmctl": ("ipc", 24),
}

# struct seccomp_data, and the opcodes that are used of <linux/bpf_common.h>
_DATA_NR = 0
_DATA_ARCH = 4
_DATA_ARGS = 16
_LOAD = 0x20
_AND = 0x54
_JUMP = 0x05
_JUMP_EQUAL = 0x15
_JUMP_GREATER = 0x25
_JUMP_GREATER_EQUAL = 0x35
_RETURN = 0x06

_programs: dict[bytes, bytes] = {}


def compile(profile: Seccomp) -> bytes:
    """The program for `profile`, from a cache if it has been made before.

    Raises InvalidParameter for what the profile gets wrong, OSError without libseccomp.
    """
    key = encode_json(profile)
    program = _programs.get(key)
    if program is None:
        program = _programs[key] = _Compiler(profile).program()
    return program


def flags(profile: Seccomp) -> int:
    """seccomp(2)'s flags for `profile`; without any the speculation mitigation is left as it is (SPEC_ALLOW)."""
    result = 0 if profile.flags else seccomp.FLAG_SPEC_ALLOW
    for name in profile.flags:
        if name not in FLAGS:
            raise InvalidParameter(f"unknown seccomp flag: {name}")
        result |= FLAGS[name]
    if not any(rule.action == "SCMP_ACT_NOTIFY" for rule in profile.syscalls):
        result &= ~seccomp.FLAG_WAIT_KILLABLE_RECV  # without a listener the kernel refuses it
    return result


def notifies(profile: Seccomp) -> bool:
    """Whether system calls wait for a listener's answer. Raises InvalidParameter for what can never be answered."""
    if profile.default_action == "SCMP_ACT_NOTIFY":
        raise InvalidParameter("SCMP_ACT_NOTIFY cannot be used as default action")
    names = {name for rule in profile.syscalls if rule.action == "SCMP_ACT_NOTIFY" for name in rule.names}
    if "write" in names:  # by which the listener is told of
        raise InvalidParameter("SCMP_ACT_NOTIFY cannot be used for the write syscall")
    if names and not profile.listener_path:
        raise InvalidParameter("seccomp: SCMP_ACT_NOTIFY needs a listenerPath")
    return bool(names)


def _verdict(action: str, errno_ret: int | None) -> int:
    if action not in ACTIONS:
        raise InvalidParameter(f"seccomp action {action} is not supported")
    value = ACTIONS[action]
    if action in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"):
        return value | ((errno.EPERM if errno_ret is None else errno_ret) & 0xFFFF)
    return value


class _Condition(NamedTuple):
    """A comparison of argument number `argument`; `narrow` for its low 32 bits alone."""

    argument: int
    operator: str
    value: int
    value_two: int = 0
    narrow: bool = False


class _Rule(NamedTuple):
    """A verdict under conditions (all must hold)."""

    verdict: int
    conditions: tuple[_Condition, ...]


class _Range(NamedTuple):
    """From number `start` up to the next range's: the first rule that holds decides, else `verdict`."""

    start: int
    verdict: int
    rules: tuple[_Rule, ...] = ()


class _Compiler:
    """One compilation. Instructions are made from the last to the first, so that every jump's target exists already."""

    def __init__(self, profile: Seccomp) -> None:
        self._default = _verdict(profile.default_action, profile.default_errno_ret)
        self._answers_enosys = profile.default_errno_ret is None and self._default not in (
            seccomp.RET_ALLOW,
            seccomp.RET_LOG,
        )
        self._calls = profile.syscalls
        names = dict.fromkeys([_NATIVE, *profile.architectures])
        unknown = [name for name in names if name not in ARCHITECTURES]
        if unknown:
            raise InvalidParameter(f"seccomp architecture {unknown[0]} is not supported")
        self._architectures = [ARCHITECTURES[name] for name in names]
        self._reversed: list[tuple[int, int, int, int]] = []
        self._returns: dict[int, int] = {}

    def program(self) -> bytes:
        """Compile."""
        after = self._return(seccomp.RET_KILL_THREAD)
        for audit in dict.fromkeys(architecture.audit for architecture in self._architectures):
            entry = self._numbers(audit)
            after = self._jump(_JUMP_EQUAL, audit, entry, after)
        self._emit(_LOAD, 0, 0, _DATA_ARCH)
        if len(self._reversed) > _MAX_INSTRUCTIONS:
            raise InvalidParameter("seccomp profile is too large for the kernel")
        return b"".join(struct.pack("<HBBI", *one) for one in reversed(self._reversed))

    def _numbers(self, audit: int) -> int:
        """The part for one audit architecture: x86_64 and x32 are two tables there, split by the number."""
        tables = {one.x32: self._table(one) for one in self._architectures if one.audit == audit}
        if audit == seccomp.AUDIT_ARCH_X86_64:
            skipped = _Range(0xFFFFFFFF, self._default)  # -1 is what a tracer puts in for "no system call"
            high = tables.get(True, [_Range(seccomp.X32_BIT, seccomp.RET_KILL_THREAD), skipped])
            low = tables.get(False, [_Range(0, seccomp.RET_KILL_THREAD)])
            ranges = low + [one._replace(start=max(one.start, seccomp.X32_BIT)) for one in high]
        else:
            ranges = tables[False]
        entry = self._search(ranges)
        if entry != len(self._reversed) - 1:
            entry = self._emit(_JUMP, 0, 0, len(self._reversed) - entry - 1)
        return self._emit(_LOAD, 0, 0, _DATA_NR)

    def _table(self, architecture: _Architecture) -> list[_Range]:
        """The decisions for one table of numbers; the last range is open-ended."""
        known: dict[int, list[_Rule]] = {}
        for call in self._calls:
            verdict = _verdict(call.action, call.errno_ret)
            alternatives = _alternatives(call, architecture.narrow)
            for name in call.names:
                number = seccomp.number(architecture.audit, architecture.x32, name)
                if number is not None:
                    known.setdefault(number, []).extend(_Rule(verdict, one) for one in alternatives)
                if architecture.audit == seccomp.AUDIT_ARCH_I386 and name in _MULTIPLEXED and not call.args:
                    multiplexer, argument = _MULTIPLEXED[name]
                    number = seccomp.number(architecture.audit, False, multiplexer)
                    assert number is not None
                    condition = _Condition(0, "SCMP_CMP_EQ", argument, narrow=True)
                    known.setdefault(number, []).append(_Rule(verdict, (condition,)))
        beyond = self._default
        if self._answers_enosys and known:
            beyond = seccomp.RET_ERRNO | errno.ENOSYS
        return _ranges(known, self._default, beyond)

    def _search(self, ranges: list[_Range]) -> int:
        if len(ranges) == 1:
            return self._decide(ranges[0].verdict, ranges[0].rules)
        middle = len(ranges) // 2
        high = self._search(ranges[middle:])
        low = self._search(ranges[:middle])
        return self._jump(_JUMP_GREATER_EQUAL, ranges[middle].start, high, low)

    def _decide(self, verdict: int, rules: tuple[_Rule, ...]) -> int:
        """The first rule whose conditions all hold gives the verdict, else it is `verdict`."""
        position = self._return(verdict)
        for rule in reversed(rules):
            matched = self._return(rule.verdict)
            failed = position
            position = matched
            for condition in reversed(rule.conditions):
                position = self._condition(condition, position, failed)
        return position

    def _condition(self, condition: _Condition, yes: int, no: int) -> int:
        """A comparison of an argument, both halves."""
        argument, operator, value, value_two, narrow = condition
        if operator in ("SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE"):
            opposite = {"NE": "EQ", "LT": "GE", "LE": "GT"}[operator[-2:]]
            yes, no, operator = no, yes, f"SCMP_CMP_{opposite}"
        mask = value if operator == "SCMP_CMP_MASKED_EQ" else (1 << 64) - 1
        wanted = value_two & mask if operator == "SCMP_CMP_MASKED_EQ" else value
        offset = _DATA_ARGS + 8 * argument
        opcode = {"GE": _JUMP_GREATER_EQUAL, "GT": _JUMP_GREATER}.get(operator[-2:], _JUMP_EQUAL)
        low = self._half(offset, opcode, mask & 0xFFFFFFFF, wanted & 0xFFFFFFFF, yes, no)
        if narrow:
            return low
        if opcode == _JUMP_EQUAL:
            return self._half(offset + 4, _JUMP_EQUAL, mask >> 32, wanted >> 32, low, no)
        equal = self._jump(_JUMP_EQUAL, wanted >> 32, low, no)
        self._jump(_JUMP_GREATER, wanted >> 32, yes, equal)
        return self._emit(_LOAD, 0, 0, offset + 4)

    def _half(self, offset: int, opcode: int, mask: int, wanted: int, yes: int, no: int) -> int:
        self._jump(opcode, wanted, yes, no)
        if mask != 0xFFFFFFFF:
            self._emit(_AND, 0, 0, mask)
        return self._emit(_LOAD, 0, 0, offset)

    def _return(self, verdict: int) -> int:
        """A return of `verdict`, one nearby if there is one. Positions count from the program's end."""
        position = self._returns.get(verdict)
        if position is None or len(self._reversed) - position > 200:
            position = self._returns[verdict] = self._emit(_RETURN, 0, 0, verdict)
        return position

    def _jump(self, opcode: int, value: int, yes: int, no: int) -> int:
        """A conditional jump; the eight bits of its offsets are helped by unconditional ones where too small."""
        if len(self._reversed) - yes - 1 > 250:
            yes = self._emit(_JUMP, 0, 0, len(self._reversed) - yes - 1)
        if len(self._reversed) - no - 1 > 250:
            no = self._emit(_JUMP, 0, 0, len(self._reversed) - no - 1)
        here = len(self._reversed)
        return self._emit(opcode, here - yes - 1, here - no - 1, value)

    def _emit(self, code: int, yes: int, no: int, value: int) -> int:
        self._reversed.append((code, yes, no, value))
        return len(self._reversed) - 1


def _alternatives(call: SeccompSyscall, narrow: bool) -> list[tuple[_Condition, ...]]:
    """The sets of conditions under which a rule holds; one empty set for a rule without any."""
    conditions = [_checked(arg, narrow) for arg in call.args]
    if len({condition.argument for condition in conditions}) != len(conditions):
        return [(condition,) for condition in conditions]
    return [tuple(conditions)]


def _checked(arg: SeccompArg, narrow: bool) -> _Condition:
    if not 0 <= arg.index <= 5:
        raise InvalidParameter(f"invalid seccomp argument index: {arg.index}")
    if arg.op not in OPERATORS:
        raise InvalidParameter(f"invalid seccomp operator: {arg.op}")
    return _Condition(arg.index, arg.op, arg.value, arg.value_two, narrow)


def _ranges(known: dict[int, list[_Rule]], default: int, beyond: int) -> list[_Range]:
    """Neighbouring numbers with the same decision joined; `beyond` is for numbers above all known ones."""
    result: list[_Range] = [_Range(0, default)]

    def add(one: _Range) -> None:
        if result[-1].start == one.start:
            result.pop()
        if not result or result[-1][1:] != one[1:]:
            result.append(one)

    for number in sorted(known):
        plain = [rule for rule in known[number] if not rule.conditions]
        add(_Range(number, plain[0].verdict) if plain else _Range(number, default, tuple(known[number])))
        add(_Range(number + 1, default))
    if known:
        add(_Range(max(known) + 1, beyond))
    return result
