"""``python -m limpid`` is the command too."""

from ._command import main

main()
