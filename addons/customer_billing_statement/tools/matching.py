"""Two ledgers side by side: what is in both, what differs, what is only in one.

Every entry ends in exactly one group. Stages go from the strongest evidence to the weakest, and each works on what
the ones before left over: document number with amount, sums of entries with one number, document number alone,
amount and date, sums of few entries. Entries are taken in an order of their own (date, amount, number, key), never
in that of the input, so the same entries always give the same groups. Work is near-linear; only the search for sums
of few entries is not, and it has a budget.
"""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from heapq import heapify, heappop, heappush
from itertools import combinations

Day = date

MATCHED, MATCHED_SUM, AMOUNT_DIFFERS = "matched", "matched_sum", "amount_differs"
ONLY_OURS, ONLY_THEIRS = "only_ours", "only_theirs"
STATUSES = (MATCHED, MATCHED_SUM, AMOUNT_DIFFERS, ONLY_OURS, ONLY_THEIRS)

REASONS = {
    "number_amount": "same number and amount",
    "reference_amount": "same reference and amount",
    "similar_amount": "similar number, same amount",
    "number": "same number, other amount",
    "similar": "similar number, other amount",
    "number_sum": "%(count)s entries with the same number",
    "named_sum": "sum of the %(count)s documents that it names",
    "amount_date": "same amount and date",
    "amount_days": "same amount, %(days)s days apart",
    "amount_only": "same amount, the only ones without a date",
    "day_sum": "sum of the %(count)s entries of one day",
    "sum": "sum of %(count)s entries",
    "only_ours": "not in the customer's ledger",
    "only_theirs": "not in our books",
}
"""Why a group is one, in English; with ``Group.reason_args``."""

MAX_GROUP = 6
# How many of the entries nearest in time are tried for sums of so many: the more, the more sums fit by chance.
POOLS = {2: 24, 3: 16, 4: 12, 5: 10, 6: 10}
BUDGET = 4_000_000
MAX_WINDOW = 100


@dataclass(frozen=True)
class OurItem:
    """An entry of our books, with the amount as in the customer's account with us: a bill is positive.

    Amounts have ten decimals at most. ``refs`` are other texts that may name it, such as the customer's order.
    """

    id: int
    number: str = ""
    refs: tuple[str, ...] = ()
    date: Day | None = None
    amount: Decimal = Decimal(0)
    currency: str = ""


@dataclass(frozen=True)
class TheirItem:
    """An entry of the customer's ledger, with the amount as it stands there."""

    row: int
    number: str = ""
    refs: tuple[str, ...] = ()
    date: Day | None = None
    amount: Decimal = Decimal(0)
    currency: str = ""


@dataclass(frozen=True)
class Group:
    """Entries that belong together. ``difference`` = theirs (with our sign) − ours, in the group's currency."""

    status: str
    ours: tuple[int, ...]
    theirs: tuple[int, ...]
    currency: str
    difference: Decimal
    reason: str
    reason_args: dict = field(default_factory=dict, compare=False)

    def __str__(self) -> str:
        return REASONS[self.reason] % self.reason_args


@dataclass(frozen=True)
class Result:
    """``groups`` by date; ``sign`` is the one that theirs were multiplied by; ``complete`` is False when the search
    for sums stopped at its budget."""

    groups: list[Group]
    sign: int
    complete: bool


# --- numbers ---

_TOKENS = re.compile(r"[a-z\u3400-\u9fff]+|\d+")
_WORDS = re.compile(r"[^\s,;，；、|&+]+")


def number_keys(number: str) -> tuple[str, str]:
    """Return two keys of a document number; documents are the same when one of the keys is.

    The first knows parts without their leading zeros, the second all letters and digits in a row.

    >>> number_keys("INV/2026/0001"), number_keys("inv-2026-1"), number_keys("ＩＮＶ20260001")
    (('inv 2026 1', 'inv20260001'), ('inv 2026 1', 'inv20261'), ('inv 20260001', 'inv20260001'))
    """
    parts = _TOKENS.findall(unicodedata.normalize("NFKC", number).casefold())
    return " ".join(part.lstrip("0") or "0" if part.isdigit() else part for part in parts), "".join(parts)


