"""The step that makes a checkpoint fit for release: the same weights, with the model card in them.

An artifact never changes, so a card cannot be written into a checkpoint that stands; its released
form is an artifact of its own, whose lineage holds the gate that judged it.
"""

import os
import shutil
from pathlib import Path

from volano.core.files import atomic_path
from volano.core.recipe import Section
from volano.core.step import Context, Inputs, Step
from volano.study.card import model_card

CARD = "README.md"  # where Hugging Face looks for it


class ReleaseSection(Section):
    """Nothing of a release's form can be set."""


def run_release(section: ReleaseSection, inputs: Inputs, context: Context) -> None:
    """Write the checkpoint's files, and the card in place of any that it has."""
    checkpoint = inputs["checkpoint"]
    for name in checkpoint.meta["files"]:
        if name != CARD:
            _copy(checkpoint.folder / name, context.folder / name)
    with atomic_path(context.folder / CARD) as unfinished:
        unfinished.write_text(model_card(checkpoint.name, inputs), "utf-8")


def _copy(source: Path, target: Path) -> None:
    # Artifacts never change, so both may share the bytes; another file system takes a copy.
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        with atomic_path(target) as unfinished:
            shutil.copyfile(source, unfinished)


RELEASE = Step(
    name="release", kind="checkpoint", version=1, section=ReleaseSection, run=run_release
)
