"""CSV files as people send them: nothing guessed about values, every unreadable row named by its line."""

from pathlib import Path

import pytest

from knownat.errors import ConfigError
from knownat.stores.csv_text import name_lines, read_csv_text


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "sent.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def columns(path: Path, **options):
    text = read_csv_text(path, **options)
    return {name: column.to_list() for name, column in text.columns.items()}, text.lines.to_list()


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found(tmp_path, separator):
    path = write(tmp_path, f"id{separator}note\n1{separator}x\n2{separator}y\n")
    assert columns(path) == ({"id": ["1", "2"], "note": ["x", "y"]}, [2, 3])


def test_a_semicolon_file_may_hold_commas_in_its_numbers(tmp_path):
    path = write(tmp_path, "id;amount\n1;1,50\n2;2,25\n")
    assert columns(path)[0] == {"id": ["1", "2"], "amount": ["1,50", "2,25"]}


def test_a_blank_line_speaks_for_no_separator(tmp_path):
    path = write(tmp_path, "id;amount, net, in EUR\n1;2\n\n3;4\n")
    assert columns(path) == ({"id": ["1", "3"], "amount, net, in EUR": ["2", "4"]}, [2, 4])


def test_a_long_text_is_a_field_like_any_other(tmp_path):
    path = write(tmp_path, f"id,note\n1,{'x' * 200_000}\n")
    assert len(columns(path)[0]["note"][0]) == 200_000


def test_two_separators_that_fit_alike_have_to_be_told_apart(tmp_path):
    path = write(tmp_path, "id;amount,eur\n1;1,50\n2;2,25\n")
    with pytest.raises(ConfigError, match=r"can be read with each of \[',', ';'\].*say --separator"):
        read_csv_text(path)
    assert columns(path, separator=";")[0] == {"id": ["1", "2"], "amount,eur": ["1,50", "2,25"]}


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    assert columns(write(tmp_path, b"\xef\xbb\xbfid,note\r\n1,x\r\n"))[0] == {"id": ["1"], "note": ["x"]}


def test_a_quoted_field_may_hold_separators_quotes_and_lines(tmp_path):
    path = write(tmp_path, 'id,note\n1,"a, ""b""\nand c"\n2,d\n')
    assert columns(path) == ({"id": ["1", "2"], "note": ['a, "b"\nand c', "d"]}, [2, 4])


def test_an_empty_field_is_missing_and_so_is_what_was_said_to_be(tmp_path):
    path = write(tmp_path, "id,note\n1,\n2,NA\n3, \n4, x \n\n")
    assert columns(path, nulls=["NA"]) == (
        {"id": ["1", "2", "3", "4"], "note": [None, None, None, " x "]},
        [2, 3, 4, 5],
    )


UNREADABLE = {
    "": ["is empty; a CSV begins with a line that names its columns"],
    "id,note\n": ["has a header and no rows, so what its columns hold cannot be told; add rows"],
    "id,note\n1,x\n2\n3,y,z\n": [
        "line 3 has 1 fields, the header has 2",
        "line 4 has 3 fields, the header has 2",
    ],
    'id,note\n1,"x\ny"\n2\n': ["line 4 has 1 fields, the header has 2"],
    "id,note\n1,x\0y\n": ["line 2 holds a NUL byte"],
    " id ,,note,,id\n1,2,3,4,5\n": [
        "columns [2, 4] have no name in the header",
        "columns ['id'] stand in the header more than once",
    ],
    b"id,note\n1,caf\xe9\n": [
        "line 2 is not UTF-8; convert the file, e.g. iconv -f WINDOWS-1252 -t UTF-8",
    ],
    "id,note\n1,x\n".encode("utf-16"): ["is UTF-16; save it as UTF-8, e.g. iconv -f UTF-16 -t UTF-8"],
}


@pytest.mark.parametrize(("content", "problems"), UNREADABLE.items())
def test_what_cannot_be_read_is_named(tmp_path, content, problems):
    with pytest.raises(ConfigError) as refused:
        read_csv_text(write(tmp_path, content))
    assert list(refused.value.problems) == problems


def test_a_quote_that_is_never_closed_is_found_where_it_may_begin(tmp_path):
    with pytest.raises(ConfigError) as refused:
        read_csv_text(write(tmp_path, 'id,note\n1,x\n2,"y\n3,z\n'))
    assert refused.value.problems[-1] == (
        "line 4 cannot be read (unexpected end of data); look for a quote that is not closed, from line 3 on"
    )


def test_one_column_is_no_table_of_features(tmp_path):
    with pytest.raises(ConfigError, match=r"has one column, read with the separator ','.*--separator"):
        read_csv_text(write(tmp_path, "id#note\n1#x\n"))
    assert columns(write(tmp_path, "id#note\n1#x\n"), separator="#")[0] == {"id": ["1"], "note": ["x"]}


def test_very_many_bad_rows_are_counted(tmp_path):
    def problems(count):
        rows = "".join(f"{n}\n" for n in range(count))
        with pytest.raises(ConfigError) as refused:
            read_csv_text(write(tmp_path, "id,note\n1,x\n" + rows), separator=",")
        return refused.value.problems

    assert (len(problems(100)), problems(100)[-1]) == (21, "and 80 more lines like these")
    assert (len(problems(20)), problems(20)[-1]) == (20, "line 22 has 1 fields, the header has 2")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.csv:\n- cannot be read: No such file"):
        read_csv_text(tmp_path / "nowhere.csv")


def test_lines_are_named_up_to_five(tmp_path):
    text = read_csv_text(write(tmp_path, "id,note\n" + "1,x\n" * 8))
    assert name_lines(text.lines, text.lines > 8) == "line 9"
    assert name_lines(text.lines, text.lines > 2) == "lines 3, 4, 5, 6, 7 and 2 more"
