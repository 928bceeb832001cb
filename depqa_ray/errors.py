"""The exceptions that the project raises on purpose.

::

    DepqaError              base of all; the command line prints one line and exits with ``exit_code``
    ├── InputError          a file, row or value of the user cannot be used: what, where, how to fix it
    │   └── SettingsError   a flag, variable or configuration file cannot be used
    ├── EngineError         an engine cannot start, or died
    │   └── StartError      an engine cannot start, and no other replica could start it
    ├── ClusterError        the cluster cannot be reached, or every replica is lost
    └── StoreError          a run directory cannot be written or read

A broken invariant is a programming error: it is none of these and keeps its traceback.
"""

from __future__ import annotations


class DepqaError(Exception):
    """Base of all exceptions that the project raises on purpose. The message is one line for the user."""

    exit_code = 1


class InputError(DepqaError):
    """A file, row or value of the user cannot be used.

    ``what`` is the problem, ``where`` its place (a file and the place in it), ``fix`` what the user can do.
    """

    exit_code = 2

    def __init__(self, what: str, where: str = "", fix: str = "") -> None:
        self.what, self.where, self.fix = what, where, fix
        text = f"{where}: {what}" if where else what
        super().__init__(f"{text}; {fix}" if fix else text)

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str, str]]:
        return (type(self), (self.what, self.where, self.fix))


class SettingsError(InputError):
    """A flag, an environment variable or a configuration file cannot be used."""


class EngineError(DepqaError):
    """An engine cannot start, or died."""


class StartError(EngineError):
    """An engine cannot start for a reason that every replica shares: a model that cannot be used, missing software."""


class ClusterError(DepqaError):
    """The cluster cannot be reached, or every replica is lost."""


class StoreError(DepqaError):
    """A run directory cannot be written or read."""
