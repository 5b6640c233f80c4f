#!/usr/bin/env python3
"""An mdBook preprocessor: links out of docs/, which work on a forge, become links to the repository.

mdBook calls it as book.toml says, with the book on stdin, and reads the book from stdout.
"""

import json
import sys

if sys.argv[1:2] == ["supports"]:
    sys.exit(0)
context, book = json.load(sys.stdin)
repository = context["config"]["output"]["html"]["git-repository-url"]


def rewrite(items: list) -> None:
    for item in items:
        if isinstance(item, dict) and "Chapter" in item:
            chapter = item["Chapter"]
            chapter["content"] = chapter["content"].replace("](../", f"]({repository}/blob/main/")
            rewrite(chapter["sub_items"])


rewrite(book.get("items") or book["sections"])
json.dump(book, sys.stdout)
