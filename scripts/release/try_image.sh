#!/usr/bin/env bash
# Runs the quickstart in an image as strictly as it can be run: no network, a read-only root, no capability, an unprivileged user.
#
# usage: scripts/release/try_image.sh IMAGE [PROGRAM]     PROGRAM is docker, or podman with options that it takes the same
set -euo pipefail
image=$1
program=${2:-docker}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 777 "$work"
limpid() {
    "$program" run --rm --network none --read-only --cap-drop ALL --security-opt no-new-privileges --user 65532:65532 \
        --volume "$work:/work" "$image" "$@"
}

limpid
limpid plan /pipelines/quickstart.toml --check
