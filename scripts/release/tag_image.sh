#!/usr/bin/env bash
# Joins the images of the architectures, which are in the registry without a name, under the version; and under `latest`, unless the
# version is one before a release, as 1.0.0-rc.1. Prints the digest as the workflow's later steps read it.
#
# usage: scripts/release/tag_image.sh REPOSITORY VERSION DIGEST...      DIGEST without sha256: before it
set -euo pipefail
repository=$1 version=$2
shift 2

tags=(--tag "$repository:$version")
case $version in *-*) ;; *) tags+=(--tag "$repository:latest") ;; esac
docker buildx imagetools create "${tags[@]}" "${@/#/$repository@sha256:}" >&2
echo "digest=$(docker buildx imagetools inspect "$repository:$version" --format '{{.Manifest.Digest}}')"
