#!/usr/bin/env bash
# Builds the program for a target, as it is released: by the Rust and the profile `published` of Cargo.toml, into
# target/TARGET/published/limpid.
#
# usage: MANYLINUX=IMAGE scripts/release/build.sh TARGET
#
# On Linux the C compiler, the linker and the C library are those of the image, manylinux_2_28, in which the wheels are built too: a
# program runs with the glibc it was linked to and later ones, and 2.28 is that of RHEL 8 and Debian 10. Rust comes from the host.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/release/common.sh

target=$1
rust=$(field rust-version)
rustup toolchain install "$rust" --profile minimal --target "$target"
export RUSTUP_TOOLCHAIN=$rust
build=(cargo build --profile published --locked --bin limpid --target "$target")

if [ "$(uname -s)" = Linux ]; then
    cargo=${CARGO_HOME:-$HOME/.cargo} rustup=${RUSTUP_HOME:-$HOME/.rustup}
    # Started in the image once, which shows that its glibc is new enough.
    # shellcheck disable=SC2016
    docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:$PWD" --workdir "$PWD" --volume "$cargo:$cargo" --volume "$rustup:$rustup:ro" \
        --env HOME=/tmp --env "CARGO_HOME=$cargo" --env "RUSTUP_HOME=$rustup" --env RUSTUP_TOOLCHAIN \
        "$MANYLINUX" bash -ec 'PATH=$CARGO_HOME/bin:$PATH; program=$1; shift; "$@"; "$program" --version' \
        - "target/$target/published/limpid" "${build[@]}"
else
    "${build[@]}"
fi
