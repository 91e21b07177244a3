#!/bin/sh
# Runs the fuzz targets one after the other: makes their seeds, runs each for so long, and tells what came of it.
# Exit code 1 when anything was found; what it was is in artifacts/TARGET.
set -u

usage() {
    cat <<END
usage: fuzz/campaign.sh [-j JOBS] [-c CORPUS] [-l LOGS] [-t TARGET_DIR] [SECONDS] [TARGET...]

  SECONDS        for each target, 60 by default
  TARGET         all of them by default
  -j JOBS        processes at the same time that share a target's corpus, 1 by default
  -c CORPUS      where inputs are kept, a folder for each target; fuzz/corpus by default
  -l LOGS        where TARGET.log goes; the same as CORPUS by default
  -t TARGET_DIR  where cargo builds

Folders are meant from fuzz/.
END
}

cd "$(dirname "$0")" || exit 2
jobs=1 corpus=corpus logs= build=
while getopts j:c:l:t:h option; do
    case $option in
    j) jobs=$OPTARG ;;
    c) corpus=$OPTARG ;;
    l) logs=$OPTARG ;;
    t) build=$OPTARG ;;
    h) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
    esac
done
shift $((OPTIND - 1))
seconds=${1:-60}
case $seconds$jobs in
*[!0-9]*) usage >&2; exit 2 ;;
esac
[ $# -gt 0 ] && shift
logs=${logs:-$corpus}
mkdir -p "$corpus" "$logs" || exit 2

# cargo-fuzz asks for flags that are marked unstable; the compiler is the stable one.
export RUSTC_BOOTSTRAP=1
[ $# -gt 0 ] || set -- $(ls fuzz_targets | sed 's/\.rs$//')
cargo run -q --no-default-features --example seeds ${build:+--target-dir "$build/seeds"} -- --into "$corpus" "$@" || exit 2

found=0
printf '%-16s %12s %8s %8s %8s %6s\n' target runs exec/s coverage corpus found
for target in "$@"; do
    log=$logs/$target.log
    mkdir -p "artifacts/$target"
    before=$(ls "artifacts/$target" | wc -l)
    # One input takes at most 10 s, a process 512 MiB, one allocation 256 MiB.
    fork=
    [ "$jobs" -gt 1 ] && fork="-fork=$jobs -ignore_crashes=0"
    # Without a sanitizer: there is no unsafe code of ours, and runs are twice as fast.
    cargo fuzz build -s none ${build:+--target-dir "$build"} "$target" >"$log" 2>&1 || {
        echo "$target: cannot be built, see $log" >&2
        exit 2
    }
    cargo fuzz run -s none ${build:+--target-dir "$build"} "$target" "$corpus/$target" -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=512 -malloc_limit_mb=256 $fork >"$log" 2>&1
    code=$?
    new=$(($(ls "artifacts/$target" | wc -l) - before))
    runs=$(grep -o '^#[0-9][0-9]*' "$log" | tail -1 | tr -d '#')
    speed=$(grep -o 'exec/s:* [0-9]*' "$log" | tail -1 | tr -dc 0-9)
    coverage=$(grep -o 'cov: [0-9]*' "$log" | tail -1 | tr -dc 0-9)
    kept=$(ls "$corpus/$target" | wc -l)
    printf '%-16s %12s %8s %8s %8s %6s\n' "$target" "${runs:-0}" "${speed:-0}" "${coverage:-0}" "$kept" "$new"
    if [ "$code" -ne 0 ] || [ "$new" -ne 0 ]; then
        found=1
        echo "$target: stopped with exit code $code, see $log" >&2
    fi
done
exit $found
