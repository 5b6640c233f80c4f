#!/usr/bin/env bash
# Publishes a release on GitHub: the files of a folder, with the section of CHANGELOG.md as its text.
#
# usage: scripts/release/publish.sh VERSION FOLDER
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/release/common.sh

version=$1 folder=$2
options=()
case $version in *-*) options=(--prerelease) ;; esac
notes "$version" | gh release create "v$version" --verify-tag --title "limpid $version" --notes-file - "${options[@]}" "$folder"/*
