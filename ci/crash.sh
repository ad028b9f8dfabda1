#!/usr/bin/env bash
# Crash: a process is killed at the machine instructions of what it does with others, and the survivors are asked what they
# see; then twelve processes use everything while they are killed and stopped at random. The instructions are those of
# optimised code, and a sample of them; the tests take a smaller one. CREWKIT_KILL_POINTS=all takes every instruction, and
# thousands of kills at random. Arguments choose tests: `ci/crash.sh whoever_dies`.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "crash: whoever is killed leaves everything whole or not at all, or marked, and nobody hanging"

export CREWKIT_KILL_POINTS=${CREWKIT_KILL_POINTS:-some}
if [[ $CREWKIT_KILL_POINTS == all ]]; then
    profile=(--release)
    export CREWKIT_CHAOS_KILLS=${CREWKIT_CHAOS_KILLS:-5000}
else
    # What the other gates have built of its dependencies serves here, too.
    for setting in opt-level=2 debug-assertions=false overflow-checks=false; do
        profile+=(--config "profile.dev.package.crewkit.$setting")
    done
fi
cargo test "${profile[@]}" --no-default-features --features processes --test kill_points --test chaos "$@"
