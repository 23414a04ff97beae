"""A recipe of a user's own whose data are there in no time, in many small files."""


def write_rivers(folder, *, files, tokens="5k", ablate="{seeds: 2}"):
    """Write `mine.yaml` and its texts: so many files, of which three tenths are held out."""
    (folder / "texts").mkdir()
    for number in range(files):
        text = f"The river {number} carries mountain water to the sea. " * 9
        (folder / "texts" / f"{number}.txt").write_text(text)
    (folder / "mine.yaml").write_text(
        "name: mine\ncollect: {source: files, paths: ['texts/*.txt'], held_out_fraction: 0.3}\n"
        "curate: {language: off, quality: off, dedup: off, decontaminate: off}\n"
        "tokenizer: {vocabulary: 300}\n"
        f"pretrain: {{model: {{parameters: 0.02M}}, tokens: {tokens}, batch_rows: 1}}\n"
        f"finetune: off\nalign: off\nevaluate: off\nablate: {ablate}\n"
    )
