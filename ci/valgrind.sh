#!/usr/bin/env bash
# Valgrind: the tests of generators and greenlets, whose stacks it is told of, with every load, store and jump checked.
#
# It finds what AddressSanitizer cannot: decisions on memory that nobody has written, also in code that is not
# instrumented. What measures a stack reads below the stack pointer, which it takes for an error; a million generators
# would take it minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "valgrind: tests of generators and greenlets"

command -v valgrind >/dev/null || apt-get install -y --no-install-recommends valgrind
log=$(mktemp)
trap 'rm -f "$log"' EXIT
host=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
export "CARGO_TARGET_${host}_RUNNER=valgrind --error-exitcode=9 --leak-check=no --main-stacksize=8388608"
cargo test --no-default-features --features coroutines \
    --test 'generator*' --test 'greenlet*' --test 'light_generator*' -- --skip measure --skip a_million 2>&1 | tee "$log"
runs=$(grep -c 'ERROR SUMMARY: 0 errors' "$log") || { echo "valgrind: nothing ran"; exit 1; }
echo "valgrind: $runs programs without an error"
