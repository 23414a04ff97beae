"""The report of a run: one HTML file that a stranger understands, made from the artifacts alone.

Nothing is loaded from elsewhere and nothing is run; what documents, models and people wrote is
escaped. A run that stopped early, or has no second version, has a shorter report.
"""

from pathlib import Path
from typing import Any

from volano.core.errors import MissingExtra
from volano.core.files import atomic_path
from volano.core.store import Store
from volano.study.found import Found, find_stages
from volano.study.recipe import Recipe

TEMPLATES = Path(__file__).parent / "templates"
DRAWN = {"plot", "plots", "house", "css"}  # what a page has and figures have not


def write_report(store: Store, recipe: str | Recipe, out: Path | None = None) -> Path:
    """Write the report of what a recipe has made; the path of the file.

    Raises StoreError where it has made nothing, MissingExtra without the extra `serve`.
    """
    name = recipe if isinstance(recipe, str) else recipe.name
    found = find_stages(store, name)
    path = out or default_path(store, name)
    text = render(found)
    with atomic_path(path) as unfinished:
        unfinished.write_text(text, "utf-8")
    return path


def default_path(store: Store, name: str) -> Path:
    """Where the report of a recipe goes unless somebody says otherwise."""
    return store.folder / "reports" / f"{name}.html"


def render(found: Found) -> str:
    """The page: the same bytes for the same artifacts."""
    require_extra()
    from volano.page.templates import STATIC_FOLDER, environment

    house = (STATIC_FOLDER / "house.css").read_text("utf-8")
    css = (TEMPLATES / "report.css").read_text("utf-8")
    template = environment(TEMPLATES).get_template("report.html")
    return str(template.render(house=house, css=css, **values_of(found)))


def figures_of(found: Found) -> dict[str, Any]:
    """What the page says, without its pictures, for programs."""
    require_extra()
    plain: dict[str, Any] = without_pictures(values_of(found))
    return plain


def values_of(found: Found) -> dict[str, Any]:
    """The sections of the page; a section of what was not made is empty."""
    from volano.study import report_data, report_models, report_origin, report_turn
    from volano.study.report_text import paragraph

    return {
        "name": found.name,
        "paragraph": paragraph(found),
        "releases": report_origin.releases_of(found),
        "wheel": report_origin.wheel_of(found),
        "funnel": report_data.funnel_of(found),
        "training": report_models.training_of(found),
        "evaluation": report_models.evaluation_of(found),
        "prompts": report_models.prompts_of(found),
        "ratings": report_turn.ratings_of(found),
        "findings": report_turn.findings_of(found),
        "gates": report_turn.gates_of(found),
        "cost": report_origin.cost_of(found),
        "lineage": report_origin.lineage_of(found),
        "licences": report_data.counts(found, "licences"),
        "sources": report_data.counts(found, "sources"),
        "settings": report_origin.settings_of(found),
        "versions": report_origin.versions_of(found),
    }


def without_pictures(value: Any) -> Any:
    """The sections of a page as plain values for JSON, without what is drawn."""
    from dataclasses import asdict, is_dataclass

    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, dict):
        return {name: without_pictures(each) for name, each in value.items() if name not in DRAWN}
    return [without_pictures(each) for each in value] if isinstance(value, list) else value


def require_extra() -> None:
    """Raise MissingExtra where the packages that draw a page are not installed."""
    try:
        import jinja2  # noqa: F401
        import matplotlib as mpl  # noqa: F401
    except ModuleNotFoundError as missing:
        raise MissingExtra(
            f"{missing.name} is not installed", "report", "Install it: pip install 'volano[serve]'."
        ) from None
