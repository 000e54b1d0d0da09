"""The page about the rules is made of the catalogue; PARAMINSPECT_ACCEPT=1 writes it anew."""

from __future__ import annotations

import os

from paraminspect.cli.help import PAGES
from paraminspect.page.rules import manual
from paraminspect.rules.catalogue import RULES


def test_the_page_about_rules_is_what_the_catalogue_says() -> None:
    made, file = manual(list(RULES.values())), PAGES / "rules.md"
    if os.environ.get("PARAMINSPECT_ACCEPT") == "1":
        file.write_text(made, encoding="utf-8")
    assert file.read_text(encoding="utf-8") == made
    assert max(map(len, made.splitlines())) <= 80
