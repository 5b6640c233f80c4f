#!/usr/bin/env python3
"""Validates the events of `limpid run --lineage FILE`, and every facet, against the published OpenLineage schemas.

    check_lineage.py SPEC FILE…

SPEC is the folder `spec` of https://github.com/OpenLineage/OpenLineage. Needs `pip install jsonschema` (4.18 or later).
A facet is checked against the version that its `_schemaURL` names, so a SPEC of other versions is an error.
"""

import json
import pathlib
import sys

from jsonschema import Draft202012Validator
from referencing import Registry, Resource


def registry(spec):
    schemas = [json.loads(path.read_text()) for path in [spec / "OpenLineage.json", *(spec / "facets").glob("*.json")]]
    return Registry().with_resources((schema["$id"], Resource.from_contents(schema)) for schema in schemas)


def facets(value):
    """Every facet in an event, with its path."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key.lower().endswith("facets"):
                yield from inner.items()
            yield from facets(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from facets(inner)


def main():
    spec, *files = map(pathlib.Path, sys.argv[1:])
    known = registry(spec)
    checker = Draft202012Validator.FORMAT_CHECKER
    problems = events = checked = 0
    for file in files:
        for number, line in enumerate(file.read_text().splitlines(), 1):
            try:
                event = json.loads(line)
            except ValueError as problem:
                problems += 1
                print(f"{file}:{number}: no JSON, as a full disk leaves it: {problem}")
                continue
            events += 1
            parts = [("event", event["schemaURL"], event)]
            parts += [(name, facet["_schemaURL"], facet) for name, facet in facets(event)]
            for name, schema, part in parts:
                checked += 1
                validator = Draft202012Validator({"$ref": schema}, registry=known, format_checker=checker)
                for problem in validator.iter_errors(part):
                    problems += 1
                    print(f"{file}:{number}: {name}: {problem.json_path}: {problem.message}")
    print(f"{events} events and {checked - events} facets checked, {problems} problems")
    return 1 if problems or not events else 0


if __name__ == "__main__":
    sys.exit(main())
