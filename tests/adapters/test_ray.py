"""A real Ray of two worker processes on this machine; one of them is killed in the middle."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from pydoc_data.topics import topics

import pytest

from volano.adapters.ray import RayEngine
from volano.core.errors import DataError, RunFailed
from volano.core.files import atomic_path
from volano.core.store import Store
from volano.study.single import run_phase

ray = pytest.importorskip("ray", reason="ray is not installed (extra ray)")

pytestmark = pytest.mark.xdist_group("ray")


@pytest.fixture(scope="module")
def engine():
    # Workers cannot import a test.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield RayEngine("local", workers=2)
    ray.shutdown()


def outputs(folder: Path, count: int) -> list[Path]:
    return [folder / "out" / f"{place}.txt" for place in range(count)]


def write(item: str, output: Path) -> None:
    with (output.parent.parent / "log").open("a") as log:
        log.write(f"{item} {os.getpid()}\n")
    time.sleep(0.15)
    with atomic_path(output) as unfinished:
        unfinished.write_text(item)


def die(item: str, output: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(item: str, output: Path) -> None:
    raise DataError("not to be read", item, "Mend it.")


def fail_twice(item: str, output: Path) -> None:
    tries = output.parent.parent / "tries"
    with tries.open("a") as log:
        log.write(item)
    if tries.stat().st_size < 3:
        raise OSError(5, "input/output error")
    output.write_text(item)


def test_a_killed_worker_loses_nothing_and_does_nothing_twice(engine, tmp_path):
    items = [f"item{place}" for place in range(24)]
    paths = outputs(tmp_path, len(items))
    log = tmp_path / "log"
    killed: list[int] = []

    def kill_one() -> None:
        while not log.exists() or len(log.read_text().splitlines()) < 6:
            time.sleep(0.02)
        killed.append(int(log.read_text().splitlines()[-1].split()[1]))
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    engine.map(write, items, paths)
    killer.join()
    assert [path.read_text() for path in paths] == items
    lines = [line.split() for line in log.read_text().splitlines()]
    assert len({pid for _, pid in lines}) >= 3  # two workers, and one in the place of the dead
    again = len(lines) - len(items)
    assert 0 <= again <= 1  # the shard that was under way in it
    assert not list((tmp_path / "out").glob(".*"))


def test_what_is_there_is_not_made_again(engine, tmp_path):
    paths = outputs(tmp_path, 4)
    engine.map(write, ["a", "b"], paths[:2])
    engine.map(write, ["a", "b", "c", "d"], paths)
    assert [path.read_text() for path in paths] == ["a", "b", "c", "d"]
    assert [line.split()[0] for line in sorted((tmp_path / "log").read_text().splitlines())] == [
        "a", "b", "c", "d",
    ]  # fmt: skip


def test_errors_are_those_of_the_local_engine(engine, tmp_path):
    with pytest.raises(DataError, match="not to be read"):
        engine.map(refuse, ["a"], outputs(tmp_path, 1))
    engine.map(fail_twice, ["a"], outputs(tmp_path, 1))
    assert (tmp_path / "tries").read_text() == "aaa"
    with pytest.raises(RunFailed, match="a worker died 3 times"):
        engine.map(die, ["a"], outputs(tmp_path / "dead", 1))


def test_curated_on_ray_is_to_the_byte_what_is_curated_here(engine, tmp_path):
    (tmp_path / "in").mkdir()
    for part in range(3):
        rows = [{"id": name, "text": text} for name, text in sorted(topics.items())[part::3]]
        (tmp_path / "in" / f"{part}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    digests = []
    settings = ["mix.by=kind", "mix.size_epochs=1.5", "boilerplate.min_documents=5"]
    settings.append("boilerplate.max_document_fraction=0.02")
    for name, more in (("here", []), ("there", ["engine.kind=ray"])):
        store = Store(tmp_path / name)
        made = run_phase(
            "curate", store, data=[str(tmp_path / "in")], settings=[*settings, *more], silent=True
        )
        digests.append([each.artifact.digest for each in made])
    assert digests[0] == digests[1]


def test_a_cluster_that_does_not_answer_is_told(engine):
    ray.shutdown()
    with pytest.raises(RunFailed, match=r"no Ray cluster answers"):
        RayEngine("auto").map(write, ["a"], [Path("/nowhere/a")])
