# Makes the root file system of a Debian or Ubuntu release, as an archive on standard output.
# Runs in a container over the machine's own root: nothing of what it writes stays.
# usage: sh debian.sh DISTRIBUTION SUITE [MIRROR [PACKAGES,… [KEYRING]]]
set -eu
distribution=$1 suite=$2 mirror=${3:-} include=${4:-} keyring=${5:-}
exec 3>&1 >&2
export DEBIAN_FRONTEND=noninteractive LC_ALL=C container=docker
. /etc/os-release

eval "$(apt-config shell proxy Acquire::http::Proxy 2>/dev/null || true)"
if [ -n "${proxy:-}" ] && [ -z "${http_proxy:-}" ]; then export http_proxy="$proxy"; fi

case $distribution in
debian) keys=debian-archive-keyring package=debian-archive-keyring model=sid ;;
ubuntu) keys=ubuntu-archive-keyring package=ubuntu-keyring model=gutsy ;;
esac
: "${keyring:=/usr/share/keyrings/$keys.gpg}"
[ ! -e "$keyring" ] || package=
missing=
command -v debootstrap >/dev/null || missing=" debootstrap"
command -v gpgv >/dev/null || missing="$missing gpgv"
if [ -n "$missing$package" ]; then
    command -v apt-get >/dev/null || { echo "E: this machine has no debootstrap and no apt to get it with"; exit 1; }
    echo "I: Installing$missing${package:+ $package} in the container"
    apt-get update -qq
    [ -z "$missing" ] || apt-get install -qq --no-install-recommends $missing >/dev/null
    if [ -n "$package" ] && ! apt-get install -qq --no-install-recommends "$package" >/dev/null 2>&1; then
        echo "E: this machine's packages have no $package: give the keys of $distribution's archive with --keyring"
        exit 1
    fi
fi

# debootstrap knows the releases of its own time by name; newer ones are made the same way.
scripts=/usr/share/debootstrap/scripts
[ -e "$scripts/$suite" ] || ln -s "$model" "$scripts/$suite"

# The machine's own mirror, if its distribution is the same; debootstrap knows the distributions' defaults.
if [ -z "$mirror" ] && [ "$ID" = "$distribution" ]; then
    mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -v -e security | head -n 1) || true
fi

root=/var/tmp/root
debootstrap --variant=minbase --force-check-gpg --keyring="$keyring" \
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
