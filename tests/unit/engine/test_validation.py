from __future__ import annotations

from typing import Any

import pytest

from knarr.engine.config import (
    CreateBody,
    EndpointIPAMConfig,
    EndpointSettings,
    HealthConfig,
    HostConfig,
    NetworkingConfig,
    Resources,
    RestartPolicy,
    Ulimit,
    UpdateBody,
    WeightDevice,
)
from knarr.engine.host_facts import HostFacts, parse_list
from knarr.engine.validation import validate_create, validate_update
from knarr.errors import InvalidParameter
from knarr.kernel.cgroups import Hierarchies

FACTS = HostFacts(
    hierarchies=Hierarchies("v1", {}, None),
    cpu_count=2,
    cpus="0-1",
    nodes="0",
    swap_limit=True,
    swappiness=True,
    oom_kill_disable=True,
    realtime=True,
    block_weight=True,
)
POOR = FACTS._replace(swap_limit=False, swappiness=False, oom_kill_disable=False, realtime=False, block_weight=False)
MIB = 1 << 20


def check(host: dict[str, Any], *, facts: HostFacts = FACTS, **config: Any) -> list[str]:
    return validate_create(CreateBody(host_config=HostConfig(**host), **config), facts)


def test_a_plain_request_is_fine() -> None:
    assert validate_create(CreateBody(image="x", cmd=["true"]), FACTS) == []


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ({"memory": 5 * MIB}, "Minimum memory limit allowed is 6MB"),
        ({"memory": -1}, "Minimum memory limit allowed is 6MB"),
        ({"memory": 10 * MIB, "memory_swap": 5 * MIB}, "Minimum memoryswap limit should be larger than memory limit"),
        ({"memory_swap": 50 * MIB}, "You should always set the Memory limit when using Memoryswap limit, see usage"),
        ({"memory_reservation": 1024}, "Minimum memory reservation allowed is 6MB"),
        ({"memory": 10 * MIB, "memory_reservation": 20 * MIB}, "can not be less than memory reservation limit"),
        ({"memory_swappiness": 200}, "Invalid value: 200, valid memory swappiness range is 0-100"),
        ({"nano_cpus": 3 * 10**9}, "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available"),
        ({"nano_cpus": -5}, "range of CPUs is from 0.01 to 2.00"),
        ({"nano_cpus": 10**9, "cpu_period": 1000}, "conflicting options: Nano CPUs and CPU Period cannot both be set"),
        ({"nano_cpus": 10**9, "cpu_quota": 1000}, "conflicting options: Nano CPUs and CPU Quota cannot both be set"),
        ({"cpu_period": 10}, "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"),
        ({"cpu_quota": 10}, "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
        ({"cpu_shares": -5}, "shares: invalid argument"),
        ({"cpuset_cpus": "5"}, "Requested CPUs are not available - requested 5, available: 0-1"),
        ({"cpuset_cpus": "x"}, "Invalid value x for cpuset cpus: invalid format: x"),
        ({"cpuset_cpus": "0-"}, "Invalid value 0- for cpuset cpus"),
        ({"cpuset_mems": "3"}, "Requested memory nodes are not available - requested 3, available: 0"),
        ({"cpu_realtime_runtime": 10, "cpu_realtime_period": 5}, "runtime cannot be higher than cpu real-time period"),
        ({"blkio_weight": 5}, "Range of blkio weight is from 10 to 1000"),
        ({"blkio_weight_device": [WeightDevice(path="/dev/x", weight=5)]}, "Range of blkio weight is from 10 to 1000"),
        ({"io_maximum_iops": 5}, "linux does not support Maximum IO IOps"),
        ({"ipc_mode": "foo"}, "invalid IPC mode: foo"),
        ({"ipc_mode": "container:"}, "invalid IPC mode: container:"),
        ({"pid_mode": "foo"}, "invalid PID mode: foo"),
        ({"uts_mode": "container:x"}, "invalid UTS mode: container:x"),
        ({"userns_mode": "foo"}, "invalid USER mode: foo"),
        ({"cgroupns_mode": "foo"}, "invalid cgroup namespace mode: foo"),
        ({"network_mode": "container:"}, "invalid container format container:<name|id>"),
        ({"oom_score_adj": 2000}, "Invalid value 2000, range for oom score adj is [-1000, 1000]"),
        ({"shm_size": -1}, "SHM size can not be less than 0"),
        ({"isolation": "hyperv"}, "linux only supports 'default'"),
        ({"restart_policy": RestartPolicy(name="foo")}, "unknown policy 'foo'"),
        (
            {"restart_policy": RestartPolicy(name="on-failure", maximum_retry_count=-1)},
            "maximum retry count cannot be negative",
        ),
        (
            {"restart_policy": RestartPolicy(name="always", maximum_retry_count=3)},
            "maximum retry count can only be used with 'on-failure'",
        ),
        (
            {"restart_policy": RestartPolicy(name="always"), "auto_remove": True},
            "can't create 'AutoRemove' container with restart policy",
        ),
        ({"cap_add": ["foo"]}, 'invalid CapAdd: unknown capability: "CAP_FOO"'),
        ({"cap_drop": ["foo"], "privileged": True}, 'invalid CapDrop: unknown capability: "CAP_FOO"'),
        ({"security_opt": ["foo=bar"]}, 'invalid --security-opt 2: "foo=bar"'),
        ({"security_opt": ["seccomp={"]}, "Decoding seccomp profile failed"),
        ({"extra_hosts": ["x"]}, 'bad format for add-host: "x"'),
        ({"extra_hosts": ["a:b"]}, 'invalid IP address in add-host: "b"'),
        ({"dns": ["x"]}, "IP address is not correctly formatted: x"),
        ({"dns_search": ["a\nb"]}, "invalid DNS search domain or option"),
        ({"ulimits": [Ulimit(name="foo")]}, "invalid ulimit type: foo"),
        ({"device_cgroup_rules": ["x"]}, "invalid device cgroup rule format: 'x'"),
        ({"cgroup_parent": "../x"}, "invalid cgroup parent: ../x"),
        ({"storage_opt": {"size": "1G"}}, "--storage-opt is supported only for overlay over xfs"),
    ],
)
def test_impossible_host_configs(host: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        check(host)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"env": ["=x"]}, "invalid environment variable: =x"),
        ({"env": [""]}, "invalid environment variable: "),
        ({"cmd": ["a\0b"]}, "NUL character"),
        ({"working_dir": "rel"}, "the working directory 'rel' is invalid, it needs to be an absolute path"),
        ({"hostname": "a" * 65}, "invalid hostname: aaa"),
        ({"hostname": "a b"}, "invalid hostname: a b"),
        ({"domainname": "a\nb"}, "invalid domain name"),
        ({"mac_address": "zz"}, "invalid MAC address: zz"),
        ({"stop_signal": "FOO"}, "invalid signal: FOO"),
        ({"exposed_ports": {"99999/tcp": {}}}, "invalid port specification"),
        ({"healthcheck": HealthConfig(interval=5)}, "Interval in Healthcheck cannot be less than 1ms"),
        ({"healthcheck": HealthConfig(retries=-1)}, "Retries in Healthcheck cannot be negative"),
        ({"healthcheck": HealthConfig(test=["FOO"])}, "unknown type in Healthcheck"),
    ],
)
def test_impossible_configs(config: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        check({}, **config)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("host", "config", "words"),
    [
        ({"port_bindings": {"80/tcp": []}}, {}, "port publishing and the container type network mode"),
        ({"publish_all_ports": True}, {}, "port publishing and the container type network mode"),
        ({}, {"hostname": "h"}, "hostname and the network mode"),
        ({"dns": ["1.1.1.1"]}, {}, "dns and the network mode"),
        ({"extra_hosts": ["a:1.1.1.1"]}, {}, "custom host-to-IP mapping and the network mode"),
        ({"links": ["a"]}, {}, "container type network can't be used with links"),
        ({}, {"mac_address": "00:11:22:33:44:55"}, "mac-address and the network mode"),
        ({}, {"exposed_ports": {"80/tcp": {}}}, "port exposing and the container type network mode"),
    ],
)
def test_a_joined_network_brings_its_own(host: dict[str, Any], config: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidParameter, match=f"conflicting options: {words}"):
        check({"network_mode": "container:x", **host}, **config)


