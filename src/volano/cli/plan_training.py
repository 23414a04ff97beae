"""`volano plan training`: arithmetic, memory, time, money and power of any training run."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from volano.cli.run import JsonOption
from volano.model.families import read_config

CONTEXT = 4096  # Llama 2's, where a number of parameters is all that is known


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    app.command("training")(plan_training)


def plan_training(
    tokens: Annotated[str, typer.Option("--tokens", help="To pre-train on: 300B, 2T …")],
    device: Annotated[
        str, typer.Option("--device", help="V100, A100, A100-40GB, H100, H200, B200 or TPUv4.")
    ],
    devices: Annotated[int, typer.Option("--devices", min=1, help="How many of them.")],
    parameters: Annotated[
        str | None, typer.Option("--parameters", help="175B, 7B …: a usual shape is assumed.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", help="gpt-3, llama-65b, llama-2-70b or llama-3.1-405b."),
    ] = None,
    huggingface: Annotated[
        Path | None, typer.Option("--hf", help="Folder with a Llama's config.json.")
    ] = None,
    context: Annotated[
        str | None, typer.Option("--context", help="Tokens of a row, if not the model's own.")
    ] = None,
    utilisation: Annotated[
        float | None,
        typer.Option(
            "--utilisation",
            help="Share of the device's peak that the model's arithmetic reaches (MFU); a "
            "published one of the device if left out.",
        ),
    ] = None,
    hardware_utilisation: Annotated[
        float | None,
        typer.Option(
            "--hardware-utilisation", help="The same, counting what checkpointing computes twice."
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option("--tokens-per-second", help="The same, as tokens a second and device."),
    ] = None,
    parallel: Annotated[
        str | None,
        typer.Option(
            "--parallel",
            help="data=…,shard=…,tensor=…,pipeline=…: how the run lies on its devices. Left out: "
            "the nearest to plain data parallel that fits.",
        ),
    ] = None,
    micro_batch: Annotated[
        int, typer.Option("--micro-batch", min=1, help="Rows at once on each replica.")
    ] = 1,
    checkpointing: Annotated[
        Literal["none", "full"] | None,
        typer.Option("--checkpointing", help="full: keep only what enters each layer."),
    ] = None,
    precision: Annotated[
        Literal["bfloat16", "float32"], typer.Option("--precision", help="Of the matmuls.")
    ] = "bfloat16",
    optimiser: Annotated[
        Literal["adamw", "muon"], typer.Option("--optimiser", help="What it keeps is counted.")
    ] = "adamw",
    sft_tokens: Annotated[str, typer.Option("--sft-tokens", help="Of fine-tuning.")] = "0",
    align_tokens: Annotated[
        str, typer.Option("--align-tokens", help="Of both sides of all preference pairs (DPO).")
    ] = "0",
    evaluate_tokens: Annotated[
        str, typer.Option("--evaluate-tokens", help="Read and generated in evaluation.")
    ] = "0",
    price: Annotated[
        float | None,
        typer.Option("--price-per-device-hour", min=0, help="In any currency."),
    ] = None,
    watts: Annotated[
        float | None, typer.Option("--watts", min=1, help="Of a device, if not the table's.")
    ] = None,
    pue: Annotated[
        float | None,
        typer.Option("--pue", min=1, help="Power of the building over that of its machines: 1.10."),
    ] = None,
    carbon: Annotated[
        float | None,
        typer.Option("--kg-per-kwh", min=0, help="CO₂e of the electricity: 0.429."),
    ] = None,
    claimed: Annotated[
        list[str] | None,
        typer.Option(
            "--claimed",
            help="What somebody says of this run: days=30, device-hours=3.6M, MWh=1300, money=5M "
            "or tCO2e=500. Shown beside the plan, on every device.",
        ),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Print each figure's formula.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Plan a training run: parameters, FLOPs, memory of a device, time, money, MWh and CO₂.

    A layout that does not fit into the memory of a device is refused, with the nearest that fits.
    """
    from volano.study.devices import device_named
    from volano.study.training_claims import read_claims
    from volano.study.training_memory import Layout, read_layout
    from volano.study.training_plan import (
        KILOGRAMS_PER_KWH,
        PUE,
        TrainingTarget,
        training_plan,
    )

    size = _size(parameters, model, huggingface, context)
    layout = Layout(data=devices, micro_batch=micro_batch, checkpointing=checkpointing or "none")
    found = device_named(device)
    target = TrainingTarget(
        size=size,
        tokens=read_number(tokens, "--tokens"),
        device=found,
        devices=devices,
        layout=read_layout(parallel, layout, devices) if parallel else layout,
        choose=_free(parallel, checkpointing),
        utilisation=_utilisation(utilisation, hardware_utilisation, rate, size, found),
        hardware_utilisation=_share(hardware_utilisation, "--hardware-utilisation"),
        precision=precision,
        optimiser=optimiser,
        sft_tokens=read_number(sft_tokens, "--sft-tokens", least=0),
        align_tokens=read_number(align_tokens, "--align-tokens", least=0),
        evaluate_tokens=read_number(evaluate_tokens, "--evaluate-tokens", least=0),
        price_per_hour=price,
        watts=watts,
        pue=PUE if pue is None else pue,
        kilograms_per_kwh=KILOGRAMS_PER_KWH if carbon is None else carbon,
        claims=read_claims(claimed or []),
    )
    plan = training_plan(target)
    _print(target, plan, explain, json)


