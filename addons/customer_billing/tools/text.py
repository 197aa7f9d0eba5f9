"""Texts that a customer sends."""


def read_text(value: object, limit: int) -> str:
    """Return what was sent in a field for text: at most ``limit`` characters, without blanks around it and without the
    character that a database does not store; nothing for what is no text.

    >>> read_text(" a\\0b ", 9), read_text("abc", 2), read_text(None, 9), read_text(b"file", 9)
    ('ab', 'ab', '', '')
    """
    return value.replace("\0", "").strip()[:limit] if isinstance(value, str) else ""
