"""YAML to a tree, from the events of ruamel.yaml: one document, without tags, merges and directives."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from paraminspect.spec.composer import Composer
from paraminspect.spec.nodes import Mark, Node, Value, shown, syntax_error
from paraminspect.spec.scalars import checked_text, plain_value

# What YAML does not print, and the separators that YAML 1.1 and 1.2 treat differently.
_NOT_RAW: Final = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def read_yaml(text: str, label: str) -> Node | None:
    """Return the tree of a YAML document; None for no document. Raises UserError."""
    found = _NOT_RAW.search(text)
    if found:
        hint = "in double quotes, write it as an escape"
        raise syntax_error(
            f"the character U+{ord(found[0]):04X} cannot stand here", _mark_at(text, found.start(), label), hint
        )
    composer = Composer()
    documents = 0
    for event in _yaml_events(text, label):
        documents += type(event).__name__ == "DocumentStartEvent"
        _compose_event(composer, event, Mark(label, event.start_mark.line + 1, event.start_mark.column + 1), documents)
    return composer.root


def _yaml_events(text: str, label: str) -> Iterator[Any]:
    """Yield the events of ruamel.yaml; whatever it raises becomes a UserError at the place it had reached."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError

    last = Mark(label, 1, 1)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            last = Mark(label, event.start_mark.line + 1, event.start_mark.column + 1)
            yield event
    except MarkedYAMLError as error:
        place = error.problem_mark or error.context_mark
        mark = Mark(label, place.line + 1, place.column + 1) if place else last
        raise syntax_error(f"not valid YAML: {str(error.problem or error.context)[:200]}", mark) from None
    except MemoryError:
        raise
    except Exception:  # on broken text the parser also fails with ValueError, AssertionError, IndexError, …
        raise syntax_error("not valid YAML after this place", last) from None


def _compose_event(composer: Composer, event: Any, mark: Mark, documents: int) -> None:
    from ruamel.yaml import events

    if isinstance(event, events.ScalarEvent):
        _refuse_tag(event, mark)
        composer.scalar(_yaml_value(event, mark, composer.wants_key), mark, event.anchor)
    elif isinstance(event, events.CollectionStartEvent):
        _refuse_tag(event, mark)
        composer.open("sequence" if isinstance(event, events.SequenceStartEvent) else "mapping", mark, event.anchor)
    elif isinstance(event, events.CollectionEndEvent):
        composer.close()
    elif isinstance(event, events.AliasEvent):
        composer.alias(event.anchor, mark)
    elif isinstance(event, events.DocumentStartEvent):
        _check_document(event, mark, documents)


def _check_document(event: Any, mark: Mark, documents: int) -> None:
    if documents > 1:
        raise syntax_error("a second document begins here; a spec is one document", mark)
    if event.version not in (None, (1, 2)):
        raise syntax_error(f"YAML {event.version[0]}.{event.version[1]} is asked for; a spec is YAML 1.2", mark)
    if event.tags:
        raise syntax_error("a spec has no tags, and no %TAG directive", mark)


def _refuse_tag(event: Any, mark: Mark) -> None:
    if event.tag is not None:
        raise syntax_error(f"the tag {shown(str(event.tag))} is not allowed", mark, "write the value without a tag")


def _yaml_value(event: Any, mark: Mark, is_key: bool) -> Value:
    text: str = event.value
    if not event.implicit[0]:
        return checked_text(text, mark)
    if is_key and text == "<<":
        raise syntax_error("the merge key '<<' is not part of YAML 1.2", mark, "write the keys out")
    return plain_value(text, mark)


def _mark_at(text: str, index: int, label: str) -> Mark:
    before = text[:index]
    return Mark(label, before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1)
