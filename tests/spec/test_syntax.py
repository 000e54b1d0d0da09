from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import example, given, settings, strategies as st

from paraminspect.errors import UserError
from paraminspect.spec.syntax import guess_syntax, parse
from paraminspect.spec.tree import Mapping, Mark, Node, Scalar, Sequence, kind_of, plain
from tests.cases import each

SPEC = """\
name: mlp   # a comment
layers:
  - Linear: [4, 3]
  - ReLU
input: {shape: [2, 4], sample: uniform}
init:
  - {params: "*.weight", scheme: normal, mean: 0, std: 1e-2}
"""


def refusal(text: str, syntax: Any = "yaml") -> str:
    with pytest.raises(UserError) as caught:
        parse(text, "s", syntax)
    assert caught.value.code == "spec-syntax"
    return str(caught.value)


def value_of(scalar: str) -> Any:
    return plain(parse(f"a: {scalar}", "s", "yaml"))["a"]


# --- what is read ------------------------------------------------------------------------------------------


def test_a_spec_becomes_a_tree_with_places() -> None:
    assert plain(parse(SPEC, "x.yaml", "yaml")) == {
        "name": "mlp",
        "layers": [{"Linear": [4, 3]}, "ReLU"],
        "input": {"shape": [2, 4], "sample": "uniform"},
        "init": [{"params": "*.weight", "scheme": "normal", "mean": 0, "std": 0.01}],
    }


@pytest.mark.parametrize(
    ("text", "syntax"), [("é:\n  - [x, 1]\n", "yaml"), ('{"é":\n  [ ["x", 1]]}', "json")], ids=["yaml", "json"]
)
def test_places_count_lines_and_columns_from_one(text: str, syntax: Any) -> None:
    root = parse(text, "x", syntax)
    assert isinstance(root, Mapping)
    (entry,) = root.entries.values()
    inner = Sequence((Scalar("x", Mark("x", 2, 6)), Scalar(1, entry.value.items[0].items[1].mark)), Mark("x", 2, 5))  # type: ignore[union-attr]
    assert entry.value == Sequence((inner,), Mark("x", 2, 3))
    assert str(entry.key_mark) == ("x:1:1" if syntax == "yaml" else "x:1:2")


@each(
    ("scalar", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("'null'", "null"),
        ("true", True),
        ("FALSE", False),
        ("tRUE", "tRUE"),
        ("no", "no"),
        ("on", "on"),
        ("0", 0),
        ("-3", -3),
        ("+12", 12),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b11", "0b11"),
        ("1_000", "1_000"),
        ("1e-2", 0.01),
        ("1E5", 100000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-0.0", -0.0),
        ("1e", "1e"),
        ("0e400", 0.0),
        ("'1'", "1"),
        ("2001-01-01", "2001-01-01"),
        ("cuda:0", "cuda:0"),
        ("=", "="),
        ("<<", "<<"),
        ("9" * 100, int("9" * 100)),
        ('"\\x07\\u00e9\\0"', "\x07é\0"),
        ('"\\ud83d\\ude00"', "😀"),
        ('"\\U0001F600"', "😀"),
        ("|\n  b\n  c\n", "b\nc\n"),
        ("{b, c: }", {"b": None, "c": None}),
    ],
)
def test_scalars_follow_the_core_schema_of_yaml_1_2(scalar: str, value: Any) -> None:
    read = value_of(scalar)
    assert (read, type(read)) == (value, type(value))


def test_an_alias_is_the_node_it_names() -> None:
    text = "a: &x [1, &x 2, *x]\nb: *x\nc: &k key\n*k : &l {z: 1}\nd: *l"
    assert plain(parse(text, "s", "yaml")) == {"a": [1, 2, 2], "b": 2, "c": "key", "key": {"z": 1}, "d": {"z": 1}}


@pytest.mark.parametrize("text", ["%YAML 1.2\n---\na: 1", "--- \na: 1\n...\n", "\ufeffa: 1", "a: 1\r\n", "'a': 1"])
def test_one_document_however_it_is_framed(text: str) -> None:
    assert plain(parse(text, "s", "yaml")) == {"a": 1}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1E5, "b": -0, "c": [true, false, null, "1"]}', {"a": 1e5, "b": 0, "c": [True, False, None, "1"]}),
        ('\ufeff{"\\u0061":\t"\\ud83d\\ude00\\/"}', {"a": "😀/"}),
        ('{"<<": "\x7f\x85\u2028"}', {"<<": "\x7f\x85\u2028"}),
        ("{}", {}),
        ("[]", []),
    ],
)
def test_json(text: str, value: Any) -> None:
    assert plain(parse(text, "s", "json")) == value


