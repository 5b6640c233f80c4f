#!/usr/bin/env bash
# Refuses a tag that does not name the version of Cargo.toml, or one that CHANGELOG.md does not describe. Prints the version and the
# version of Rust that builds it, as the workflow's later jobs read them.
#
# usage: scripts/release/check_tag.sh [TAG]     without TAG, as in a rehearsal, only prints
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/release/common.sh

version=$(field version)
if [ $# -gt 0 ]; then
    [ "$1" = "v$version" ] || fail "the tag $1 is not v$version, the version of Cargo.toml: raise that first, or name the tag after it"
    notes "$version" | grep -q '[^[:space:]]' || fail "CHANGELOG.md has no section '## $version - DATE', or nothing in it"
    ! notes Unreleased | grep -q '[^[:space:]]' || fail "CHANGELOG.md still has entries under 'Unreleased': move them to '## $version - DATE'"
fi
echo "version=$version"
echo "rust=$(field rust-version)"
