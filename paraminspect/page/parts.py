"""What a command says to a person, before any format has a say: a title and parts.

Every text is a sentence of ours in which what comes from an input is marked and raw, see `paraminspect.text.escape`.
A format spells it out: it escapes, aligns, colours, cuts. So a page is made once for all formats, and a format once for
all pages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from paraminspect.frozen import dataclass
from paraminspect.report import Headline

HEAD, SHARED, SUSPICIOUS, BROKEN, QUIET, FINE = "head", "shared", "suspicious", "broken", "quiet", "fine"
"""The tones of a text: what it is, and what is wrong with it."""

Row = TypeVar("Row")
Line = tuple[str, str]
"""A term, and what is said about it."""


@dataclass(frozen=True)
class Column(Generic[Row]):
    """One column of a table: what it shows of a row, how it is aligned, and how soon it goes when there is no room.

    `align` is ``left``, ``right`` or ``decimal`` (decimal points under each other, words to the right). The columns
    of the highest `rank` go first, all of them together; rank 0 stays. `group` stands over neighbouring columns,
    `foot` under the column. `title` is a head that can stand alone, where group and head together are none. `tone`
    is that of a row's cell. `below` are lines that follow a row in this column. `short` is the first column in
    fewer words, for where it would have to be cut; that may have a shorter one in turn.
    """

    head: str
    cell: Callable[[Row], str]
    align: str = "left"
    rank: int = 0
    group: str = ""
    foot: str = ""
    tone: Callable[[Row], str] | None = None
    below: Callable[[Row], Sequence[str]] | None = None
    title: str = ""
    short: Column[Row] | None = None

    @property
    def full_head(self) -> str:
        """Return the head with the group before it, for a format without groups."""
        return self.title or f"{self.group} {self.head}".strip()


@dataclass(frozen=True)
class Table(Generic[Row]):
    """Rows under columns, of which the first holds the names; a column with nothing in any cell is not shown.

    `note` says what was done to the rows, `option` which one undoes it, `legend` what the columns mean, where there is
    room for it. `noun` is what a row is called where a terminal may leave out the middle of many. `field` is that of
    the Report which has every row.
    `depth` makes it a tree: how far below the first row, which is the root, each hangs.
    """

    columns: Sequence[Column[Row]]
    rows: Sequence[Row]
    note: str = ""
    legend: Sequence[str] = ()
    noun: str = ""
    field: str = ".parameters"
    option: str = "--no-fold"
    depth: Callable[[Row], int] | None = None


@dataclass(frozen=True)
class Entries:
    """Terms and what is said about each, below a title where it has one; `width` is the room for a term."""

    lines: Iterable[Line]
    width: int = 9
    title: str = ""


@dataclass(frozen=True)
class Paragraph:
    """One sentence that stands for itself, in a tone if it is only an aside."""

    text: str
    tone: str = ""


@dataclass(frozen=True)
class Code:
    """Lines as they are, such as the repr of a module; all of it comes from an input.

    A terminal may leave out the middle of very many, unless they are wanted `whole`.
    """

    text: str
    whole: bool = False


class Listing(NamedTuple):
    """The numbers of one tensor, line for line: a title of a name and what it is, then labelled texts from an input."""

    name: str
    about: str
    texts: Sequence[tuple[str, str]]


TONES = {"fine": FINE, "note": HEAD, "warning": SUSPICIOUS, "error": BROKEN}
"""The tone of a first line, by that of the report."""


def in_words(found: Headline) -> str:
    """Return the sentence as it is printed, so that it says without colour what sort it is."""
    sort = {"fine": "", "note": "note: "}.get(found.tone, "problem: ")
    more = f" (and {found.more:,} more below)" if found.more else ""
    return f"{sort}{found.text}{more}"


Part = Headline | Table[Any] | Entries | Paragraph | Code | Listing


@dataclass(frozen=True)
class Page:
    """A name in bold with what is said of it, what was run in a few words each, and the parts below.

    Without name and title a page begins with its first part.
    """

    name: str
    title: str
    setting: Sequence[str] = ()
    parts: Sequence[Part] = ()
