"""The steps of this room: `collect` makes a corpus of documents, `safety` one of conversations."""

from volano.collect.files import collect_files, scan_files
from volano.collect.python_installation import collect_installation, scan_installation
from volano.collect.safety import collect_safety, scan_safety
from volano.collect.section import CollectSection, SafetySection
from volano.core.step import Context, Inputs, Listing, Step


def _scan(settings: CollectSection) -> Listing:
    if settings.source == "files":
        return scan_files(settings)
    return scan_installation(settings)


def _run(settings: CollectSection, inputs: Inputs, context: Context) -> None:
    if settings.source == "files":
        collect_files(settings, context)
    else:
        collect_installation(settings, context)


COLLECT = Step(
    name="collect",
    kind="corpus",
    version=2,
    section=CollectSection,
    run=_run,
    scan=_scan,
    takes_documents=True,
)
SAFETY = Step(
    name="safety",
    kind="corpus",
    version=1,
    section=SafetySection,
    run=collect_safety,
    scan=scan_safety,
)
