#!/bin/bash
# Makes the small filesystem images kept in testdata/images, without root, byte for byte the same on every run
# (with e2fsprogs 1.47.0; another version may lay blocks out differently).
#
#   make-fixtures.sh [FOLDER]     default: testdata/images
#
# README.md here says what each image is for. `ext` makes the filesystem, `populate` puts the common tree into it, the
# `with_*` functions add what only some images have. All of it is mke2fs, debugfs and e2fsck on a plain file.
set -euo pipefail
umask 022
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=$(realpath -m "${1:-$here/images}")
export LC_ALL=C TZ=UTC PATH="$PATH:/usr/sbin:/sbin" MKE2FS_CONFIG="$here/mke2fs.conf"
now=1767225600
export E2FSPROGS_FAKE_TIME=$now E2FSCK_TIME=$now DEBUGFS_PAGER=cat
uuid=5eed0000-0000-4000-8000-00000000000
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
cd "$work"

. "$here/fixtures/files.sh"
. "$here/fixtures/tree.sh"
. "$here/fixtures/journal.sh"
. "$here/fixtures/guest.sh"

# ext NAME SIZE BLOCK_SIZE INODE_SIZE FEATURES [mke2fs options]: NAME.img becomes an empty filesystem.
ext() {
    local name=$1 size=$2 block=$3 inode=$4 features=$5
    shift 5
    rm -f "$name.img"
    truncate -s "$size" "$name.img"
    mke2fs -q -F -t ext4 -O "none,$features" -b "$block" -I "$inode" -N 512 -m 0 -U ${uuid}1 -L "${name:0:16}" \
        -E "hash_seed=${uuid}2,lazy_itable_init=1${ext_options:+,$ext_options}" "$@" "$name.img" >mke2fs.log 2>&1 ||
        { cat mke2fs.log >&2; return 1; }
}

# edit NAME: runs the debugfs commands on standard input; debugfs itself never fails, so any complaint does.
edit() {
    cat >edit.cmd
    # Commit blocks and the MMP block take the time from the clock itself.
    faketime -f '2026-01-01 00:00:00' debugfs -w -f edit.cmd "$1.img" >edit.log 2>&1
    if grep -v -e '^debugfs' -e '^Allocated inode' -e '^Setting csum' -e '^$' edit.log >edit.bad; then
        echo "make-fixtures: $1:" >&2
        head -n 20 edit.bad >&2
        return 1
    fi
}

# settle NAME [options]: e2fsck repairs what debugfs leaves (link counts) and indexes directories; then all is clean.
settle() {
    local name=$1 rc=0
    shift
    e2fsck -fy "$@" "$name.img" >fsck.log 2>&1 || rc=$?
    [ $rc -le 1 ] || { cat fsck.log >&2; return 1; }
    e2fsck -fn "$name.img" >fsck.log 2>&1 || { echo "make-fixtures: $name is not clean" >&2; cat fsck.log >&2; return 1; }
}

# Chains of these must not be joined with &&: bash would then ignore a failure inside.
keep() { gzip -9 -n <"$1.img" >"$out/$1.img.gz"; }

base=ext_attr,dir_index,filetype,sparse_super,large_file
resize=$base,resize_inode
ext4_142=$resize,has_journal,extent,huge_file,flex_bg,uninit_bg,dir_nlink,extra_isize
ext4_csum=$resize,has_journal,extent,huge_file,flex_bg,dir_nlink,extra_isize,64bit,metadata_csum
ext4_147=$ext4_csum,metadata_csum_seed,orphan_file

