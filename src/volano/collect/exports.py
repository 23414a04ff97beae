"""Under which name people call what a package defines.

`numpy.linalg._linalg.svd` is defined in a private module, imported by `numpy/linalg/__init__.py`
and known as `numpy.linalg.svd`. The imports are read, never run; what is exported by computing
keeps the name of the place where it is defined.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

MAX_HOPS = 6  # re-exports of re-exports; networkx and pandas need three


@dataclass(frozen=True)
class PackageImports:
    """What the `__init__` of one package imports: (module, name, alias), and its `__all__`."""

    imports: tuple[tuple[str, str, str], ...]
    exports: tuple[str, ...] | None = None


@dataclass
class Exports:
    """Answers `public_name` for every definition of the packages it was made from."""

    named: dict[tuple[str, str], list[tuple[str, str]]] = field(default_factory=dict)
    starred: dict[str, list[str]] = field(default_factory=dict)
    exported: dict[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def read(
        cls, packages: Mapping[str, PackageImports], lists: Mapping[str, Iterable[str]]
    ) -> "Exports":
        """From the imports of each package and the `__all__` of each module that has one."""
        named: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
        starred: dict[str, list[str]] = defaultdict(list)
        for package, content in sorted(packages.items()):
            for module, name, alias in content.imports:
                if name == "*":
                    starred[module].append(package)
                else:
                    named[module, name].append((package, alias))
        return cls(
            dict(named),
            dict(starred),
            {module: frozenset(names) for module, names in lists.items()},
        )

    def public_name(self, module: str, name: str) -> str:
        """The dotted name with the fewest private parts, of these the shortest.

        `name` may be dotted (a method); its first part is what is imported.
        """
        first, dot, rest = name.partition(".")
        places = {(module, first)}
        frontier = [(module, first)]
        for _ in range(MAX_HOPS):
            frontier = [
                place
                for here in frontier
                for place in self._imported_by(*here)
                if place not in places
            ]
            places.update(frontier)
        # numba hands on numpy's functions too; they stay numpy's. `_pytest` is `pytest`, though.
        candidates = [
            f"{where}.{alias}" for where, alias in places if _root(where) == _root(module)
        ]
        return min(candidates, key=_rank) + dot + rest

    def _imported_by(self, module: str, name: str) -> list[tuple[str, str]]:
        found = list(self.named.get((module, name), ()))
        visible = self.exported.get(module)
        if name in visible if visible is not None else not name.startswith("_"):
            found += [(package, name) for package in self.starred.get(module, ())]
        return found


def absolute(package: str, level: int, module: str) -> str:
    """The module that `from ..module import x` names inside `package`."""
    if level == 0:
        return module
    parts = package.split(".")
    base = parts[: len(parts) - (level - 1)]
    return ".".join([*base, module] if module else base)


def is_public(name: str) -> bool:
    """No part of the dotted name begins with an underscore."""
    return not any(part.startswith("_") for part in name.split("."))


def _root(module: str) -> str:
    return module.partition(".")[0].lstrip("_")


def _rank(name: str) -> tuple[int, int, int, str]:
    parts = name.split(".")
    private = sum(part.startswith("_") for part in parts)
    return private, len(parts), len(name), name
