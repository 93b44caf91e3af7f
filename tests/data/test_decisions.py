import pytest

from darklens.data.decisions import Decision, merged, read_decisions, settle, write_decisions
from darklens.errors import InputError

CLASSES = ("nonlens", "lens")
KNOWN = {"a", "b", "c", 'odd, "name"'}


def file(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "decisions.csv"
    path.write_text(text, encoding=encoding)
    return path


def read(tmp_path, text, **options):
    return read_decisions(file(tmp_path, text, **options), KNOWN, CLASSES)


def votes(*pairs):
    return settle([Decision("a", answer, who) for who, answer in pairs])


def test_what_is_written_is_read(tmp_path):
    decisions = [
        Decision("a", "lens", "Ann", "2026-11-21T15:04:05Z"),
        Decision('odd, "name"', "skip"),
        Decision("b", "maybe", "Bo, jr"),
    ]
    write_decisions(tmp_path / "d.csv", decisions)
    assert read_decisions(tmp_path / "d.csv", KNOWN, CLASSES) == decisions


def test_rows_without_a_decision_wait_and_a_spreadsheet_may_have_saved_it(tmp_path):
    text = "who,id,decision\r\n Ann ,a, lens \r\n,b,\r\n"
    assert read(tmp_path, text, encoding="utf-8-sig") == [Decision("a", "lens", "Ann")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,decision\na,lens\nz,lens\n", r"line 3: id 'z' is not in the pool"),
        ("id,decision\na,lense\n", r"line 2: 'lense' is no decision; did you mean 'lens'\? write nonlens, lens, maybe or skip"),
        ("id,decision,who,when\na,lens,,yesterday\n", r"line 2: 'yesterday' is no time"),
        ("name,decision\na,lens\n", r"lacks the column 'id'"),
        ("id,decision\na,\n", r"holds no decision"),
        ("", r"lacks the column 'id'"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path, text, words):
    with pytest.raises(InputError, match=words) as error:
        read(tmp_path, text)
    assert str(error.value).count("\n") == 0


def test_what_is_no_text_or_no_file_is_refused(tmp_path):
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(InputError, match="not text"):
        read_decisions(tmp_path / "picture.csv", KNOWN, CLASSES)
    with pytest.raises(InputError, match="cannot be read"):
        read_decisions(tmp_path / "none.csv", KNOWN, CLASSES)


def test_the_majority_labels_an_image():
    assert votes(("Ann", "lens"), ("Bo", "nonlens"), ("Cy", "lens")).labels == {"a": "lens"}


def test_equally_many_voices_are_a_conflict_and_no_label():
    found = votes(("Ann", "lens"), ("Bo", "nonlens"))
    assert found.labels == {}
    assert found.conflicts == {"a": {"lens": 1, "nonlens": 1}}
    assert votes(("Ann", "lens"), ("Bo", "maybe")).conflicts == {"a": {"lens": 1, "maybe": 1}}


def test_maybe_and_skip_set_an_image_aside():
    assert votes(("Ann", "maybe"), ("Bo", "maybe"), ("Cy", "lens")).aside == {"a": "maybe"}
    assert votes(("Ann", "skip")).aside == {"a": "skip"}
    assert votes(("Ann", "skip"), ("Bo", "skip"), ("Cy", "lens")).labels == {"a": "lens"}  # who skips has not looked


def test_counts_name_every_answer():
    found = settle([Decision("a", "lens"), Decision("b", "skip"), Decision("c", "lens", "Ann"), Decision("c", "nonlens", "Bo")])
    assert found.counts(CLASSES) == {"nonlens": 0, "lens": 1, "maybe": 0, "skip": 1, "conflicts": 1}


def test_who_decides_again_replaces_what_they_said():
    first = [Decision("a", "lens", "Ann", "2026-01-02T00:00:00Z"), Decision("a", "lens", "Bo")]
    again = [Decision("a", "nonlens", "Ann", "2026-01-03T00:00:00"), Decision("a", "maybe", "Bo")]
    assert {(d.who, d.decision) for d in merged(first, again)} == {("Ann", "nonlens"), ("Bo", "maybe")}
    older = [Decision("a", "nonlens", "Ann", "2026-01-02T01:00:00+02:00")]  # an hour before
    assert {(d.who, d.decision) for d in merged(first, older)} == {("Ann", "lens"), ("Bo", "lens")}
