"""The peer's side of benchmarks/pii.py: presidio-analyzer's pattern recognisers, same texts.

    python benchmarks/presidio_pii.py TEXTS.json RESULT.json

TEXTS is a list of texts; RESULT tells for each text what was found as [begin, end, kind, score].
A blank spaCy pipeline gives the words that presidio's context rules look at, each its own lemma: it
is the patterns that are compared, and no model. It runs in the peers' own environment.
"""

import json
import sys
import time
from pathlib import Path

import spacy
import tldextract
from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
from presidio_analyzer.nlp_engine import SpacyNlpEngine
from spacy.language import Language

# Its kinds by our names; what we do not look for (dates, links, bank numbers) is not asked for.
KINDS = {
    "EMAIL_ADDRESS": "email",
    "PHONE_NUMBER": "phone",
    "IP_ADDRESS": "ip_address",
    "CREDIT_CARD": "credit_card",
    "IBAN_CODE": "iban",
    "US_SSN": "national_id",
    "US_ITIN": "national_id",
    "UK_NHS": "national_id",
    "CRYPTO": "crypto_address",
}


@Language.component("word_as_lemma")
def word_as_lemma(document):
    for token in document:
        token.lemma_ = token.lower_
    return document


class BlankEngine(SpacyNlpEngine):
    def load(self) -> None:
        pipeline = spacy.blank("en")
        pipeline.add_pipe("word_as_lemma")
        pipeline.max_length = 10**9
        self.nlp = {"en": pipeline}


def main() -> None:
    texts = json.loads(Path(sys.argv[1]).read_text())
    # Its e-mail rule asks for the list of public suffixes: the one that came with the package.
    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=())
    registry = RecognizerRegistry()
    engine = BlankEngine()
    engine.load()
    registry.load_predefined_recognizers(languages=["en"], nlp_engine=engine)
    registry.remove_recognizer("SpacyRecognizer")
    analyzer = AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=["en"])
    known = set(analyzer.get_supported_entities("en"))
    entities = [name for name in KINDS if name in known]
    analyzer.analyze("warm 1", language="en", entities=entities)
    began = time.perf_counter()
    found = []
    for text in texts:
        results = analyzer.analyze(text, language="en", entities=entities)
        found.append([[r.start, r.end, KINDS[r.entity_type], r.score] for r in results])
    seconds = time.perf_counter() - began
    Path(sys.argv[2]).write_text(json.dumps({"found": found, "seconds": seconds}))


if __name__ == "__main__":
    main()
