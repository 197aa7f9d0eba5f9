"""Formats of what customers are reached by."""

import re

ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]{2,63}")
PHONE = re.compile(r"\+?[0-9().\-\s/]+((ext\.?|x|#|转)\s*[0-9]{1,6})?", re.IGNORECASE)
DIGITS = range(5, 16)
"""How many digits a telephone number has, at most as many as E.164 allows."""


def bad_emails(text: str) -> list[str]:
    """Return the parts of a list of e-mail addresses that are none; commas and semicolons divide it.

    An address may stand alone or behind a name, in angle brackets.

    >>> bad_emails("Ann <ann@firm.example>; bob@firm")
    ['bob@firm']
    """
    parts = [part.strip() for part in re.split(r"[,;，；]", text) if part.strip()]
    return [part for part in parts if not ADDRESS.fullmatch(_inside_brackets(part)) or ".." in part]


def _inside_brackets(text: str) -> str:
    found = re.fullmatch(r"[^<>]*<([^<>]*)>", text)
    return found[1].strip() if found else text


def is_phone(text: str) -> bool:
    """Return whether a text may be a telephone number, with or without country code and extension.

    >>> is_phone("+86 (21) 5555-0100"), is_phone("call me"), is_phone("123")
    (True, False, False)
    """
    text = text.strip()
    if not PHONE.fullmatch(text):
        return False
    number = re.split(r"ext|x|#|转", text, flags=re.IGNORECASE)[0]
    return sum(character in "0123456789" for character in number) in DIGITS
