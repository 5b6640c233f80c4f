#!/usr/bin/env bash
# limpid with LibTorch, from nothing: PyPI's torch 2.9.0 into a fresh environment, a build with the feature `tch` against it, and
# the tests on the devices flex and tch.
#
#   scripts/libtorch.sh [FOLDER]     FOLDER (target/libtorch unless given) gets the environment and the build; it must not exist
#   . FOLDER/environment             afterwards, in a shell: what building and running need
#   LIMPID_TEST_DEVICES=flex,tch     the devices that the tests run on; tch:cuda:0 too, where there is a GPU
#
# Needs Python 3.10 to 3.13, a C++17 compiler, and some ten GB for CUDA's libraries, which this torch brings along.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-target/libtorch}
if [ -e "$folder" ]; then
    echo "$folder exists already; name another folder, or remove it" >&2
    exit 2
fi
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

python3 -m venv "$folder/venv"
# torch's own description of how it was built, which torch-sys asks for, needs setuptools.
"$folder/venv/bin/python" -m pip install --quiet torch==2.9.0 setuptools numpy

torch=$("$folder/venv/bin/python" -c 'import pathlib, torch; print(pathlib.Path(torch.__file__).parent)')
cat > "$folder/environment" <<END
# Source this file. torch-sys asks the Python of this environment where LibTorch is; LD_LIBRARY_PATH is for running.
export VIRTUAL_ENV=$folder/venv
export PATH=$folder/venv/bin:\$PATH
export LIBTORCH_USE_PYTORCH=1
export LD_LIBRARY_PATH=$torch/lib\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
export CARGO_TARGET_DIR=\${CARGO_TARGET_DIR:-$folder/target}
END
# shellcheck disable=SC1091
. "$folder/environment"

cargo build --release --locked --features tch
LIMPID_TEST_DEVICES=${LIMPID_TEST_DEVICES:-flex,tch} cargo test --release --locked --features tch -- device placed losses training::step model::
"$CARGO_TARGET_DIR/release/limpid" devices
