"""Resources of a runtime spec as writes to control files, for v1 and v2 controllers; device rules as a program.

Pure: which files exist is not looked at. Sources: config-linux.md of the runtime specification, the kernel's
cgroup-v1/ and cgroup-v2.rst. A controller counts as v1 where the host has mounted it as such (also on hybrid hosts).
"""

from __future__ import annotations

from knarr.compute.native.plan import CgroupWrite
from knarr.compute.spec import BlockIO, Cpu, DeviceRule, HugepageLimit, Memory, Network, Rdma, Resources
from knarr.errors import InvalidParameter
from knarr.kernel import bpf
from knarr.kernel.cgroups import Hierarchies

_DEFAULT_PERIOD = 100000


def writes(resources: Resources, hierarchies: Hierarchies, *, update: bool = False) -> list[CgroupWrite]:
    """The control files to write, in order. `update` leaves device rules alone and copes with limits already set.

    Raises InvalidParameter for what this host's hierarchies cannot limit.
    """

    def is_v1(controller: str) -> bool:
        return controller in hierarchies.controllers

    result: list[CgroupWrite] = []
    if is_v1("devices") and not update:
        result += _devices_v1(resources.devices)
    if resources.memory is not None:
        result += _memory_v1(resources.memory, update) if is_v1("memory") else _memory_v2(resources.memory)
    if resources.cpu is not None:
        result += _cpu_v1(resources.cpu, update) if is_v1("cpu") else _cpu_v2(resources.cpu)
        result += _cpuset(resources.cpu)
    if resources.pids is not None:
        limit = resources.pids.limit
        result.append(CgroupWrite("pids", "pids.max", str(limit) if limit > 0 else "max"))
    if resources.block_io is not None:
        result += _block_v1(resources.block_io) if is_v1("blkio") else _block_v2(resources.block_io)
    for huge in resources.hugepage_limits:
        result += _hugepages(huge, is_v1("hugetlb"))
    if resources.network is not None:
        result += _network(resources.network, hierarchies)
    for device, wanted in resources.rdma.items():
        result.append(CgroupWrite("rdma", "rdma.max", _rdma(device, wanted)))
    return result + _unified(resources.unified, hierarchies)


def _devices_v1(rules: list[DeviceRule]) -> list[CgroupWrite]:
    """devices.rst: "a" alone clears the list of exceptions."""
    return [
        CgroupWrite("devices", "devices.allow" if rule.allow else "devices.deny", _device_text(rule)) for rule in rules
    ]


def _device_text(rule: DeviceRule) -> str:
    if rule.type in (None, "a"):
        return "a"
    major = "*" if rule.major is None or rule.major < 0 else str(rule.major)
    minor = "*" if rule.minor is None or rule.minor < 0 else str(rule.minor)
    return f"{rule.type} {major}:{minor} {_access(rule)}"


def _access(rule: DeviceRule) -> str:
    """What it is about: r, w and m. Other letters say nothing, as with other runtimes."""
    return "".join(letter for letter in rule.access or "rwm" if letter in "rwm")


def _memory_v1(memory: Memory, update: bool) -> list[CgroupWrite]:
    """The kernel wants memory.limit <= memsw.limit at every moment: an update opens the second one first, and for good
    where the first one goes."""
    result: list[CgroupWrite] = []

    def add(file: str, value: int | None, optional: bool = False) -> None:
        if value is not None:
            result.append(CgroupWrite("memory", f"memory.{file}", str(value), optional))

    swap = -1 if update and memory.limit == -1 and memory.swap is None else memory.swap
    if update and swap and memory.limit:
        add("memsw.limit_in_bytes", -1, optional=True)
    add("use_hierarchy", None if memory.use_hierarchy is None else int(memory.use_hierarchy))
    add("limit_in_bytes", memory.limit or None)
    add("memsw.limit_in_bytes", swap or None, optional=True)
    add("soft_limit_in_bytes", memory.reservation or None)
    add("kmem.limit_in_bytes", memory.kernel or None, optional=True)
    add("kmem.tcp.limit_in_bytes", memory.kernel_tcp or None, optional=True)
    add("swappiness", memory.swappiness)
    if memory.disable_oom_killer:
        add("oom_control", 1)
    return result


