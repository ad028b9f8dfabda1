#!/usr/bin/env bash
# Format: every file of the workspace is as rustfmt writes it.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "fmt: rustfmt leaves every file of the workspace as it is"

# Modules behind `cfg(crewkit_loom)` are reached too: rustfmt follows `mod` whatever its cfg.
out=$(cargo fmt --all -- --check --verbose 2>&1) || { echo "$out" | grep -v '^\(Formatting\|Spent\|Using\) '; exit 1; }
files=$(grep -c '^Formatting ' <<<"$out") || { echo "fmt: looked at no file"; exit 1; }
echo "fmt: $files files"
