"""How a report is printed: figures per stage with interval and n, then the paired tests."""

from typing import Any


def print_report(artifact: Any) -> None:
    """The stage table of a report artifact."""
    from volano.cli.output import console
    from volano.evaluate.table import report_tables

    for table in report_tables(artifact.report(), artifact.bill()):
        console().print(table)
