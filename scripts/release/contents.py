"""What a program contains: the packages that are linked into it, not those that only build or test it.

`cargo tree` says that; `cargo metadata`, which other tools read, also lists crates of features that are off, twice as many.
"""

from __future__ import annotations

import json
import subprocess
from typing import Any


def cargo(*command: str) -> str:
    """What a command of cargo prints."""
    return subprocess.run(["cargo", *command, "--locked"], check=True, stdout=subprocess.PIPE, text=True).stdout


def contained(program: str, target: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The package of `program`, and those of others in it, built for `target` with the default features; as `cargo metadata` has them."""
    tree = cargo("tree", f"--package={program}", "--edges=normal,no-proc-macro", f"--target={target}", "--prefix=none", "--format={p}")
    linked = {tuple(line.split()[:2]) for line in tree.splitlines()}
    packages = json.loads(cargo("metadata", "--format-version=1", f"--filter-platform={target}"))["packages"]
    found = [package for package in packages if (package["name"], f"v{package['version']}") in linked and package["source"]]
    own = next(package for package in packages if package["name"] == program)
    return own, sorted(found, key=lambda package: (package["name"], package["version"]))
