"""AppArmor around containers, where the host has it: which profile, and the one for those that ask for none.

The default has dockerd's name and purpose. It says once more what capabilities, mounts and masks say, so that a
container which gets past one of these still cannot mount, or write to what is the host's in /proc and /sys.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess

from knarr.engine.config import HostConfig
from knarr.engine.security import SecurityOptions
from knarr.errors import KnarrError
from knarr.kernel import apparmor, user_namespaces

DEFAULT = "docker-default"
UNCONFINED = "unconfined"

# All that is not a process's own directory, and the parts of /sys that are not the container's own (its cgroups).
_PROC = "acpi,asound,bus,driver,dynamic_debug,fs,irq,pressure,scsi,sys,sysvipc,tty"
_SYS = "block,bus,class,dev,devices,firmware,hypervisor,kernel,module,power"
_SECRET = (
    *("/proc/kcore", "/proc/sysrq-trigger", "/sys/devices/virtual/powercap/**", "/sys/firmware/**"),
    *("/sys/kernel/security/**", "/sys/kernel/debug/**", "/sys/kernel/tracing/**"),
)


@functools.cache
def supported() -> bool:
    """Whether this engine can confine containers: it takes AppArmor, its parser, and the host's root."""
    return apparmor.enabled() and bool(parser()) and not user_namespaces.inside()


def parser() -> str | None:
    """The path of the program that loads profiles (apparmor_parser(8)), if it is installed."""
    return shutil.which("apparmor_parser", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def of(host_config: HostConfig, options: SecurityOptions) -> str:
    """The name of a container's profile; "" where nothing is confined, whatever was asked for, as with dockerd."""
    if not supported():
        return ""
    return options.apparmor or (UNCONFINED if host_config.privileged else DEFAULT)


def ensure(name: str | None) -> None:
    """Load the default profile if it is the one, and is not there (or no longer: others reload profiles too). Blocks.

    Raises KnarrError.
    """
    if name != DEFAULT or DEFAULT in apparmor.profiles():
        return
    program = parser()
    assert program is not None
    done = subprocess.run([program, "-Kr"], input=text(apparmor.own_profile()), capture_output=True, text=True)
    if done.returncode:
        why = f"running `{program} -Kr` failed with output: {done.stdout}{done.stderr}".rstrip()
        raise KnarrError(f"AppArmor enabled on system but the {DEFAULT} profile could not be loaded: {why}")


def text(engine: str) -> str:
    """The default profile in the language of apparmor.d(5), complete in itself. `engine` is the profile that this
    engine is under, which sends signals to containers; other runtimes may have one too."""
    senders = dict.fromkeys([UNCONFINED, "runc", "crun", engine])
    rules = [
        *("capability", "file", "network", "unix", "umount", "deny mount"),
        *(f'signal (receive) peer="{sender}"' for sender in senders),
        f"signal (send, receive) peer={DEFAULT}",
        f"ptrace (trace, read, tracedby, readby) peer={DEFAULT}",
        "deny /proc/* wkl",
        f"deny /proc/{{{_PROC}}}/** wkl",
        f"deny /sys/{{{_SYS}}}/** wkl",
        "deny /sys/fs/[^c]** wkl",
        *(f"deny {path} rwklx" for path in _SECRET),
    ]
    lines = "".join(f"  {rule},\n" for rule in rules)
    return f"profile {DEFAULT} flags=(attach_disconnected, mediate_deleted) {{\n{lines}}}\n"