def read_number(text: str, option: str, *, least: float = 1) -> float:
    """300B, 2T, 1.5M or 1e12. Raises DataError for what is none, or is below `least`."""
    from volano.core.errors import DataError
    from volano.core.recipe import read_count

    number = read_count(text)
    if number is None or number < least:
        raise DataError(f"no count: '{text}'", option, "Write it as 500k, 7B or 2T.")
    return float(number)


def _free(parallel: str | None, checkpointing: str | None) -> frozenset[str]:
    if parallel is not None:
        return frozenset()
    return frozenset({"axes", *([] if checkpointing else ["checkpointing"])})


def _size(
    parameters: str | None, model: str | None, huggingface: Path | None, context: str | None
) -> Any:
    from dataclasses import replace

    from volano.core.errors import DataError
    from volano.study.training_cost import published_size, size_of, usual_size

    if sum(each is not None for each in (parameters, model, huggingface)) != 1:
        raise DataError(
            "one of --parameters, --model and --hf has to name the model",
            "plan training",
            "Give one of them, such as --parameters 7B.",
        )
    positions = None if context is None else int(read_number(context, "--context"))
    if parameters is not None:
        count = int(read_number(parameters, "--parameters"))
        return usual_size(count, positions or CONTEXT)
    if model is not None:
        size = published_size(model)
    else:
        assert huggingface is not None
        size = size_of(read_config(huggingface))
    return size if positions is None else replace(size, context=positions)


def _utilisation(
    utilisation: float | None,
    hardware: float | None,
    rate: float | None,
    size: Any,
    device: Any,
) -> float | None:
    from volano.core.errors import DataError
    from volano.study.training_cost import flops_per_token

    if sum(each is not None for each in (utilisation, hardware, rate)) > 1:
        raise DataError(
            "--utilisation, --hardware-utilisation and --tokens-per-second say the same thing",
            "plan training",
            "Give one of them.",
        )
    if rate is None:
        return _share(utilisation, "--utilisation")
    return _share(rate * flops_per_token(size) / device.peak_flops, "--tokens-per-second")


def _share(value: float | None, option: str) -> float | None:
    from volano.core.errors import DataError

    if value is not None and not 0 < value <= 1:
        raise DataError(
            f"{value:.3g} of the device's peak cannot be reached", option, "Give a share below 1."
        )
    return value


def _print(target: Any, plan: Any, explain: bool, as_json: bool) -> None:
    from dataclasses import asdict, replace

    from volano.cli.output import print_json, print_line, print_table, size
    from volano.study.training_plan import layouts_tried, usable_bytes

    target = replace(target, layout=plan.layout)  # claims are about the plan that is printed
    tried = layouts_tried(target, plan.layout)
    if as_json:
        print_json(
            {
                "target": asdict(target) | {"choose": sorted(target.choose)},
                "layout": asdict(plan.layout),
                "figures": [asdict(each) for each in plan.figures],
                "layouts": {name: memory._asdict() for name, memory in tried},
                "claims": _judged(target),
            }
        )
        return
    rows = [(each.name, _told(each), _unit(each.unit), each.formula) for each in plan.figures]
    print_table(
        ["", "figure", "unit", *(["formula"] if explain else [])],
        rows if explain else [row[:-1] for row in rows],
        right=["figure"],
        title=f"{target.tokens:.4g} tokens on {target.devices:,} × {target.device.name}",
    )
    chosen = "the nearest to plain data parallel that fits" if target.choose else "as given"
    print_line(f"Layout: {plan.layout} ({chosen}).")
    room = usable_bytes(target.device.memory_bytes)
    print_table(
        ["layout", "memory of a device", "fits"],
        [
            (name, size(memory.total), "yes" if memory.total <= room else "no")
            for name, memory in tried
        ],
        right=["memory of a device"],
    )
    if "price" not in {each.name for each in plan.figures}:
        print_line("For the price: --price-per-device-hour.")
    if target.claims:
        _print_claims(target)


def _print_claims(target: Any) -> None:
    from volano.cli.output import print_line, print_table
    from volano.study.training_claims import judge_claims, verdict

    judged = judge_claims(target)
    names = list(target.claims)
    print_table(
        ["plan on", *(f"{name}: {target.claims[name]:,g} claimed" for name in names)],
        [
            (
                device,
                *(
                    f"{claim.planned:,.0f}{' (met)' if claim.met else ''}"
                    if (claim := claims.get(name))
                    else "no price known"
                    for name in names
                ),
            )
            for device, claims in judged.items()
        ],
    )
    for line in verdict(target, judged):
        print_line(line)


def _judged(target: Any) -> dict[str, Any]:
    from volano.study.training_claims import judge_claims, verdict

    if not target.claims:
        return {}
    judged = judge_claims(target)
    return {
        "devices": {
            device: {
                name: {"claimed": each.claimed, "planned": each.planned, "met": each.met}
                for name, each in claims.items()
            }
            for device, claims in judged.items()
        },
        "verdict": verdict(target, judged),
    }


def _unit(unit: str) -> str:
    return "" if unit in ("bytes", "parameters", "tokens") else unit


def _told(figure: Any) -> str:
    from volano.cli.output import size

    if figure.unit == "bytes":
        return size(figure.value)
    if figure.unit == "FLOPs" or figure.value >= 1e9:
        return f"{figure.value:.4g}"
    return f"{figure.value:,.3g}" if figure.value < 100 else f"{figure.value:,.0f}"
