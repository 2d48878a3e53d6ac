"""Compiled profiles decide as libseccomp's programs do; both are run by a small interpreter of classic BPF."""

from __future__ import annotations

import ctypes
import itertools
import os
import random
import struct

import pytest

from knarr.compute.native import filters
from knarr.compute.spec import Seccomp, SeccompArg, SeccompSyscall
from knarr.errors import InvalidParameter
from knarr.kernel import seccomp

X86_64 = seccomp.AUDIT_ARCH_X86_64
I386 = seccomp.AUDIT_ARCH_I386
ARCHITECTURES = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
TOKENS = {"SCMP_ARCH_X86_64": 0xC000003E, "SCMP_ARCH_X86": 0x40000003, "SCMP_ARCH_X32": 0x4000003E}
OPERATORS = ["", "NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"]
ACTIONS = {
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x30000,
    "SCMP_ACT_ERRNO": 0x50001,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of x86_64")


def run(program: bytes, arch: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    """What the kernel would answer: BPF over struct seccomp_data."""
    data = struct.pack("<IIQ6Q", number, arch, 0, *(*arguments, 0, 0, 0, 0, 0, 0)[:6])
    code = list(struct.iter_unpack("<HBBI", program))
    accumulator = position = 0
    while True:
        opcode, yes, no, value = code[position]
        position += 1
        if opcode == 0x20:
            accumulator = struct.unpack_from("<I", data, value)[0]
        elif opcode == 0x54:
            accumulator &= value
        elif opcode == 0x05:
            position += value
        elif opcode == 0x06:
            return int(value)
        else:
            taken = {0x15: accumulator == value, 0x25: accumulator > value, 0x35: accumulator >= value}[opcode]
            position += yes if taken else no


class _Arg(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def oracle(profile: Seccomp) -> bytes:
    """The program that libseccomp makes of a profile."""
    lib = ctypes.CDLL("libseccomp.so.2")
    lib.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(lib.seccomp_init(ACTIONS[profile.default_action]))
    for name in profile.architectures[1:]:
        assert lib.seccomp_arch_add(context, TOKENS[name]) == 0
    for call in profile.syscalls:
        arguments = (_Arg * len(call.args))(
            *[_Arg(arg.index, OPERATORS.index(arg.op[9:]), arg.value, arg.value_two) for arg in call.args]
        )
        number = lib.seccomp_syscall_resolve_name(call.names[0].encode())
        added = lib.seccomp_rule_add_array(context, ACTIONS[call.action], number, len(call.args), arguments)
        assert added == 0, os.strerror(-added)
    fd = os.memfd_create("program")
    assert lib.seccomp_export_bpf(context, fd) == 0
    lib.seccomp_release(context)
    with open(fd, "rb") as file:
        file.seek(0)
        return file.read()


def profile_of(*calls: SeccompSyscall, default: str = "SCMP_ACT_ERRNO", narrow: bool = True) -> Seccomp:
    return Seccomp(default, 1, ARCHITECTURES if narrow else ARCHITECTURES[:1], [], list(calls))


def call(name: str, *args: SeccompArg, action: str = "SCMP_ACT_ALLOW") -> SeccompSyscall:
    return SeccompSyscall([name], action, args=list(args))


VALUES = (0, 1, 40, 0x7FFFFFFF, 0xFFFFFFFF, 0x100000000, 0x7E020000, 0xFFFFFFFFFFFFFFFF)


@pytest.mark.parametrize("operator", OPERATORS[1:])
@pytest.mark.parametrize("value", VALUES)
def test_comparisons_are_libseccomps(operator: str, value: int) -> None:
    wanted = SeccompArg(1, value, f"SCMP_CMP_{operator}", value & 0x7E000001)
    profile = profile_of(call("personality", wanted))
    ours, theirs = filters.compile(profile), oracle(profile)
    for arch, number in ((X86_64, 135), (I386, 136), (X86_64, 135 | seccomp.X32_BIT)):
        for actual in itertools.chain(VALUES, (value + 1 & 2**64 - 1, value - 1 & 2**64 - 1)):
            given = actual & 0xFFFFFFFF if arch == I386 else actual
            assert run(ours, arch, number, (5, given)) == run(theirs, arch, number, (5, given)), (arch, given)


@pytest.mark.parametrize("seed", range(6))
def test_random_profiles_are_libseccomps(seed: int) -> None:
    random_ = random.Random(seed)
    names = ["read", "write", "open", "close", "mmap", "clone", "mount", "futex", "ptrace", "kexec_load", "time", "bpf"]
    calls = []
    for name in random_.sample(names, 10):
        arguments = [
            SeccompArg(index, random_.choice(VALUES[:5]), f"SCMP_CMP_{random_.choice(OPERATORS[1:7])}")
            for index in random_.sample(range(6), random_.choice((0, 0, 1, 2)))
        ]
        calls.append(call(name, *arguments, action=random_.choice([a for a in ACTIONS if a != "SCMP_ACT_TRAP"])))
    profile = profile_of(*calls, default="SCMP_ACT_TRAP")
    ours, theirs = filters.compile(profile), oracle(profile)
    for number in range(480):
        for _ in range(3):
            given = tuple(random_.choice(VALUES[:5]) for _ in range(6))
            for arch, real in ((X86_64, number), (I386, number), (X86_64, number | seccomp.X32_BIT)):
                assert run(ours, arch, real, given) == run(theirs, arch, real, given), (arch, real, given)


def test_a_foreign_architecture_is_killed() -> None:
    program = filters.compile(profile_of(call("read"), narrow=False))
    assert run(program, X86_64, 0) == seccomp.RET_ALLOW
    assert run(program, I386, 3) == seccomp.RET_KILL_THREAD
    assert run(program, X86_64, seccomp.X32_BIT) == seccomp.RET_KILL_THREAD
    assert run(program, X86_64, 0xFFFFFFFF) == seccomp.RET_ERRNO | 1


def test_conditions_on_one_argument_are_alternatives() -> None:
    program = filters.compile(
        profile_of(call("personality", SeccompArg(0, 0, "SCMP_CMP_EQ"), SeccompArg(0, 8, "SCMP_CMP_EQ")))
    )
    allowed = [value for value in range(10) if run(program, X86_64, 135, (value,)) == seccomp.RET_ALLOW]
    assert allowed == [0, 8]


def test_socketcall_is_ruled_with_the_calls_it_stands_for() -> None:
    denied = call("connect", action="SCMP_ACT_ERRNO")
    program = filters.compile(profile_of(denied, default="SCMP_ACT_ALLOW"))
    assert run(program, I386, 362) == seccomp.RET_ERRNO | 1
    assert run(program, I386, 102, (3,)) == seccomp.RET_ERRNO | 1
    assert run(program, I386, 102, (1,)) == seccomp.RET_ALLOW


def test_arguments_are_compared_in_direct_socket_calls_of_i386() -> None:
    program = filters.compile(profile_of(call("socket", SeccompArg(0, 40, "SCMP_CMP_NE"))))
    assert run(program, I386, 359, (1,)) == seccomp.RET_ALLOW
    assert run(program, I386, 359, (40,)) == seccomp.RET_ERRNO | 1


def test_system_calls_newer_than_libseccomp_have_numbers() -> None:
    program = filters.compile(profile_of(call("fchmodat2"), call("mseal")))
    assert run(program, X86_64, 452) == seccomp.RET_ALLOW
    assert run(program, I386, 462) == seccomp.RET_ALLOW
    assert run(program, X86_64, 453) == seccomp.RET_ERRNO | 1


def test_without_a_default_errno_unknown_system_calls_do_not_exist() -> None:
    program = filters.compile(Seccomp("SCMP_ACT_ERRNO", None, ARCHITECTURES, [], [call("close_range")]))
    assert run(program, X86_64, 435) == seccomp.RET_ERRNO | 1
    assert run(program, X86_64, 436) == seccomp.RET_ALLOW
    assert run(program, X86_64, 437) == seccomp.RET_ERRNO | 38


def test_an_unknown_name_is_passed_over() -> None:
    program = filters.compile(profile_of(call("no_such_call"), call("read")))
    assert run(program, X86_64, 0) == seccomp.RET_ALLOW


def test_large_profiles_jump_far() -> None:
    many = [SeccompArg(0, value, "SCMP_CMP_EQ") for value in range(0, 400, 2)]
    program = filters.compile(profile_of(call("read", *many), call("mseal"), narrow=False))
    assert run(program, X86_64, 0, (398,)) == seccomp.RET_ALLOW
    assert run(program, X86_64, 0, (399,)) == seccomp.RET_ERRNO | 1
    assert run(program, X86_64, 462) == seccomp.RET_ALLOW


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        (Seccomp("SCMP_ACT_LUCK"), "SCMP_ACT_LUCK is not supported"),
        (Seccomp("SCMP_ACT_ALLOW", None, ["SCMP_ARCH_VAX"]), "SCMP_ARCH_VAX is not supported"),
        (profile_of(call("read", SeccompArg(6, 0, "SCMP_CMP_EQ"))), "argument index: 6"),
        (profile_of(call("read", SeccompArg(0, 0, "SCMP_CMP_SO"))), "operator: SCMP_CMP_SO"),
    ],
)
def test_what_is_wrong_is_said(profile: Seccomp, words: str) -> None:
    with pytest.raises(InvalidParameter, match=words):
        filters.compile(profile)


def test_flags() -> None:
    assert filters.flags(Seccomp("SCMP_ACT_ALLOW")) == seccomp.FLAG_SPEC_ALLOW
    assert filters.flags(Seccomp("SCMP_ACT_ALLOW", flags=["SECCOMP_FILTER_FLAG_LOG"])) == seccomp.FLAG_LOG
    with pytest.raises(InvalidParameter, match="unknown seccomp flag"):
        filters.flags(Seccomp("SCMP_ACT_ALLOW", flags=["X"]))
