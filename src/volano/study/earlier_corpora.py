"""The corpora that a recipe's deduplication compares with, found in the store by their names."""

from volano.core.artifact import Artifact
from volano.core.errors import StoreError
from volano.core.recipe import Section
from volano.core.store import Store
from volano.curate.dedup_section import earlier_input
from volano.curate.section import CurateSection


def earlier_corpora(section: Section, store: Store, own: str) -> dict[str, Artifact]:
    """Input name → corpus, for each of `dedup.against`; nothing for other sections.

    `own` is the name that the result will bear. Raises StoreError.
    """
    if not isinstance(section, CurateSection) or section.dedup is None:
        return {}
    found = {}
    for name in section.dedup.against:
        if name == own:  # a second run would compare the corpus with itself, and nothing be left
            raise StoreError(
                f"'{name}' is the name of the corpus that is made",
                "curate.dedup.against",
                "Give the earlier one by its fingerprint, or this one another name.",
            )
        artifact = store.find(name)
        if artifact.kind != "corpus":
            raise StoreError(
                f"'{name}' is a {artifact.kind}", "curate.dedup.against", "Name a corpus."
            )
        found[earlier_input(name)] = artifact
    return found
