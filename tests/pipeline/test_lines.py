"""Keys are found on the lines they stand on, whatever surrounds them."""

import tomllib

from sendtide.pipeline.lines import key_lines, line_of

TEXT = '''# [not.a.table]
name = "x = [ # no"   # [nor.this]
text = """
[still.text]
key = 1
"""
list = [
  1, # ]
  [2, "]"],
]
"quoted key" = 'a'
a.b.c = { d = 1, e = [
  2] }

[table]
k = 1
  [table.inner]  # indented
  k = 2
[[rows]]
k = 3
[rows.sub]
k = 4
[[rows]]
k = 5
[[rows.deep]]
k = 6
[[rows.deep]]
k = 7
'''


def test_every_key_stands_on_its_line():
    """Comments, strings over lines, lists, dotted and quoted keys, arrays of tables."""
    tomllib.loads(TEXT)
    lines = key_lines(TEXT)
    expected = {
        ("name",): 2,
        ("text",): 3,
        ("list",): 7,
        ("quoted key",): 11,
        ("a", "b", "c"): 12,
        ("table",): 15,
        ("table", "k"): 16,
        ("table", "inner"): 17,
        ("table", "inner", "k"): 18,
        ("rows", 0): 19,
        ("rows", 0, "k"): 20,
        ("rows", 0, "sub", "k"): 22,
        ("rows", 1, "k"): 24,
        ("rows", 1, "deep", 0, "k"): 26,
        ("rows", 1, "deep", 1, "k"): 28,
    }
    assert {path: lines[path] for path in expected} == expected
    assert ("still", "text") not in lines
    assert ("key",) not in lines


def test_what_has_no_line_of_its_own_is_found_around_it():
    """Members of lists and inline tables, and keys that are missing."""
    lines = key_lines(TEXT)
    assert line_of(lines, ("list", 1, 0)) == 7
    assert line_of(lines, ("a", "b", "c", "e", 0)) == 12
    assert line_of(lines, ("rows", 1, "missing")) == 23
    assert line_of(lines, ("missing",)) == 1
