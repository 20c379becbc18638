"""Every key of a configuration is found again on its line."""

from __future__ import annotations

from ntptwist.config.lines import DEEPEST, locate, statements


def test_statements_keep_every_character() -> None:
    """Cutting a text into statements loses nothing and adds nothing."""
    text = 'a = 1\n\n[b] # ]\nc = [\n  1,\n]\n\nd = """\n[e]\n"""'

    assert text == "".join(statement for _, statement in statements(text))


def test_keys_and_headers_have_their_line() -> None:
    """A key has the line on which it stands, a table that of its header."""
    lines = locate("# remark\na = 1\n\n[b]\nc = 2\n[b.d]\ne = 3\n")

    assert lines == {("a",): 2, ("b",): 4, ("b", "c"): 5, ("b", "d"): 6, ("b", "d", "e"): 7}


def test_tables_of_an_array_are_told_apart() -> None:
    """The second [[source]] has its own lines, and so has a table inside it."""
    lines = locate(
        "[[source]]\nmode = 1\n[[source]]\n[source.limits]\nmin = 4\n[[source.peer]]\n[[source.peer]]\nx = 1\n"
    )

    assert lines == {
        ("source",): 1,
        ("source", 0): 1,
        ("source", 0, "mode"): 2,
        ("source", 1): 3,
        ("source", 1, "limits"): 4,
        ("source", 1, "limits", "min"): 5,
        ("source", 1, "peer"): 6,
        ("source", 1, "peer", 0): 6,
        ("source", 1, "peer", 1): 7,
        ("source", 1, "peer", 1, "x"): 8,
    }


def test_a_table_of_the_last_array_entry() -> None:
    """A header that passes through an array means the array's last table."""
    lines = locate("[[a]]\n[[a]]\n[a.b.c]\nd = 1\n")

    assert lines[("a", 1, "b", "c", "d")] == 4


def test_inline_tables_and_arrays_have_the_line_of_their_statement() -> None:
    """What is inside one statement has the line on which that begins."""
    lines = locate('x = 1\nsource = [\n  { mode = "a" },\n  { mode = "b" },\n]\ny = 2\n')

    assert lines[("source", 1, "mode")] == 2
    assert lines[("y",)] == 6


def test_dotted_keys() -> None:
    """A dotted key gives its tables the line on which they are first named."""
    lines = locate("a.b = 1\na.c = 2\n")

    assert lines == {("a",): 1, ("a", "b"): 1, ("a", "c"): 2}


def test_brackets_and_newlines_inside_strings_and_remarks_count_for_nothing() -> None:
    """No form of string can move the lines below it."""
    text = r"""# ~~~ stands for three double quotes
a = "# [ \" {"
b = '[ " {'
c = ~~~
[c] # "" \~~~ {
~~~
d = '''
[d] '' {
'''' # ' [
e = ~~~a~~~" # " [
f = "" # [ " {
g = [ # ] [
]
h = 1
""".replace("~~~", '"' * 3)
    lines = locate(text)

    assert {path[0]: lines[path] for path in lines} == {
        "a": 2,
        "b": 3,
        "c": 4,
        "d": 7,
        "e": 10,
        "f": 11,
        "g": 12,
        "h": 14,
    }


def test_deep_paths_are_not_noted() -> None:
    """A key of very many parts costs no memory: only its first parts are noted."""
    lines = locate(f"{'a.' * 100}a = 1\n[{'b.' * 100}b]\nc = 1\n")

    assert max(map(len, lines)) == DEEPEST
