"""Is the language of a text told rightly, and are foreign paragraphs cut and others not?

    python benchmarks/language.py SENTENCES.jsonl[.gz] [--json]

SENTENCES has `lang` (ISO 639-3 as in NTREX-128, e.g. eng, srp-Cyrl) and `text` per line. Paragraphs
of three sentences of one language are shuffled into documents of six, seeded. No peer stands beside
this: datatrove and others ask the same model, but for the script.
"""

import argparse
import gzip
import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from volano.curate.language import measure_language
from volano.curate.section import LanguageSection

# ISO 639-3 of what lid.176 knows; other languages of the file are none that it could name.
NAMES = (
    "afr:af amh:am arb:ar aze:az bak:ba bel:be ben:bn bod:bo bos:bs bul:bg cat:ca "
    "ces:cs ckb:ckb cym:cy dan:da deu:de div:dv ell:el eng:en est:et eus:eu fas:fa fil:tl fin:fi "
    "fra:fr gle:ga glg:gl guj:gu heb:he hin:hi hrv:hr hun:hu hye:hy ind:id isl:is ita:it jpn:ja "
    "kan:kn kat:ka kaz:kk khm:km kir:ky kmr:ku kor:ko lao:lo lav:lv lit:lt ltz:lb mal:ml mar:mr "
    "mkd:mk mlg:mg mlt:mt mon:mn msa:ms mya:my nep:ne nld:nl nno:nn nob:no pan:pa pol:pl por:pt "
    "pus:ps ron:ro rus:ru sin:si slk:sk slv:sl snd:sd som:so spa:es sqi:sq srp:sr swa:sw swe:sv "
    "tam:ta tat:tt tel:te tgk:tg tha:th tuk:tk tur:tr uig:ug ukr:uk urd:ur uzb:uz vie:vi yor:yo "
    "yue:yue zho:zh"
)
KNOWN = dict(pair.split(":") for pair in NAMES.split())


def sentences_of(path: Path) -> list[tuple[str | None, str]]:
    """(the model's name of the language, or None where it has none; text) of each line."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as stream:
        rows = [json.loads(line) for line in stream]
    return [(KNOWN.get(row["lang"].split("-")[0]), row["text"]) for row in rows]


def told_rightly(sentences: list[tuple[str | None, str]]) -> dict[str, float]:
    """Shares of sentences; `believed` ones are above the default bound."""
    section = LanguageSection()
    column = pa.array([text for _, text in sentences], pa.large_string())
    found = measure_language(column, ["prose"] * len(column), section).columns
    truth = np.array([name or "" for name, _ in sentences])
    named = np.array([name or "" for name in found["language"].to_pylist()])
    score, script = (
        found[name].fill_null(0).to_numpy(False) for name in ("score", "script_fraction")
    )
    known, sure = truth != "", score >= section.min_score
    result = {
        "sentences": float(known.sum()),
        "languages": float(len(set(truth[known]))),
        "right": (named == truth)[known].mean(),
    }
    for name, believed in (
        ("by probability", sure),
        ("and script", sure & (script >= section.min_script_fraction)),
    ):
        result[f"believed {name}"] = believed[known].mean()
        result[f"right of these, {name}"] = (named == truth)[known & believed].mean()
        result[f"believed of unknown languages, {name}"] = believed[~known].mean()
    return result


def cut_rightly(sentences: list[tuple[str | None, str]], seed: int = 1) -> dict[str, float]:
    """Bytes of foreign paragraphs that are cut, and of English ones that are not."""
    chance = random.Random(seed)
    by_language: dict[str, list[str]] = defaultdict(list)
    for name, text in sentences:
        if name is not None:
            by_language[name].append(text)
    paragraphs = [
        (name, "\n".join(texts[begin : begin + 3]))
        for name, texts in by_language.items()
        for begin in range(0, len(texts) - 2, 3)
    ]
    english = [each for each in paragraphs if each[0] == "en"]
    foreign = [each for each in paragraphs if each[0] != "en"]
    # Of one document in two parts, English and not, in a chance order.
    chance.shuffle(foreign)
    documents = []
    for place, each in enumerate(english):
        document = [each, *foreign[place * 5 : place * 5 + 5]]
        chance.shuffle(document)
        documents.append(document)
    texts = pa.array(["\n\n".join(text for _, text in each) for each in documents])
    section = LanguageSection.model_validate({"paragraphs": {}})
    left = measure_language(texts.cast(pa.large_string()), ["prose"] * len(texts), section).texts
    sizes = dict.fromkeys(("foreign", "foreign cut", "English", "English cut"), 0)
    for document, text in zip(documents, left.to_pylist(), strict=True):
        stays = set(text.split("\n\n"))
        for name, paragraph in document:
            side = "English" if name == "en" else "foreign"
            sizes[side] += len(paragraph.encode())
            sizes[f"{side} cut"] += 0 if paragraph in stays else len(paragraph.encode())
    return {
        "documents": float(len(documents)),
        "foreign bytes cut": sizes["foreign cut"] / sizes["foreign"],
        "English bytes cut": sizes["English cut"] / sizes["English"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sentences", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    sentences = sentences_of(options.sentences)
    found: dict[str, Any] = {"told": told_rightly(sentences), "cut": cut_rightly(sentences)}
    if options.json:
        print(json.dumps(found, indent=2))
        return
    for part, figures in found.items():
        for name, value in figures.items():
            shown = f"{value:,.0f}" if value == int(value) and value > 1 else f"{value:.4f}"
            print(f"{part:6} {name:45} {shown}")


if __name__ == "__main__":
    main()
