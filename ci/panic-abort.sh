#!/usr/bin/env bash
# Coroutines in a program that is built with panic = "abort": tests/abort, which libtest could not be built for.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "panic-abort: coroutines in a program that cannot unwind"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
cargo run -p crewkit-abort --profile panic-abort | tee "$log"
runs=$(grep -c '^abort: .*: ok$' "$log") || { echo "panic-abort: nothing ran"; exit 1; }
echo "panic-abort: $runs behaviours as documented"