def _memory_v2(memory: Memory) -> list[CgroupWrite]:
    """v2 limits swap alone where the specification's number is memory plus swap. Limits of the kernel's own memory are
    passed over, as on later kernels with v1."""
    if memory.swappiness is not None:
        raise InvalidParameter("cannot set memory swappiness with cgroup v2")
    if memory.disable_oom_killer:
        raise InvalidParameter("cannot disable OOM killer with cgroup v2")
    result: list[CgroupWrite] = []
    if memory.limit:
        result.append(CgroupWrite("memory", "memory.max", _bytes_or_max(memory.limit)))
    if memory.swap is not None and (memory.swap > 0 and memory.limit is not None and memory.limit > 0):
        result.append(CgroupWrite("memory", "memory.swap.max", str(max(0, memory.swap - memory.limit)), optional=True))
    elif memory.swap == -1 or memory.limit == -1:
        result.append(CgroupWrite("memory", "memory.swap.max", "max", optional=True))
    if memory.reservation:
        result.append(CgroupWrite("memory", "memory.low", _bytes_or_max(memory.reservation)))
    return result


def _bytes_or_max(value: int) -> str:
    return "max" if value < 0 else str(value)


def _cpu_v1(cpu: Cpu, update: bool) -> list[CgroupWrite]:
    """The kernel refuses a quota, and a period, that with the other one's present value is more than the group above
    has: an update of both tries the period before the quota, and sets it after."""
    both = bool(update and cpu.period and cpu.quota)
    both_realtime = bool(update and cpu.realtime_period and cpu.realtime_runtime)
    values = [
        ("cpu.shares", cpu.shares or None, False),
        ("cpu.rt_period_us", cpu.realtime_period or None, both_realtime),
        ("cpu.rt_runtime_us", cpu.realtime_runtime or None, False),
        ("cpu.rt_period_us", cpu.realtime_period if both_realtime else None, False),
        ("cpu.cfs_period_us", cpu.period or None, both),
        ("cpu.cfs_quota_us", cpu.quota or None, False),
        ("cpu.cfs_period_us", cpu.period if both else None, False),
        ("cpu.cfs_burst_us", cpu.burst, False),
        ("cpu.idle", cpu.idle, False),
    ]
    return [CgroupWrite("cpu", file, str(value), optional) for file, value, optional in values if value is not None]


def _cpu_v2(cpu: Cpu) -> list[CgroupWrite]:
    if cpu.realtime_period or cpu.realtime_runtime:
        raise InvalidParameter("realtime CPU limits are not supported on cgroup v2")
    result: list[CgroupWrite] = []
    if cpu.idle is not None:
        result.append(CgroupWrite("cpu", "cpu.idle", str(cpu.idle)))
    if cpu.shares and not cpu.idle:
        result.append(CgroupWrite("cpu", "cpu.weight", str(cpu_weight(cpu.shares))))
    if cpu.quota or cpu.period:
        quota = str(cpu.quota) if cpu.quota is not None and cpu.quota > 0 else "max"
        result.append(CgroupWrite("cpu", "cpu.max", f"{quota} {cpu.period or _DEFAULT_PERIOD}"))
    if cpu.burst is not None:
        result.append(CgroupWrite("cpu", "cpu.max.burst", str(cpu.burst)))
    return result


def cpu_weight(shares: int) -> int:
    """v2's weight (1 to 10000) for v1's shares (2 to 262144), so that both defaults, 1024 and 100, correspond.

    A quadratic in log2(shares) through (1, 1), (10, 100), (18, 10000), as the OCI runtimes have agreed on.
    """
    import math

    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    log = math.log2(shares)
    return math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34))


