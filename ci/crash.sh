#!/usr/bin/env bash
# Crash: a process is killed at the machine instructions of what it does with others, and the survivors are asked what they
# see; then ten processes use everything while they are killed and stopped at random. CREWKIT_KILL_POINTS=all takes every
# instruction, in an optimised build, because it has fewer of them, and thousands of kills at random.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "crash: whoever is killed leaves everything whole or not at all, or marked, and nobody hanging"

profile=()
if [[ ${CREWKIT_KILL_POINTS:-} == all ]]; then
    profile=(--release)
    export CREWKIT_CHAOS_KILLS=${CREWKIT_CHAOS_KILLS:-5000}
fi
cargo test "${profile[@]}" --test kill_points --test chaos "$@"
