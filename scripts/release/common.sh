# shellcheck shell=bash
# What the scripts of a release share; sourced by them, in the root of the repository.

fail() { echo "$*" >&2; exit 1; }

# A field of Cargo.toml; the first of its name, which [workspace.package] has.
field() { sed -n "s/^$1 = \"\(.*\)\".*/\1/p" Cargo.toml | head -n 1; }

# The name without suffix of the archive for a target, as cargo binstall derives it from Cargo.toml.
archive() {
    field pkg-url | sed "s|.*/||; s|\.tar\.gz$||; s|{ name }|limpid|; s|{ version }|$(field version)|; s|{ target }|$1|"
}

# The section of CHANGELOG.md for a version, without its heading.
notes() { awk -v version="$1" '/^## / { here = ($2 == version); next } here' CHANGELOG.md; }
