#!/bin/bash
# Makes full Debian systems as disk images, without root, and prints the path of the one that was asked for.
#
#   make-debian.sh RELEASE LAYOUT CONTAINER     one image
#   make-debian.sh prepare                      both releases, every layout as raw (the slow part)
#
#   RELEASE    bookworm | trixie     ext4 with the features each release's own installer gives it
#   LAYOUT     gpt    partitions 1 (root), 14 (BIOS boot) and 15 (ESP), as Debian's cloud images; 4 GiB
#              mbr    1 (/boot, ext2), 2 (extended), 5 (root, logical), 6 (swap, logical); 4 GiB
#              none   the filesystem is the whole disk; 4 GiB
#              huge   as gpt on 2 TiB, sparse; for the benchmark
#   CONTAINER  raw | qcow2 | qcow2-zlib | qcow2-zstd (compressed) | overlay (empty qcow2 over the raw image)
#
# Images are made once, under $NOMOUNT_TEST_CACHE (default: testdata/cache), in a folder named after the hash of this
# recipe; they must not be written: copy them, or put an overlay above. See README.md here for what was measured.
# The mirror is the one that this machine's apt uses, or $NOMOUNT_DEBIAN_MIRROR; signatures are always checked.
set -euo pipefail
umask 022
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export MKE2FS_CONFIG="$here/mke2fs.conf"
cache=${NOMOUNT_TEST_CACHE:-$here/cache}
recipe=$(cat "$here/make-debian.sh" "$here/mke2fs.conf" | sha256sum | cut -c1-12)
root="$cache/debian-$recipe"
# Times inside the trees are clamped to this, so that rebuilds differ as little as the mirror allows.
export SOURCE_DATE_EPOCH=1767225600

packages=openssh-server,systemd-sysv,ifupdown,python3,sudo,iputils-ping,systemd-boot-efi,locales,vim-common
base_features=none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super
base_features+=,large_file,huge_file,dir_nlink,extra_isize,metadata_csum
min_files=10000

die() { echo "make-debian: $*" >&2; exit 1; }
say() { echo "make-debian: $*" >&2; }

mirror() {
    if [ -n "${NOMOUNT_DEBIAN_MIRROR:-}" ]; then
        echo "$NOMOUNT_DEBIAN_MIRROR"
        return
    fi
    local codename
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Identifier: Packages' |
        awk -v r="$codename" '($1 == r || $1 == "stable") && $2 == "main" && !found { print $3; found = 1 }'
}

# Proxies and the like: mmdebstrap runs apt with a configuration of its own.
host_apt_options() {
    apt-config dump | grep -E '^Acquire::(https?|Retries|Check-(Date|Valid-Until))\b.* "[^"]+";$' || true
}

# Makes $2/tree.tar of release $1.
make_tree() {
    local release=$1 out=$2 uri option mode=auto
    local options=()
    uri=$(mirror)
    [ -n "$uri" ] || die "this machine's apt names no Debian mirror; set NOMOUNT_DEBIAN_MIRROR"
    while IFS= read -r option; do
        [ -z "$option" ] || options+=("--aptopt=$option")
    done < <(host_apt_options)
    # auto: root where we are root, else a user namespace with the user's subordinate ids, else fakechroot.
    say "$release: installing a Debian tree"
    mmdebstrap --quiet --mode=$mode --variant=important --include=$packages "${options[@]}" \
        --aptopt='APT::Install-Recommends "false"' \
        --customize-hook='rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap "$1"/etc/resolv.conf; echo debian >"$1"/etc/hostname' \
        "$release" "$out/tree.tar" "$uri" </dev/null >&2 ||
        die "$release: mmdebstrap failed. Without subordinate ids (/etc/subuid) only fakechroot is left, and that
    cannot install a release whose C library is newer than the host's. A missing archive key is not worked around."
    local files
    files=$(tar -tf "$out/tree.tar" | wc -l)
    [ "$files" -gt $min_files ] || die "$release: only $files files in the tree, more than $min_files wanted"
    say "$release: $files files"
}

features() {
    case $1 in
        bookworm) echo "$base_features" ;;
        trixie) echo "$base_features,metadata_csum_seed,orphan_file" ;;
    esac
}

# root_fs RELEASE TREE DISK OFFSET BYTES: an ext4 filesystem with the tree inside the disk.
root_fs() {
    E2FSPROGS_FAKE_TIME=$SOURCE_DATE_EPOCH mke2fs -q -F -t ext4 -O "$(features "$1")" -b 4096 -I 256 -i 16384 \
        -U 6b1c6e1e-0001-4000-8000-000000000001 -L root -d "$2" \
        -E "hash_seed=6b1c6e1e-0002-4000-8000-000000000002,offset=$4,lazy_itable_init=1,lazy_journal_init=1" \
        "$3" "$(($5 / 1024))k"
}

mib=1048576

# esp TREE DISK: a FAT32 filesystem with a boot loader in the 124 MiB at 4 MiB.
esp() {
    local loader fat="$2.esp"
    loader=$(find "$1/usr/lib/systemd/boot/efi" -name 'systemd-boot*.efi' | head -n 1)
    [ -n "$loader" ] || die "no boot loader in the tree"
    printf 'title Debian\nlinux /debian/vmlinuz\ninitrd /debian/initrd.img\noptions root=LABEL=root ro\n' >"$fat.entry"
    truncate -s $((124 * mib)) "$fat"
    mkfs.fat -F 32 -s 1 -n ESP -i 6B1C6E1E --invariant "$fat" >/dev/null
    mmd -i "$fat" ::/EFI ::/EFI/BOOT ::/EFI/systemd ::/loader ::/loader/entries ::/debian
    mcopy -i "$fat" "$loader" ::/EFI/BOOT/BOOTX64.EFI
    mcopy -i "$fat" "$loader" ::/EFI/systemd/systemd-bootx64.efi
    mcopy -i "$fat" "$fat.entry" ::/loader/entries/debian.conf
    dd if="$fat" of="$2" bs=$mib seek=4 conv=sparse,notrunc status=none
    rm -f "$fat" "$fat.entry"
}

