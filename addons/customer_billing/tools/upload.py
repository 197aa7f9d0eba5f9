"""Files that a customer sends: what is taken, and under which name; no Odoo here."""

import os
import unicodedata

MAX_FILES = 5
MAX_FILE_BYTES = 10 * 1024 * 1024
# What proves something: no page, drawing or program that a browser or computer would run.
FILE_TYPES = (
    "pdf", "png", "jpg", "jpeg", "gif", "webp", "heic", "tif", "tiff", "txt", "csv", "xls", "xlsx", "ods",
    "doc", "docx", "odt", "eml", "msg",
)  # fmt: skip


def clean_file_name(name: str | None) -> str:
    """Return the name of a file without folders and control characters, at most 100 characters.

    >>> clean_file_name("C:\\\\bills\\\\a/b.pdf"), clean_file_name("x" * 200 + ".pdf")[-8:], clean_file_name(None)
    ('b.pdf', 'xxxx.pdf', 'file')
    """
    name = unicodedata.normalize("NFKC", name or "").replace("\\", "/").rsplit("/", 1)[-1]
    name = " ".join("".join(mark if mark.isprintable() else " " for mark in name).split())
    stem, ending = os.path.splitext(name)
    return f"{stem[:90]}{ending[:10]}" or "file"


def check_file(name: str, size: int) -> str:
    """Return what is wrong with an uploaded file: type, empty, large or an empty text.

    >>> check_file("scan.PDF", 9), check_file("page.html", 9), check_file("a.pdf", 0), check_file("pdf", 9)
    ('', 'type', 'empty', 'type')
    """
    if os.path.splitext(name)[1].lstrip(".").lower() not in FILE_TYPES:
        return "type"
    if not size:
        return "empty"
    return "large" if size > MAX_FILE_BYTES else ""
