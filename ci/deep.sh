#!/usr/bin/env bash
# Before an issue is called resolved: every gate, the planted faults, and the slow forms of the gates that search.
set -euo pipefail
cd "$(dirname "$0")/.."

ci/all.sh
ci/planted.sh
echo "deep: the tests twenty times over, to find what fails now and then"
for _ in $(seq 20); do
    ci/test.sh -q --lib --tests
done