def _cpuset(cpu: Cpu) -> list[CgroupWrite]:
    values = [("cpuset.cpus", cpu.cpus), ("cpuset.mems", cpu.mems)]
    return [CgroupWrite("cpuset", file, value) for file, value in values if value]


_THROTTLES = (
    ("throttle_read_bps_device", "blkio.throttle.read_bps_device", "rbps"),
    ("throttle_write_bps_device", "blkio.throttle.write_bps_device", "wbps"),
    ("throttle_read_iops_device", "blkio.throttle.read_iops_device", "riops"),
    ("throttle_write_iops_device", "blkio.throttle.write_iops_device", "wiops"),
)


def _block_v1(block: BlockIO) -> list[CgroupWrite]:
    """Weights exist as blkio.weight (CFQ, long gone) or blkio.bfq.weight, or not at all; leaf weights were CFQ's."""
    result: list[CgroupWrite] = []
    if block.leaf_weight:
        result.append(CgroupWrite("blkio", "blkio.leaf_weight", str(block.leaf_weight)))
    for device in block.weight_device:
        if device.leaf_weight:
            text = f"{device.major}:{device.minor} {device.leaf_weight}"
            result.append(CgroupWrite("blkio", "blkio.leaf_weight_device", text))
    for prefix in ("blkio", "blkio.bfq"):
        if block.weight:
            result.append(CgroupWrite("blkio", f"{prefix}.weight", str(block.weight), optional=True))
        for device in block.weight_device:
            if device.weight:
                text = f"{device.major}:{device.minor} {device.weight}"
                result.append(CgroupWrite("blkio", f"{prefix}.weight_device", text, optional=True))
    for attribute, file, _ in _THROTTLES:
        for throttle in getattr(block, attribute):
            result.append(CgroupWrite("blkio", file, f"{throttle.major}:{throttle.minor} {throttle.rate}"))
    return result


def _block_v2(block: BlockIO) -> list[CgroupWrite]:
    if block.leaf_weight or any(device.leaf_weight for device in block.weight_device):
        raise InvalidParameter("blockIO.leafWeight is not supported on cgroup v2")
    result: list[CgroupWrite] = []
    if block.weight:
        result.append(CgroupWrite("io", "io.bfq.weight", str(block.weight), optional=True))
        weight = 1 + (block.weight - 10) * 9999 // 990
        result.append(CgroupWrite("io", "io.weight", str(weight), optional=True))
    for device in block.weight_device:
        text = f"{device.major}:{device.minor} {device.weight}"
        result.append(CgroupWrite("io", "io.bfq.weight", text, optional=True))
    for attribute, _, key in _THROTTLES:
        for throttle in getattr(block, attribute):
            result.append(CgroupWrite("io", "io.max", f"{throttle.major}:{throttle.minor} {key}={throttle.rate}"))
    return result


def _hugepages(huge: HugepageLimit, v1: bool) -> list[CgroupWrite]:
    file = "limit_in_bytes" if v1 else "max"
    value = str(huge.limit)
    return [
        CgroupWrite("hugetlb", f"hugetlb.{huge.page_size}.{file}", value),
        CgroupWrite("hugetlb", f"hugetlb.{huge.page_size}.rsvd.{file}", value, optional=True),
    ]


def _network(network: Network, hierarchies: Hierarchies) -> list[CgroupWrite]:
    """cgroup v1 alone has these (cgroup-v1/net_cls.rst, net_prio.rst)."""
    values = [("net_prio", "net_prio.ifpriomap", f"{one.name} {one.priority}") for one in network.priorities]
    if network.class_id is not None:
        values.append(("net_cls", "net_cls.classid", str(network.class_id)))
    for controller, _, _ in values:
        if controller not in hierarchies.controllers:
            raise InvalidParameter(f"cannot set {controller} limit: this host has no {controller} cgroups")
    return [CgroupWrite(controller, file, value) for controller, file, value in values]


