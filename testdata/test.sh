#!/bin/bash
# Installs the judges where they are missing, OpenStack's inspector among them, makes the Debian images, and runs every
# check and every test.
# On a fresh machine it needs Rust, git and a network; README.md here says what it costs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

./testdata/install-judges.sh
./testdata/oslo-utils.sh >/dev/null
# With this set, a judge that is missing fails a test instead of skipping it.
export CI=${CI:-1}
./testdata/make-debian.sh prepare

cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
cargo clippy --version >/dev/null 2>&1 || rustup component add clippy
cargo fmt --all --check
cargo fmt --manifest-path fuzz/Cargo.toml --check
cargo clippy --workspace --all-targets -- -D warnings
# Without libFuzzer, which wants a C++ compiler: the bodies are what matters, and the tests run them.
cargo clippy --manifest-path fuzz/Cargo.toml --no-default-features --all-targets -- -D warnings
cargo test --workspace
./testdata/static.sh
