#!/usr/bin/env bash
# Documentation: no broken link, for users and for readers of the source.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "docs: rustdoc without a warning: private items too, public ones only, and with no features"

export RUSTDOCFLAGS="-D warnings"
cargo doc --no-deps --all-features --document-private-items
cargo doc --no-deps --no-default-features
cargo doc --no-deps --all-features
pages=$(find "${CARGO_TARGET_DIR:-target}/doc/crewkit" -name '*.html' | wc -l)
test "$pages" -gt 0 || { echo "docs: wrote no page"; exit 1; }
echo "docs: $pages pages"