@each(
    ("name", "text", "syntax"),
    [
        ("x.json", "a: 1", "json"),
        ("X.JSON", "", "json"),
        ("x.yaml", '{"a": 1}', "yaml"),
        ("x.yml", '{"a": 1}', "yaml"),
        ("-", '\n {\n"a": 1}', "json"),
        ("-", "{}", "json"),
        ("-", "{a: 1}", "yaml"),
        ("-", "a: 1", "yaml"),
        ("-", "", "yaml"),
    ],
)
def test_the_syntax_is_guessed_by_name_then_by_beginning(name: str, text: str, syntax: str) -> None:
    assert guess_syntax(name, text) == syntax


@each(
    ("value", "words"),
    [
        ("[1]", "a list"),
        ("{b: 1}", "a mapping"),
        ("abc", "the text 'abc'"),
        ('"\\e[0m"', "the text '\\x1b[0m'"),
        ("a" * 50, f"the text '{'a' * 39}…'"),
        ("3", "the number 3"),
        ("-1e-2", "the number -0.01"),
        ("1" * 50, f"the number {'1' * 39}…"),
        ("True", "true"),
        ("false", "false"),
        ("", "nothing"),
    ],
)
def test_kind_of_says_what_a_node_is(value: str, words: str) -> None:
    root = parse(f"a: {value}", "s", "yaml")
    assert isinstance(root, Mapping)
    assert kind_of(root.entries["a"].value) == words


# --- what is refused ---------------------------------------------------------------------------------------

EMPTY = "s: the spec is empty\n  start it with 'layers:'"
DEEP = "nested more than 64 deep"
MANY = "more than 50000 values, aliases counted in full\n  use 'Repeat' for many layers"
LAUGHS = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 20)
)
LADDER = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 80))