def _rdma(device: str, wanted: Rdma) -> str:
    parts = [("hca_handle", wanted.hca_handles), ("hca_object", wanted.hca_objects)]
    return " ".join([device, *(f"{name}={value}" for name, value in parts if value is not None)])


def _unified(values: dict[str, str], hierarchies: Hierarchies) -> list[CgroupWrite]:
    if values and hierarchies.unified is None:
        raise InvalidParameter(
            "invalid configuration: unified cgroup resources need a cgroup v2 hierarchy, which this host does not have"
        )
    for file in values:
        if "/" in file or file.startswith("."):
            raise InvalidParameter(f"invalid unified cgroup resource: {file}")
        if (controller := file.partition(".")[0]) in hierarchies.controllers:
            raise InvalidParameter(f"invalid configuration: {file}: this host has {controller} in cgroup v1")
    return [CgroupWrite(file.partition(".")[0], file, value) for file, value in values.items()]


def device_program(rules: list[DeviceRule]) -> bytes | None:
    """The cgroup v2 program for device rules (the last rule that matches decides); None where nothing is denied.

    An allowing rule matches an access that it covers as a whole, a denying one any access that it touches; neighbours
    for the same device are one rule, so that "r" and "w" together allow "rw". What no rule matches is denied.
    """
    merged = _merged(rules)
    if not merged or (len(merged) == 1 and merged[0].allow and merged[0].type in (None, "a")):
        return None
    program = bpf.load_context(2, bpf.CONTEXT_ACCESS_TYPE)
    program += bpf.move_register(3, 2) + bpf.shift_right(3, 16)  # r3: the access asked for
    program += bpf.and_value(2, 0xFFFF)  # r2: the device's type
    program += bpf.load_context(4, bpf.CONTEXT_MAJOR) + bpf.load_context(5, bpf.CONTEXT_MINOR)
    for rule in reversed(merged):
        program += _device_block(rule)
        if rule.type in (None, "a"):
            return program
    return program + bpf.move(0, 0) + bpf.leave()


def _merged(rules: list[DeviceRule]) -> list[DeviceRule]:
    """Rules without what a later "all" overrides, and with the accesses of allowing rules for one device joined."""
    start = max((index for index, rule in enumerate(rules) if rule.type in (None, "a")), default=0)
    result: list[DeviceRule] = []
    run: dict[tuple[str | None, int | None, int | None], DeviceRule] = {}
    for rule in rules[start:]:
        if not rule.allow:
            run.clear()
        key = (rule.type, rule.major, rule.minor)
        earlier = run.get(key)
        if earlier is not None:
            earlier.access = _access(earlier) + _access(rule)
            continue
        copy = DeviceRule(rule.allow, rule.type, rule.major, rule.minor, rule.access)
        if rule.allow:
            run[key] = copy
        result.append(copy)
    return result


def _device_block(rule: DeviceRule) -> bytes:
    """One rule: the tests, each of which jumps behind the block, then the verdict."""
    verdict = bpf.move(0, int(rule.allow)) + bpf.leave()
    if rule.type in (None, "a"):
        return verdict
    access = 0
    for letter in _access(rule):
        access |= bpf.ACCESS[letter]
    tests: list[tuple[int, int]] = [(2, bpf.BLOCK if rule.type == "b" else bpf.CHARACTER)]
    tests += [(4, rule.major)] if rule.major is not None and rule.major >= 0 else []
    tests += [(5, rule.minor)] if rule.minor is not None and rule.minor >= 0 else []
    code = verdict
    if access != 7:
        unwanted = ~access & 7 if rule.allow else access
        jump = bpf.jump_unequal if rule.allow else bpf.jump_equal
        code = bpf.move_register(6, 3) + bpf.and_value(6, unwanted) + jump(6, 0, 2) + code
    for register, value in reversed(tests):
        code = bpf.jump_unequal(register, value, len(code) // 8) + code
    return code