def test_the_hosts_name_cannot_be_changed() -> None:
    with pytest.raises(InvalidParameter, match="conflicting options: hostname and the UTS mode"):
        check({"uts_mode": "host"}, hostname="h")


def test_ports_on_the_hosts_network_are_warned_of() -> None:
    assert check({"network_mode": "host", "publish_all_ports": True}) == [
        "Published ports are discarded when using host network mode"
    ]


def test_fixed_addresses_and_aliases_need_another_network() -> None:
    for settings, words in (
        (EndpointSettings(ipam_config=EndpointIPAMConfig(ipv4_address="1.2.3.4")), "user specified IP address"),
        (EndpointSettings(aliases=["a"]), "network-scoped aliases"),
    ):
        body = CreateBody(networking_config=NetworkingConfig(endpoints_config={"bridge": settings}))
        with pytest.raises(InvalidParameter, match=words):
            validate_create(body, FACTS)


@pytest.mark.parametrize(("member", "text"), [("ipv6_address", "10.0.0.1"), ("ipv4_address", "fd00::5")])
def test_addresses_are_of_their_version(member: str, text: str) -> None:
    settings = EndpointSettings(ipam_config=EndpointIPAMConfig(**{member: text}))
    body = CreateBody(networking_config=NetworkingConfig(endpoints_config={"mine": settings}))
    with pytest.raises(InvalidParameter, match=rf"invalid IPv[46] address: {text}"):
        validate_create(body, FACTS)


