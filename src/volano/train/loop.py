"""The one training loop: pre-training, fine-tuning and alignment hand it a model, a loss, batches.

A run stopped at any moment and started again gives the same bytes as an undisturbed one: batches
and random numbers follow from the step alone, all else comes from the last kept state.

It stops of itself where loss or gradient is no finite number, before that step does harm, and where
the loss has left its course; it says which documents were in the batch (docs/training.md).
"""

import math
import time
from pathlib import Path
from typing import Any

import torch

from volano.core.engine import available_cores
from volano.core.progress import Bar, SilentBar
from volano.model.decoder import Decoder
from volano.model.flops import training_flops_per_token
from volano.train.checkpoint import (
    State,
    kept_states,
    learning_state,
    load_state,
    load_weights,
    take_up,
)
from volano.train.compute import compiled, compute_dtype, computing
from volano.train.distributed import WorkDone, is_first, processes_here
from volano.train.dynamics import (
    UNDONE,
    LabelBytes,
    Metrics,
    Row,
    Sampler,
    TrainResult,
    Validate,
    likelihood_of,
)
from volano.train.energy import energy_counter
from volano.train.guard import Guard, Spike
from volano.train.interruption import caught_signals, stopped
from volano.train.keeper import Keeper, best_of
from volano.train.measured import StepMeter, matmul_ceiling
from volano.train.objective import Objective, Stream
from volano.train.optimiser import Optimiser
from volano.train.rewind import Rewinder
from volano.train.schedule import rate_factor
from volano.train.section import TrainSection
from volano.train.spikes import LEFT_OUT, RECORDED, WENT_BACK, Spikes, undone_by
from volano.train.team import Alone, team_of

READER_SEEDS = 1 << 40  # between the random numbers of two processes: more than there are steps
IN_A_ROW = 3  # batches that stand out: one may be odd, so many on end are not


