"""Fetches files of repositories from the Hugging Face hub: once a machine, resumably, at a known commit.

- ``repository``: repositories, snapshots, progress, and which files are wanted
- ``cache``: the hub's cache on this machine, in its documented layout
- ``network``: requests to the hub, with retries
- ``download``: the download of one file, resumed and verified
- ``messages``: errors for the user, in one line
- ``fetching``: all wanted files of a repository
- ``models``: models, and which of their files are wanted
- ``progress``: the progress as lines of text
"""

from depqa_ray.hub.fetching import NothingWantedError, fetch
from depqa_ray.hub.messages import HubUnreachableError
from depqa_ray.hub.models import fetch_model, is_on_hub, model_folder, model_repository
from depqa_ray.hub.progress import FetchLog
from depqa_ray.hub.repository import FetchProgress, OnProgress, Repository, Snapshot, split_revision

__all__ = [
    "FetchLog",
    "FetchProgress",
    "HubUnreachableError",
    "NothingWantedError",
    "OnProgress",
    "Repository",
    "Snapshot",
    "fetch",
    "fetch_model",
    "is_on_hub",
    "model_folder",
    "model_repository",
    "split_revision",
]
