#!/usr/bin/env bash
# Looks for memory errors in the unsafe code, which is in src/kernel alone.
#
# usage: scripts/check_memory.sh [miri] [valgrind]        both unless named
#
# miri      interprets tests of the kernels and finds every undefined behaviour on their way: reads outside an allocation,
#           alignment, aliasing, uninitialised memory. It takes the portable vectors, whose loops and pointers are those of
#           every instruction set, and sizes that leave something over everywhere; many sizes would take it hours. Needs a
#           nightly toolchain with the components miri and rust-src. A few minutes, and as many for the first build.
# valgrind  runs all tests of the kernels as released and finds reads and writes outside the heap's blocks, and decisions
#           on uninitialised numbers, with AVX2 (it shows programs a processor without AVX-512). Needs valgrind. A minute
#           after the build. PACKAGES are cargo's options for them, for a build that was made with others.
set -euo pipefail
cd "$(dirname "$0")/.."

with_miri() {
    echo "== miri"
    rustup run nightly cargo miri --version
    CARGO_TARGET_DIR=target/miri MIRIFLAGS=-Zmiri-disable-isolation cargo +nightly miri test --lib --locked -- \
        kernel::tests::small_sizes kernel::tests::empty kernel::tests::what_is_not kernel::tests::inference \
        kernel::elementwise::tests::a_small kernel::elementwise::tests::what
}

with_valgrind() {
    echo "== valgrind"
    valgrind --version
    # shellcheck disable=SC2086
    tests=$(cargo test --release --lib --locked --no-run --message-format=json ${PACKAGES:-} |
        sed -n 's/.*"executable":"\([^"]*\/limpid-[^"]*\)".*/\1/p' | tail -1)
    valgrind --error-exitcode=1 --quiet "$tests" --test-threads=1 kernel
}

[ $# -gt 0 ] || set -- miri valgrind
for tool in "$@"; do
    "with_$tool"
done
