"""Which documents an address is about."""

MAX_DOCUMENTS = 200


def join_ids(ids):
    """Return ids as they stand in an address, each once, ascending.

    >>> join_ids([12, 3, 12])
    '3-12'
    """
    return "-".join(str(number) for number in sorted(set(ids)))


def split_ids(text):
    """Return the ids of an address as a list, or None when it is not one that ``join_ids`` makes.

    >>> split_ids("3-12")
    [3, 12]
    >>> split_ids("12-3"), split_ids("3-"), split_ids("")
    (None, None, None)
    """
    parts = (text or "").split("-")
    if len(parts) > MAX_DOCUMENTS or not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        return None
    ids = [int(part) for part in parts]
    return ids if join_ids(ids) == text else None
