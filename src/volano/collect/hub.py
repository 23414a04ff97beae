"""Data sets of the Hugging Face Hub by name, or folders that `datasets` has written.

`datasets` fetches a set into its own cache, where it lies as Arrow files; these are what a listing
holds, with digests of what is in them. Without a network (HF_HUB_OFFLINE=1) the cache serves.
"""

import re
from pathlib import Path
from typing import Any

from volano.collect.listing import listing_of
from volano.core.errors import DataError, MissingExtra
from volano.core.step import Entry

PREFIX = "hf:"


def list_dataset(reference: str, config: str | None, split: str) -> list[Entry]:
    """The Arrow files of one split of `hf:OWNER/NAME` or `hf:FOLDER`.

    Raises DataError where the set, the configuration or the split is not to be had, and
    MissingExtra without the library.
    """
    name = reference.removeprefix(PREFIX)
    if not re.fullmatch(r"\w+(?:\.\w+)*", split):
        remedy = "Name a whole split, such as train; parts of one are not read."
        raise DataError(f"'{split}' is no name of a split", reference, remedy)
    dataset = _loaded(name, reference, config, split)
    paths = [Path(each["filename"]) for each in dataset.cache_files]
    if not paths:
        raise DataError("holds no rows", reference, f"Choose another split than '{split}'.")
    label = Path(name).resolve().name if Path(name).is_dir() else name
    place = "/".join(part for part in (label, config, split) if part)
    keys = [f"{place}/{number:05d}.arrow" for number in range(len(paths))]
    return list(listing_of(dict(zip(keys, paths, strict=True))).entries)


def _loaded(name: str, reference: str, config: str | None, split: str) -> Any:
    try:
        import datasets
    except ImportError:
        remedy = "Install it: pip install 'volano[hf]'."
        raise MissingExtra(
            "data sets are read by `datasets`, which is missing", reference, remedy
        ) from None
    datasets.disable_progress_bars()
    folder = Path(name).expanduser()
    try:
        if (folder / "state.json").is_file():
            return datasets.load_from_disk(str(folder))
        if (folder / "dataset_dict.json").is_file():
            splits = datasets.load_from_disk(str(folder))
            if split not in splits:
                raise ValueError(f'Unknown split "{split}". Should be one of {list(splits)}.')
            return splits[split]
        return datasets.load_dataset(str(folder) if folder.is_dir() else name, config, split=split)
    except Exception as failure:
        said = (str(failure).splitlines() or [type(failure).__name__])[0].rstrip(".")
        remedy = (
            "Check the name, collect.dataset_config and collect.dataset_split, and the network."
        )
        raise DataError(f"cannot be loaded ({said})", reference, remedy) from None
