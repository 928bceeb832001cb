"""The entry point of ``python -m depqa_ray`` and of the console script ``depqa-ray``."""

from __future__ import annotations

import sys

from depqa_ray.cli.commands import main

if __name__ == "__main__":
    sys.exit(main())
