#!/usr/bin/env bash
# Properties: random operations on the queues, held against a plain model. Arguments choose tests: `ci/properties.sh lifo`.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "properties: the queues answer as a plain model, to one thread and to several"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
cargo test -p crewkit-properties --test queues -- "$@" 2>&1 | tee "$log"
grep -q '^test result: ok\. [1-9]' "$log" || { echo "properties: ran no test"; exit 1; }
