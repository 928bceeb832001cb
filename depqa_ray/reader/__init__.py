"""The embedded reader: a Qwen3-architecture model of a few million parameters that ships with the package.

It answers generated worlds (``passages.synthetic``) in the project's own prompts and knows nothing else.

- ``weights``: the checkpoint, with its model card
- ``training``: the recipe that made it, for a checkout only: the wheel leaves it out
"""

from importlib.resources import files
from pathlib import Path


def weights_folder() -> Path:
    """The folder of the reader's checkpoint, for ``from_pretrained``. Raises FileNotFoundError if it is missing."""
    folder = Path(str(files(__name__))) / "weights"
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"the embedded reader's weights are missing: {folder}")
    return folder
