"""Which money counts for which promise to pay, what that makes of it, and which items it protects. No Odoo here."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Promise:
    """``items`` are what is to be paid, empty: any item. Money counts on the days from ``first`` to ``last``."""

    key: int
    first: date
    last: date
    amount: Decimal
    items: frozenset[Hashable] = frozenset()


@dataclass(frozen=True, slots=True)
class Money:
    """An amount that came in on ``day`` and was matched with ``item``."""

    item: Hashable
    day: date
    amount: Decimal


def allot(promises: Iterable[Promise], money: Iterable[Money]) -> dict[int, Decimal]:
    """Return what came in for each promise, at most what was promised.

    Money counts once: for the promise that ends first, what is left of it for the next one.

    >>> two = [Promise(key, date(2026, 3, 1), date(2026, 3, last), Decimal(100)) for key, last in ((1, 20), (2, 10))]
    >>> {key: str(paid) for key, paid in allot(two, [Money("a", date(2026, 3, 5), Decimal(130))]).items()}
    {2: '100', 1: '30'}
    >>> allot(two, [Money("a", date(2026, 3, 21), Decimal(130))])
    {2: Decimal('0'), 1: Decimal('0')}
    """
    entries = sorted(money, key=lambda entry: entry.day)
    left = [entry.amount for entry in entries]
    paid = {}
    for promise in sorted(promises, key=lambda promise: (promise.last, promise.key)):
        paid[promise.key] = ZERO
        for index, entry in enumerate(entries):
            if promise.first <= entry.day <= promise.last and (not promise.items or entry.item in promise.items):
                taken = min(left[index], promise.amount - paid[promise.key])
                left[index] -= taken
                paid[promise.key] += taken
    return paid


def needed(promise: Promise, money: Iterable[Money], left: Decimal) -> Decimal:
    """Return what has to come in for a promise that names its items: what was credited since is not needed any more.

    :param money: all that came in, also late, for whatever item
    :param left: what is open of the items that the promise names

    >>> promise = Promise(1, date(2026, 3, 1), date(2026, 3, 10), Decimal(150), frozenset(["old", "new"]))
    >>> needed(promise, [], Decimal(150)), needed(promise, [], Decimal(100))
    (Decimal('150'), Decimal('100'))
    >>> needed(promise, [Money("old", date(2026, 3, 20), Decimal(100))], Decimal(0))
    Decimal('100')
    """
    came = sum((e.amount for e in money if e.item in promise.items and e.day >= promise.first), ZERO)
    return min(promise.amount, left + came)


def decide(promise: Promise, paid: Decimal, threshold: Decimal, today: date) -> str:
    """Return ``kept`` as soon as the share ``threshold`` of the amount has come in; ``open`` up to the last day;
    then ``partly`` or ``broken``.

    >>> promise = Promise(1, date(2026, 3, 1), date(2026, 3, 10), Decimal(100))
    >>> share = Decimal("0.95")
    >>> decide(promise, Decimal(95), share, date(2026, 3, 2)), decide(promise, Decimal(94), share, date(2026, 3, 10))
    ('kept', 'open')
    >>> decide(promise, Decimal(94), share, date(2026, 3, 11)), decide(promise, Decimal(0), share, date(2026, 3, 11))
    ('partly', 'broken')
    """
    if paid >= promise.amount * threshold:
        return "kept"
    if today <= promise.last:
        return "open"
    return "partly" if paid > 0 else "broken"


def covered(items: Sequence[tuple[Hashable, Decimal]], amount: Decimal, threshold: Decimal) -> set[Hashable]:
    """Return which of ``items`` (key and open amount, the oldest first) an amount pays for.

    An item counts when the amount reaches the share ``threshold`` of it and of all before it: who promises a part of
    an item has not promised that item. Credits are passed over.

    >>> items = [("old", Decimal(100)), ("credit", Decimal(-5)), ("new", Decimal(50))]
    >>> sorted(covered(items, Decimal(100), Decimal("0.95"))), sorted(covered(items, Decimal(143), Decimal("0.95")))
    (['old'], ['new', 'old'])
    >>> covered(items, Decimal(50), Decimal("0.95"))
    set()
    """
    found, total = set(), ZERO
    for key, residual in items:
        if residual <= 0:
            continue
        total += residual
        if amount < total * threshold:
            break
        found.add(key)
    return found


def covered_by_name(
    items: Sequence[tuple[Hashable, Decimal]], promises: Iterable[tuple[frozenset, Decimal, Decimal]]
) -> set[Hashable]:
    """Return which of ``items`` (key and open amount, the oldest first) promises that name their items pay for.

    A name alone takes nothing: the amount counts as in ``covered``. Promises that name the same item add up.

    :param promises: (keys, amount that is still to come, threshold), the first one first

    >>> items, share = [("old", Decimal(100)), ("new", Decimal(50))], Decimal("0.95")
    >>> covered_by_name(items, [(frozenset(["new"]), Decimal(1), share)])
    set()
    >>> covered_by_name(items, [(frozenset(["new"]), Decimal(48), share)])
    {'new'}
    >>> covered_by_name(items, [(frozenset(["old"]), Decimal(50), share)] * 2)
    {'old'}
    """
    found, given = set(), {}
    for names, amount, threshold in promises:
        own = [(key, residual) for key, residual in items if key in names]
        found |= covered(own, amount + sum((given.get(key, ZERO) for key, _residual in own), ZERO), threshold)
        for key, residual in own:
            taken = max(min(residual - given.get(key, ZERO), amount), ZERO)
            given[key] = given.get(key, ZERO) + taken
            amount -= taken
    return found
