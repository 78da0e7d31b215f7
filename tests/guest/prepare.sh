#!/bin/sh
# What a guest needs: tools, and Debian's PREEMPT_RT kernel with a few modules, kept between runs.
#
#   prepare.sh             install tools (as root on Debian) and fetch the kernel (70 MB); print where it lies
#   prepare.sh --offline   only look
#
# Exit code: 0 all is there, 1 it can't be had; the last line of standard error says why and what to install.
# It lies in $FIELDBEAT_GUEST_CACHE, else in fieldbeat/ of the user's cache directory:
#   vmlinux                the kernel, unpacked when possible: that spares the guest most of its start
#   release                its version
#   lib/modules/RELEASE/   the modules below, with their dependencies
set -eu

# Modules of the guest, some for tests to come: results out by 9p, a network card, buses, faults, the watchdog device.
modules="virtio_pci 9p 9pnet_virtio vcan can-raw can-bcm can-gw can-isotp can-j1939 i2c-stub i2c-dev softdog veth sch_netem e1000"
# Counts up when what is kept changes.
layout=2

cannot() {
	echo "$*" >&2
	exit 1
}

offline=
case ${1:-} in
--offline) offline=1 ;;
'') ;;
*) cannot "usage: prepare.sh [--offline]" ;;
esac

[ "$(uname -m)" = x86_64 ] || cannot "the guest is x86_64, this machine is $(uname -m)"
PATH=$PATH:/sbin:/usr/sbin
find_missing() {
	missing=
	while read -r command package; do
		command -v "$command" >/dev/null 2>&1 || missing="$missing $package"
	done <<-TOOLS
		qemu-system-x86_64 qemu-system-x86
		busybox busybox-static
		cpio cpio
		depmod kmod
		xz xz-utils
		chrt util-linux
	TOOLS
	# With libraries it would not run alone in the guest.
	if busybox=$(command -v busybox) && ldd "$busybox" >/dev/null 2>&1; then missing="$missing busybox-static"; fi
}
find_missing
if [ -n "$missing" ] && [ -z "$offline" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	echo "installing for the guest tests:$missing" >&2
	timeout -k 5 120 apt-get update -qq >&2 || true
	# shellcheck disable=SC2086
	DEBIAN_FRONTEND=noninteractive timeout -k 5 500 apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
		true
	find_missing
fi
[ -z "$missing" ] || cannot "install$missing"

base=${FIELDBEAT_GUEST_CACHE:-${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/fieldbeat}
kernel=$base/guest-kernel-$layout
if [ -e "$kernel/release" ]; then
	echo "$kernel"
	exit 0
fi
[ -z "$offline" ] || cannot "no kernel in $kernel; fetch it with sh tests/guest/prepare.sh, on Debian"

command -v apt-get >/dev/null 2>&1 && command -v dpkg-deb >/dev/null 2>&1 ||
	cannot "no apt-get to fetch linux-image-rt-amd64 with; copy $kernel from a Debian machine"
mkdir -p "$base" || cannot "$base can't be made; name a directory in FIELDBEAT_GUEST_CACHE"
# Made beside its place and moved there in one step: a half fetched kernel is never taken for one.
new=$(mktemp -d "$base/new.XXXXXX")
trap 'rm -rf "$new"' EXIT
trap 'exit 1' HUP INT TERM

fetch() {
	package=$(apt-cache depends linux-image-rt-amd64 2>/dev/null | awk '/Depends: linux-image/ { print $2; exit }')
	[ -n "$package" ] || return 1
	mkdir -p "$new/package"
	echo "fetching $package for the guest tests" >&2
	(cd "$new/package" && timeout -k 5 300 apt-get download -qq -o APT::Sandbox::User=root "$package" >&2)
}
if ! fetch; then
	# The lists of packages are old, or not there at all.
	[ "$(id -u)" = 0 ] && timeout -k 5 120 apt-get update -qq >&2 || true
	fetch || cannot "linux-image-rt-amd64 can't be fetched: see apt-get download linux-image-rt-amd64"
fi

mkdir "$new/unpacked" "$new/kernel"
dpkg-deb -x "$new"/package/*.deb "$new/unpacked"
image=$(find "$new/unpacked/boot" -name 'vmlinuz-*')
release=${image##*/vmlinuz-}
tree=$(dirname "$(find "$new/unpacked" -path "*/lib/modules/$release/modules.order")")
find "$tree" -name '*.ko.xz' -exec xz -d {} +
find "$tree" -name '*.ko.zst' -exec zstd -q -d --rm {} + 2>/dev/null || true

# Of all modules only those that are wanted, and what they need.
all=$new/all
mkdir -p "$all/lib/modules"
mv "$tree" "$all/lib/modules/$release"
depmod -b "$all" "$release"
for module in $modules; do
	modprobe -d "$all" -S "$release" --show-depends "$module" >>"$new/needed" ||
		cannot "the kernel $release has no module $module"
done
awk '$1 == "insmod" { print $2 }' "$new/needed" | sort -u >"$new/wanted"
to=$new/kernel/lib/modules/$release
while read -r file; do
	mkdir -p "$to/$(dirname "${file#"$all/lib/modules/$release/"}")"
	cp "$file" "$to/${file#"$all/lib/modules/$release/"}"
done <"$new/wanted"
cp "$all/lib/modules/$release"/modules.builtin* "$all/lib/modules/$release/modules.order" "$to/"
depmod -b "$new/kernel" "$release"

# The kernel inside the image starts at the first mark of xz; where another packer was used the image serves as it is.
at=$(LC_ALL=C grep -abo "$(printf '\3757zXZ')" "$image" | head -n 1 | cut -d: -f1) || at=
if [ -z "$at" ] || ! tail -c "+$((at + 1))" "$image" | xz -dc --single-stream >"$new/kernel/vmlinux" 2>/dev/null ||
	[ ! -s "$new/kernel/vmlinux" ]; then
	cp "$image" "$new/kernel/vmlinux"
fi
cp "$new/unpacked/boot/config-$release" "$new/kernel/config"
echo "$release" >"$new/kernel/release"

# Somebody else may have been faster: then theirs is as good.
mv -T "$new/kernel" "$kernel" 2>/dev/null || [ -e "$kernel/release" ] || cannot "$kernel can't be written"
echo "$kernel"
