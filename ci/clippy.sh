#!/usr/bin/env bash
# Lint: no warning of rustc or clippy in any target of the workspace.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "clippy: no warning in any target of the workspace, with all features and without any"

cargo clippy --workspace --all-targets --all-features -- -D warnings
cargo clippy --lib --no-default-features -- -D warnings
targets=$(cargo clippy --workspace --all-targets --all-features --message-format json 2>/dev/null -- -D warnings |
    grep -c '"reason":"compiler-artifact","package_id":"path+file://') || { echo "clippy: looked at no target"; exit 1; }
echo "clippy: $targets targets"
