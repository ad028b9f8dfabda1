#!/usr/bin/env bash
# Tests: README's test command. Arguments go to cargo: `ci/test.sh --lib reactor`.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "test: unit, integration and documentation tests, as README runs them; those of sync with deadlock-detection, too"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
exec 3>&1
{
    cargo test "$@"
    if [[ $# == 0 ]]; then
        cargo test --no-default-features --features deadlock-detection --lib --test 'sync_*'
    fi
} 2>&1 | tee "$log" >&3
grep -q '^test result: ok\. [1-9]' "$log" || { echo "test: ran no test"; exit 1; }
