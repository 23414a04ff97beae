"""Pages from templates: everything that a model or a person wrote is escaped, always.

A room keeps its templates in a folder of its own and builds on `base.html` of this one.
"""

from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
STATIC_FOLDER = (
    HERE / "static"
)  # house.css, htmx and the scripts of the pages; served at STATIC_URL
STATIC_URL = "/static"


def environment(folder: Path) -> Any:
    """The Jinja environment of a room; an unknown name in a template is an error."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, HERE / "templates"]),
        autoescape=True,  # not by file name: a partial is a page too
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
