#!/usr/bin/env bash
# Sanitizers: the stress programs under ThreadSanitizer, then under AddressSanitizer with its leak check.
#
# The run-times come with every toolchain, stable ones too; only the flag is unstable. RUSTC_BOOTSTRAP=1 makes rustc
# accept it, so no second toolchain is needed and nothing is skipped for the lack of one.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "sanitizers: tests/stress under thread, then address (with leaks)"

export RUSTC_BOOTSTRAP=1
target=$(rustc -vV | sed -n 's/^host: //p')
base=${CARGO_TARGET_DIR:-target}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for sanitizer in thread address; do
    # An own target directory each. With --target, build scripts and macros stay free of the sanitizer.
    RUSTFLAGS="-Zsanitizer=$sanitizer -Cunsafe-allow-abi-mismatch=sanitizer -Cforce-frame-pointers=yes" \
        TSAN_OPTIONS="halt_on_error=1" ASAN_OPTIONS="detect_leaks=1" \
        cargo test -p crewkit-stress --release --target "$target" --target-dir "$base/sanitize-$sanitizer" 2>&1 | tee -a "$log"
done
runs=$(grep -c '^stress: .* ok$' "$log") || { echo "sanitizers: no stress program ran"; exit 1; }
echo "sanitizers: $runs runs without a report"
