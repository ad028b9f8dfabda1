#!/usr/bin/env bash
# Models: every interleaving, with at most LOOM_MAX_PREEMPTIONS interruptions of a running thread (4 unless given: a
# real lost wake-up was missed at 3 and found at 4). Arguments go to cargo: `ci/loom.sh --test queue`.
set -euo pipefail
cd "$(dirname "$0")/../loom-tests"
echo "loom: sync, queue and your own code in every interleaving"

export RUSTFLAGS="--cfg crewkit_loom"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}/loom"
export LOOM_MAX_PREEMPTIONS="${LOOM_MAX_PREEMPTIONS:-4}"
export LOOM_MAX_BRANCHES="${LOOM_MAX_BRANCHES:-10000}"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
test $# -gt 0 || set -- --tests
cargo test --release "$@" -- --nocapture 2>&1 | tee "$log"
awk '/model .* executions, / { models++; for (i = 2; i < NF; i++) if ($(i + 1) == "executions,") total += $i }
    /model .*, stopped$/ { stopped++ }
    END { printf "loom: %d models, %d executions; %d models stopped before the end\n", models, total, stopped; exit models == 0 }' "$log"
