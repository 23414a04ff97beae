"""The two reports of a ladder: what is predicted, made before the next size is; and what came.

The prediction's parents are the runs that were fitted, and nothing else: its digest is of them and
of the size and tokens asked for, so that nobody can have looked. Times of day stand in the bills.
"""

from typing import Annotated, NamedTuple

import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from volano.core.artifact import Artifact
from volano.core.errors import DataError
from volano.core.recipe import Runtime, Section
from volano.core.report import Measurement, Report
from volano.core.step import Context, Inputs, Step
from volano.model.families import read_config
from volano.stats.scaling_law import Run, fit_law, largest_below, line_through_two
from volano.study.training_cost import size_of

HELD_OUT = "held_out_bits_per_byte"  # the column of pre-training's metrics
UNIT = "bits per byte"
REPORT = "report.json"
PREDICTION, NEXT = "prediction", "next"
LAW = "law"
SEED = 1  # of the bootstrap
BEGUN = "next_begun"  # in the bill of a prediction: 1 where it did not come first


class PredictionSection(Section):
    """What is predicted."""

    parameters: int = Field(ge=1, description="Of the next size, as a token meets them.")
    tokens: int = Field(ge=1, description="That it will be trained on.")
    begun: Annotated[bool, Runtime] = Field(
        default=False, description="Whether the store had it, or a part of it, at that time."
    )


class OutcomeSection(Section):
    """Nothing of how a prediction is judged can be set."""


class Trained(NamedTuple):
    """What a finished run says to the ladder."""

    run: Run
    name: str
    digest: str


def read_trained(checkpoint: Artifact) -> Trained:
    """Parameters, tokens and held-out loss of a base model. Raises DataError where it was not
    measured, or came out as no finite number."""
    metrics = pq.read_table(checkpoint.folder / "metrics.parquet")
    losses = metrics[HELD_OUT].drop_null() if HELD_OUT in metrics.column_names else []
    if not len(losses):
        raise DataError(
            f"no {HELD_OUT} in its metrics",
            checkpoint.name,
            "Set pretrain.evaluate_documents above 0.",
        )
    parameters = size_of(read_config(checkpoint.folder)).in_matmuls
    tokens = float(pc.sum(metrics["tokens"]).as_py())
    return Trained(Run(parameters, tokens, losses[-1].as_py()), checkpoint.name, checkpoint.digest)


def run_prediction(section: PredictionSection, inputs: Inputs, context: Context) -> None:
    """Fit the law to the runs and say what the next will lose, and what simpler means would say."""
    trained = [read_trained(each) for _, each in sorted(inputs.items())]
    runs = [each.run for each in trained]
    fit = fit_law(runs, seed=SEED)
    asked = (section.parameters, section.tokens)
    predicted = fit.predict(*asked, seed=SEED)
    largest = largest_below(runs, *asked)
    line = line_through_two(runs, *asked)
    found = [
        Measurement(name, LAW, each.value, each.low, each.high, each.n)
        for name, each in fit.numbers.items()
    ]
    found += [
        _plain("noise", LAW, fit.noise, len(runs), "share of the loss"),
        Measurement("interaction", LAW, *fit.interaction, unit="log loss"),
        Measurement(
            "predicted", NEXT, predicted.value, predicted.low, predicted.high, len(runs), UNIT
        ),
        Measurement("with_interaction", NEXT, *fit.predict_with_interaction(*asked), unit=UNIT),
        _plain("line_through_two", NEXT, line, 2, UNIT),
        _plain("largest_run", NEXT, largest.loss, 1, UNIT),
    ]
    ladder = {
        "runs": [
            {**each.run._asdict(), "law": fit.law.loss(each.run.parameters, each.run.tokens)}
            | {"name": each.name, "digest": each.digest}
            for each in trained
        ],
        "next": section.identity(),
        "weak": list(fit.weak),
    }
    Report(tuple(found), extra={"ladder": ladder}).save(context.folder / REPORT)
    context.bill[BEGUN] = float(section.begun)


def run_outcome(section: OutcomeSection, inputs: Inputs, context: Context) -> None:
    """Put the measured loss of the next size beside what was predicted."""
    predicted, trained = inputs[PREDICTION].report(), read_trained(inputs[NEXT])
    asked, got = predicted.extra["ladder"]["next"], trained.run
    if (asked["parameters"], asked["tokens"]) != (got.parameters, got.tokens):
        raise DataError(
            f"{got.parameters:,.0f} parameters and {got.tokens:,.0f} tokens, and the prediction is "
            f"of {asked['parameters']:,} and {asked['tokens']:,}",
            trained.name,
            "Predict that one.",
        )
    measured = _plain("measured", NEXT, got.loss, 1, UNIT)
    Report((*predicted.measurements, measured), extra=predicted.extra).save(context.folder / REPORT)


def _plain(name: str, stage: str, value: float, n: int, unit: str) -> Measurement:
    return Measurement(name, stage, value, value, value, n, unit)


PREDICT = Step(
    name="ladder-prediction",
    kind="report",
    version=1,
    section=PredictionSection,
    run=run_prediction,
)
COMPARE = Step(
    name="ladder-outcome", kind="report", version=1, section=OutcomeSection, run=run_outcome
)
