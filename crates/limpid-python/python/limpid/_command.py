"""The command ``limpid``: the same as the binary."""

from __future__ import annotations

import signal
import sys

from ._native import main as _main


def main() -> None:
    """Carries out the command line."""
    # limpid handles it itself: it saves a checkpoint.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(_main(["limpid", *sys.argv[1:]]))