def similar_keys(number: str) -> list[str]:
    """Return what a customer may have kept of a document number: its digits, its last parts, its last digits.

    >>> similar_keys("INV/2026/00012"), similar_keys("12"), similar_keys("A-20260012")
    (['202600012', '2026 12', '12'], ['12'], ['20260012'])
    """
    parts = _TOKENS.findall(unicodedata.normalize("NFKC", number).casefold())
    digits = [part for part in parts if part.isdigit()]
    if not digits:
        return []
    keys = ["".join(digits), " ".join(part.lstrip("0") or "0" for part in digits[-2:]), digits[-1].lstrip("0") or "0"]
    return list(dict.fromkeys(keys))


def _named(texts):
    """The numbers that texts may name: whole texts and their words with digits."""
    for text in texts:
        yield text
        for word in _WORDS.findall(text):
            if word != text and any(char.isdigit() for char in word):
                yield word


# --- sign ---


def detect_sign(ours: Iterable[OurItem], theirs: Iterable[TheirItem]) -> int:
    """Return -1 when the customer's ledger mirrors ours (our debit is his credit), 1 when the signs agree.

    Entries with the same amount count, more so with the same number or near in time: a payment that names the bill
    which it pays must not outweigh the bill. Without any, the signs of the two totals decide; it is 1 in doubt.

    >>> detect_sign([OurItem(1, "A1", amount=Decimal(5))], [TheirItem(1, "a-1", amount=Decimal(-5))])
    -1
    """
    ours, theirs = list(ours), list(theirs)
    by_key, days = defaultdict(set), defaultdict(set)
    for item in ours:
        days[item.amount].add(item.date and item.date.toordinal())
        for key in filter(None, number_keys(item.number)):
            by_key[key].add(item.amount)
    days = {amount: sorted(found - {None}) for amount, found in days.items()}
    score = {1: 0, -1: 0}
    for item in theirs:
        known = set().union(*(by_key.get(key, ()) for key in number_keys(item.number)))
        for sign in (1, -1):
            amount = item.amount * sign
            if item.amount and amount in days:
                score[sign] += 1 + 2 * (amount in known) + 2 * _is_near(days[amount], item.date)
    if score[1] == score[-1]:
        return -1 if sum(item.amount for item in ours) * sum(item.amount for item in theirs) < 0 else 1
    return -1 if score[-1] > score[1] else 1


def _is_near(days, day):
    """One of the sorted ``days`` is at most ten days away."""
    if not day:
        return False
    index = bisect_left(days, day.toordinal() - 10)
    return index < len(days) and days[index] <= day.toordinal() + 10


# --- matching ---


def match(
    ours: Iterable[OurItem],
    theirs: Iterable[TheirItem],
    date_tolerance_days: int = 10,
    amount_tolerance: Decimal = Decimal(0),
    sign: int = 0,
    currency: str = "",
) -> Result:
    """Compare two ledgers.

    :param date_tolerance_days: how far apart in time entries may be that are the same by amount alone
    :param amount_tolerance: how much the amounts of a match may differ, in units of the currency
    :param sign: 1 when both ledgers have the same signs, -1 when theirs mirrors ours, 0 to find out
    :param currency: that of entries that name none; entries in different currencies are never matched
    :raises ValueError: when a tolerance is negative

    >>> ours = [OurItem(1, "INV/1", (), date(2026, 3, 1), Decimal(100)), OurItem(2, "INV/2", amount=Decimal(50))]
    >>> theirs = [TheirItem(5, "1", (), date(2026, 3, 4), Decimal(-100))]
    >>> for group in match(ours, theirs).groups: print(group.status, group.ours, group.theirs, group)
    only_ours (2,) () not in the customer's ledger
    matched (1,) (5,) similar number, same amount
    """
    if date_tolerance_days < 0 or amount_tolerance < 0:
        raise ValueError("Tolerances are zero or more.")
    ours, theirs = list(ours), list(theirs)
    sign = sign or detect_sign(ours, theirs)
    theirs = [replace(item, amount=item.amount * sign) for item in theirs]
    groups, budget = [], [BUDGET]
    for code in sorted({item.currency or currency for item in [*ours, *theirs]}):
        matcher = _Matcher(
            [item for item in ours if (item.currency or currency) == code],
            [item for item in theirs if (item.currency or currency) == code],
            date_tolerance_days,
            amount_tolerance,
            code,
            budget,
        )
        groups += matcher.run()
    return Result(groups, sign, budget[0] > 0)


