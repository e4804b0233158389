"""Finding one's own samples in an answer for many."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from planner.sources.prometheus.answers import LabelledSample, Vector

LABELS = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["", "1", "2"]), max_size=3)


@given(st.lists(LABELS, max_size=12), st.lists(LABELS, max_size=4))
def test_those_that_carry_labels_are_found_in_their_order_and_an_empty_label_is_none(
    labels: list[dict[str, str]], wanted: list[dict[str, str]]
) -> None:
    vector = Vector(tuple(LabelledSample(each, float(at), 0.0) for at, each in enumerate(labels)))

    for one in (*wanted, *wanted):
        assert list(vector.carrying(one)) == [
            sample
            for sample in vector.samples
            if all(sample.labels.get(name, "") == value for name, value in one.items())
        ]


def test_looking_changes_no_answer() -> None:
    looked, untouched = (Vector((LabelledSample({"a": "1"}, 1.0, 0.0),)) for _ in range(2))
    looked.carrying({"a": "1"})

    assert looked == untouched
