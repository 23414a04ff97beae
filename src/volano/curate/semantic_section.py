"""What a user may set of documents that say the same in other words."""

from typing import Annotated

from pydantic import Field

from volano.core.recipe import Count, Runtime, Section
from volano.curate.quality_section import EXEMPT

LATENT = "latent"


class SemanticSection(Section):
    """Documents that lie side by side among embeddings are copies (Abbas et al. 2023, SemDeDup).

    Embeddings are clustered, and only documents of one cluster are compared. Of those that are
    alike the one stays that `keep` prefers, and a document falls only to one that stays.
    """

    model: Annotated[str, Runtime] = Field(
        default=LATENT,
        description="latent: latent semantic analysis of this corpus (Deerwester et al. 1990), "
        "which needs no download; or the folder of a model: static embeddings (model.safetensors "
        "and tokenizer.json, as model2vec writes them) or one of sentence-transformers. What its "
        "files hold bears identity, not where they lie.",
    )
    min_similarity: float = Field(
        default=0.95,
        gt=0,
        le=1,
        description="Cosine from which on two documents are copies; what fits depends on the "
        "model. Source of the default: Abbas et al. 2023, whose ε is 1 minus this.",
    )
    dimensions: Count = Field(
        default=512,
        ge=2,
        le=1024,
        description="Of the embeddings, where the model is latent; N documents have N - 1. With "
        "few of them chapters of one book are copies (docs/log.md).",
    )
    cluster_documents: Count = Field(
        default=1000,
        ge=10,
        description="Documents of a cluster, in the mean; the time of comparing grows with it, and "
        "so does the part of all pairs that is compared.",
    )
    seed: int = Field(default=1, ge=0, description="Seed of the analysis and of the clusters.")
    exempt_kinds: list[str] = Field(
        default=["code"], description=EXEMPT + "which embeddings of prose know nothing of."
    )
