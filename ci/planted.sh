#!/usr/bin/env bash
# Planted faults: each patch of ci/planted/ must make its gate fail, and for the reason that the patch names.
# Arguments choose patches: `ci/planted.sh docs-broken-link` or all those of a gate: `ci/planted.sh loom`.
#
# A patch begins with
#   # gate: NAME [ARGUMENTS]   the script ci/NAME.sh, and what to pass to it so that it looks where the fault is
#   # why: …                   what would go wrong for a user
#   # says: …                  a piece of what the failing gate prints
# It is applied to a copy of the tree, which has one target directory for all patches, so that each is a small rebuild.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "planted: every gate fails on its planted fault"

scratch=$PWD/target/planted
tree=$scratch/tree
mkdir -p "$tree"
export CARGO_TARGET_DIR=$scratch/target
export GIT_CEILING_DIRECTORIES=$scratch # the copy is no part of the repository around it

# Only files that differ are copied, with a new modification time: cargo must see that a fault was taken out.
list() { find . \( -name target -o -name .git \) -prune -o -type f -print | sort; }
comm -13 <(list) <(cd "$tree" && list) | (cd "$tree" && xargs -rd '\n' rm --)
list | while read -r file; do
    cmp -s "$file" "$tree/$file" && continue
    mkdir -p "$tree/$(dirname "$file")"
    cp "$file" "$tree/$file"
    touch "$tree/$file"
done

# A fault may be that processes do not end. Whatever still runs a program of the copy is ended, by its pid.
sweep() {
    local process
    for process in /proc/[0-9]*; do
        if [[ $(readlink "$process/exe") == "$CARGO_TARGET_DIR"/* ]]; then
            kill -KILL "${process#/proc/}" || true
        fi
    done 2>/dev/null
}

table=()
failed=0
for patch in "$PWD"/ci/planted/*.patch; do
    name=$(basename "$patch" .patch)
    header() { sed -n "/^---/q; s/^# $1: *//p" "$patch"; }
    read -r gate arguments <<<"$(header gate)"
    says=$(header says)
    test $# -eq 0 || [[ " $* " == *" $name "* || " $* " == *" $gate "* ]] || continue
    cd "$tree"
    started=$SECONDS
    log=$scratch/$name.log
    if ! git apply "$patch"; then
        result="does not apply"
    else
        # shellcheck disable=SC2086 # the arguments are several words
        if timeout 900 "ci/$gate.sh" $arguments >"$log" 2>&1 </dev/null; then
            result="NOT CAUGHT"
        elif [[ -z $says ]] || ! grep -qF -- "$says" "$log"; then
            result="failed, but not by saying: $says"
            tail -n 30 "$log"
        else
            result=caught
        fi
        git apply --reverse "$patch"
        sweep
    fi
    test "$result" = caught || failed=1
    table+=("$(printf '%-28s %-14s %5d s  %s' "$name" "$gate" $((SECONDS - started)) "$result")")
    echo "planted: ${table[-1]}"
done
echo
printf '%-28s %-14s %7s  %s\n' fault gate time result
printf '%s\n' "${table[@]:?planted: no patch was tried}"
exit "$failed"
