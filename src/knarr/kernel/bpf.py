"""Extended BPF: programs for cgroup v2's device control (bpf(2), BPF_PROG_TYPE_CGROUP_DEVICE)."""

from __future__ import annotations

import ctypes
import os
import struct

from knarr.kernel import syscalls
from knarr.kernel.syscalls import syscall

_PROG_LOAD = 5
_PROG_ATTACH = 8
_PROG_TYPE_CGROUP_DEVICE = 15
_CGROUP_DEVICE = 6
_F_ALLOW_MULTI = 2

# struct bpf_cgroup_dev_ctx: access_type (access << 16 | type), major, minor, 32 bits each
CONTEXT_ACCESS_TYPE = 0
CONTEXT_MAJOR = 4
CONTEXT_MINOR = 8

ACCESS = {"m": 1, "r": 2, "w": 4}
BLOCK = 1
CHARACTER = 2


def instruction(code: int, target: int = 0, source: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    """struct bpf_insn."""
    return struct.pack("<BBhi", code, source << 4 | target, offset, immediate)


def load_context(register: int, offset: int) -> bytes:
    """register = *(u32 *)(r1 + offset)"""
    return instruction(0x61, register, 1, offset)


def move(register: int, value: int) -> bytes:
    """register = value"""
    return instruction(0xB7, register, immediate=value)


def move_register(register: int, source: int) -> bytes:
    """(u32) register = source"""
    return instruction(0xBC, register, source)


def and_value(register: int, value: int) -> bytes:
    """(u32) register &= value"""
    return instruction(0x54, register, immediate=value)


def shift_right(register: int, bits: int) -> bytes:
    """(u32) register >>= bits"""
    return instruction(0x74, register, immediate=bits)


def jump_unequal(register: int, value: int, offset: int) -> bytes:
    """if (register != value) skip `offset` instructions"""
    return instruction(0x55, register, offset=offset, immediate=value)


def jump_equal(register: int, value: int, offset: int) -> bytes:
    """if (register == value) skip `offset` instructions"""
    return instruction(0x15, register, offset=offset, immediate=value)


def leave() -> bytes:
    """return r0"""
    return instruction(0x95)


class _LoadAttributes(ctypes.Structure):
    _fields_ = [
        ("prog_type", ctypes.c_uint32),
        ("insn_cnt", ctypes.c_uint32),
        ("insns", ctypes.c_uint64),
        ("license", ctypes.c_uint64),
        ("log_level", ctypes.c_uint32),
        ("log_size", ctypes.c_uint32),
        ("log_buf", ctypes.c_uint64),
        ("kern_version", ctypes.c_uint32),
        ("prog_flags", ctypes.c_uint32),
    ]


class _AttachAttributes(ctypes.Structure):
    _fields_ = [
        ("target_fd", ctypes.c_uint32),
        ("attach_bpf_fd", ctypes.c_uint32),
        ("attach_type", ctypes.c_uint32),
        ("attach_flags", ctypes.c_uint32),
    ]


def _load_device_program(program: bytes) -> int:
    code = ctypes.create_string_buffer(program, len(program))
    licence = ctypes.create_string_buffer(b"Apache")
    attributes = _LoadAttributes(
        prog_type=_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt=len(program) // 8,
        insns=ctypes.addressof(code),
        license=ctypes.addressof(licence),
    )
    return syscall(syscalls.SYS_bpf, _PROG_LOAD, ctypes.byref(attributes), ctypes.sizeof(attributes))


def attach_device_program(cgroup_fd: int, program: bytes) -> None:
    """Let `program` decide on device access of the cgroup's members, beside programs of groups above.

    It stays until the group is removed. Raises OSError: EINVAL for a program that the verifier refuses, EPERM.
    """
    fd = _load_device_program(program)
    try:
        attributes = _AttachAttributes(cgroup_fd, fd, _CGROUP_DEVICE, _F_ALLOW_MULTI)
        syscall(syscalls.SYS_bpf, _PROG_ATTACH, ctypes.byref(attributes), ctypes.sizeof(attributes))
    finally:
        os.close(fd)