def _order(item):
    key = item.id if isinstance(item, OurItem) else item.row
    return (item.date or date.min, item.amount, item.number, key)


class _Side:
    """The entries of one ledger in their order; ``left`` are the positions that no group has yet."""

    def __init__(self, items):
        self.items = sorted(items, key=_order)
        self.left = dict.fromkeys(range(len(self.items)))
        self.days = [item.date.toordinal() if item.date else None for item in self.items]
        self.amounts = [item.amount for item in self.items]
        self.scaled = [int(amount.scaleb(10)) for amount in self.amounts]

    def total(self, positions):
        return sum((self.amounts[i] for i in positions), Decimal(0))


class _Matcher:
    """The stages for one currency."""

    def __init__(self, ours, theirs, days, tolerance, currency, budget):
        self.ours, self.theirs = _Side(ours), _Side(theirs)
        self.days, self.tolerance, self.currency, self.budget = days, tolerance, currency, budget
        self.groups = []

    def run(self):
        """Return the groups, by date."""
        strong = (lambda item: filter(None, number_keys(item.number)),) * 2
        similar = (lambda item: similar_keys(item.number),) * 2
        self.by_number_and_amount(*strong, "number_amount")
        self.by_number_and_amount(strong[0], _ref_keys, "number_amount")
        self.by_number_and_amount(_ref_keys, strong[0], "number_amount")
        self.by_number_and_amount(_whole_refs, _whole_refs, "reference_amount", near=True)
        self.by_number_and_amount(*similar, "similar_amount", near=True)
        self.number_sums(*strong)
        self.named_sums(self.theirs, self.ours)
        self.named_sums(self.ours, self.theirs)
        self.by_number(*strong)
        self.by_amount_on_day()
        self.by_amount_near()
        self.by_amount_alone()
        self.day_sums(self.theirs, self.ours)
        self.day_sums(self.ours, self.theirs)
        self.by_similar_number()
        self.small_sums()
        for position in self.ours.left:
            self.groups.append(self.group(ONLY_OURS, (position,), (), "only_ours"))
        for position in self.theirs.left:
            self.groups.append(self.group(ONLY_THEIRS, (), (position,), "only_theirs"))
        self.groups.sort(key=lambda found: found[0])
        return [found for _key, found in self.groups]

    # what all stages use

    def group(self, status, ours, theirs, reason, **args):
        first = min([_order(self.ours.items[i])[:1] for i in ours] + [_order(self.theirs.items[i])[:1] for i in theirs])
        our_ids = tuple(sorted(self.ours.items[i].id for i in ours))
        rows = tuple(sorted(self.theirs.items[i].row for i in theirs))
        difference = self.theirs.total(theirs) - self.ours.total(ours)
        found = Group(status, our_ids, rows, self.currency, difference, reason, args)
        return (first, not ours, our_ids, rows), found

    def take(self, status, ours, theirs, reason, **args):
        """Put entries that are left into a group."""
        for position in ours:
            del self.ours.left[position]
        for position in theirs:
            del self.theirs.left[position]
        self.groups.append(self.group(status, tuple(ours), tuple(theirs), reason, **args))

    def equal(self, ours, theirs):
        return abs(ours - theirs) <= self.tolerance

    def apart(self, our, their):
        """Days between two entries; very many when one has no date."""
        a, b = self.ours.days[our], self.theirs.days[their]
        return abs(a - b) if a is not None and b is not None else 10**6

    @staticmethod
    def by_key(side, get_keys):
        found = defaultdict(list)
        for position in side.left:
            for key in dict.fromkeys(get_keys(side.items[position])):
                found[key].append(position)
        return found

    def shared_keys(self, our_keys, their_keys):
        """Lists of entries of both sides with the same key, in the order of our entries."""
        theirs = self.by_key(self.theirs, their_keys)
        for key, ours in self.by_key(self.ours, our_keys).items():
            if key in theirs:
                yield ours, theirs[key]

    # numbers

    def by_number_and_amount(self, our_keys, their_keys, reason, near=False):
        """Pairs with a common key and the same amount; ``near``: only within the days allowed, for weak keys."""
        for ours, theirs in self.shared_keys(our_keys, their_keys):
            ours = [i for i in ours if i in self.ours.left]
            theirs = [j for j in theirs if j in self.theirs.left]
            if len(ours) == len(theirs) == 1:
                self.pair_if_equal(ours[0], theirs[0], reason, near)
            elif ours and theirs:
                self.pair_several(ours, theirs, reason, near)

    def pair_if_equal(self, our, their, reason, near):
        amounts = self.ours.amounts[our], self.theirs.amounts[their]
        if self.equal(*amounts) and (not near or self.apart(our, their) <= self.days):
            self.take(MATCHED, (our,), (their,), reason)

    def pair_several(self, ours, theirs, reason, near):
        """Equal amounts, the nearest days first; then those without days or far apart; then nearly equal amounts."""

        def take(i, j, _gap):
            self.take(MATCHED, (i,), (j,), reason)

        self.pair_by_day(ours, theirs, take)
        ours = [i for i in ours if i in self.ours.left]
        theirs = [j for j in theirs if j in self.theirs.left]
        if near or not ours or not theirs:
            return
        by_amount = defaultdict(list)
        for j in reversed(theirs):
            by_amount[self.theirs.amounts[j]].append(j)
        for tolerance in (Decimal(0), self.tolerance):
            values = sorted(by_amount)
            for i in ours:
                amount = self.ours.amounts[i]
                options = [value for value in _window(values, amount, tolerance) if by_amount[value]]
                if i in self.ours.left and options:
                    best = min(options, key=lambda value, amount=amount: (abs(value - amount), value))
                    take(i, by_amount[best].pop(), 0)

    def number_sums(self, our_keys, their_keys):
        """All entries with one number on both sides, when their sums agree."""
        for ours, theirs in self.shared_keys(our_keys, their_keys):
            ours = [i for i in ours if i in self.ours.left]
            theirs = [j for j in theirs if j in self.theirs.left]
            if ours and theirs and self.equal(self.ours.total(ours), self.theirs.total(theirs)):
                self.take(MATCHED_SUM, ours, theirs, "number_sum", count=max(len(ours), len(theirs)))

    def named_sums(self, one, many):
        """An entry that names several documents of the other side, which are its sum."""
        keys = self.by_key(many, lambda item: filter(None, number_keys(item.number)))
        for position in list(one.left):
            item = one.items[position]
            named = set()
            for text in _named((item.number, *item.refs)):
                for key in number_keys(text):
                    found = [i for i in keys.get(key, ()) if i in many.left]
                    if len(found) == 1:
                        named.update(found)
            if len(named) > 1 and self.equal(many.total(named), one.amounts[position]):
                self.take_sum(one, (position,), sorted(named), "named_sum")

    def take_sum(self, one, single, several, reason):
        ours, theirs = (single, several) if one is self.ours else (several, single)
        self.take(MATCHED_SUM, ours, theirs, reason, count=len(several))

    def by_number(self, our_keys, their_keys):
        """The same number and direction, but another amount."""
        for ours, theirs in self.shared_keys(our_keys, their_keys):
            for positive in (True, False):
                left = [i for i in ours if i in self.ours.left and (self.ours.amounts[i] >= 0) is positive]
                right = [j for j in theirs if j in self.theirs.left and (self.theirs.amounts[j] >= 0) is positive]
                if left and right and min(len(left), len(right)) == 1:
                    self.take_same(left, right, "number")
                    continue
                for i, j in zip(left, right, strict=False):
                    self.take_same((i,), (j,), "number")

    def take_same(self, ours, theirs, reason):
        """Entries that are the same by their number; whether their amounts agree is to be seen."""
        if not self.equal(self.ours.total(ours), self.theirs.total(theirs)):
            self.take(AMOUNT_DIFFERS, ours, theirs, reason)
        elif len(ours) == len(theirs) == 1:
            self.take(MATCHED, ours, theirs, f"{reason}_amount")
        else:
            self.take(MATCHED_SUM, ours, theirs, "number_sum", count=max(len(ours), len(theirs)))

    def by_similar_number(self):
        """A similar number that only one entry of each side has, near in time: the amount differs."""

        def keys(item):
            return [key for key in similar_keys(item.number) if len(key) > 2]

        for ours, theirs in self.shared_keys(keys, keys):
            ours = [i for i in ours if i in self.ours.left]
            theirs = [j for j in theirs if j in self.theirs.left]
            if len(ours) == len(theirs) == 1 and self.apart(ours[0], theirs[0]) <= self.days:
                a, b = self.ours.amounts[ours[0]], self.theirs.amounts[theirs[0]]
                if (a >= 0) is (b >= 0):
                    self.take_same(ours, theirs, "similar")

    # amounts and dates

    def by_amount_on_day(self):
        """The same amount, the nearest day first; entries alike are taken in their order."""
        self.pair_by_day(self.ours.left, self.theirs.left, self.take_near)

    def pair_by_day(self, ours, theirs, take):
        """Call ``take(our, their, days apart)`` for pairs of the same amount."""
        ours, theirs = self.by_amount_and_day(self.ours, ours), self.by_amount_and_day(self.theirs, theirs)
        common = [amount for amount in ours if amount in theirs]
        for gap in range(self.days + 1):
            for amount in common:
                self.pair_days(ours[amount], theirs[amount], gap, take)
            common = [amount for amount in common if ours[amount] and theirs[amount]]

    @staticmethod
    def by_amount_and_day(side, positions):
        found = defaultdict(lambda: defaultdict(list))
        for position in reversed(positions):
            if side.days[position] is not None:
                found[side.amounts[position]][side.days[position]].append(position)
        return found

    @staticmethod
    def pair_days(ours, theirs, gap, take):
        for day in sorted(ours):
            for other in (day - gap, day + gap)[: 1 + bool(gap)]:
                left, right = ours[day], theirs.get(other, ())
                while left and right:
                    take(left.pop(), right.pop(), gap)
        for days in (ours, theirs):
            for day in [day for day, positions in days.items() if not positions]:
                del days[day]

    def take_near(self, our, their, gap):
        if gap:
            self.take(MATCHED, (our,), (their,), "amount_days", days=gap)
        else:
            self.take(MATCHED, (our,), (their,), "amount_date")

    def by_amount_near(self):
        """Amounts that differ by the tolerance at most: the nearest amount, then the nearest day."""
        if not self.tolerance:
            return
        by_amount = defaultdict(list)
        for j in self.theirs.left:
            if self.theirs.days[j] is not None:
                by_amount[self.theirs.amounts[j]].append((self.theirs.days[j], j))
        amounts = sorted(by_amount)

        def best(i):
            day, amount = self.ours.days[i], self.ours.amounts[i]
            return min(
                (
                    (abs(value - amount), abs(near[0] - day), i, near[1])
                    for value in _window(amounts, amount, self.tolerance)
                    if (near := _nearest(by_amount[value], day)) and abs(near[0] - day) <= self.days
                ),
                default=None,
            )

        heap = [found for i in self.ours.left if self.ours.days[i] is not None and (found := best(i))]
        heapify(heap)
        while heap:
            _difference, gap, i, j = heappop(heap)
            if j in self.theirs.left:
                by_amount[self.theirs.amounts[j]].remove((self.theirs.days[j], j))
                self.take_near(i, j, gap)
            elif found := best(i):
                heappush(heap, found)

    def by_amount_alone(self):
        """Entries without dates: of both sides if they are alike, or the only one of an amount."""
        ours, theirs = (self.by_key(side, lambda item: (item.amount,)) for side in (self.ours, self.theirs))
        for amount, left in ours.items():
            right = theirs.get(amount, [])
            undated = [
                [p for p in side if days[p] is None]
                for side, days in ((left, self.ours.days), (right, self.theirs.days))
            ]
            if len(left) == len(right) == 1 and any(undated):
                undated = [left, right]
            for i, j in zip(*undated, strict=False):
                self.take(MATCHED, (i,), (j,), "amount_only")

    # sums

    def day_sums(self, one, many):
        """An entry that is the sum of all that is left of one day on the other side, nearest day first."""
        by_day = defaultdict(list)
        for position in many.left:
            if many.days[position] is not None:
                by_day[many.days[position]].append(position)
        sums = defaultdict(list)
        for day, positions in sorted(by_day.items()):
            if len(positions) > 1:
                sums[many.total(positions)].append(day)
        totals = sorted(sums)
        for position in list(one.left):
            day, amount = one.days[position], one.amounts[position]
            if day is None or not amount:
                continue
            near = min(
                (
                    (abs(other - day), other)
                    for total in _window(totals, amount, self.tolerance)
                    for other in sums[total]
                ),
                default=(None, None),
            )
            if near[1] is not None and near[0] <= self.days:
                positions = by_day[near[1]]
                sums[many.total(positions)].remove(near[1])
                self.take_sum(one, (position,), positions, "day_sum")

    def small_sums(self):
        """Sums of few entries near in time, the smallest number of entries first.

        Only entries of the same direction, and only where one set of amounts fits: several would be guesswork.
        """
        for size in range(2, MAX_GROUP + 1):
            for one, many in ((self.theirs, self.ours), (self.ours, self.theirs)):
                pool = _Pool(many)
                for position in list(one.left):
                    if self.budget[0] <= 0:
                        return
                    if position in one.left and one.days[position] is not None:
                        self.find_sum(one, position, pool, size)

    def find_sum(self, one, position, pool, size):
        target, tolerance = one.scaled[position], int(self.tolerance.scaleb(10))
        near = pool.near(one.days[position], self.days, POOLS[size], target)
        found = {}
        amounts = pool.side.scaled
        for several in combinations(near, size):
            self.budget[0] -= 1
            if abs(sum([amounts[i] for i in several]) - target) <= tolerance:
                found.setdefault(tuple(sorted(amounts[i] for i in several)), several)
                if len(found) > 1:
                    return
        if found:
            (several,) = found.values()
            pool.remove(several)
            self.take_sum(one, (position,), several, "sum")


