#!/usr/bin/env bash
# Lint: no warning of rustc or clippy in any target of the workspace.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "clippy: no warning in any target of the workspace, with all features, and of crewkit without any or with threads only"

cargo clippy --workspace --all-targets --all-features -- -D warnings
for feature in "" threads; do
    cargo clippy --all-targets --no-default-features --features "$feature" -- -D warnings
done
targets=$(cargo clippy --workspace --all-targets --all-features --message-format json 2>/dev/null -- -D warnings |
    grep -c '"reason":"compiler-artifact","package_id":"path+file://') || { echo "clippy: looked at no target"; exit 1; }
echo "clippy: $targets targets"
