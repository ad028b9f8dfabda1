#!/usr/bin/env bash
# Tests: README's test command. Arguments go to cargo: `ci/test.sh --lib reactor`.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "test: unit, integration and documentation tests, as README runs them; those of features that are off by default, too"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
exec 3>&1
{
    cargo test "$@"
    if [[ $# == 0 ]]; then
        cargo test --no-default-features --features deadlock-detection --lib --test 'sync_*'
        cargo test --no-default-features --features ipc-channel --test ipc_channel
        cargo test --no-default-features --features ipc-channel --doc ipc::channel
    fi
} 2>&1 | tee "$log" >&3
grep -q '^test result: ok\. [1-9]' "$log" || { echo "test: ran no test"; exit 1; }