@each(
    ("text", "message"),
    [
        ("", EMPTY),
        ("# only a comment\n", EMPTY),
        ("---\n", EMPTY),
        ("null", EMPTY),
        ("a: 1\n---\nb: 2", "s:2:1: a second document begins here; a spec is one document"),
        ("%YAML 1.1\n---\na: 1", "s:2:1: YAML 1.1 is asked for; a spec is YAML 1.2"),
        ("%TAG ! tag:x,2000:\n---\na: 1", "s:2:1: a spec has no tags, and no %TAG directive"),
        ("a: !!int 3", "s:1:4: the tag 'tag:yaml.org,2002:int' is not allowed\n  write the value without a tag"),
        ("a: !!int abc", "s:1:4: the tag 'tag:yaml.org,2002:int' is not allowed\n  write the value without a tag"),
        ("!x [1]", "s:1:1: the tag '!x' is not allowed\n  write the value without a tag"),
        ("a: ! 3", "s:1:4: the tag '!' is not allowed\n  write the value without a tag"),
        (
            "!!python/object:os.system {}",
            "s:1:1: the tag 'tag:yaml.org,2002:python/object:os.syst…' is not allowed\n  write the value without a tag",
        ),
        ("a: &x [*x]", "s:1:8: the alias '*x' stands inside the node it names"),
        ("a: *y", "s:1:4: the alias '*y' has no anchor '&y' before it"),
        ("a: {<<: 3}", "s:1:5: the merge key '<<' is not part of YAML 1.2\n  write the keys out"),
        ("a: 1\nb: 2\n'a': 3", "s:3:1: the key 'a' stands twice, first on line 1\n  keep one of them"),
        ("1: 2", "s:1:1: a key must be text, not the number 1\n  put the key in quotes"),
        ("true: 2", "s:1:1: a key must be text, not true\n  put the key in quotes"),
        ("~: 2", "s:1:1: a key must be text, not nothing"),
        ("a: &x 3\n*x : 3", "s:2:1: a key must be text, not the number 3\n  put the key in quotes"),
        ("a: &x [3]\n*x : 3", "s:2:1: a key must be text, not a list"),
        ("? [a]\n: 2", "s:1:3: a key must be text, not a list"),
        ("? {a: 1}\n: 2", "s:1:3: a key must be text, not a mapping"),
        ("a: 010", "s:1:4: 010 means different numbers in YAML 1.1 and 1.2\n  write 8 or 10"),
        ("a: -010", "s:1:4: -010 means different numbers in YAML 1.1 and 1.2\n  write -8 or -10"),
        ("a: 08", "s:1:4: 08 means different numbers in YAML 1.1 and 1.2\n  write 8"),
        ("a: 00", "s:1:4: 00 means different numbers in YAML 1.1 and 1.2\n  write 0"),
        (
            "a: 1:30",
            "s:1:4: '1:30' is a number to base 60 in YAML 1.1 and a text in YAML 1.2\n"
            "  put it in quotes, or write the number out",
        ),
        ("a: .inf", "s:1:4: .inf is not a finite number"),
        ("a: -.INF", "s:1:4: -.INF is not a finite number"),
        ("a: .NaN", "s:1:4: .NaN is not a finite number"),
        ("a: 1e400", "s:1:4: 1e400 is too large for a number"),
        ("a: -1e-400", "s:1:4: -1e-400 is too small for a number"),
        ("a: " + "1" * 5000, "s:1:4: an integer of 5000 digits is too large"),
        ("a: 0x" + "f" * 5000, "s:1:4: an integer of 5002 digits is too large"),
        ("a: 1." + "1" * 5000, "s:1:4: a number of 5002 characters is too long"),
        ('a: "\\ud800"', "s:1:4: a text holds half of a surrogate pair"),
        ("a: \ud800", "s:1:4: the character U+D800 cannot stand here\n  in double quotes, write it as an escape"),
        ("a:\n  \x1b", "s:2:3: the character U+001B cannot stand here\n  in double quotes, write it as an escape"),
        ("a: \u2028", "s:1:4: the character U+2028 cannot stand here\n  in double quotes, write it as an escape"),
        ("a: [", "s:1:5: not valid YAML: expected the node content, but found '<stream end>'"),
        ("a:\n\t- b", "s:2:1: not valid YAML: found character '\\t' that cannot start any token"),
        ("a: b: c", "s:1:5: not valid YAML: mapping values are not allowed here"),
        ("[" * 65 + "]" * 65, f"s:1:65: {DEEP}"),
        ("[" * 100_000, f"s:1:65: {DEEP}"),
        ("- " * 100_000, f"s:1:129: {DEEP}"),
        ("{a: " * 100_000, f"s:1:257: {DEEP}"),
        (LADDER, f"s:64:12: {DEEP}"),
        (LAUGHS, f"s:5:30: {MANY}"),
    ],
    ids=lambda value: value[:20],
)
def test_bad_yaml_is_refused(text: str, message: str) -> None:
    assert refusal(text) == message


