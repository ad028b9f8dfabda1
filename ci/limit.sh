#!/usr/bin/env bash
# Runs a command for at most so many seconds: `ci/limit.sh 1200 ci/loom.sh`. What takes longer hangs: then every process
# of the command is shown, each with the places where its threads wait, and killed.
set -uo pipefail

seconds=$1
shift
export CREWKIT_GATE=$$ # how its processes are told from others, also those that left their parents

# The processes that were started with the mark, whoever is their parent by now.
marked() {
    grep -lzxs "CREWKIT_GATE=$CREWKIT_GATE" /proc/[0-9]*/environ | cut -d/ -f3 | grep -vx "$$"
}

show() {
    local task line
    line=$(tr '\0' ' ' <"/proc/$1/cmdline" | cut -c1-200)
    [[ $line ]] || return # it has ended
    echo "  process $1: $line"
    for task in "/proc/$1/task/"*; do
        echo "    thread ${task##*/} ($(cat "$task/comm")): $(cut -d' ' -f3 "$task/stat" | head -c1)," \
            "in $(cat "$task/wchan"), system call $(cat "$task/syscall")"
    done
    if command -v gdb >/dev/null && [[ $(readlink "/proc/$1/exe") == */target/* ]]; then
        timeout 60 gdb -p "$1" -batch -ex 'thread apply all bt 40' 2>/dev/null | cut -c1-200
    fi
}

"$@" &
command=$!
trap 'kill -TERM "$command" 2>/dev/null; exit 130' INT TERM
while kill -0 "$command" 2>/dev/null; do
    if ((SECONDS >= seconds)); then
        echo "limit: \`$*\` takes longer than $seconds s. Its processes:"
        for process in $(marked); do
            show "$process" 2>/dev/null
        done
        # More than once, as one may have started another meanwhile.
        for _ in 1 2 3; do
            kill -KILL $(marked) 2>/dev/null
        done
        wait "$command" 2>/dev/null
        exit 124
    fi
    sleep 1
done
wait "$command"
