"""An ablation without any training: artifacts as its steps would leave them, and true verdicts."""

import json

import pyarrow as pa
from toy_wheel import corpus

from volano.core.corpus import write_shard
from volano.core.files import read_json, write_json
from volano.core.recipe import Section
from volano.core.records import Document
from volano.core.report import Measurement, Report
from volano.core.step import Step
from volano.study.ablation_step import AblationSection, TrialSection, run_judge

NAME = "toy-ablation"
SCRIPT = "<script>alert('document')</script>"
ARM = "rules=<img src=x onerror=alert('arm')>"
FIRST = "rules=on"
EVERY, MAIN = [f"toy:f{n}" for n in range(6)], [f"toy:f{n}" for n in range(4)]
STEPS = 30
SEEDS = (1, 2, 3)
LATER = "base"  # the stage that is measured
# Metric → unit, the first arm's value, what the second has more, and how far seeds lie apart.
METRICS = {
    "bits_per_byte.prose": ("bits per byte", 3.0, 0.25, 0.01),
    "bits_per_byte.code": ("bits per byte", 2.0, 0.0, 0.05),
    "choice_pmi": ("share", 0.4, 0.1, 0.001),
}


class Settings(Section):
    value: str = ""


class Judged(AblationSection):
    extra: str = ""


def make(store, stage, kind, write, *, value="", seed=0, bill=None, **inputs):
    """The artifact of a stage, as `write(folder)` leaves it."""

    def run(section, given, context):
        write(context.folder)
        context.bill.update(bill or {})

    step = Step(stage, kind, 1, Settings, run, seeded=True)
    section = Settings(value=value)
    order = store.order(step, section, inputs, name=f"{NAME}/{stage}", seed=seed)
    return store.make(order, silent=True).artifact


def documents(ids, text):
    return [
        Document(name, f"{text} {name}", "toy", kind="code" if name.endswith("0") else "prose",
                 licence="MIT")
        for name in ids
    ]  # fmt: skip


def funnel(kept):
    lost = len(EVERY) - len(kept)
    rows = [("input", len(EVERY), 600, 0, 0), ("near", len(kept), 400, lost, 200)]
    keys = ("filter", "documents", "bytes", "documents_dropped", "bytes_dropped")
    return [dict(zip(keys, each, strict=True)) for each in rows]


def packed(ids):
    def write(folder):
        (folder / "tokens.bin").write_text(" ".join(ids))

    return write


def trained(ids, seed, slope, share):
    def write(folder):
        steps = list(range(1, round(STEPS * share) + 1))
        falling = [slope + (1 + seed / 10) / each for each in steps]
        pairs = zip(steps, falling, strict=True)
        held_out = [value if step % 10 == 0 else None for step, value in pairs]
        columns = {"step": steps, "loss": falling, "bits_per_byte": falling}
        columns |= {"held_out_bits_per_byte": held_out, "tokens": [100] * len(steps)}
        write_shard(folder / "metrics.parquet", pa.table(columns))
        seen = {"id": ids[:3], "tokens": [1000] * 3}
        write_shard(folder / "seen.parquet", pa.table(seen))

    return write


def measured(place, seed, share):
    """Of the arm at that place: its mean, moved by the seed, the second arm's a little more, and on
    a share of the tokens by what is missing."""

    stage = LATER

    def write(folder):
        found = []
        for name, (unit, value, more, apart) in METRICS.items():
            at = value + place * (more + 0.1 * apart * seed) + apart * seed + 1 - share
            found.append(Measurement(name, stage, at, at, at, 50, unit))
        Report(tuple(found)).save(folder / "report.json")

    return write


def trial(store, arm, seed, *, size="", share=1.0, text="It flows."):
    """The measurements of one arm with one seed."""
    place = (FIRST, ARM).index(arm)
    ids = (EVERY, MAIN)[place]
    collected = make(store, "collected", "corpus", corpus(documents(EVERY, text), "document"))
    curated = make(
        store, "curated", "corpus",
        corpus(documents(ids, f"{text} {SCRIPT}"), "document", funnel=funnel(ids)),
        value=arm, documents=collected,
    )  # fmt: skip
    tokens = make(
        store, "tokens", "tokens", packed(ids), value=arm, bill={"tokens": 1234}, documents=curated
    )  # fmt: skip
    base = make(
        store, "base", "checkpoint", trained(ids, seed, 1.0 + place, share),
        value=f"{size} {share}", seed=seed,
        bill={"epochs.text": 2.5 - 2 * place, "parameters": 1000}, tokens=tokens,
    )  # fmt: skip
    return make(store, "domains", "report", measured(place, seed, share), value=LATER, base=base)


def ablation(
    store, *, seeds=SEEDS, sizes=("",), failed=(), half=(), extra=None, arms=(FIRST, ARM), **asked
):
    """The verdicts; `failed` are (arm, seed) that were not measured, `half` the seeds of
    trials on half of the tokens; `extra` stands in the place of what was judged."""
    trials, inputs = {}, {}
    for seed in seeds:
        for size in sizes:
            for arm in (FIRST, ARM):
                key = f"trial-{len(trials):04}"
                failure = f"the loss has diverged {SCRIPT}" if (arm, seed) in failed else ""
                trials[key] = TrialSection(arm=arm, size=size, seed=seed, failure=failure)
                if not failure:
                    inputs[f"{key}.domains"] = trial(store, arm, seed, size=size)
    for seed in half:
        key = f"trial-{len(trials):04}"
        trials[key] = TrialSection(arm=FIRST, seed=seed, share=0.5)
        inputs[f"{key}.domains"] = trial(store, FIRST, seed, share=0.5)

    section = Judged(arms=list(arms), trials=trials, **asked, extra=json.dumps(extra or {}))
    step = Step("ablation", "report", 1, Judged, run_more)
    order = store.order(step, section, inputs, name=f"{NAME}/verdicts")
    return store.make(order, silent=True).artifact


def run_more(section, given, context):
    """The true verdicts, and what is added to them."""
    run_judge(section, given, context)
    path = context.folder / "report.json"
    report = read_json(path)
    report["extra"] |= json.loads(section.extra)
    write_json(path, report)
