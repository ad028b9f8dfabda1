#!/usr/bin/env bash
# Fuzzing: what a hostile peer may send, searched by libFuzzer under AddressSanitizer. `ci/fuzz.sh object 30` searches with one
# target for so many seconds; without arguments, with each for CREWKIT_FUZZ_SECONDS (60).
#
# The crate's own tests (`cargo test --lib ipc::fuzz`) run the same targets on fuzz/corpus, where inputs belong that reach
# something new: `cargo fuzz cmin`, or whatever this has found, mended.
set -euo pipefail
cd "$(dirname "$0")/../fuzz"
echo "fuzz: the targets of fuzz/, under AddressSanitizer"

cargo fuzz --version >/dev/null || { echo "fuzz: needs cargo install cargo-fuzz --locked"; exit 1; }
export RUSTC_BOOTSTRAP=1 # for its flags, as in ci/sanitizers.sh
seconds=${2:-${CREWKIT_FUZZ_SECONDS:-60}}
targets=("${@:1:1}")
test $# -gt 0 || mapfile -t targets < <(cargo fuzz list)
found=$(mktemp -d)
trap 'rm -rf "$found"' EXIT
for target in "${targets[@]:?fuzz: no target}"; do
    # What is found goes into a folder of its own; an input that does harm stays in fuzz/artifacts.
    cargo fuzz run "$target" "$found" "corpus/$target" -- -max_total_time="$seconds" -timeout=20 -max_len=512 -verbosity=1 \
        2>&1 | grep -vE '^#[0-9]+\s+(NEW|REDUCE|RELOAD)|^"' | tee "$found.log"
    grep -q '^Done [1-9][0-9]* runs' "$found.log" || { echo "fuzz: $target did not run to its end"; exit 1; }
    rm -rf "$found.log" "$found"/*
done
echo "fuzz: ${targets[*]}: nothing does harm"
