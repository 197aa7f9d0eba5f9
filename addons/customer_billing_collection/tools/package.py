"""A ZIP of evidence: the same files make the same bytes, and a list of SHA-256 sums tells when one was changed."""

import hashlib
import re
import zipfile
from collections.abc import Iterable
from typing import BinaryIO

SUMS = "SHA256SUMS"
# Programs that make PDFs note the moment; that of the package is told elsewhere.
PDF_DATE = re.compile(rb"/(CreationDate|ModDate) ?\(D:\d{14}[^)]*\)")


def without_moment(pdf: bytes) -> bytes:
    """Return a PDF without the time at which it was made, at the same length.

    >>> without_moment(b"/CreationDate (D:20260102030405Z) /Title")
    b'/CreationDate (D:20000101000000)  /Title'
    """

    def replace(match):
        text = b"/%s (D:20000101000000)" % match[1]
        return text.ljust(len(match[0])) if len(text) <= len(match[0]) else match[0]

    return PDF_DATE.sub(replace, pdf)


def write_package(target: BinaryIO, files: Iterable[tuple[str, bytes]]) -> str:
    """Write files into a ZIP, one at a time, with their sums in ``SHA256SUMS``; return the SHA-256 of the ZIP.

    :param target: an open file, empty, for reading and writing
    :param files: (path in the ZIP, content); a path that was there gets a number

    >>> import io
    >>> first, second = io.BytesIO(), io.BytesIO()
    >>> sums = {write_package(file, [("a.txt", b"x"), ("a.txt", b"y")]) for file in (first, second)}
    >>> len(sums), zipfile.ZipFile(first).namelist()
    (1, ['a.txt', 'a_2.txt', 'SHA256SUMS'])
    """
    used, sums = set(), []
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files:
            path = _free_path(path, used)
            _add(archive, path, content)
            sums.append(f"{hashlib.sha256(content).hexdigest()}  {path}\n")
        _add(archive, SUMS, "".join(sums).encode())
    target.seek(0)
    digest = hashlib.file_digest(target, "sha256").hexdigest()
    target.seek(0)
    return digest


def _free_path(path, used):
    stem, dot, suffix = path.rpartition(".")
    number, free = 1, path
    while free.lower() in used:
        number += 1
        free = f"{stem}_{number}{dot}{suffix}"
    used.add(free.lower())
    return free


def _add(archive, path, content):
    entry = zipfile.ZipInfo(path)  # of 1980: no clock enters
    entry.external_attr = 0o644 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, content)
