"""What the plan of a large corpus (study.scale) says of the memory of comparing is held here."""

import tracemalloc

import numpy as np
import pyarrow as pa

from volano.core.corpus import write_shard
from volano.curate.compare import DECISION, HASH, SIGNATURE, SPLIT, compare
from volano.curate.dedup_section import DedupSection
from volano.study.scale import COMPARE_COST
from volano.text import near

PLACES, SHARD = 8, 10_000


def peak_of(folder, count, section):
    draw = np.random.default_rng(1)
    paths = []
    for start in range(0, count, SHARD):
        signatures = draw.integers(0, 2**32 - 1, (SHARD, PLACES), np.uint32)
        signatures[1::5] = signatures[::5]  # a fifth are copies
        data, kind = pa.py_buffer(signatures.tobytes()), pa.binary(4 * PLACES)
        columns = {
            "id": pa.array([str(start + n) for n in range(SHARD)]),
            SPLIT: pa.array(["train"] * SHARD),
            DECISION + "dropped_by": pa.nulls(SHARD, pa.string()),
            HASH: pa.array(draw.integers(0, 2**63, SHARD).astype(np.uint64)),
            SIGNATURE: pa.FixedSizeBinaryArray.from_buffers(kind, SHARD, [None, data]),
        }
        paths.append(folder / f"{start}.parquet")
        write_shard(paths[-1], pa.table(columns))
    compare(paths[:1], section, folder / "scratch")  # kernels compile
    tracemalloc.start()
    compare(paths, section, folder / "scratch")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def test_memory_grows_no_faster_than_the_plan_says(tmp_path, monkeypatch):
    monkeypatch.setattr(near, "ROWS_AT_ONCE", SHARD)  # or both sizes would fit into its buffers
    monkeypatch.setattr(near, "PAIRS_AT_ONCE", 1 << 10)
    section = DedupSection.read({"minhash": {"permutations": PLACES, "bands": 2}}, "test")
    small, large = (peak_of(tmp_path / str(n), n, section) for n in (100_000, 200_000))
    grown = (large - small) / 100_000
    assert 30 < grown <= COMPARE_COST.bytes_per_document
