#!/usr/bin/env bash
# Packs the program for a target with what belongs to it into an archive, under the name that cargo binstall looks for.
#
# usage: scripts/release/package.sh TARGET [PROGRAM]     writes target/dist/limpid-VERSION-TARGET.tar.gz, and .cdx.json
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/release/common.sh

target=$1
program=${2:-target/$target/published/limpid}
name=$(archive "$target")
folder=target/dist/$name
rm -rf "$folder"
mkdir -p "$folder/completions"

cp "$program" "$folder/limpid"
cp -R README.md CHANGELOG.md CONTRIBUTING.md LICENSE-APACHE LICENSE-MIT docs pipelines "$folder"
# All settings, to which the docs lead.
mkdir -p "$folder/src/config"
cp src/config/default.toml "$folder/src/config"
scripts/release/licences.py "$target" >"$folder/LICENSE-THIRD-PARTY"
# Under the names by which the shells find them.
"$program" completions bash >"$folder/completions/limpid"
"$program" completions zsh >"$folder/completions/_limpid"
"$program" completions fish >"$folder/completions/limpid.fish"

# macOS would add its attributes as further files.
COPYFILE_DISABLE=1 tar -czf "$folder.tar.gz" -C target/dist "$name"
rm -r "$folder"
scripts/release/sbom.py "$target" >"$folder.cdx.json"
ls "$folder".*