@each(
    ("text", "message"),
    [
        (" ", EMPTY),
        ("null", EMPTY),
        ("{", "s:1:2: not valid JSON: expecting property name enclosed in double quotes"),
        ('{"a": 010}', "s:1:8: not valid JSON: expecting ',' delimiter"),
        ('{"a": 1} x', "s:1:10: not valid JSON: extra data"),
        ('{"a":\n "b\t"}', "s:2:4: not valid JSON: invalid control character here"),
        ("{a: 1}", "s:1:2: not valid JSON: expecting property name enclosed in double quotes"),
        ('{"a": 1,\n "\\u0061": 2}', "s:2:2: the key 'a' stands twice, first on line 1\n  keep one of them"),
        ('{"a": NaN}', "s:1:7: NaN is not a finite number"),
        ('{"a": -Infinity}', "s:1:7: -Infinity is not a finite number"),
        ('{"a": 1e400}', "s:1:7: 1e400 is too large for a number"),
        ('{"a": ' + "1" * 5000 + "}", "s:1:7: an integer of 5000 digits is too large"),
        ('["\\ud800"]', "s:1:2: a text holds half of a surrogate pair"),
        ("[" * 65 + "]" * 65, f"s:1:65: {DEEP}"),
        ("[" * 100_000, f"s:1:65: {DEEP}"),
        ('{"a":' * 100_000, f"s:1:321: {DEEP}"),
        ("[" + "1," * 60_000 + "1]", f"s:1:100000: {MANY}"),
    ],
    ids=lambda value: value[:20],
)
def test_bad_json_is_refused(text: str, message: str) -> None:
    assert refusal(text, "json") == message


def test_the_bounds_themselves_are_allowed() -> None:
    assert plain(parse("[" * 64 + "]" * 64, "s", "yaml")) == json.loads("[" * 64 + "]" * 64)
    assert plain(parse("[" + "1," * 49_998 + "1]", "s", "json")) == [1] * 49_999


@pytest.mark.parametrize(
    "text",
    ["[" * 1_000_000, "- " * 500_000, "- >\n" * 250_000, '"' + "\\n" * 499_999 + '"', " " * 1_000_000],
    ids=["deep flow", "deep block", "many", "long", "blank"],
)
def test_the_largest_texts_are_refused_within_the_bounds(text: str) -> None:
    """Were the bounds not kept while composing, some of these would take minutes; benchmarks/specs.py times them."""
    with contextlib.suppress(UserError):
        parse(text, "s", "yaml")


@pytest.mark.parametrize("error", [AssertionError("x"), IndexError(), RecursionError("deep"), ValueError("bad")])
def test_whatever_the_parser_raises_is_an_error_of_the_user(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def parser(self: object, text: str) -> Any:
        raise error

    monkeypatch.setattr("ruamel.yaml.YAML.parse", parser)
    assert refusal("a: 1") == "s:1:1: not valid YAML after this place"


# --- any text ----------------------------------------------------------------------------------------------

INDICATORS = st.lists(
    st.sampled_from(["- ", "a", "a: ", "[", "]", "{", "}", ",", "\n", "  ", "'", '"', "#", "&a ", "*a", "!", "|", ">"])
    | st.sampled_from(["? ", ": ", "%", "---\n", "\\", "\t", "\r", "0", "1:2", "<<: ", "...", "\x85", "\ud800", "\0"])
    | st.characters(),
    max_size=40,
).map("".join)
KEYS = st.text(max_size=80)  # YAML allows a key 1024 characters on its line, and JSON may need 12 for one
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**99), 10**99) | st.text() | st.floats(allow_nan=False, width=64),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(text=INDICATORS, syntax=st.sampled_from(["yaml", "json"]))
@example(text="a: &a\n*a", syntax="yaml")
@settings(max_examples=150, deadline=None)
def test_any_text_is_a_tree_or_an_error_of_the_user(text: str, syntax: Any) -> None:
    try:
        plain(parse(text, "s", syntax))
    except UserError as error:
        assert error.where == "s" or error.where.startswith("s:")


@given(value=VALUES)
@settings(max_examples=200, deadline=None)
def test_json_reads_back_what_json_writes(value: Any) -> None:
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:
        return
    if value is not None:
        read = plain(parse(text, "s", "json"))
        assert read == value
        assert json.dumps(read) == text


@given(value=VALUES)
@settings(max_examples=100, deadline=None)
def test_json_is_yaml(value: Any) -> None:
    """What both syntaxes can say, they say alike; escapes keep the separators that YAML folds out of the text."""
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:
        return
    if value is not None and "Infinity" not in text:
        assert _tree(parse(text, "s", "yaml")) == _tree(parse(text, "s", "json"))


def _tree(node: Node) -> str:
    return json.dumps(plain(node))
