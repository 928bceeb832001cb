"""Which code of this package a process runs, so that replicas can be compared with the driver."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parent
_KERNEL: Final = "engines/cpu/_packed_attention*.so"
_KERNEL_SOURCES: Final = "engines/cpu/csrc/*"


@dataclass(frozen=True, slots=True)
class CodeVersion:
    """The code that a process runs.

    - ``version``: the installed distribution's, "" if the package is not installed.
    - ``sources``: digest of all source files, 12 hex digits.
    - ``kernel``: digest of the compiled CPU kernel, 12 hex digits; "" if it was not built.
    - ``folder``: where the package was imported from.
    """

    version: str
    sources: str
    kernel: str
    folder: str


@lru_cache(maxsize=1)
def code_version() -> CodeVersion:
    """The code of this process."""
    try:
        version = metadata.version("depqa-ray")
    except metadata.PackageNotFoundError:
        version = ""
    return CodeVersion(version, _digest("**/*.py"), _digest(_KERNEL), str(_ROOT))


def kernel_sources() -> str:
    """The digest of the kernel's sources, which the kernel holds; "" if they are not here, as in an installation."""
    return _digest(_KERNEL_SOURCES)


def _digest(pattern: str) -> str:
    """A digest of the files that match, names included; "" if there are none."""
    # The recipe of the reader is not in the wheel, so it must not distinguish a checkout from an installation.
    names = sorted(path.relative_to(_ROOT).as_posix() for path in _ROOT.glob(pattern))
    names = [name for name in names if not name.startswith("reader/training/")]
    if not names:
        return ""
    digest = hashlib.sha256()
    for name in names:
        content = (_ROOT / name).read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]
