"""The entry point of ``python -m depqa_ray`` and of the console script ``depqa-ray``."""

from __future__ import annotations

import sys

from depqa_ray.cli.commands import main as run_command


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run_command())


if __name__ == "__main__":
    main()
