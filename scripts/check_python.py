#!/usr/bin/env python3
"""Runs the examples of docs/python.md and of the README, in their order and in one folder, each in a process of its own.

usage: check_python.py [--only WORD]...

Needs the module `limpid` (docs/python.md). An example whose other packages are not installed is left out, with a line. Exits with 1 if
one fails.
"""

import argparse
import ast
import importlib.util
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent.parent


def examples() -> list[tuple[str, str]]:
    """The Python examples with their headings."""
    text = "".join((HERE / name).read_text(encoding="utf-8") for name in ("docs/python.md", "README.md"))
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    sections = zip(parts[1::2], parts[2::2])
    return [(name, code) for name, text in sections for code in re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)]


def missing(code: str) -> list[str]:
    """The packages that an example imports and that are not installed."""
    names = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return sorted(name for name in names if importlib.util.find_spec(name) is None)


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs the examples of docs/python.md and of the README.")
    parser.add_argument("--only", action="append", metavar="WORD", help="only examples with this word in their heading, after the first")
    wanted = parser.parse_args().only
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(HERE / "pipelines", pathlib.Path(folder) / "pipelines")
        for number, (name, code) in enumerate(examples()):
            # Later examples use the run of the first.
            if number > 0 and wanted and not any(word.lower() in name.lower() for word in wanted):
                continue
            if lacking := missing(code):
                print(f"left out: {name} ({', '.join(lacking)} not installed)", flush=True)
                continue
            # A file, since workers import what they are sent from it.
            program = pathlib.Path(folder) / f"example_{number}.py"
            program.write_text(code, encoding="utf-8")
            done = subprocess.run([sys.executable, program.name], cwd=folder, capture_output=True, text=True, timeout=600, check=False)
            failed += done.returncode != 0
            print(f"{'ok' if done.returncode == 0 else 'FAILED'}: {name}", flush=True)
            if done.returncode:
                print(done.stdout, done.stderr, sep="\n", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
