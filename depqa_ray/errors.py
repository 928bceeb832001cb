"""The exceptions that the project raises on purpose.

::

    DepqaError              anything below; the command line prints it as one line and exits with its ``exit_code``
    ├── InputError          a file, row or value that the user gave cannot be used: what, where, what to do
    ├── SettingsError       a flag, variable or configuration file cannot be used
    ├── EngineError         an engine could not be started, or died
    ├── ClusterError        the cluster could not be had, or every replica was lost
    └── StoreError          a run directory cannot be written or read

A programming error (a broken invariant) is none of these and keeps its traceback.
"""

from __future__ import annotations


class DepqaError(Exception):
    """Base of everything that the project raises on purpose. The message is one line meant for the user."""

    exit_code = 1


class InputError(DepqaError):
    """Something that the user gave cannot be used.

    ``what`` says what is wrong, ``where`` the place (a file, and the place in it), ``fix`` what to do about it.
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
    """An engine could not be started, or died."""


class ClusterError(DepqaError):
    """The cluster could not be had, or every replica was lost."""


class StoreError(DepqaError):
    """A run directory cannot be written or read."""
