#!/bin/sh
# Kills a process at machine instructions of sending and receiving, and checks what the survivors see.
# CREWKIT_KILL_POINTS=all takes every instruction, in an optimised build, because there are fewer of them.
set -eu
cd "$(dirname "$0")/.."
if [ "${CREWKIT_KILL_POINTS:-}" = all ]; then
    exec cargo test --release --test kill_points
fi
exec cargo test --test kill_points
