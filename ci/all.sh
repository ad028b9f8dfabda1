#!/usr/bin/env bash
# Every quick gate, one after the other, then a table. Fails if a gate failed or could not run: none is optional.
#
# README's test command comes last, after the table of the others, so that a log ends with cargo's own summaries; if
# anything failed before it, the table comes once more at the very end.
set -uo pipefail
cd "$(dirname "$0")/.."

gates=(fmt tidy clippy docs package properties sanitizers panic-abort loom crash test-one-cpu)
last=test
limit=1200 # seconds for each; none takes half as long on two processors

table=$(printf '%-14s %7s  %s' gate seconds result)
failed=0
gate() {
    echo "──── $1 ────"
    local started=$SECONDS result=passed
    if [[ ! -x ci/$1.sh ]]; then
        result=MISSING
    else
        ci/limit.sh "$limit" "ci/$1.sh" </dev/null || result="FAILED ($?)"
    fi
    [[ $result == passed ]] || failed=1
    table+=$(printf '\n%-14s %7d  %s' "$1" $((SECONDS - started)) "$result")
}
for name in "${gates[@]}"; do
    gate "$name"
done
printf '\n%s\n\n' "$table"
gate "$last"
if [[ $failed != 0 ]]; then
    printf '\n%s\n' "$table"
fi
exit "$failed"
