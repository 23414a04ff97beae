"""Bounds of quality rules that judge no longer, once other rules are asked for.

Whoever writes them beside a rule list without the rule is told so (study/recipe.py). Where only the
list is another now, nobody has set them for it, and they fall away.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from volano.core.recipe import override
from volano.curate.quality_section import QUALITY_RULES


def leave_out_unused_bounds(values: dict[str, Any], assignments: Sequence[str]) -> None:
    """Take out of a recipe's values, in place, the bounds of rules that the `a.b=c` leave out and
    of which they set nothing."""
    asked = deepcopy(values)
    override(asked, {}, assignments)
    quality, wanted = (_quality(each) for each in (values, asked))
    if not isinstance(quality, dict) or not isinstance(wanted, dict):
        return
    keys = (each.partition("=")[0].strip() for each in assignments)
    set_now = {key.split(".")[2] for key in keys if key.startswith("curate.quality.")}
    rules = wanted.get("rules", list(QUALITY_RULES))
    if not isinstance(rules, list) or not all(isinstance(each, str) for each in rules):
        return  # which is told where the recipe is read
    for rule in {*QUALITY_RULES}.difference(rules, set_now):
        quality.pop(rule, None)


def _quality(values: dict[str, Any]) -> Any:
    curate = values.get("curate")
    return curate.get("quality") if isinstance(curate, dict) else None
