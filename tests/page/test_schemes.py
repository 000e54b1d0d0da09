"""The list of schemes and their pages, and that every example on them is right."""

from __future__ import annotations

import shlex
from collections.abc import Callable

from paraminspect.init.schemes.registry import SCHEMES, bind
from paraminspect.init.schemes.scheme import Scheme, parse_scheme
from paraminspect.page import schemes
from paraminspect.page.parts import Page
from paraminspect.render.json import dumps
from paraminspect.render.table import draw
from paraminspect.spec.parse import parse_spec
from paraminspect.text.escape import ASCII, View
from tests.cases import each

Golden = Callable[[str, str], None]
ALL = tuple(SCHEMES.values())
EVERY = each("one", ALL, ids=lambda one: one.name)


def drawn(page: Page, view: View = View()) -> str:  # noqa: B008  # frozen
    return "".join(draw(page, view))


def test_the_overview(golden: Golden) -> None:
    golden("schemes.txt", drawn(schemes.overview(ALL, View())))


def test_the_overview_in_ascii(golden: Golden) -> None:
    text = drawn(schemes.overview(ALL, View(glyphs=ASCII)), View(glyphs=ASCII))
    assert text.isascii()
    golden("schemes.ascii.txt", text)


@EVERY
def test_a_page(one: Scheme, golden: Golden) -> None:
    golden(f"schemes.{one.name}.txt", drawn(schemes.explanation(one, View())))


def test_no_line_is_longer_than_80_columns() -> None:
    pages = [schemes.overview(ALL, View()), *(schemes.explanation(one, View()) for one in ALL)]
    assert max(map(len, "".join(map(drawn, pages)).split("\n"))) <= 80


@EVERY
def test_the_command_of_a_page_can_be_run(one: Scheme) -> None:
    name, args = parse_scheme(_scheme(one), "--scheme")
    scheme = bind(name, args)
    assert scheme.scheme.name == one.name
    shape = (2, 2, 3) if "Conv1d" in schemes.examples(one)[0] else (3, 4)
    scheme.check("0.weight", shape, "float32")


@EVERY
def test_the_rule_of_a_page_is_one_that_a_spec_can_have(one: Scheme) -> None:
    spec = parse_spec(f"layers: [{{Linear: [4, 3]}}]\ninit:\n  {schemes.examples(one)[1]}\n", "example")
    (rule,) = spec.init
    assert bind(rule.scheme, rule.args).args == bind(*parse_scheme(_scheme(one), "")).args


def _scheme(one: Scheme) -> str:
    words = shlex.split(schemes.examples(one)[0])
    return words[words.index("--scheme") + 1]


def test_json(golden: Golden) -> None:
    golden("schemes.json.txt", dumps(schemes.schemes_object(ALL)))
