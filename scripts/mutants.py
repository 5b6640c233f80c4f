#!/usr/bin/env python3
"""Mutation testing with one build: which small faults in the code no test finds.

usage: mutants.py TREE [--files GLOB …] [--sample N] [--seed S] [--target DIR] [--skip-slow]

`cargo mutants --list` names the faults: a function that returns a constant, another operator, an arm of a match that is missing. Those of
a sample are all written into the sources of TREE, a copy of the repository that is changed by it (`git worktree add TREE`), each behind a
switch, so that the program is compiled once. The tests then run with each switch in turn, those that find most first, until one fails.

Needs cargo-mutants, and tree-sitter with its grammar of Rust (`pip install tree-sitter tree-sitter-rust`).
"""

import argparse
import json
import os
import pathlib
import random
import signal
import subprocess
import time

import tree_sitter
import tree_sitter_rust

FILES = ["src/record/**", "src/pipeline/**", "src/config/**", "src/table/**", "src/store/**"]
# Names of tests, those that find most faults in the least time first; the empty name is the rest.
GROUPS = [("limpid", [""]), ("cli", ["golden", "exit_codes", "validating"]), ("cli", ["running", "resuming", "damage", "reuse", "shards"]),
          ("cli", ["stores", "leftovers", "own_", "foreign"]), ("cli", [""])]
SWITCH = """//! Faults that are switched on by the environment, for scripts/mutants.py.

use std::sync::OnceLock;

/// Whether this fault is switched on.
pub fn is(number: u32) -> bool {
    static ON: OnceLock<Option<u32>> = OnceLock::new();
    *ON.get_or_init(|| std::env::var("LIMPID_MUTANT").ok()?.parse().ok()) == Some(number)
}
"""

parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_rust.language()))


def place(lines, at):
    """The offset in bytes of a line and a column, which counts characters from 1."""
    before = sum(len(line) for line in lines[: at["line"] - 1])
    return before + len(lines[at["line"] - 1].decode()[: at["column"] - 1].encode())


def edits(mutant, number, source, root):
    """What to write where, so that a fault is there if its switch is on; none if that cannot be written."""
    lines = source.splitlines(keepends=True)
    start, end = place(lines, mutant["span"]["start"]), place(lines, mutant["span"]["end"])
    on, new = f"crate::mutant::is({number})", mutant["replacement"]
    node = root.descendant_for_byte_range(start, end)
    match mutant["genre"]:
        case "FnValue" if "impl " in (mutant.get("function") or {}).get("return_type", ""):
            return None  # of one type, which is not that of the function's own result
        case "FnValue":
            return [(start, start, f"if {on} {{ return {new}; }} ")]
        case "MatchArmGuard":
            return [(start, end, f"(if {on} {{ {new} }} else {{ {source[start:end].decode()} }})")]
        case "MatchArm":
            while node and node.type != "match_arm":
                node = node.parent
            pattern = node.child_by_field_name("pattern") if node else None
            if pattern is None:
                return None
            guard = pattern.child_by_field_name("condition")
            if guard is None:
                return [(pattern.end_byte, pattern.end_byte, f" if !{on}")]
            return [(guard.start_byte, guard.end_byte, f"!{on} && ({guard.text.decode()})")]
        case "UnaryOperator" if source[start:end] == b"!":
            while node and node.type != "unary_expression":
                node = node.parent
            return node and [(node.start_byte, node.end_byte, f"({on} ^ {node.text.decode()})")]
        case "BinaryOperator":
            while node and node.type not in ("binary_expression", "compound_assignment_expr"):
                node = node.parent
            if node is None:
                return None
            left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
            if not left.end_byte <= start <= right.start_byte:
                return None
            changed = f"{left.text.decode()} {new} {right.text.decode()}"
            chosen = f"if {on} {{ {changed} }} else {{ {node.text.decode()} }}"
            return [(node.start_byte, node.end_byte, f"({chosen})" if node.type == "binary_expression" else chosen)]
    return None


def write(tree, originals, mutants):
    """Writes the faults into the sources; returns the lines that each is on, by file."""
    where = {}
    for file, source in originals.items():
        root, taken, changes = parser.parse(source).root_node, [], []
        for number, mutant in mutants.items():
            if mutant["file"] != file:
                continue
            for change in edits(mutant, number, source, root) or []:
                if all(change[1] <= start or end <= change[0] for start, end in taken):
                    taken.append((change[0], max(change[1], change[0] + 1)))
                    changes.append((*change, number))
        made = source
        for start, end, text, _ in sorted(changes, reverse=True):
            made = made[:start] + text.encode() + made[end:]
        (tree / file).write_bytes(made)
        for index, line in enumerate(made.decode().splitlines(), 1):
            for *_, text, number in changes:
                if f"mutant::is({number})" in line:
                    where.setdefault(number, set()).update((file, index + later) for later in range(text.count("\n") + 1))
    return where


