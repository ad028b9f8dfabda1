#!/usr/bin/env bash
# Crash: a process is killed at the machine instructions of sending and receiving, and the survivors are asked what they
# see. CREWKIT_KILL_POINTS=all takes every instruction, in an optimised build, because it has fewer of them.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "crash: whoever is killed while it sends or receives leaves a message whole or not at all, and nobody hanging"

profile=()
[[ ${CREWKIT_KILL_POINTS:-} == all ]] && profile=(--release)
cargo test "${profile[@]}" --test kill_points "$@"
