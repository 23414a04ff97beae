"""The steps from curated documents to a base model: tokenizer, pack, pretrain; or import.

No torch here: the data side of the product loads this file without it.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from volano.core.artifact import Artifact
from volano.core.corpus import Corpus
from volano.core.errors import DataError, did_you_mean
from volano.core.files import file_digest
from volano.core.origin import stated_by_folder, write_origin
from volano.core.records import Document
from volano.core.step import Context, Entry, Inputs, Listing, Step
from volano.pretrain.section import (
    ImportSection,
    PackSection,
    PretrainSection,
    TokenizerSection,
)
from volano.pretrain.tiers import Tiers
from volano.pretrain.training_texts import TrainingTexts, bill_of
from volano.text.pack import pack_documents
from volano.text.tokenizer import Tokenizer, train_tokenizer

CHECKPOINT_FILES = (
    "config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "README.md",
)


def run_tokenizer(section: TokenizerSection, inputs: Inputs, context: Context) -> None:
    """Learn a tokenizer from the training documents of the curated corpus, each as often as its
    mixture has it read: a tokenizer is for the text that the model will see."""
    corpus = inputs["documents"].corpus()
    kinds = _kinds(corpus, section.kinds, "tokenizer.kinds")
    documents = TrainingTexts(corpus)
    total = documents.bytes
    if section.kinds and total > section.sample_bytes:  # of those alone
        total = sum(len(text.encode()) for kind in kinds for text in documents.texts(kind))
    share = min(1.0, section.sample_bytes / max(1, total))

    with context.progress("tokenizer", total * share / 1e6, "MB") as bar:

        def texts() -> Iterator[str]:
            read = (text for kind in kinds for text in documents.texts(kind))
            for place, text in enumerate(read):
                if int((place + 1) * share) > int(place * share):  # evenly
                    bar.advance(len(text) / 1e6)
                    yield text

        tokenizer = train_tokenizer(texts(), vocabulary=section.vocabulary)
    tokenizer.save(context.folder)
    context.bill["vocabulary"] = tokenizer.vocabulary


def run_pack(section: PackSection, inputs: Inputs, context: Context) -> None:
    """Write the training documents as rows of tokens, as often as their mixture has them read."""
    corpus = inputs["documents"].corpus()
    tokenizer = Tokenizer.load(inputs["tokenizer"].folder)
    kinds = _kinds(corpus, section.kinds, "pretrain.mixture or a stage", section.by)
    documents = TrainingTexts(corpus, section.by)
    documents.check_kinds(section.kinds)
    tiers = Tiers(documents, kinds, section.tiers) if section.tiers else None
    with context.progress("pack", documents.count(kinds), "documents") as bar:

        def counted(texts: Iterator[tuple[str, str]]) -> Iterator[tuple[str, str]]:
            for each in texts:
                bar.advance()
                yield each

        def readings_of(kind: str) -> list[Iterator[tuple[str, str]]]:
            if tiers is not None:
                return tiers.readings(documents, kind)
            return documents.readings(kind)

        readings = {kind: [*map(counted, readings_of(kind))] for kind in kinds}
        packed = pack_documents(
            context.folder,
            {kind: each[0] for kind, each in readings.items()},
            tokenizer,
            context=section.context,
            again={kind: each[1:] for kind, each in readings.items()},
            beside=tiers.values if tiers is not None else None,
            by=section.by,
        )
        bar.note(f"{packed.tokens:,} tokens, {packed.padding_fraction:.2%} padding")
    context.bill["tokens"] = packed.tokens
    context.bill["padding_fraction"] = packed.padding_fraction
    context.bill |= bill_of(documents.save_portions(context.folder))


def run_pretrain(section: PretrainSection, inputs: Inputs, context: Context) -> None:
    """Train a model from nothing."""
    from volano.pretrain.run import pretrain
    from volano.train.start import processes_for

    held_out = inputs.get("held_out")
    section.check_weights(_records(held_out))
    tokenizer = Tokenizer.load(inputs["tokenizer"].folder)
    section.check_start(tokenizer.vocabulary)
    config = section.model.shape(tokenizer.vocabulary)
    with processes_for("volano.pretrain.step:PRETRAIN", section, inputs, context, config=config):
        pretrain(
            section,
            tokens=inputs["tokens"].folder,
            tokenizer=tokenizer,
            held_out=_sample(held_out, section.evaluate_documents) if held_out else [],
            context=context,
        )


def scan_import(section: ImportSection) -> Listing:
    """The files that decide what is imported. Raises DataError where the folder holds none."""
    folder = Path(section.path).expanduser()
    if section.form == "gguf":
        if not folder.is_file():
            problem = "not a file" if folder.exists() else "no such file"
            raise DataError(problem, str(folder), "Name a GGUF file.")
        size = folder.stat().st_size
        return Listing((Entry(folder.name, folder, size, file_digest(folder)),))
    files = sorted({path for pattern in CHECKPOINT_FILES for path in folder.glob(pattern)})
    if not files:
        raise DataError("no checkpoint here", str(folder), "Name a Hugging Face checkpoint.")
    return Listing(
        tuple(Entry(path.name, path, path.stat().st_size, file_digest(path)) for path in files)
    )


def run_import(section: ImportSection, inputs: Inputs, context: Context) -> None:
    """Take over a finished checkpoint and its tokenizer."""
    from volano.pretrain.base import import_checkpoint

    path = Path(section.path).expanduser()
    if section.form == "gguf":
        from volano.pretrain.gguf import unpack_gguf

        unpacked = context.scratch / "unpacked"
        stated = unpack_gguf(path, unpacked, context)
        taken = import_checkpoint(unpacked, context.folder, chat=section.chat)
    else:
        stated = stated_by_folder(path)
        taken = import_checkpoint(path, context.folder, chat=section.chat)
    write_origin(context.folder, path, stated)
    context.bill |= taken._asdict()


TOKENIZER = Step(
    name="tokenizer",
    kind="tokenizer",
    version=2,  # 2: as many bytes are sampled as are asked for, of the kinds asked for
    section=TokenizerSection,
    run=run_tokenizer,
)
PACK = Step(
    name="pack",
    kind="tokens",
    version=2,  # 2: digests in meta.json
    section=PackSection,
    run=run_pack,
)
PRETRAIN = Step(
    name="pretrain",
    kind="checkpoint",
    version=4,  # 4: what is measured meanwhile lies evenly over the held-out documents
    section=PretrainSection,
    run=run_pretrain,
    seeded=True,
    on_device=True,
)
IMPORT = Step(
    name="import",
    kind="checkpoint",
    version=5,  # 5: a base keeps its own end of text
    section=ImportSection,
    run=run_import,
    scan=scan_import,
)


def _kinds(corpus: Corpus, wanted: Sequence[str], where: str, by: str = "kind") -> list[str]:
    known = sorted(corpus.manifest[f"{by}s"])
    for kind in wanted:
        if kind not in known:
            remedy = did_you_mean(kind, known)
            if where.startswith("pretrain.mixture"):
                remedy += " Set 'pretrain.mixture={}' to read every kind as often as it is there."
            raise DataError(f"no documents of {by} '{kind}'", where, remedy)
    return list(wanted) or known


def _records(held_out: Artifact | None) -> int:
    return int(held_out.corpus().manifest["records"]) if held_out else 0


def _sample(held_out: Artifact, count: int) -> list[Document]:
    """Documents spread evenly over the corpus."""
    documents = list(held_out.corpus().records())
    chosen = min(count, len(documents))
    return [documents[place * len(documents) // chosen] for place in range(chosen)]
