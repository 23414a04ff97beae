"""Bits per byte of a base model on held-out documents, domain by domain.

A mean over everything hides what a decision about data does: prose may gain what code loses. Every
document's bits are kept, so that two models can be compared document by document.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from volano.core.corpus import write_shard
from volano.core.files import json_digest
from volano.core.records import Document
from volano.core.report import Measurement, Report
from volano.core.step import Context
from volano.evaluate.section import OF_ONE_DOCUMENT, DomainsSection
from volano.model.bits_per_byte import BitsPerByte, bits_per_byte
from volano.model.decoder import Decoder
from volano.stats.intervals import ratio_interval
from volano.text.tokenizer import Tokenizer

BITS, ALL = "bits_per_byte", "all"
OWN = "held_out"  # the corpus that `all` is of; a reference beside it has rows of its own
DOCUMENTS_FILE = "documents.parquet"
STAGE = "base"
AT_ONCE = 64  # documents, between two moves of the bar


def chosen_documents(
    corpora: Mapping[str, Sequence[Document]], section: DomainsSection
) -> dict[str, list[Document]]:
    """Domain → documents to measure, at most so many of each, drawn by hash of their ids.

    A domain is a source or kind of text; where there are several corpora their name stands before.
    """
    found: dict[str, list[Document]] = defaultdict(list)
    for corpus, documents in corpora.items():
        for document in documents:
            domain = getattr(document, section.by)
            if domain == ALL:  # the name of what is measured over all domains
                domain = f"{section.by} {ALL}"
            found[domain if len(corpora) == 1 else f"{corpus}: {domain}"].append(document)
    return {
        domain: sorted(found[domain], key=lambda each: json_digest(each.id))[: section.documents]
        for domain in sorted(found)
    }


def _measured(
    texts: Sequence[str], model: Decoder, tokenizer: Tokenizer, context: Context
) -> BitsPerByte:
    whole = sum(map(len, texts))
    parts = []
    with context.progress("bits per byte", whole, "characters") as bar:
        for begin in range(0, len(texts), AT_ONCE):
            part = texts[begin : begin + AT_ONCE]
            parts.append(bits_per_byte(model, tokenizer, part))
            bar.advance(sum(map(len, part)))
    bits, utf8_bytes = zip(*parts, strict=True)
    return BitsPerByte(np.concatenate(bits), np.concatenate(utf8_bytes))


def measure_domains(
    section: DomainsSection,
    model: Decoder,
    tokenizer: Tokenizer,
    corpora: Mapping[str, Sequence[Document]],
    context: Context,
) -> None:
    """Write the report, and the bits of every document beside it."""
    chosen = chosen_documents(corpora, section)
    rows = [(domain, each) for domain, documents in chosen.items() for each in documents]
    found = _measured([each.text for _, each in rows], model, tokenizer, context)
    domains = np.array([domain for domain, _ in rows])
    own = np.array([len(corpora) == 1 or each.startswith(f"{OWN}: ") for each in domains], bool)
    measurements = []
    for domain in [ALL, *chosen] if len(chosen) > 1 else list(chosen):
        of_domain = found.of(own) if domain == ALL else found.of(domains == domain)
        if len(of_domain.bits) > 1 and of_domain.utf8_bytes.sum():
            interval = ratio_interval(
                of_domain.bits.tolist(), of_domain.utf8_bytes.tolist(), seed=1
            )
            measurements.append(
                Measurement(f"{BITS}.{domain}", STAGE, *interval, unit="bits per byte")
            )
    table = {
        "id": [each.id for _, each in rows],
        "domain": domains.tolist(),
        "bits": found.bits,
        "utf8_bytes": found.utf8_bytes,
    }
    write_shard(context.folder / DOCUMENTS_FILE, pa.table(table))
    extra = {OF_ONE_DOCUMENT: sum(len(each) == 1 for each in chosen.values())}
    Report(tuple(measurements), extra=extra).save(context.folder / "report.json")
    context.bill["documents"] = len(rows)