def cargo(tree, *words):
    made = subprocess.run(["cargo", *words, "--release", "--locked", "--message-format=json"], cwd=tree, capture_output=True, text=True)
    return made.returncode == 0, [json.loads(line) for line in made.stdout.splitlines() if line.startswith("{")]


def compiled(tree):
    """The source files of the library in the default build; there are others in its place without a feature."""
    passed, messages = cargo(tree, "check", "--lib")
    if not passed:
        raise SystemExit("the tree does not compile")
    made = next(pathlib.Path(name) for message in messages if message.get("target", {}).get("name") == "limpid"
                for name in message.get("filenames", []) if name.endswith(".rmeta"))
    return set(made.with_name(made.stem.removeprefix("lib") + ".d").read_text().split())


def run(executable, names, number, limit, tree):
    """Whether tests pass with a fault switched on; none if there are no such tests."""
    environment = os.environ | {"LIMPID_MUTANT": str(number), "CARGO_MANIFEST_DIR": str(tree), "RUST_BACKTRACE": "0"}
    tests = subprocess.Popen([executable, "-q", *[name for name in names if name]], cwd=tree, env=environment, start_new_session=True,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return tests.wait(limit) == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        try:
            os.killpg(tests.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        tests.wait()


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("tree", type=pathlib.Path)
    a.add_argument("--files", nargs="+", default=FILES)
    a.add_argument("--sample", type=int, default=100)
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--target", help="the folder of what is compiled")
    a.add_argument("--skip-slow", action="store_true", help="without the last group, all of the tests of the program")
    a = a.parse_args()
    tree = a.tree.resolve()
    if a.target:
        os.environ["CARGO_TARGET_DIR"] = a.target
    listed = subprocess.run(["cargo", "mutants", "--list", "--json", *[word for glob in a.files for word in ("-f", glob)]],
                            cwd=tree, capture_output=True, text=True, check=True)
    files = compiled(tree)
    every = [mutant for mutant in json.loads(listed.stdout) if mutant["file"] in files]
    sample = random.Random(a.seed).sample(every, min(a.sample, len(every)))
    mutants = dict(enumerate(sample, 1))
    originals = {file: (tree / file).read_bytes() for file in sorted({mutant["file"] for mutant in sample})}
    library = tree / "src/lib.rs"
    library.write_text(library.read_text() + "\n#[doc(hidden)]\npub mod mutant;\n")
    (tree / "src/mutant.rs").write_text(SWITCH)
    print(f"{len(every)} faults, of which {len(sample)} are drawn", flush=True)
    while True:
        where = write(tree, originals, mutants)
        mutants = {number: mutant for number, mutant in mutants.items() if number in where}
        passed, messages = cargo(tree, "check", "--lib")
        if passed:
            break
        spans = [(span["file_name"], line) for message in messages if message.get("message", {}).get("level") == "error"
                 for span in message["message"]["spans"] for line in range(span["line_start"], span["line_end"] + 1)]
        bad = [number for number in mutants if where[number] & set(spans)]
        if not bad:
            raise SystemExit("the tree does not compile: " + "; ".join(
                message["message"]["rendered"] for message in messages if message.get("message", {}).get("level") == "error"))
        for number in bad:
            del mutants[number]
    print(f"{len(mutants)} compile", flush=True)
    passed, messages = cargo(tree, "test", "--no-run", "--lib", "--bins", "--test", "cli")
    if not passed:
        raise SystemExit("the tests do not compile")
    built = {message["target"]["name"]: message["executable"] for message in messages
             if message.get("executable") and message["profile"]["test"] and "bin" not in message["target"]["kind"]}
    groups, limits = GROUPS[:-1] if a.skip_slow else GROUPS, []
    for which, names in groups:
        start = time.monotonic()
        if not run(built[which], names, 0, 3600, tree):
            raise SystemExit(f"{which} {names} fails without a fault")
        limits.append(30 + 3 * (time.monotonic() - start))
        print(f"{which} {names}: {time.monotonic() - start:.0f} s without a fault", flush=True)
    missed = []
    for count, (number, mutant) in enumerate(mutants.items(), 1):
        found = next((group for group, limit in zip(groups, limits) if not run(built[group[0]], group[1], number, limit, tree)), None)
        if found is None:
            missed.append(mutant["name"])
        print(f"{count}/{len(mutants)} {'missed' if found is None else 'found by ' + ' '.join([found[0], *found[1]])}: {mutant['name']}", flush=True)
    print(f"\n{len(mutants) - len(missed)} of {len(mutants)} are found")
    for name in missed:
        print(f"missed: {name}")


main()