class _Pool:
    """Entries of one side that are left, found by day."""

    def __init__(self, side):
        self.side = side
        self.sorted = sorted((side.days[i], i) for i in side.left if side.days[i] is not None)

    def remove(self, positions):
        for position in positions:
            del self.sorted[bisect_left(self.sorted, (self.side.days[position], position))]

    def near(self, day, days, limit, target):
        """Up to ``limit`` entries within ``days``, nearest first, that can be a part of ``target``."""
        middle = bisect_left(self.sorted, (day, -1))
        right, left = middle, middle - 1
        found, tried = [], 0
        while len(found) < limit and tried < 20 * limit:
            ahead = self.sorted[right][0] - day if right < len(self.sorted) else None
            behind = day - self.sorted[left][0] if left >= 0 else None
            gaps = [gap for gap in (ahead, behind) if gap is not None and gap <= days]
            if not gaps:
                break
            tried += 1
            if ahead is not None and ahead == min(gaps):
                position, right = self.sorted[right][1], right + 1
            else:
                position, left = self.sorted[left][1], left - 1
            amount = self.side.scaled[position]
            if amount and (amount > 0) is (target > 0) and abs(amount) < abs(target):
                found.append(position)
        return found


def _ref_keys(item):
    for text in _named(item.refs):
        yield from filter(None, number_keys(text))


def _whole_refs(item):
    return [key for text in item.refs if any(char.isdigit() for char in text) and len(key := number_keys(text)[1]) > 3]


def _window(values, value, tolerance):
    """The sorted ``values`` that differ from ``value`` by the tolerance at most, the nearest if they are many."""
    first, last = bisect_left(values, value - tolerance), bisect_right(values, value + tolerance)
    if last - first > 2 * MAX_WINDOW:
        middle = bisect_left(values, value)
        first, last = max(first, middle - MAX_WINDOW), min(last, middle + MAX_WINDOW)
    return values[first:last]


def _nearest(entries, day):
    """The entry (day, position) of a sorted list that is nearest to ``day``, the earlier of two."""
    index = bisect_left(entries, (day, -1))
    near = entries[max(index - 1, 0) : index + 1]
    return min(near, key=lambda entry: (abs(entry[0] - day), entry), default=None)
