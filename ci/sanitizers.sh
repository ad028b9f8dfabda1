#!/usr/bin/env bash
# Sanitizers: the stress programs under ThreadSanitizer, then under AddressSanitizer with its leak check; then the tests of
# generators and greenlets under AddressSanitizer, which is told of each switch of stacks. `ci/sanitizers.sh thread`,
# `address` or `coroutines` does that part only.
#
# The run-times come with every toolchain, stable ones too; only the flag is unstable. RUSTC_BOOTSTRAP=1 makes rustc
# accept it, so no second toolchain is needed and nothing is skipped for the lack of one.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "sanitizers: tests/stress under thread, then address (with leaks); generators and greenlets under address"

export RUSTC_BOOTSTRAP=1
target=$(rustc -vV | sed -n 's/^host: //p')
base=${CARGO_TARGET_DIR:-target}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
sanitized() {
    # An own target directory each. With --target, build scripts and macros stay free of the sanitizer.
    RUSTFLAGS="-Zsanitizer=$1 -Cunsafe-allow-abi-mismatch=sanitizer -Cforce-frame-pointers=yes" \
        cargo test --target "$target" --target-dir "$base/sanitize-$2" "${@:3}" 2>&1 | tee "$log"
}

stress() {
    TSAN_OPTIONS="halt_on_error=1" ASAN_OPTIONS="detect_leaks=1" sanitized "$1" "$1" -p crewkit-stress --release
    local runs
    runs=$(grep -c '^stress: .* ok$' "$log") || { echo "sanitizers: no stress program ran"; exit 1; }
    echo "sanitizers: $1: $runs runs without a report"
}

# corosensei's feature `sanitizer` calls `__sanitizer_start_switch_fiber` and its fellow around each switch. Frames lie on
# fake stacks, so that a use after return is seen: what measures the real stack, leaves no memory for another, or makes a
# million (a fibre's fake stack is not given back) cannot be tested so. Faults are the crate's handler's, and std's. Bodies
# that are left for ever hold what they hold.
coroutines() {
    ASAN_OPTIONS="handle_segv=0:detect_leaks=1:detect_stack_use_after_return=1" \
        LSAN_OPTIONS="suppressions=$PWD/ci/left-for-ever.supp:print_suppressions=0" \
        sanitized address coroutines --no-default-features --features coroutines,corosensei/sanitizer \
        --test 'generator*' --test 'greenlet*' --test 'light_generator*' -- \
        --skip measure --skip too_little_memory --skip one_generator_too_many --skip a_million
    local runs
    runs=$(grep -c '^test .* ok$' "$log") || { echo "sanitizers: no test of coroutines ran"; exit 1; }
    echo "sanitizers: coroutines: $runs tests without a report"
}

test $# -gt 0 || set -- thread address coroutines
for part in "$@"; do
    if [[ $part == coroutines ]]; then coroutines; else stress "$part"; fi
done
