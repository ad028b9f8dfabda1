#!/usr/bin/env bash
# Before an issue is called resolved: every gate, the planted faults, and the slow forms of the gates that search.
# Hours on a small machine. Stops at the first failure.
set -euo pipefail
cd "$(dirname "$0")/.."

ci/all.sh
ci/planted.sh

echo "deep: a kill at every instruction, in an optimised build"
CREWKIT_KILL_POINTS=all ci/crash.sh
echo "deep: kills at random, with other choices"
for seed in $(seq 2 6); do
    CREWKIT_CHAOS_SEED=$seed CREWKIT_CHAOS_KILLS=5000 cargo test --release --test chaos
done

# The large models, of which the gate looks at three interruptions, are looked at whole; of the others what is seen of five
# in a minute each comes on top of the four that the gate has seen whole.
echo "deep: the models with one interruption more"
LOOM_MAX_PREEMPTIONS=5 LOOM_MAX_DURATION=60 ci/loom.sh

ci/valgrind.sh

echo "deep: each target of fuzz/ for five minutes"
CREWKIT_FUZZ_SECONDS=300 ci/fuzz.sh

echo "deep: the tests and the stress programs ten times over, to find what fails now and then"
for _ in $(seq 10); do
    ci/test.sh --quiet --lib --tests
    ci/sanitizers.sh
done
