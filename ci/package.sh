#!/usr/bin/env bash
# Package: what crates.io would get is complete, holds nothing else, and builds by itself.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "package: cargo package, its list of files, and a build of what was packed"

listed=$(cargo package --list --allow-dirty)
{
    find src examples -name '*.rs'
    printf '%s\n' Cargo.toml Cargo.lock README.md CHANGELOG.md LICENSE-APACHE LICENSE-MIT
} | while read -r wanted; do
    grep -qx "$wanted" <<<"$listed" || { echo "package: $wanted is not in the package"; exit 1; }
done
if grep -E '^(\.?ci|target|benches|fuzz|loom-tests|tests/(properties|tidy|stress))(/|$)' <<<"$listed"; then
    echo "package: these files are of no use outside of the repository"
    exit 1
fi
cargo package --allow-dirty
echo "package: $(wc -l <<<"$listed") files"