def test_what_the_host_lacks_is_taken_out_with_a_warning() -> None:
    host = HostConfig(memory=10 * MIB, memory_swappiness=5, oom_kill_disable=True, blkio_weight=100, cpu_percent=5)
    warnings = validate_create(CreateBody(host_config=host), POOR)
    assert len(warnings) == 5
    assert "Memory limited without swap." in warnings[0]
    assert (host.memory_swap, host.memory_swappiness, host.oom_kill_disable) == (-1, None, None)
    assert (host.blkio_weight, host.cpu_percent) == (0, 0)


def test_no_real_time() -> None:
    with pytest.raises(InvalidParameter, match="Your kernel does not support CPU real-time scheduler"):
        check({"cpu_realtime_period": 1000}, facts=POOR)


def test_disabling_the_oom_killer_without_a_limit_is_warned_of() -> None:
    assert "no memory limit is set" in check({"oom_kill_disable": True})[0]


def test_updates() -> None:
    assert validate_update(UpdateBody(memory_swap=50 * MIB), HostConfig(memory=10 * MIB), FACTS) == []
    with pytest.raises(InvalidParameter, match="update the memoryswap at the same time"):
        validate_update(Resources(memory=50 * MIB), HostConfig(memory=10 * MIB, memory_swap=20 * MIB), FACTS)
    with pytest.raises(InvalidParameter, match="CPU Period cannot be updated as NanoCPUs has already been set"):
        validate_update(Resources(cpu_period=5000), HostConfig(nano_cpus=10**9), FACTS)
    with pytest.raises(InvalidParameter, match="NanoCPUs cannot be updated as CPU Quota has already been set"):
        validate_update(Resources(nano_cpus=10**9), HostConfig(cpu_quota=5000), FACTS)


def test_lists_of_numbers() -> None:
    assert parse_list("0-2,5") == {0, 1, 2, 5}
    for text in ("", "1-0", "a", "0,", "-1", "0-99999999"):
        with pytest.raises(ValueError, match=r".*"):
            parse_list(text)
