#!/bin/bash
# Builds nomount and does its main job on the small guest kept here: writes a new image, shows what changed in it, and
# says how to look at it. Needs Rust, and installs a linker where there is none.
#
#   demo.sh [NEW]     default: demo.qcow2 in the current folder
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
new=${1:-demo.qcow2}
"$here/install-judges.sh" cc
cargo build --release --quiet --manifest-path "$here/../Cargo.toml"
target=$(cargo metadata --format-version 1 --no-deps --manifest-path "$here/../Cargo.toml" |
    sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
nomount=$target/release/nomount
rm -f "$new"

"$nomount" inject "$here/images/guest.qcow2" -o "$new" \
    --key "$here/demo/id_ed25519.pub" --admin-password random --net "$here/demo/interfaces" \
    --metadata role=web --file "$here/demo/app.conf:/etc/app/app.conf" --partition 1 --mandatory key,files

cat <<LOOK

Look at it:
  $nomount info $new
  $nomount ls -lR $new:/etc/app
  $nomount cat $new:/root/.ssh/authorized_keys
  $nomount stat $new:/etc/shadow
LOOK
