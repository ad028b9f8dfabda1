#!/usr/bin/env bash
# Tests on one processor: what only works because two threads run at once fails here.
set -euo pipefail
cd "$(dirname "$0")/.."

cpus=$(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status)
cpu=${cpus%%[,-]*}
echo "test-one-cpu: README's test command, on processor $cpu alone"
cargo test --no-run # builds on all of them
exec taskset -c "$cpu" ci/test.sh "$@"
