"""Repositories of the Hugging Face hub: files fetched once a machine, resumably, and found again by commit.

- ``names``: repositories and what their names may look like
- ``cache``: the hub's cache on this machine, in its documented layout
- ``network``: requests to the hub, repeated where that may help
- ``transfer``: one file's way into the cache
- ``refusals``: what went wrong, in one line for the user
- ``fetching``: all wanted files of a repository
- ``progress``: the progress in words
- ``models``: which files of a model are wanted
"""

from depqa_ray.hub.fetching import NothingWantedError, fetch
from depqa_ray.hub.models import fetch_model, is_on_hub, model_folder, model_repository
from depqa_ray.hub.names import FetchProgress, OnProgress, Repository, Snapshot, split_revision
from depqa_ray.hub.progress import FetchLog
from depqa_ray.hub.refusals import HubUnreachableError

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
