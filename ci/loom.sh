#!/bin/sh
# Model checks: every interleaving, with at most LOOM_MAX_PREEMPTIONS interruptions of a running thread (4 unless given;
# a real lost wake-up was missed at 3 and found at 4). Prints how many executions each model took.
# Usage: ci/loom.sh [cargo test arguments, such as: --test queue]
set -eu
cd "$(dirname "$0")/../loom-tests"
export RUSTFLAGS="--cfg crewkit_loom ${RUSTFLAGS:-}"
export CARGO_TARGET_DIR="${CREWKIT_LOOM_TARGET:-target}"
export LOOM_MAX_PREEMPTIONS="${LOOM_MAX_PREEMPTIONS:-4}"
export LOOM_MAX_BRANCHES="${LOOM_MAX_BRANCHES:-10000}"
exec cargo test --release --tests "$@" -- --nocapture
