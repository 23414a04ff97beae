import pytest

from volano.core.records import RECORDS, Document, Message, Preference


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_fields_and_schema_name_the_same_columns(record):
    assert set(record.__dataclass_fields__) - {"schema"} == set(record.schema.names)


def test_a_row_keeps_only_what_the_record_knows():
    row = Document("d", "text", "toy").to_row() | {"dropped_by": "too_short", "source_ids": None}
    assert Document.from_row(row) == Document("d", "text", "toy")


def test_messages_are_rows_of_role_and_content():
    asked, good, bad = (Message("user", "a"),), (Message("assistant", "b"),), ()
    row = Preference("p", asked, good, bad, "toy", source_ids=("d1",)).to_row()
    assert row["prompt"] == [{"role": "user", "content": "a"}]
    assert (row["rejected"], row["source_ids"]) == ([], ["d1"])
