"""The fenced blocks of a Markdown file, with the comments that say how a test treats them."""

import re
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^```(\S*)\s*$")
COMMENT = re.compile(r"^<!-- (not run: (?P<reason>.+)|exits (?P<code>\d+)) -->$")
LAPTOP_RECIPES = re.compile(r"laptop/(?!own-model)")
LAPTOP_NAMES = re.compile(r"(?<![\w/-])python-docs(?=(?:-ladder|-ablation)?/)")


@dataclass(frozen=True)
class Block:
    """One fence. `reason` says why it is not run; its last command ends with `exit_code`."""

    where: str
    language: str
    text: str
    reason: str | None
    exit_code: int

    def commands(self) -> list[str]:
        """The commands: of `console` the lines after "$ ", of `sh` every line but comments."""
        text = self.text.replace("\\\n", " ")
        if self.language == "console":
            return [line[2:] for line in text.splitlines() if line.startswith("$ ")]
        return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def blocks_of(path: Path) -> list[Block]:
    """Every fence of the file, in order."""
    found: list[Block] = []
    lines = path.read_text("utf-8").splitlines()
    place = 0
    while place < len(lines):
        fence = FENCE.match(lines[place])
        if fence is None:
            place += 1
            continue
        comment = COMMENT.match(lines[place - 1]) if place else None
        end = next(n for n in range(place + 1, len(lines)) if lines[n].startswith("```"))
        found.append(
            Block(
                where=f"{path.name}:{place + 1}",
                language=fence[1],
                text="\n".join(lines[place + 1 : end]),
                reason=comment["reason"] if comment else None,
                exit_code=int(comment["code"] or 0) if comment else 0,
            )
        )
        place = end + 1
    return found


def in_miniature(text: str) -> str:
    """The command with the tiny recipe in the place of the laptop one, and its artifacts' names.

    `laptop/own-model` stays: it is as small as the model that lies on the desk.
    """
    return LAPTOP_NAMES.sub("tiny-python-docs", LAPTOP_RECIPES.sub("tiny/", text))
