#!/usr/bin/env python3
"""Who maintains what limpid depends on: writes docs/dependencies.md from Cargo.toml, Cargo.lock and the registry's index, as cargo has
them on this machine after a build. Ends with 1 if a version is yanked.

    scripts/dependencies.py >docs/dependencies.md
"""

import datetime
import glob
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CARGO = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
YEAR = datetime.timedelta(days=365)

HEAD = """# Dependencies

Written by `scripts/dependencies.py` from `Cargo.toml`, `Cargo.lock` and the index of crates.io. Dates are those of the newest
version of a crate.

`cargo deny check` (`deny.toml`) checks all of them for licences, sources and, where it can reach the advisories, known weaknesses.
Version 0.20.2 of it finds nothing (`cargo deny --workspace --all-features check`, with the RustSec database of 2026-08-21), and no version
in `Cargo.lock` is yanked. Three advisories apply all the same;
`deny.toml` has them, with the reason why each is let be: `paste` is no longer maintained, and `quick-xml` takes time and memory for hostile answers
of an object store until DataFusion takes an `object_store` with a newer one.

"""


def versions(name):
    """What the index knows of a crate, version by version."""
    low = name.lower()
    place = {1: low, 2: low, 3: f"{low[:1]}/{low}"}.get(len(low), f"{low[:2]}/{low[2:4]}/{low}")
    place = place if len(low) > 3 else f"{len(low)}/{place}"
    found = glob.glob(str(CARGO / "registry/index/*/.cache" / place))
    return [json.loads(part) for part in Path(found[0]).read_bytes().split(b"\0") if part.startswith(b"{")]


def newest(name):
    """When the last version was published."""
    times = [version["pubtime"] for version in versions(name) if version.get("pubtime")]
    return datetime.datetime.fromisoformat(max(times).replace("Z", "+00:00"))


def owner(repository):
    """Whose repository it is."""
    found = re.match(r"https?://(?:www\.)?([^/]+)/([^/]+)(?:/([^/#]+))?", repository or "")
    if not found:
        return "not said"
    host, owner, project = found.groups()
    project = f"{owner}/{(project or '').removesuffix('.git')}".rstrip("/")
    return f"[{project}]({repository})" if host == "github.com" else f"[{host}/{project}]({repository})"


def main():
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--offline"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = next(package for package in packages.values() if package["name"] == "limpid")
    resolved = {dependency["pkg"] for dependency in nodes[root["id"]]["deps"]}
    needed = {dependency["rename"] or dependency["name"] for dependency in root["dependencies"] if dependency["kind"] is None}
    optional = {dependency["name"] for dependency in root["dependencies"] if dependency["optional"]}

    direct = [crate for crate, package in packages.items() if package["name"] in needed and package["id"] in resolved]
    print(HEAD, end="")
    print("| crate | version | licence | repository | newest |\n|---|---|---|---|---|")
    for crate in sorted(direct, key=lambda crate: packages[crate]["name"]):
        package = packages[crate]
        name = package["name"] + (" (optional)" if package["name"] in optional else "")
        licence = (package["license"] or "").replace("/", " or ").replace(" OR ", " or ")
        print(f"| {name} | {package['version']} | {licence} | {owner(package['repository'])} | {newest(package['name']):%Y-%m} |")

    locked = [package for package in tomllib.loads((ROOT / "Cargo.lock").read_text())["package"] if "source" in package]
    now = max(newest(package["name"]) for package in locked)
    command = ["cargo", "tree", "--package", "limpid", "--edges", "normal", "--prefix", "none", "--locked", "--offline"]
    tree = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    build = {line.split()[0] for line in tree.splitlines()} - {"limpid"}
    old = sorted((newest(name), name) for name in build if now - newest(name) > 3 * YEAR)
    print(f"\n## Without a new version for three years\n\nOf the {len(build)} crates of the default build:\n")
    print(", ".join(f"{name} ({time:%Y})" for time, name in old) + ".")
    yanked = [p for p in locked for v in versions(p["name"]) if v["vers"] == p["version"] and v["yanked"]]
    if yanked:
        sys.exit("yanked: " + ", ".join(f"{package['name']} {package['version']}" for package in yanked))


if __name__ == "__main__":
    main()
