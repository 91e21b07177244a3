#!/bin/bash
# Makes the program that is handed out: one file that needs no library, no loader and no other file, so that it runs in
# an empty root folder. Tries it there, or where user namespaces are not allowed without any environment, and prints
# where it is.
#
#   static.sh [NEW]     also copies it to NEW
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# Bytes: what it may have.
limit=$((8 << 20))
"$here/install-judges.sh" cc >&2

cd "$here/.."
host=$(rustc -vV | sed -n 's/^host: //p')
# With a target named, the flag is for the program alone and not for what builds it. With a GNU target the C library's
# archive, libc.a, is linked in. Nothing unwinds, so tables for that are left out.
RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static -C force-unwind-tables=no" \
    cargo build --profile static --target "$host" --package nomount --bin nomount >&2
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
nomount=$target/$host/static/nomount

fail() {
    echo "static.sh: $*" >&2
    exit 1
}
# A static program asks for no loader and names no library.
if readelf --program-headers --wide "$nomount" | grep -q INTERP; then
    fail "$nomount asks for a loader"
fi
if readelf --dynamic --wide "$nomount" | grep -q NEEDED; then
    fail "$nomount needs a library"
fi
size=$(stat -c %s "$nomount")
[ "$size" -le "$limit" ] || fail "$nomount has $size bytes, more than $limit"

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
cp "$nomount" "$root/nomount"
cp "$here/images/guest.qcow2" "$here/demo/id_ed25519.pub" "$root"
if unshare --map-root-user chroot "$root" /nomount --version >/dev/null 2>&1; then
    run() { env -i "$(command -v unshare)" --map-root-user "$(command -v chroot)" "$root" /nomount "$@"; }
else
    run() { (cd "$root" && env -i ./nomount "$@"); }
fi
run --version >&2
run inject guest.qcow2 --key id_ed25519.pub --admin-password random --metadata role=web >/dev/null
run cat guest.qcow2:/root/.ssh/authorized_keys | cmp - "$here/demo/id_ed25519.pub"
[ $# -eq 0 ] || cp "$nomount" "$1"
echo "$nomount: $size bytes"
