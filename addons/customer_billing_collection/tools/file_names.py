"""Names of files that are the same and safe on every system."""

import re
import unicodedata

MAX_LENGTH = 60


def safe_file_name(text: str, fallback: str = "document") -> str:
    """``text`` as a part of a file name: ASCII letters, digits, ``.``, ``_`` and ``-``; never a path.

    >>> safe_file_name("Café Müller & Co./../x")
    'Cafe-Muller-Co.-x'
    >>> safe_file_name("对账单", "7")
    '7'
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^A-Za-z0-9._]+", "-", plain)
    plain = re.sub(r"\.{2,}", "-", plain)
    return re.sub(r"-{2,}", "-", plain)[:MAX_LENGTH].strip("-._") or fallback
