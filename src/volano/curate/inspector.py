"""Pages to look into a curated corpus: the funnel, every number with its bound, every document.

Local and read-only. What documents say is escaped; plots are drawn here and carry their styles,
so that the policy of these pages allows inline styles, and scripts of nobody.
"""

from pathlib import Path
from typing import Any
from urllib.parse import quote

from volano.core.errors import DataError, MissingExtra
from volano.curate.card import SAMPLE_CHARACTERS
from volano.curate.inspected import PAGE_DOCUMENTS, Inspected, Spread

HOSTS = ("127.0.0.1", "localhost", "[::1]")
TEMPLATES = Path(__file__).parent / "templates"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
    "img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)


def inspector(inspected: Inspected) -> Any:
    """The FastAPI application. Its pages: /, /numbers/GROUP, /documents, /document?id=…"""
    try:
        from fastapi import FastAPI, Request
        from fastapi.responses import HTMLResponse
        from fastapi.staticfiles import StaticFiles
        from starlette.middleware.trustedhost import TrustedHostMiddleware
    except ModuleNotFoundError as missing:
        raise MissingExtra(
            f"{missing.name} is not installed", "inspect", "pip install 'volano[serve]'"
        ) from None
    from volano.page.security import SecurityHeaders
    from volano.page.templates import STATIC_FOLDER, STATIC_URL, environment

    application = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    templates = environment(TEMPLATES)
    templates.filters["quoted"] = lambda text: quote(str(text), safe="")
    templates.filters["plain"] = _plain
    groups = sorted({group for group, _ in inspected.numbers})
    common = {"name": inspected.name, "groups": groups, "manifest": inspected.corpus.manifest}

    def html(template: str, status: int = 200, **values: Any) -> HTMLResponse:
        page = templates.get_template(template).render(**common, **values)
        return HTMLResponse(page, status, {"Content-Security-Policy": POLICY})

    @application.exception_handler(DataError)
    async def mistaken(request: Request, problem: DataError) -> HTMLResponse:
        return html("missing.html", 404, what=str(problem))

    @application.get("/")
    def overview() -> HTMLResponse:
        from volano.page.plots import Kept, funnel

        rows = [
            Kept(row["filter"], row["documents"], row["documents_dropped"])
            for row in inspected.funnel
        ]
        plot = funnel(rows, title="Documents left after each filter")
        return html("overview.html", funnel=inspected.funnel, plot=plot, here="overview")

    @application.get("/numbers/{group}")
    def numbers(group: str) -> HTMLResponse:
        if group not in groups:
            return html("missing.html", 404, what=f"There are no numbers called {group}.")
        spreads = [
            inspected.spread(group, column) for of, column in inspected.numbers if of == group
        ]
        drawn = [(spread, _drawn(spread)) for spread in spreads]
        return html("numbers.html", group=group, drawn=drawn, here=group)

    @application.get("/documents")
    def documents(
        words: str = "", by: str = "", sort: str = "", order: str = "desc", page: int = 0
    ) -> HTMLResponse:
        page = min(max(page, 0), len(inspected.corpus) + inspected.fallen)
        found, count = inspected.search(
            words, dropped_by=by, sort=sort, descending=order != "asc", page=page
        )
        return html(
            "documents.html",
            found=found,
            count=count,
            words=words,
            by=by,
            sort=sort,
            order=order,
            page=page,
            pages=-(-count // PAGE_DOCUMENTS),
            filters=["kept", *inspected.filters()],
            numbers=[f"{group}.{column}" for group, column in inspected.numbers],
            here="documents",
        )

    @application.get("/document")
    def document(id: str) -> HTMLResponse:  # noqa: A002  (the name in the address)
        found = inspected.document(id)
        if found is None:
            return html("missing.html", 404, what=f"There is no document {id[:SAMPLE_CHARACTERS]}.")
        return html("document.html", document=found, bounds=inspected.bounds, here="documents")

    application.mount(STATIC_URL, StaticFiles(directory=STATIC_FOLDER), name="static")
    application.add_middleware(SecurityHeaders)
    # A page of the web must not read the corpus by a name that leads here.
    application.add_middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS))
    return application


def _plain(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"


def _drawn(spread: Spread) -> str:
    from volano.page.plots import histogram

    low, high = spread.edges[0], spread.edges[-1]
    bounds = sorted({bound.value for bound in spread.bounds if low <= bound.value <= high})
    title = f"Documents by {spread.group}.{spread.column}"
    return histogram(spread.edges, spread.kept, spread.dropped, bounds, title=title)
