"""Another threshold for a corpus that is curated already, without measuring it again.

The corpus says with which settings and of which inputs it was made; the same step is ordered with
the settings changed. What the former corpus has measured is only judged anew (curate.earlier), so
the answer comes in seconds, and it is the artifact that `volano run` with these settings makes.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

from volano.core.artifact import Artifact
from volano.core.errors import StoreError
from volano.core.forgotten import refuse_forgotten
from volano.core.store import Made, Store
from volano.curate.dedup_section import earlier_input
from volano.curate.section import CurateSection
from volano.curate.step import STEP
from volano.study.earlier_corpora import earlier_corpora
from volano.study.engines import engine_of
from volano.study.recipe import read_recipe
from volano.study.unused_bounds import leave_out_unused_bounds

# Settings that name what a corpus is measured with; the file's content bears its identity.
MODELS = {
    f"curate.{section}{setting}"
    for section in ("toxicity", "perplexity", "classifier")
    for setting in ("", ".model")
}
MIN_WORDS_LEFT = "curate.boilerplate.min_words_left"  # judges what is left, and changes no text


def recut(
    store: Store,
    corpus: Artifact,
    settings: Sequence[str],
    *,
    name: str | None = None,
    silent: bool = False,
    explain: Callable[[str], None] = lambda line: None,
) -> Made:
    """The corpus with other settings of curation, as `quality.gopher_quality.min_words=30`.

    Labelled `name` (default: that of the corpus with -recut). Raises StoreError where `corpus` is
    no curated corpus, or the store no longer has what it was made of.
    """
    identity = corpus.meta["identity"]
    if identity["step"] != STEP.name:
        raise StoreError(
            f"this is no curated corpus but made by '{identity['step']}'",
            corpus.name,
            "Name one that `volano curate` or a recipe has made.",
        )
    if identity["version"] != STEP.version:
        explain(
            "It was made by another version of curation: everything is measured anew this once."
        )
    assignments = [each if each.startswith("curate.") else f"curate.{each}" for each in settings]
    keys = {each.partition("=")[0] for each in assignments}
    values = {"name": "recut", "curate": deepcopy(identity["settings"])}
    key = _without_secrets(values["curate"].get("pii") or {}, keys, corpus)
    # An identity holds the bounds of all rules, also of those that did not judge.
    leave_out_unused_bounds(values, assignments)
    recipe = read_recipe(values, {}, assignments, where="volano recut")
    if any(each.startswith("curate.boilerplate") for each in keys - {MIN_WORDS_LEFT}):
        explain("Other lines may be cut out of each text: everything is measured anew.")
    label = name or f"{corpus.name.removesuffix('-recut')}-recut"
    order = store.order(
        STEP,
        recipe.curate,
        _inputs(store, corpus, recipe.curate, label),
        name=label,
        seed=recipe.seed,
    )
    listed = order.listing.digest() if order.listing else None
    if listed != identity["listing"] and keys.isdisjoint(MODELS):
        raise StoreError(
            "what it was measured with is not what comes with Volano",
            corpus.name,
            "Name the file that it was made with: curate.toxicity.model=FILE.",
        )
    now = (recipe.curate.identity().get("pii") or {}).get("key_fingerprint")
    if key is not None and now not in (None, key) and keys.isdisjoint({"curate.pii.key"}):
        raise StoreError(
            "it was made with another secret key",
            "curate.pii.key",
            "Give that key, or say that another is meant: pii.key=env:NAME.",
        )
    return store.make(order, workers=recipe.workers, silent=silent, engine=engine_of(recipe))


def _without_secrets(pii: dict[str, Any], keys: set[str], corpus: Artifact) -> str | None:
    # What stands in an identity for a thing that lies elsewhere is no setting; gives that of a key.
    if pii.pop("name_model", None) is not None and "curate.pii.name_model" not in keys:
        raise StoreError(
            "its names were told by a pipeline",
            corpus.name,
            "Name it: curate.pii.name_model=FOLDER.",
        )
    key = pii.pop("key_fingerprint", None)
    return None if key is None else str(key)


def _inputs(
    store: Store, corpus: Artifact, section: CurateSection, label: str
) -> dict[str, Artifact]:
    by_digest = {each.digest: each for each in store.artifacts()}
    # Earlier corpora are those that the settings name now; one named before is the same as then.
    named = {earlier_input(name) for name in section.dedup.against} if section.dedup else set()
    found = {}
    for name, parent in corpus.parents.items():
        if name.startswith(earlier_input("")):
            if name in named and parent["digest"] in by_digest:
                found[name] = by_digest[parent["digest"]]
            continue
        if parent["digest"] not in by_digest:
            raise StoreError(
                f"what it was made of is no longer in the store: {parent['name']}",
                corpus.name,
                "Make that again first, by the same command or recipe.",
            )
        found[name] = by_digest[parent["digest"]]
        if name == "documents":
            refuse_forgotten(store, found[name])
    if named - found.keys():
        found = earlier_corpora(section, store, label) | found
    return found
