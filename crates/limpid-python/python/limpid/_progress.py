"""Where progress goes: events to `logging`, tasks to bars."""

from __future__ import annotations

import sys
from typing import Any


class Reporter:
    """Is told events and the progress of tasks by the native module, in the thread that called it."""

    def event(self, event: str, message: str) -> None:
        """Notes, such as what is passed over, are warnings."""
        import logging

        logger = logging.getLogger("limpid")
        logger.log(logging.WARNING if event == "note" else logging.INFO, "%s", message, extra={"event": event})

    def task(self, name: str, done: int | None, total: int, unit: str) -> None:
        """So many of `total` units (0 if unknown) are done; none once the task has ended."""


class Bars(Reporter):
    """Shows a bar of tqdm for each task, or a line where tqdm is not installed."""

    def __init__(self) -> None:
        self._bars: dict[str, Any] = {}
        try:
            from tqdm.auto import tqdm  # type: ignore[import-untyped]
        except ImportError:
            self._tqdm: Any = None
        else:
            self._tqdm = tqdm

    def task(self, name: str, done: int | None, total: int, unit: str) -> None:
        if self._tqdm is None:
            share = f"{done / total:4.0%} " if done is not None and total else ""
            text = "" if done is None else f"{name}: {share}{done:,} {unit}"
            print(f"\r{text:60}", end="\r" if done is None else "", file=sys.stderr, flush=True)
            return
        if done is None:
            # Of a task whose length is unknown, tqdm has no truth value.
            if (bar := self._bars.pop(name, None)) is not None:
                bar.close()
            return
        if name not in self._bars:
            self._bars[name] = self._tqdm(desc=name, total=total or None, unit=f" {unit}", leave=False)
        bar = self._bars[name]
        bar.update(done - bar.n)


quiet = Reporter()


def reporter(progress: bool | None) -> Reporter:
    """Bars if they are asked for, or if nobody said and they can be seen: on a terminal, or in a notebook."""
    if progress is None:
        is_terminal = getattr(sys.stderr, "isatty", None)
        progress = "ipykernel" in sys.modules or is_terminal is not None and is_terminal()
    return Bars() if progress else quiet
