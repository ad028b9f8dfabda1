#!/usr/bin/env bash
# Lint: no warning of rustc or clippy in any target of the workspace, and in crewkit with each feature alone. Arguments choose
# features, of which each is looked at alone and nothing else: `ci/clippy.sh processes`.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "clippy: no warning in any target of the workspace, with all features, and of crewkit without any or with each alone"

features=("$@")
if [[ $# == 0 ]]; then
    cargo clippy --workspace --all-targets --all-features -- -D warnings
    mapfile -t features < <(sed -n '/^\[features\]/,/^\[d/s/^\([a-z-]*\) = .*/\1/p' Cargo.toml | grep -vx default)
    features+=("")
fi
for feature in "${features[@]}"; do
    echo "clippy: ${feature:-no feature} alone"
    cargo clippy --all-targets --no-default-features --features "$feature" -- -D warnings
done
test $# -eq 0 || exit 0
targets=$(cargo clippy --workspace --all-targets --all-features --message-format json 2>/dev/null -- -D warnings |
    grep -c '"reason":"compiler-artifact","package_id":"path+file://') || { echo "clippy: looked at no target"; exit 1; }
echo "clippy: $targets targets"
