#!/usr/bin/env bash
# Unpacks an archive of a release in an empty folder and uses it as its user would: version, completions, the quickstart.
#
# usage: scripts/release/try_archive.sh ARCHIVE
set -euo pipefail
archive=$(realpath "$1")
cd "$(dirname "$0")/../.."
. scripts/release/common.sh
version=$(field version)

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
tar -xzf "$archive" -C "$folder"
cd "$folder/$(basename "$archive" .tar.gz)"

[ "$(./limpid --version)" = "limpid $version" ] || fail "the program's version is not $version"
bash -n completions/limpid
for file in README.md CHANGELOG.md LICENSE-APACHE LICENSE-MIT LICENSE-THIRD-PARTY completions/_limpid completions/limpid.fish; do
    [ -s "$file" ] || fail "$file is missing or empty"
done
./limpid run pipelines/quickstart.toml
./limpid plan pipelines/quickstart.toml --check
