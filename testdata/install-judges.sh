#!/bin/bash
# Installs the tools that judge what nomount writes and that make its test images, where they are missing.
# Does nothing when all are there. Runs as root, or with sudo; Debian and its relatives only (apt-get).
#
#   install-judges.sh [TOOL...]     default: all of them
set -euo pipefail
export PATH="$PATH:/usr/sbin:/sbin"

# tool:package. A C compiler is the linker of every Rust build.
tools=(
    mke2fs:e2fsprogs e2fsck:e2fsprogs debugfs:e2fsprogs dumpe2fs:e2fsprogs tune2fs:e2fsprogs
    resize2fs:e2fsprogs python3:python3
    qemu-img:qemu-utils qemu-io:qemu-utils qemu-nbd:qemu-utils perl:perl-base
    sgdisk:gdisk sfdisk:fdisk
    mkfs.ntfs:ntfs-3g mkfs.xfs:xfsprogs mkfs.btrfs:btrfs-progs blkid:util-linux mkswap:util-linux
    mkfs.fat:dosfstools fsck.fat:dosfstools mcopy:mtools faketime:faketime
    matchpathcon:selinux-utils
    mmdebstrap:mmdebstrap fakeroot:fakeroot fakechroot:fakechroot newuidmap:uidmap arch-test:arch-test
    flock:util-linux gzip:gzip xz:xz-utils zstd:zstd tar:tar groff:groff-base
    strace:strace prlimit:util-linux cc:gcc
)

if [ $# -gt 0 ]; then
    wanted=()
    for entry in "${tools[@]}"; do
        for tool in "$@"; do
            [ "${entry%%:*}" != "$tool" ] || wanted+=("$entry")
        done
    done
    tools=("${wanted[@]}")
fi

missing=()
# A policy to look contexts up in; installing it does not turn SELinux on.
if [ $# -eq 0 ] && [ ! -e /etc/selinux/default/contexts/files/file_contexts ]; then
    missing+=(selinux-policy-default)
fi
# oslo.utils goes into a virtual environment of Python.
if [ $# -eq 0 ] && ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    missing+=(python3-venv)
fi
for entry in "${tools[@]}"; do
    command -v "${entry%%:*}" >/dev/null || missing+=("${entry#*:}")
done
[ -e /usr/lib/x86_64-linux-gnu/crti.o ] || [ -e "/usr/lib/$(uname -m)-linux-gnu/crti.o" ] || missing+=(libc6-dev)
if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi
mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
echo "install-judges: installing ${missing[*]}" >&2

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "install-judges: not root and no sudo; please run: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi
if ! command -v apt-get >/dev/null; then
    echo "install-judges: no apt-get here; please install what these Debian packages hold: ${missing[*]}" >&2
    exit 1
fi
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >&2

for entry in "${tools[@]}"; do
    if ! command -v "${entry%%:*}" >/dev/null; then
        echo "install-judges: ${entry%%:*} is still missing after installing ${entry#*:}" >&2
        exit 1
    fi
done
