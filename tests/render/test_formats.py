"""A literal Page through every format that people read: no Report, no torch, no command."""

from __future__ import annotations

import pytest

from paraminspect.page.parts import BROKEN, QUIET, SHARED, Code, Column, Entries, Listing, Page, Paragraph, Table
from paraminspect.render import html, markdown, table, view_of
from paraminspect.text.escape import ASCII, View, code, word

ROWS = [("fc.weight", 12, ("tied|weight",)), ("fc.bias", 3, ())]
COLUMNS: list[Column[tuple[str, int, tuple[str, ...]]]] = [
    Column("name", lambda row: code(row[0]), foot="total", tone=lambda _: SHARED, below=lambda row: below(row[2])),
    Column("count", lambda row: f"{row[1]}", "right", 1, "of all", "15", lambda row: QUIET if row[1] < 9 else BROKEN),
    Column("rest", lambda _: "", rank=2),
]
PAGE = Page(
    code("net\n<1>"),
    f"{word('My_Net')}, 2 tensors",
    ("seed 0", f"{word('cpu')}"),
    (
        Code("Net(\n  (fc): Linear()\n)"),
        Table(COLUMNS, ROWS, "2 rows folded", ("count: how many",)),
        Entries([("kind", f"{code('a`b')} → {word('x y')}"), ("nothing", "")], 6, f"{code('a')} = {code('b')}"),
        Paragraph("no layers"),
        Listing(code("fc.bias"), "a Tensor", [("data", "tensor([1.,\n        2.])")]),
    ),
)


def below(aliases: tuple[str, ...]) -> list[str]:
    return [f"  = {code(alias)}" for alias in aliases]


TABLE = r"""net\x0a<1>: My_Net, 2 tensors
seed 0 · cpu

Net(
  (fc): Linear()
)

                 of all
name              count
───────────────────────
fc.weight            12
  = tied|weight
fc.bias               3
───────────────────────
total                15
2 rows folded (all with --no-fold)
count: how many

a = b
kind   a`b → x y
nothing

no layers

fc.bias  a Tensor
  data:
    tensor([1.,
            2.])
"""
MARKDOWN = r"""### `net\x0a<1>`: My_Net, 2 tensors

seed 0 · cpu

```
Net(
  (fc): Linear()
)
```

| name | of all count |
| --- | --: |
| `fc.weight` = `tied\|weight` | 12 |
| `fc.bias` | 3 |

2 rows folded

count: how many

`a` = `b`

- kind: ``a`b`` → x y

no layers

`fc.bias`: a Tensor

data:

```
tensor([1.,
        2.])
```
"""
HTML = r"""<p><b>net\x0a&lt;1&gt;</b>: My_Net, 2 tensors</p>
<p class="quiet">seed 0 · cpu</p>
<pre>Net(
  (fc): Linear()
)</pre>
<table class="rows">
<thead><tr><th>name</th><th class="number">of all count</th></tr></thead>
<tbody>
<tr><td class="name"><code>fc.weight</code><br><span class="alias">= <code>tied|weight</code></span></td><td class="number broken">12</td></tr>
<tr><td class="name"><code>fc.bias</code></td><td class="number quiet">3</td></tr>
</tbody>
<tfoot><tr><td>total</td><td class="number">15</td></tr></tfoot>
</table>
<p class="quiet">2 rows folded (<code>.parameters</code> has every row)</p>
<p class="quiet">count: how many</p>
<p><code>a</code> = <code>b</code></p>
<dl>
<dt>kind</dt><dd><code>a`b</code> → x y</dd>
</dl>
<p>no layers</p>
<p><b><code>fc.bias</code></b> a Tensor</p>
<p>data</p>
<pre>tensor([1.,
        2.])</pre>
</div>
"""  # as it is


def test_a_page_as_a_table() -> None:
    assert "".join(table.draw(PAGE, View())) == TABLE


def test_a_page_as_plain_text() -> None:
    ruled = TABLE.replace("───────────────────────\n", "").replace(" · ", " | ").replace("→", "->")
    assert "".join(table.draw(PAGE, view_of("plain", View()))) == ruled
    assert ruled.isascii() and view_of("plain", View(width=9, colour=True)) == View(
        glyphs=ASCII, decoration=False, fold=False, whole_repr=True
    )


def test_a_page_as_markdown() -> None:
    assert "".join(markdown.draw(PAGE, View())) == MARKDOWN


def test_a_page_as_html() -> None:
    fragment = "".join(html.draw(PAGE, View()))
    assert fragment.startswith('<div class="paraminspect">\n<style>') and fragment.partition("</style>\n")[2] == HTML


def test_a_narrow_terminal_drops_columns_and_colour_follows_the_tone() -> None:
    (part,) = [part for part in PAGE.parts if isinstance(part, Table)]
    narrow = "".join(table.draw(Page("n", "t", (), (part,)), View(width=18)))
    assert "\n1 column left out\n" in narrow and "12" not in narrow
    coloured = "".join(table.draw(Page("n", "t", (), (part,)), View(width=80, colour=True)))
    assert (
        "\x1b[35mfc.weight\x1b[0m" in coloured and "\x1b[1;31m12\x1b[0m" in coloured and "\x1b[2m3\x1b[0m" in coloured
    )


@pytest.mark.parametrize("text", ["", "a", "\x0e\x0f", "\x11a\x0fb\x0e", "a\x1bb"])
def test_no_text_can_forge_a_mark(text: str) -> None:
    page = Page(code(text), word(text), (code(text),), (Paragraph(f"{code(text)}|{word(text)}|"),))
    for out in (table.draw(page, View()), markdown.draw(page, View()), html.draw(page, View())):
        assert not {"\x0e", "\x0f", "\x11", "\x1b"} & set("".join(out))
