#!/usr/bin/env bash
# Installs a wheel in a fresh environment: alone, where it must import and bring its command, then with what its tests need.
#
# usage: scripts/release/try_wheel.sh WHEEL [PYTHON]
set -euo pipefail
wheel=$(realpath "$1")
python=${2:-python3}
cd "$(dirname "$0")/../.."
. scripts/release/common.sh

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
bin=$folder/venv/bin

"$bin/python" -m pip install --quiet --no-index --no-deps "$wheel"
[ "$("$bin/limpid" --version)" = "limpid $(field version)" ] || fail "the command's version is not $(field version)"
"$bin/python" -c 'import limpid; limpid.plan("pipelines/quickstart.toml")'

"$bin/python" -m pip install --quiet --requirement crates/limpid-python/tests/requirements.txt
"$bin/python" -m pytest -q crates/limpid-python/tests
