#!/bin/bash
# Prints the path of a Python that has OpenStack's oslo.utils, and installs it first where it is not there: from PyPI,
# the versions of oslo-utils.txt, in a virtual environment under $NOMOUNT_TEST_CACHE (default: testdata/cache). Needs
# Python 3.11 or later with its module venv (Debian's package python3-venv), and a network the first time.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${NOMOUNT_TEST_CACHE:-$here/cache}
hash=$(cat "$here/oslo-utils.sh" "$here/oslo-utils.txt" | sha256sum | cut -c1-12)
root="$cache/oslo-utils-$hash"

mkdir -p "$cache"
exec 9>"$cache/.oslo-utils.lock"
flock 9
if [ ! -e "$root/complete" ]; then
    echo "oslo-utils: installing into $root" >&2
    rm -rf "$root"
    python3 -m venv "$root" >&2
    "$root/bin/python" -m pip --disable-pip-version-check install --quiet -r "$here/oslo-utils.txt" >&2
    "$root/bin/python" -c 'import oslo_utils.imageutils.format_inspector' >&2
    touch "$root/complete"
fi
echo "$root/bin/python"