# gpt_disk RELEASE TREE DISK BYTES
gpt_disk() {
    truncate -s "$4" "$3"
    sgdisk -U 6b1c6e1e-0010-4000-8000-000000000010 \
        -n 14:2048:+3M -t 14:ef02 -u 14:6b1c6e1e-0014-4000-8000-000000000014 \
        -n 15:8192:262143 -t 15:ef00 -u 15:6b1c6e1e-0015-4000-8000-000000000015 -c 15:esp \
        -n 1:262144:0 -t 1:8304 -u 1:6b1c6e1e-0011-4000-8000-000000000011 -c 1:root "$3" >/dev/null
    # The last 34 sectors hold the backup table; the filesystem ends on a whole block.
    root_fs "$1" "$2" "$3" $((128 * mib)) $((($4 - 128 * mib - 34 * 512) / 4096 * 4096))
    esp "$2" "$3"
}

# mbr_disk RELEASE TREE DISK BYTES
mbr_disk() {
    truncate -s "$4" "$3"
    local root_sectors=$((($4 - 256 * mib) / 512))
    sfdisk --quiet "$3" <<TABLE
label: dos
label-id: 0x6b1c6e1e
unit: sectors
start=2048, size=260096, type=83, bootable
start=262144, type=5
start=264192, size=$root_sectors, type=83
start=$((264192 + root_sectors + 2048)), type=82
TABLE
    mke2fs -q -F -t ext2 -O none,ext_attr,resize_inode,dir_index,filetype,sparse_super,large_file -b 4096 -I 256 \
        -U 6b1c6e1e-0003-4000-8000-000000000003 -L boot -d "$2/boot" -E offset=$mib "$3" $((127 * 1024))k
    root_fs "$1" "$2" "$3" $((129 * mib)) $((root_sectors * 512))
}

# Under fakeroot: unpack the tree with its owners, devices and attributes, then make every raw disk from it.
make_disks() {
    local release=$1 out=$2
    mkdir "$out/tree"
    # Twice: fakeroot loses the file type of an inode whose first recorded change is an extended attribute.
    tar -C "$out/tree" --numeric-owner -xpf "$out/tree.tar"
    tar -C "$out/tree" --numeric-owner --overwrite --xattrs --xattrs-include='*' -xpf "$out/tree.tar"
    local size=$((4096 * mib))
    gpt_disk "$release" "$out/tree" "$out/gpt.raw" $size
    gpt_disk "$release" "$out/tree" "$out/huge.raw" $((2097152 * mib))
    mbr_disk "$release" "$out/tree" "$out/mbr.raw" $size
    truncate -s $size "$out/none.raw"
    root_fs "$release" "$out/tree" "$out/none.raw" 0 $size
    rm -rf "$out/tree"
}

prepare() {
    local release=$1
    [ -d "$root/$release" ] && return
    mkdir -p "$root"
    exec {lock}>"$root/$release.lock"
    flock "$lock"
    if [ ! -d "$root/$release" ]; then
        unfinished=$(mktemp -d "$root/$release.tmp.XXXXXX")
        trap 'rm -rf "$unfinished"' EXIT
        chmod 755 "$unfinished"
        make_tree "$release" "$unfinished"
        say "$release: making disks"
        fakeroot -- "$here/make-debian.sh" --disks "$release" "$unfinished" >&2
        chmod a-w "$unfinished"/*.raw
        mv "$unfinished" "$root/$release"
        trap - EXIT
    fi
    flock -u "$lock"
}

container() {
    local base="$root/$1/$2" out="$root/$1/$2.$3"
    if [ ! -e "$out" ]; then
        exec {lock}>"$out.lock"
        flock "$lock"
        if [ ! -e "$out" ]; then
            say "$1: $2 as $3"
            rm -f "$out.tmp"
            case $3 in
                qcow2) qemu-img convert -f raw -O qcow2 "$base.raw" "$out.tmp" ;;
                qcow2-zlib) qemu-img convert -c -f raw -O qcow2 "$base.raw" "$out.tmp" ;;
                qcow2-zstd) qemu-img convert -c -f raw -O qcow2 -o compression_type=zstd "$base.raw" "$out.tmp" ;;
                # A relative name: the cache can move.
                overlay) (cd "$root/$1" && qemu-img create -q -f qcow2 -F raw -b "$2.raw" "$out.tmp") ;;
            esac
            chmod a-w "$out.tmp"
            mv "$out.tmp" "$out"
        fi
        flock -u "$lock"
    fi
    echo "$out"
}

if [ "${1:-}" = --disks ]; then
    make_disks "$2" "$3"
    exit
fi
if [ "${1:-}" = prepare ] && [ $# -eq 1 ]; then
    prepare bookworm
    prepare trixie
    exit
fi
[ $# -eq 3 ] || die "usage: make-debian.sh RELEASE LAYOUT CONTAINER | prepare"
case $1 in bookworm | trixie) ;; *) die "no such release: $1" ;; esac
case $2 in gpt | mbr | none | huge) ;; *) die "no such layout: $2" ;; esac
case $3 in raw | qcow2 | qcow2-zlib | qcow2-zstd | overlay) ;; *) die "no such container: $3" ;; esac
prepare "$1"
container "$1" "$2" "$3"