def train(
    model: Decoder,
    objective: Objective,
    stream: Stream,
    section: TrainSection,
    *,
    seed: int,
    scratch: Path,
    workers: int = 0,
    bar: Bar | None = None,
    validate: Validate | None = None,
    label_bytes: LabelBytes | None = None,
    sampler: Sampler | None = None,
    guessing: float | None = None,
    best: bool = False,
) -> TrainResult:
    """Train `model` in place over the whole stream, resuming from `scratch` where a state is kept.

    `workers` is the number of threads where the section names none; 0 takes every available core.
    `validate` is called every `evaluate_steps` and after the last step; its figures join the
    metrics, and the first of them says which weights are best: with `best` the model is left with
    those. Bits per byte join with `label_bytes`, for batches that have `labels_BT`. `guessing` is
    the loss of a model that knows nothing, where there is one.

    Where several processes share the run (train/parallel.py), all call this with the same model
    and stream, and each learns from its share of every batch; the first returns with the whole
    model, in the others WorkDone is raised.

    Raises RunFailed where the loss is not finite or has diverged and on SIGTERM; Ctrl-C raises
    KeyboardInterrupt. In each case a good state is left.
    """
    threads = section.threads or max(1, (workers or available_cores()) // processes_here())
    device = next(model.parameters()).device  # the loop trains where the model lies
    dtype = compute_dtype(section.precision, device)
    with (
        computing(model, dtype, threads, recompute=section.activations == "recomputed"),
        caught_signals(patient=not is_first()) as caught,
    ):
        model.train()
        loss_of = compiled(objective.loss) if section.compile else objective.loss
        team = team_of(model, section, loss_of)
        run = _Run(team, stream, section, dtype, scratch, bar or SilentBar(), guessing)
        with run.keeper:
            first = run.resume()
            run.speak(first, sampler)
            for step in range(first, stream.steps):
                torch.manual_seed(seed * 1_000_003 + step + team.reader * READER_SEEDS)
                row = run.step(step, label_bytes)
                done, last = step + 1, step + 1 == stream.steps
                due = section.evaluate_steps and done % section.evaluate_steps == 0
                if validate is not None and (due or last):
                    row |= run.validated(validate)
                run.metrics.add({"step": done, **row})
                run.show(row)
                run.speak(done, sampler)
                stop, overdue, better = team.agree(bool(caught), run.overdue(), run.better())
                regular = overdue or better or done % section.checkpoint_steps == 0
                if regular or stop or last:
                    run.keep(done, wait=stop or last)
                if stop and not last:
                    raise stopped(caught[0], f"after step {done:,}") if team.first else WorkDone
            team.show()
            if best and team.first:
                run.take_best()
    if not team.first:
        raise WorkDone
    return run.result(threads)


class _Run:
    """All that changes while a run goes on, so that it is kept and taken up in one place."""

    def __init__(
        self,
        team: Alone,
        stream: Stream,
        section: TrainSection,
        dtype: torch.dtype,
        scratch: Path,
        bar: Bar,
        guessing: float | None,
    ) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        self.team, self.stream, self.section = team, stream, section
        self.model = model = team.model
        self.frozen = team.frozen
        self.scratch, self.bar = scratch, bar
        self.optimiser = Optimiser(model, section, dtype, team.shares)
        self.metrics = Metrics()
        self.samples: list[dict[str, Any]] = []
        self.guard = Guard(
            window=section.spike_window,
            spike_deviations=section.spike_deviations,
            diverged_factor=section.diverged_factor,
            guessing=guessing,
        )
        self.rewinder: Rewinder | None = None
        if section.on_spike == "rewind":
            self.rewinder = Rewinder(model, self.optimiser, every=section.rewind_steps)
        self.spikes = Spikes(stream, scratch, bar)
        self.keeper = Keeper(
            scratch,
            most=section.checkpoints,
            first=team.first,
            group=team.writers,
            shares=team.shares,
        )
        self.figure: float | None = None  # of this step's evaluation
        self.best_figure = math.inf
        self.weights_of = stream.steps  # the step whose weights are left
        device = next(each for each in model.parameters() if each.requires_grad).device
        self.meter = StepMeter(
            team.counter(
                energy_counter(
                    watts_per_core=section.watts_per_core,
                    watts_per_device=section.watts_per_device,
                    device=device,
                )
            ),
            ceiling=matmul_ceiling(dtype, device) * team.processes,
            device=device,
        )
        self.earlier_seconds, self.resumed_tokens, self.flops = 0.0, 0, 0.0
        self.start = self.kept_at = time.monotonic()

    def resume(self) -> int:
        """Steps done in earlier sittings, whose state is taken up."""
        team, state = self.team, load_state(self.scratch, self.team.room)
        first = 0 if state is None else state.step
        if state is not None:
            threads = torch.get_num_threads()
            if state.threads not in (0, threads):
                self.bar.tell(
                    f"It was begun with {state.threads} threads and goes on with {threads}: its "
                    "weights will differ from those of an undisturbed run, as rounding does."
                )
            take_up(self.model, team.settled(state.weights))
            self.optimiser.load_state_dict(team.settled(state.optimiser))
            self.metrics.columns, self.metrics.rows = state.metrics, first
            self.meter.resume(state.measured, first)
            self.samples, self.spikes.found = state.samples, state.spikes
            self.earlier_seconds = state.seconds
            self.guard.replay(self.metrics.losses())
            self.resumed_tokens = self.metrics.total("tokens")
            self.best_figure = self.best_kept()
        if self.rewinder is not None:
            self.rewinder.states = [
                each | {name: team.settled(each[name]) for name in ("weights", "optimiser")}
                for each in (state.rewind if state is not None else [])
            ]
            if not first:  # later states were kept by the steps that made them, or not at all
                self.rewinder.keep_if_due(0)
        if first:
            self.bar.resume(self.resumed_tokens)
        return first

    def step(self, step: int, label_bytes: LabelBytes | None) -> Row:
        """Learn from one batch, unless its loss stands out; the step's figures."""
        section = self.section
        self.figure = None
        self.keeper.look()
        self.meter.begin()
        batch = self.stream.batch(step)
        row = self.team.backward(batch, section.accumulate)
        row["gradient_norm"] = self.team.clip(section.clip_norm)
        if label_bytes is not None:
            row["bits_per_byte"] = label_bytes.bits_per_byte(row, batch.labels_BT)
        factor = rate_factor(
            step,
            self.stream.steps,
            schedule=section.schedule,
            warmup_fraction=section.warmup_fraction,
            decay_fraction=section.decay_fraction,
        )
        row |= {"rate_factor": factor, **self.optimiser.rates(factor)}
        loss = likelihood_of(row)
        spike = self.guard.look(step + 1, loss, row["gradient_norm"])
        if spike is not None and spike.not_finite and self.rewinder is None:
            self.keep(step, wait=True)  # the last of finite figures: this step's update never is
            raise self.spikes.not_finite(spike)
        if spike is not None and self.rewinder is not None:
            self._leave_out(spike, self.rewinder)
            row[UNDONE] = 1.0
        else:
            if spike is not None:
                self.spikes.record(spike, RECORDED)
            self.guard.add(step + 1, loss)
        diverged = self.guard.diverged(last=step + 1 == self.stream.steps)
        if diverged is not None:
            self.keeper.wait()
            if not self.team.first:  # which of the states is good, one has to say
                raise WorkDone
            raise self.spikes.diverged(diverged, step + 1)
        if UNDONE not in row:
            self.optimiser.step(factor)
            if self.rewinder is not None:
                self.rewinder.keep_if_due(step + 1)
        per_token = training_flops_per_token(
            self.model.config, batch[0].shape[-1], frozen=self.frozen
        )
        flops = per_token * row["tokens"]
        self.flops += flops
        self.utilisation = self.meter.end(row["tokens"], flops)
        return row

    def _leave_out(self, spike: Spike, rewinder: Rewinder) -> None:
        """Do not learn from the batch. Where those before it stood out as well, the fault is in the
        weights and not in the batches, and the weights go back."""
        if self.spikes.in_a_row(spike.step) + 1 < IN_A_ROW:
            self.optimiser.clear()
            self.spikes.record(spike, LEFT_OUT)
            return
        back_to = rewinder.go_back()
        self.metrics.undo(back_to)
        self.guard.replay(self.metrics.losses())
        self.spikes.record(spike, WENT_BACK, back_to)
        self.keeper.wait()  # for a state that may be the best of those left
        self.best_figure = self.best_kept()

    def show(self, row: Row) -> None:
        """The step, on the progress bar."""
        self.bar.advance(row["tokens"])
        self.bar.curve(row["loss"])
        parts = [f"loss {row['loss']:.3f}"]
        if "bits_per_byte" in row:
            parts.append(f"{row['bits_per_byte']:.2f} bits/byte")
        parts.append(f"{self.utilisation:.0%} of matmul")
        self.bar.note(*parts)

    def speak(self, done: int, sampler: Sampler | None) -> None:
        """Let the model speak where it is due and has not yet."""
        if sampler is None or not sampler.at(done):
            return
        if any(each["step"] == done for each in self.samples):
            return
        self.team.show()
        if not self.team.first:
            return
        tokens = self.metrics.total("tokens")
        for prompt, continuation in sampler.speak():
            said = {"prompt": prompt, "continuation": continuation}
            self.samples.append({"step": done, "tokens": tokens, **said})
        self.team.shown.train()

    def validated(self, validate: Validate) -> Row:
        """The figures of an evaluation, which the first process makes."""
        self.team.show()
        if not self.team.first:
            return {}
        found = dict(validate())
        self.team.shown.train()
        self.figure = next(iter(found.values()), None)
        return found

    def better(self) -> bool:
        """Whether this step's evaluation is the best so far."""
        if self.figure is None or not self.figure < self.best_figure:
            return False
        self.best_figure = self.figure
        return True

    def best_kept(self) -> float:
        """The lowest figure of the states that are kept and count."""
        states = kept_states(self.scratch)
        best = best_of(states, undone_by(self.spikes.found))
        return math.inf if best is None else float(states[best]["figure"])

    def overdue(self) -> bool:
        """Whether a state has to be kept, whatever the step."""
        return time.monotonic() - self.kept_at >= self.section.checkpoint_seconds

    def keep(self, done: int, *, wait: bool = False) -> None:
        """Keep the state after so many steps; it is written meanwhile, unless we wait for it."""
        self.keeper.keep(
            State(
                step=done,
                weights=learning_state(self.model),
                optimiser=self.optimiser.state_dict(),
                metrics=self.metrics.columns,
                measured=self.meter.columns,
                spikes=list(self.spikes.found),
                samples=list(self.samples),
                rewind=list(self.rewinder.states if self.rewinder is not None else []),
                doubtful=self.guard.doubtful,
                figure=self.figure,
                seconds=self.earlier_seconds + time.monotonic() - self.start,
                threads=torch.get_num_threads(),
                processes=self.team.processes,
            )
        )
        if wait:
            self.keeper.wait()
        self.kept_at = time.monotonic()

    def take_best(self) -> None:
        """Leave the weights of the best evaluation, of those that were not undone."""
        step = best_of(kept_states(self.scratch), undone_by(self.spikes.found))
        if step is not None and step != self.stream.steps:
            self.weights_of = step
            take_up(self.team.shown, load_weights(self.scratch, step))

    def result(self, threads: int) -> TrainResult:
        """What the finished run leaves."""
        seconds = time.monotonic() - self.start
        tokens, steps = self.metrics.total("tokens"), self.stream.steps
        undone = frozenset(self.metrics.undone())
        return TrainResult(
            steps=steps,
            tokens=tokens,
            metrics=self.metrics.table(),
            seen=dict(self.stream.documents(self.weights_of, without=undone)),
            spikes=self.spikes.found,
            samples=self.samples,
            measured={
                "training_seconds": round(self.earlier_seconds + seconds, 3),
                "tokens_per_second": round((tokens - self.resumed_tokens) / seconds, 1),
                **({"resumed_tokens": self.resumed_tokens} if self.resumed_tokens else {}),
                "threads": threads,  # byte identity of weights holds per thread count
                **({"processes": self.team.processes} if self.team.processes > 1 else {}),
                "trained_parameters": sum(
                    each.numel() for each in learning_state(self.team.shown).values()
                ),
                **({"weights_of_step": self.weights_of} if self.weights_of < steps else {}),
                "keeping_seconds": round(self.keeper.seconds, 3),
                **self.meter.bill(),
            },
            save_measured=self.meter.save,
        )
