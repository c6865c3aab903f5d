"""XML that came from somewhere: parsed without entities, so that a small file stays small."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn
from xml.etree.ElementTree import Element, ParseError, fromstring
from xml.parsers import expat

from bench.core.errors import UserError


class _Declared(Exception):  # noqa: N818 - leaves expat, never this module
    """The document declares something of its own."""


def parse(content: bytes, name: str) -> Element:
    """The root of a document, in whatever encoding it declares.

    A DOCTYPE that only names a DTD, as IAM's forms have, is passed over and the DTD never fetched.
    One that declares anything itself is refused: entities that expand without end make a small
    file large (https://docs.python.org/3/library/xml.html#xml-vulnerabilities).

    Args:
        content: the document.
        name: what the sentence of an error calls it.

    Raises:
        UserError: it is no XML, or declares entities.
    """
    try:
        _refuse_declarations(content)
        return fromstring(content)
    except _Declared:
        raise UserError(f"{name} declares entities, which it has no need of") from None
    except (ParseError, expat.ExpatError, LookupError, ValueError) as error:
        # LookupError: an encoding that does not exist; ValueError: one of several bytes
        raise UserError(f"{name} is not XML that can be read ({error})") from error


def elements(root: Element, name: str) -> Iterator[Element]:
    """All elements of a local name, the root too; namespaces change with a format's version."""
    return (element for element in root.iter() if local(element) == name)


def child(element: Element, name: str) -> Element | None:
    """The first child of a local name."""
    return next((inner for inner in element if local(inner) == name), None)


def local(element: Element) -> str:
    """The name of an element without its namespace."""
    return element.tag.rpartition("}")[2]


def _refuse_declarations(content: bytes) -> None:
    """Look through the document as expat reads it: a search in bytes would miss UTF-16."""

    def doctype(name: str, system: str | None, public: str | None, internal: int) -> None:
        if internal:
            raise _Declared

    def declared(*told: object) -> NoReturn:
        raise _Declared

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = doctype
    parser.EntityDeclHandler = declared
    parser.Parse(content, True)
