"""knarrd's command line and daemon.json, through the real program."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable

import pytest
from harness import KNARRD, Daemon, StartError

NewDaemon = Callable[..., Daemon]


def knarrd(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(KNARRD), *arguments], capture_output=True, text=True, check=False, timeout=30)


def test_version() -> None:
    done = knarrd("--version")
    assert (done.returncode, done.stdout.split()[:2]) == (0, ["knarrd", "version"])


def test_a_wrong_flag() -> None:
    done = knarrd("--nosuch")
    assert done.returncode == 125
    assert "See 'knarrd --help'." in done.stderr


def test_validate_checks_and_ends(new_daemon: NewDaemon) -> None:
    path = new_daemon().directory / "daemon.json"
    path.write_text('{"mtu": 1400}')
    assert knarrd("--config-file", str(path), "--validate").stdout == "configuration OK\n"
    path.write_text('{"nosuch": 1}')
    done = knarrd("--config-file", str(path), "--validate")
    assert done.returncode == 1
    assert "the following directives don't match any configuration option: nosuch" in done.stderr


def test_a_data_root_has_one_daemon(engine_host: Daemon, new_daemon: NewDaemon) -> None:
    second = new_daemon()
    second.flags = ["--data-root", str(engine_host.data_root)]  # the last one counts
    with pytest.raises(StartError, match=r"in use by another knarrd \(process \d+\)"):
        second.start()


def test_a_socket_has_one_daemon(engine_host: Daemon, new_daemon: NewDaemon) -> None:
    second = new_daemon(hosts=[engine_host.host])
    with pytest.raises(StartError, match="another process answers there"):
        second.start()
    assert engine_host.request("GET", "/_ping")[0] == 200


def test_the_pid_file_lives_as_long_as_the_daemon(new_daemon: NewDaemon) -> None:
    daemon = new_daemon()
    pid_file = daemon.directory / "pid"
    daemon.flags = ["--pidfile", str(pid_file)]
    daemon.start()
    assert daemon.process is not None
    assert pid_file.read_text() == f"{daemon.process.pid}\n"
    assert daemon.stop() == 0
    assert not pid_file.exists()


def test_hup_reloads_labels(new_daemon: NewDaemon) -> None:
    daemon = new_daemon()
    path = daemon.directory / "daemon.json"
    path.write_text(json.dumps({"labels": ["place=here"]}))
    daemon.flags = ["--config-file", str(path)]
    daemon.start()
    assert daemon.request("GET", "/info")[1]["Labels"] == ["place=here"]
    path.write_text(json.dumps({"labels": ["place=there"], "debug": True}))
    daemon.reload()
    info = daemon.request("GET", "/info")[1]
    assert (info["Labels"], info["Debug"]) == (["place=there"], True)


def test_a_broken_file_changes_nothing_at_reload(new_daemon: NewDaemon) -> None:
    daemon = new_daemon("--label", "place=here")
    path = daemon.directory / "daemon.json"
    path.write_text("{}")
    daemon.flags += ["--config-file", str(path)]
    daemon.start()
    path.write_text("{")
    daemon.reload()
    assert "configuration not reloaded" in daemon.log
    assert daemon.request("GET", "/info")[1]["Labels"] == ["place=here"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(new_daemon: NewDaemon, number: signal.Signals) -> None:
    daemon = new_daemon()
    daemon.start()
    assert daemon.stop(number) == 0
    assert daemon.processes() == []
    assert not daemon.socket_path.exists()


def test_two_daemons_side_by_side(engine_host: Daemon, new_daemon: NewDaemon, busybox_archive: bytes) -> None:
    second = new_daemon()
    second.start()
    second.docker("import", "-", "busybox", input=busybox_archive)
    for daemon in (engine_host, second):
        daemon.docker("run", "-d", "--name", "same-name", "busybox", "sleep", "600")
    assert engine_host.text("inspect", "-f", "{{.Id}}", "same-name") != second.text(
        "inspect", "-f", "{{.Id}}", "same-name"
    )
    second.docker("rm", "-f", "same-name")
    assert engine_host.text("exec", "same-name", "echo", "still here") == "still here"
    engine_host.docker("rm", "-f", "same-name")


def test_the_networks_options(new_daemon: NewDaemon, busybox_archive: bytes) -> None:
    flags = ["--ipv6", "--bip6", "fd89::1/64", "--default-address-pool", "base=10.89.0.0/16,size=24"]
    daemon = new_daemon(*flags, "--default-network-opt", "bridge=com.docker.network.driver.mtu=1400")
    daemon.start()
    daemon.docker("import", "-", "busybox", input=busybox_archive)
    assert "fd89::2/64" in daemon.text("run", "--rm", "busybox", "ip", "-6", "addr", "show", "eth0")
    daemon.text("network", "create", "mine")
    assert daemon.text("network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", "mine").startswith("10.89.")
    assert "mtu 1400" in daemon.text("run", "--rm", "--network", "mine", "busybox", "ip", "link", "show", "eth0")
    assert daemon.text("info", "-f", "{{json .DefaultAddressPools}}") == '[{"Base":"10.89.0.0/16","Size":24}]'
    daemon.text("network", "rm", "mine")
