#!/usr/bin/env python3
"""Prints the licences and notices of everything that the program for a target contains, as those licences ask of its copies.

usage: scripts/release/licences.py TARGET [limpid-python]     the second for the wheel

Each text is printed once, after the crates that have it; C code that a crate brings has its own. Crates whose package has no such file
are listed with the licence that their manifest names.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from contents import contained

NAMES = re.compile(r"(licen[cs]e|copying|copyright|notice|unlicense)([-._].*)?", re.IGNORECASE)
CODE = {".rs", ".c", ".h", ".py", ".toml", ".json"}


def main() -> None:
    target, program = (sys.argv[1:] + ["limpid"])[:2]
    _, packages = contained(program, target)
    texts: dict[str, list[str]] = {}
    without = []
    for package in packages:
        name = f"{package['name']} {package['version']} ({package['license']})"
        folder = Path(package["manifest_path"]).parent
        files = [file for file in sorted(folder.rglob("*")) if NAMES.fullmatch(file.name) and file.suffix not in CODE and file.is_file()]
        own = {"\n".join(line.rstrip() for line in file.read_text(errors="replace").strip().splitlines()) for file in files}
        for text in sorted(own - {""}):
            texts.setdefault(text, []).append(name)
        if not own - {""}:
            without.append(f"{name} {package['repository'] or ''}".rstrip())
    print("limpid contains the crates below, under these licences.")
    print("\nWithout a text of their own:\n" if without else "", *without, sep="\n")
    for text, names in sorted(texts.items(), key=lambda entry: entry[1]):
        print(f"\n{'=' * 80}\n", *names, f"{'-' * 80}\n", text, sep="\n")


if __name__ == "__main__":
    main()
