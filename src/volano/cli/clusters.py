"""What `volano show CORPUS --clusters N` prints: documents that count as one."""

from typing import Any

from volano.cli.output import print_json, print_line, print_table


def show_clusters(artifact: Any, largest: int, as_json: bool) -> None:
    """The largest clusters of a curated corpus."""
    from volano.core.errors import StoreError
    from volano.curate.clusters import clusters

    if artifact.kind != "corpus":
        raise StoreError(f"this is a {artifact.kind}", artifact.name, "Name a curated corpus.")
    found = clusters(artifact.corpus(), largest=largest)
    if as_json:
        print_json(
            [
                each._asdict() | {"members": [member._asdict() for member in each.members]}
                for each in found
            ]
        )
        return
    if not found:
        print_line(f"{artifact.name}: no document has a copy.")
    for each in found:
        where = f" in {each.corpus}" if each.corpus else ""
        print_table(
            ["document", "", "similarity", "copy of"],
            [
                (
                    member.id,
                    member.dropped_by or "stays",
                    "" if member.similarity is None else f"{member.similarity:.3f}",
                    member.copy_of or "",
                )
                for member in each.members
            ],
            right=["similarity"],
            title=f"{each.id}{where}: {each.size:,} document{'' if each.size == 1 else 's'}",
        )
        if each.size > len(each.members):
            print_line(f"    and {each.size - len(each.members):,} more")
        if each.compared:
            print_line(f"    from {each.compared[0]} to {each.compared[1]}:")
            for line in each.difference:
                print_line(f"        {line}")
