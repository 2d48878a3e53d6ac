# Makes the root file system of a Debian or Ubuntu release, as an archive on standard output.
# Runs in a container over the machine's own root: nothing of what it writes stays.
# usage: sh debian.sh DISTRIBUTION SUITE [MIRROR [PACKAGES,…]]
set -eu
distribution=$1 suite=$2 mirror=${3:-} include=${4:-}
exec 3>&1 >&2
export DEBIAN_FRONTEND=noninteractive LC_ALL=C container=docker
. /etc/os-release

eval "$(apt-config shell proxy Acquire::http::Proxy 2>/dev/null || true)"
if [ -n "${proxy:-}" ] && [ -z "${http_proxy:-}" ]; then export http_proxy="$proxy"; fi

case $distribution in
debian) keyring=debian-archive-keyring.gpg package=debian-archive-keyring ;;
ubuntu) keyring=ubuntu-archive-keyring.gpg package=ubuntu-keyring ;;
esac
missing=
command -v debootstrap >/dev/null || missing=debootstrap
command -v gpgv >/dev/null || missing="$missing gpgv"
[ -e "/usr/share/keyrings/$keyring" ] || missing="$missing $package"
if [ -n "$missing" ]; then
    command -v apt-get >/dev/null || { echo "E: this machine has no debootstrap and no apt to get it with"; exit 1; }
    echo "I: Installing$missing in the container"
    apt-get update -qq
    apt-get install -qq --no-install-recommends $missing >/dev/null
fi

# The machine's own mirror, if its distribution is the same; debootstrap knows the distributions' defaults.
if [ -z "$mirror" ] && [ "$ID" = "$distribution" ]; then
    mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -v -e security | head -n 1) || true
fi

root=/var/tmp/root
debootstrap --variant=minbase --force-check-gpg --keyring="/usr/share/keyrings/$keyring" \
    ${include:+--include="$include"} "$suite" "$root" ${mirror:+"$mirror"}

# As in any image: services are not started by their installation, and no package files are kept.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
printf '%s\n' 'APT::Keep-Downloaded-Packages "false";' 'Dir::Cache::pkgcache "";' 'Dir::Cache::srcpkgcache "";' \
    'Binary::apt::APT::Keep-Downloaded-Packages "false";' >"$root/etc/apt/apt.conf.d/container-clean"
echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/container-speed"
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/cache/apt/*.bin "$root"/var/lib/apt/lists/* "$root"/var/log/*.log \
    "$root"/var/log/apt "$root"/etc/resolv.conf "$root"/etc/hostname "$root"/dev/* "$root"/debootstrap
tar -C "$root" --numeric-owner -c . >&3
echo "I: Done"
