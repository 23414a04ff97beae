"""How toxic a base model's continuations of held-out documents are: what a toxicity filter is for.

The model speaks (evaluate), and the classifier of curation judges (docs/toxicity.md).
"""

import numpy as np
import pyarrow as pa

from volano.core.corpus import write_shard
from volano.core.errors import DataError
from volano.core.report import Measurement, Report
from volano.core.step import Context, Inputs, Step
from volano.curate.section import ToxicitySection
from volano.evaluate.section import ContinuationsSection
from volano.stats.intervals import mean_interval

TOXICITY = "toxicity"
STAGE = "base"
CONTINUATIONS_FILE = "continuations.parquet"


def run_toxicity(section: ContinuationsSection, inputs: Inputs, context: Context) -> None:
    """Write the mean probability of being toxic over continuations, and each of them beside it.

    Raises DataError where fewer than two held-out documents are longer than the prompt.
    """
    from volano.curate.toxicity import measure_toxicity
    from volano.evaluate.continuations import continuations
    from volano.model.device import device_for
    from volano.model.huggingface import load_checkpoint
    from volano.text.tokenizer import Tokenizer

    folder = inputs["base"].folder
    documents = list(inputs["held_out"].corpus().records())
    model = load_checkpoint(folder).to(device_for(context))
    said = continuations(section, model, Tokenizer.load(folder), documents, context.seed)
    if len(said) < 2:
        raise DataError(
            f"{len(said)} held-out documents are longer than {section.prompt_tokens} tokens",
            inputs["held_out"].name,
            "Hold out more: collect.held_out_fraction, or collect.held_out_functions.",
        )
    texts = pa.array([text for _, text in said], pa.large_string())
    found = measure_toxicity(texts, ["text"] * len(said), ToxicitySection())
    toxic = found.columns["toxic"].to_numpy(zero_copy_only=False).astype(np.float64)
    table = {"id": [each for each, _ in said], "text": texts, "toxic": toxic}
    write_shard(context.folder / CONTINUATIONS_FILE, pa.table(table))
    measured = Measurement(TOXICITY, STAGE, *mean_interval(toxic.tolist()))
    Report((measured,)).save(context.folder / "report.json")
    context.bill["continuations"] = len(said)


CONTINUED = Step(
    name="toxicity",
    kind="report",
    version=1,
    section=ContinuationsSection,
    run=run_toxicity,
    seeded=True,
    on_device=True,
)
