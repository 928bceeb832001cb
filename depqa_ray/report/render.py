"""The pages of a run: one for each passage, and an index.

They load nothing (no script, font or picture) and open from a folder. Every text in them may come from an untrusted
data set or a model: autoescape is on for every template, and in case an escape is ever missed, the pages' policy
forbids scripts and all loading.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from depqa_ray.report.build import index_view, page_views
from depqa_ray.report.svg.layout import BOX_HEIGHT, BOX_WIDTH
from depqa_ray.report.svg.timeline import NOTE_X, WIDTH
from depqa_ray.report.view import IndexView, PageView
from depqa_ray.results.metrics import compute_results
from depqa_ray.results.records import RunRecords
from depqa_ray.results.schema import RunResults
from depqa_ray.results.store import write_atomically

if TYPE_CHECKING:
    from jinja2 import Environment

INDEX: Final = "index.html"

_TEMPLATES: Final = Path(__file__).parent / "templates"


def write_pages(records: RunRecords, folder: Path, results: RunResults | None = None) -> list[Path]:
    """Write the run's pages into ``folder``; the index is the first of the paths.

    ``results`` are computed if they are not given. The same records give the same bytes. Raises StoreError if the
    folder cannot be written.
    """
    results = results or compute_results(records)
    paths = [folder / INDEX]
    write_atomically(paths[0], render(index_view(results, records.warnings)), durable=False)
    for page in page_views(results, records):
        paths.append(folder / page.link.file)
        write_atomically(paths[-1], render(page), durable=False)
    return paths


def render(view: IndexView | PageView) -> str:
    """The HTML of a page."""
    template = "index.html.j2" if isinstance(view, IndexView) else "passage.html.j2"
    return _environment().get_template(template).render(view=view)


@cache
def _environment() -> Environment:
    # Imported here, so that commands without pages do not wait for it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    css = (_TEMPLATES / "page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    # Only the style sheet, which ships with the package, is exempt from escaping.
    environment.globals |= {"css": Markup(css), "css_hash": f"sha256-{digest}"}
    environment.globals |= {"box_width": BOX_WIDTH, "box_height": BOX_HEIGHT, "chart_width": WIDTH, "note_x": NOTE_X}
    return environment
