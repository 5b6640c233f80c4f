#!/usr/bin/env python3
"""Prints a software bill of materials, in CycloneDX 1.5: the crates that the program for a target contains, with licences and digests.

usage: scripts/release/sbom.py TARGET
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from typing import Any

from contents import contained


def component(package: dict[str, Any], kind: str) -> dict[str, Any]:
    """A package as CycloneDX describes it."""
    purl = f"pkg:cargo/{package['name']}@{package['version'].replace('+', '%2B')}"
    described = {"type": kind, "bom-ref": purl, "name": package["name"], "version": package["version"], "purl": purl}
    if package["license"]:
        # Before SPDX expressions, a slash was Cargo's "or".
        described["licenses"] = [{"expression": " OR ".join(part.strip() for part in package["license"].split("/"))}]
    if package["repository"]:
        described["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return described


def main() -> None:
    target = sys.argv[1]
    program, packages = contained("limpid", target)
    with open("Cargo.lock", "rb") as lock:
        digests = {(locked["name"], locked["version"]): locked.get("checksum") for locked in tomllib.load(lock)["package"]}
    # The time of the commit, so that the same commit has the same bill.
    commit = int(subprocess.run(["git", "log", "-1", "--format=%ct"], check=True, stdout=subprocess.PIPE, text=True).stdout)
    components = []
    for package in packages:
        digest = digests[package["name"], package["version"]]
        components.append(component(package, "library") | {"hashes": [{"alg": "SHA-256", "content": digest}]})
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(commit, UTC).isoformat(),
            "component": component(program, "application"),
            "properties": [{"name": "limpid:target", "value": target}],
        },
        "components": components,
    }
    print(json.dumps(bill, indent=1))


if __name__ == "__main__":
    main()
