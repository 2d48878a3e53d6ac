"""Commands that mend things, in the words of the distribution that this is."""

from __future__ import annotations

import os
import shutil

_INSTALLERS = {
    "apt-get": "sudo apt-get install",
    "dnf": "sudo dnf install",
    "zypper": "sudo zypper install",
    "pacman": "sudo pacman -S",
    "apk": "sudo apk add",
}
_PACKAGES = {
    "libseccomp": {"apt-get": "libseccomp2", "zypper": "libseccomp2"},
    "libnftables": {"apt-get": "libnftables1", "dnf": "nftables", "zypper": "libnftables1", "pacman": "nftables"},
    "uidmap": {"dnf": "shadow-utils", "zypper": "shadow", "pacman": "shadow", "apk": "shadow-uidmap"},
    "qemu-user-static": {"zypper": "qemu-linux-user", "pacman": "qemu-user-static-binfmt", "apk": "qemu-openrc"},
}
"""What is not called the same everywhere, by the program that installs it."""

LOG_IN_AGAIN = "log out and in again"


def install(package: str) -> str:
    """How to install a package, by the name that it has in most distributions."""
    for program, command in _INSTALLERS.items():
        if shutil.which(program):
            return f"{command} {_PACKAGES.get(package, {}).get(program, package)}"
    return f"install {package}"


def sysctl(name: str, value: object) -> str:
    """How to give a setting of the kernel a value, now and after each boot."""
    return f"echo '{name} = {value}' | sudo tee -a /etc/sysctl.d/60-knarr.conf && sudo sysctl --system"


def module(name: str) -> str:
    """How to load a kernel module, now and after each boot."""
    return f"sudo modprobe {name} && echo {name} | sudo tee -a /etc/modules-load.d/knarr.conf"


def device(path: str, module: str) -> str:
    """How to come by a device that everybody may open."""
    return f"sudo chmod 666 {path}" if os.path.exists(path) else f"sudo modprobe {module}"
