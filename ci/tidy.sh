#!/usr/bin/env bash
# Architecture: the floors, the rules for files, the gates themselves (tests/tidy).
set -euo pipefail
cd "$(dirname "$0")/.."
echo "tidy: arrows point down, files keep the rules, every gate has its planted fault"

cargo test --test tidy
