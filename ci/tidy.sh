#!/usr/bin/env bash
# Architecture: the floors, the rules for files, the gates themselves (tests/tidy), and that each planted fault can be planted.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "tidy: arrows point down, files keep the rules, every gate has its planted fault"

cargo test --test tidy

stale=0
for patch in ci/planted/*.patch; do
    git apply --check "$patch" || { echo "tidy: $patch does not apply any more"; stale=1; }
done
exit "$stale"
