"""What a user may set of boilerplate: lines that many documents of one site have in common."""

from typing import Literal

from pydantic import Field

from volano.core.recipe import Count, Section
from volano.curate.quality_section import EXEMPT


class BoilerplateSection(Section):
    """Lines that stand in many documents of a site are cut out before anything else is measured:
    menus, notices, footers (docs/quality.md).

    The site of a document is the host of its URL without "www.", of one without URL its source. A
    list of public suffixes would join the hosts of one owner, but a platform gives each of its
    users a host of their own, with a template of their own.
    """

    min_documents: Count = Field(
        default=10,
        ge=2,
        description="Documents from which on a site is judged, exact copies counted once. "
        "Vieira et al. 2006 find the template of a site from a few dozen pages. By judgement.",
    )
    max_document_fraction: float = Field(
        default=0.2,
        gt=0,
        lt=1,
        description="Fraction of a site's documents; a line that more of them have is boilerplate. "
        "Default: by judgement (benchmarks/boilerplate.py).",
    )
    min_words: Count = Field(
        default=1, ge=1, description="Words that a line must have to be boilerplate."
    )
    place: Literal["ends", "anywhere"] = Field(
        default="ends",
        description="ends: only where nothing but boilerplate and blank lines stand before it or "
        "behind it, so that headings which all documents share stay in the middle; anywhere: "
        "wherever it stands, as CCNet (Wenzek et al. 2020) and Bar-Yossef and Rajagopalan 2002.",
    )
    min_words_left: Count = Field(
        default=20,
        ge=0,
        description="Words that a document must have left where lines were cut out of it; with "
        "fewer it is dropped. Default: as for deduplication.",
    )
    exempt_kinds: list[str] = Field(
        default=["code"], description=EXEMPT + "which a missing line breaks. They do not count."
    )
