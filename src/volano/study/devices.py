"""Accelerators that a plan may name: what their makers promise and what was reached on them.

`peak_flops` is dense (no sparsity), with 16-bit factors and float32 sums. `utilisation` is a share
of it that was published of a real run, model FLOPs only; where none is known to us, the user has
to give one. Watts are of the board, or of what was measured where that is published.

Sources: NVIDIA's data sheets of V100, A100, H100, H200 and HGX B200; Patterson et al. 2021, table 4
(V100's watts and hourly use); Narayanan et al. 2021, sections 5.1 and 5.3 (A100: 140 TFLOP/s for
GPT-3 175B on 1,024, each activation computed twice); Touvron et al. 2023a (LLaMA), section 2.4;
Grattafiori et al. 2024 (Llama 3), table 4; Chowdhery et al. 2022 (PaLM), table 3; Jouppi et al.
2023 (TPU v4), table 4.
"""

from dataclasses import dataclass

from volano.core.errors import DataError, did_you_mean

GIGABYTE, TERA = 10**9, 1e12


@dataclass(frozen=True)
class Device:
    """One accelerator. Memory in bytes, power in watts, price in US dollars an hour."""

    name: str
    peak_flops: float
    memory_bytes: int
    watts: float
    utilisation: float | None = None
    utilisation_source: str = ""
    price_per_hour: float | None = None
    price_source: str = ""


# Two forward passes and one backward are four thirds of what the model needs: 140 × 3/4 of 312.
_A100_UTILISATION = 140 / 312 * 3 / 4
_A100_SOURCE = "Narayanan et al. 2021: 140 of 312 TFLOP/s, a quarter of them to recompute"

DEVICES = (
    Device(
        "V100",
        125 * TERA,
        32 * GIGABYTE,
        330,  # measured, system included; the board takes 300
        utilisation=0.213,
        utilisation_source="GPT-3 on V100: Chowdhery et al. 2022, table 3",
        price_per_hour=1.50,
        price_source="Lambda 2020, the lowest price of a cloud then",
    ),
    Device("A100-40GB", 312 * TERA, 40 * GIGABYTE, 400, _A100_UTILISATION, _A100_SOURCE),
    Device("A100", 312 * TERA, 80 * GIGABYTE, 400, _A100_UTILISATION, _A100_SOURCE),
    Device(
        "H100",
        989 * TERA,
        80 * GIGABYTE,
        700,
        utilisation=0.41,
        utilisation_source="Llama 3 405B on 16,384: Grattafiori et al. 2024, table 4",
    ),
    Device("H200", 989 * TERA, 141 * GIGABYTE, 700),
    Device("B200", 2250 * TERA, 180 * GIGABYTE, 1000),
    Device(
        "TPUv4",
        275 * TERA,
        32 * 2**30,
        170,  # mean of production; at most 192
        utilisation=0.462,
        utilisation_source="PaLM 540B on 6,144: Chowdhery et al. 2022, table 3",
    ),
)


def device_named(name: str) -> Device:
    """The device of that name, in any case. Raises DataError with the nearest one."""
    known = {each.name.lower(): each for each in DEVICES} | {"a100-80gb": _device("A100")}
    if name.lower() not in known:
        remedy = did_you_mean(name, [each.name for each in DEVICES])
        raise DataError(f"no device '{name}'", "--device", remedy)
    return known[name.lower()]


def _device(name: str) -> Device:
    return next(each for each in DEVICES if each.name == name)