# What nomount writes.
ext ext2-1k 8M 1024 128 $resize; populate ext2-1k; with_devices ext2-1k; settle ext2-1k; keep ext2-1k
ext ext3-1k 12M 1024 128 $resize,has_journal -J size=1
populate ext3-1k; with_devices ext3-1k; with_triple ext3-1k 1024; with_index ext3-1k; settle ext3-1k -D; keep ext3-1k
ext ext3-4k 16M 4096 256 $resize,has_journal -J size=4
populate ext3-4k; with_xattrs ext3-4k; with_triple ext3-4k 4096; settle ext3-4k; keep ext3-4k
ext ext4-142 32M 1024 256 $ext4_142 -J size=1
populate ext4-142; with_xattrs ext4-142; settle ext4-142; keep ext4-142
ext ext4-143 32M 4096 256 $ext4_142,64bit -J size=4 -g 1024
populate ext4-143; with_xattrs ext4-143; settle ext4-143; keep ext4-143
ext ext4-rpi 32M 4096 256 $resize,has_journal,extent,flex_bg,dir_nlink,extra_isize,metadata_csum -J size=4 -g 2048
populate ext4-rpi; with_xattrs ext4-rpi; settle ext4-rpi; keep ext4-rpi
ext ext4-147 24M 4096 256 $ext4_147 -J size=4
populate ext4-147; with_xattrs ext4-147; with_devices ext4-147; with_times ext4-147; with_extents ext4-147 4096
settle ext4-147; keep ext4-147
ext ext4-1k 20M 1024 256 $ext4_csum -J size=1
populate ext4-1k; with_xattrs ext4-1k; with_devices ext4-1k; with_times ext4-1k; with_extents ext4-1k 1024
with_index ext4-1k; settle ext4-1k -D; keep ext4-1k
ext ext4-2k 12M 2048 256 $ext4_csum -J size=2
populate ext4-2k; with_xattrs ext4-2k; with_extents ext4-2k 2048; settle ext4-2k; keep ext4-2k
ext ext4-nojournal 8M 4096 256 ${ext4_csum/has_journal,/}; populate ext4-nojournal; settle ext4-nojournal
keep ext4-nojournal
ext ext4-i128 12M 1024 128 ${ext4_142/,extra_isize/} -J size=1
populate ext4-i128; with_xattrs ext4-i128; settle ext4-i128; keep ext4-i128
ext ext4-i128-csum 12M 1024 128 ${ext4_csum/,extra_isize/} -J size=1
populate ext4-i128-csum; with_xattrs ext4-i128-csum; settle ext4-i128-csum; keep ext4-i128-csum

# A log that must be replayed, in each form.
ext dirty-ext3 12M 1024 256 $resize,has_journal -J size=1; populate dirty-ext3; settle dirty-ext3
dirty dirty-ext3; keep dirty-ext3
ext dirty-32bit 12M 1024 256 $ext4_142 -J size=1; populate dirty-32bit; settle dirty-32bit
dirty dirty-32bit; keep dirty-32bit
ext dirty-csum2 12M 1024 256 $ext4_csum -J size=1; populate dirty-csum2; settle dirty-csum2
dirty dirty-csum2 -c -v 2; keep dirty-csum2
ext dirty-csum3 16M 4096 256 $ext4_147 -J size=4; populate dirty-csum3; settle dirty-csum3
dirty dirty-csum3 -c -v 3; keep dirty-csum3
ext orphan-list 8M 1024 256 $ext4_csum -J size=1; populate orphan-list; settle orphan-list
orphan orphan-list; keep orphan-list

# Written later, or read-only, or refused; always by name.
ext meta-bg 8M 1024 256 ${ext4_csum/resize_inode,/},meta_bg -J size=1 -g 1024
populate meta-bg; settle meta-bg; keep meta-bg
ext sparse-super2 8M 1024 256 ${ext4_csum/resize_inode,/},sparse_super2 -J size=1 -g 1024
populate sparse-super2; settle sparse-super2; keep sparse-super2
ext inline-data 8M 1024 256 $ext4_csum,inline_data -J size=1; populate inline-data; settle inline-data
keep inline-data
ext ea-inode 8M 1024 256 $ext4_csum,ea_inode -J size=1; populate ea-inode; with_ea_inode ea-inode
settle ea-inode; keep ea-inode
ext large-dir 8M 1024 256 $ext4_csum,large_dir -J size=1; populate large-dir; settle large-dir; keep large-dir
ext mmp 8M 1024 256 $ext4_csum -J size=1; populate mmp; settle mmp; with_mmp mmp; keep mmp
ext quota 8M 1024 256 $ext4_csum,quota -J size=1; populate quota; settle quota; keep quota
ext_options=quotatype=usrquota:grpquota:prjquota
ext project 8M 1024 256 $ext4_csum,quota,project -J size=1; populate project; settle project; keep project
ext_options=encoding=utf8
ext casefold 8M 1024 256 $ext4_csum,casefold -J size=1; populate casefold; settle casefold; keep casefold
ext_options=
for feature in encrypt verity stable_inodes fast_commit bigalloc; do
    options=(-J size=1)
    [ $feature != bigalloc ] || options=(-J size=4 -C 16384)
    ext $feature 16M 1024 256 $ext4_csum,$feature "${options[@]}"; populate $feature; settle $feature; keep $feature
done
for bit in unknown-compat:FEATURE_C31 unknown-ro-compat:FEATURE_R31 unknown-incompat:FEATURE_I31 read-only:read-only; do
    name=${bit%%:*}
    ext $name 8M 1024 256 $ext4_csum -J size=1; populate $name; settle $name; force_feature $name "${bit#*:}"
    keep $name
done
mke2fs -q -F -t ext4 -O journal_dev -b 1024 -E hash_seed=${uuid}2 -U ${uuid}1 journal-dev.img 2048 >mke2fs.log 2>&1; keep journal-dev

# What the README's first command works on.
guest "$out/guest.qcow2"
