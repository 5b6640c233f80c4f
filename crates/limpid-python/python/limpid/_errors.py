"""The exceptions: a class for each kind of failure, with the message that the command prints."""

from __future__ import annotations


class Error(Exception):
    """A failure of limpid; of this class itself if it is a bug."""

    exit_code: int = 70
    """The code that the command ends with."""

    __module__ = "limpid"


class SettingsError(Error, ValueError):
    """Settings or arguments are wrong: the same call fails again."""

    exit_code = 2


class DataError(Error, ValueError):
    """The data are bad, or do not fit the model: the same call fails again."""

    exit_code = 65


class FileError(Error, OSError):
    """Reading or writing failed: a full disk, no permission, no network. `errno` is the system's number, or None."""

    exit_code = 74


class Interrupted(Error):
    """Ctrl-C, with a checkpoint saved; or another process holds the run directory, or a source changed while it was read.

    The same call goes on from there."""

    exit_code = 75


for _class in (SettingsError, DataError, FileError, Interrupted):
    _class.__module__ = "limpid"
