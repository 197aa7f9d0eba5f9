"""Which dunning step is due, for which items, and how urgent a case is. Plain Python."""

from dataclasses import dataclass, field, replace
from datetime import date, timedelta

DAY = timedelta(days=1)
MAX_HOLIDAYS = 400  # a calendar without any working day is left after so many days
# The state of a case, the strongest fact first.
PRECEDENCE = ("legal", "hold", "disputed", "instalment", "promised")
STATE_OF_EXCLUSION = {"dispute": "disputed", "instalment": "instalment", "promise": "promised"}
MAX_PRIORITY = 2_000_000_000


@dataclass(frozen=True)
class Calendar:
    """Working days: ``weekdays`` are pairs of week type (0 or 1) and weekday (Monday is 0); none: every day.

    >>> week = frozenset((kind, day) for kind in (0, 1) for day in range(5))
    >>> calendar = Calendar(week, frozenset([date(2026, 1, 1)]))
    >>> [calendar.is_working(date(2026, 1, day)) for day in (1, 2, 3)]
    [False, True, False]
    >>> calendar.on_or_after(date(2026, 1, 3)), calendar.on_or_before(date(2026, 1, 1))
    (datetime.date(2026, 1, 5), datetime.date(2025, 12, 31))
    >>> calendar.add(date(2025, 12, 31), 2), calendar.add(date(2026, 1, 5), -2)
    (datetime.date(2026, 1, 5), datetime.date(2025, 12, 31))
    """

    weekdays: frozenset = frozenset()
    holidays: frozenset = frozenset()

    def is_working(self, day):
        week_type = (day.toordinal() - 1) // 7 % 2
        return day not in self.holidays and (not self.weekdays or (week_type, day.weekday()) in self.weekdays)

    def on_or_after(self, day):
        """The first working day from ``day`` on."""
        return self._seek(day, DAY)

    def on_or_before(self, day):
        """The last working day up to ``day``."""
        return self._seek(day, -DAY)

    def _seek(self, day, by):
        found = day
        for _day in range(MAX_HOLIDAYS):
            if self.is_working(found):
                return found
            found += by
        return day

    def add(self, day, count):
        """The ``count``-th working day after ``day``; before it when negative."""
        by = DAY if count > 0 else -DAY
        for _day in range(abs(count)):
            day = self._seek(day + by, by)
        return day


@dataclass(frozen=True)
class Step:
    """A step: ``days`` after the due date; zero or less: a reminder for that due date. Least amount in company
    currency."""

    key: int
    days: int
    working_days: bool = False
    minimum: float = 0.0


@dataclass(frozen=True)
class Item:
    """An open item; credits are negative. ``excluded`` says why it is not demanded."""

    key: int
    due: date
    amount: float
    amount_company: float
    excluded: str | None = None


@dataclass(frozen=True)
class Policy:
    """Steps by days, the least amount in company currency, and the working days. ``start``: the steps after the due
    date count from this day for what was due before."""

    steps: tuple
    minimum: float = 0.0
    calendar: Calendar = Calendar()
    start: date | None = None
    cache: dict = field(default_factory=dict, compare=False, repr=False)

    def step_day(self, step, due):
        """The day of a step for a due date: never on a day off, a reminder rather before it.

        >>> policy = Policy((Step(1, -3), Step(2, 7)), start=date(2026, 3, 1))
        >>> [policy.step_day(policy.steps[1], date(2026, month, 9)).isoformat() for month in (1, 3)]
        ['2026-03-08', '2026-03-16']
        >>> policy.step_day(policy.steps[0], date(2026, 1, 9)).isoformat()
        '2026-01-06'
        """
        if self.start and step.days > 0:
            due = max(due, self.start)
        key = (step, due)
        if key not in self.cache:
            if step.working_days:
                day = self.calendar.add(due, step.days)
            else:
                day = due + step.days * DAY
            move = self.calendar.on_or_after if step.days > 0 else self.calendar.on_or_before
            self.cache[key] = move(day)
        return self.cache[key]

    @property
    def horizon(self):
        """So many days before a due date, at most, its first reminder goes out; 0 without reminders.

        >>> Policy((Step(1, -3), Step(2, 7))).horizon, Policy((Step(2, 7),)).horizon
        (16, 0)
        """
        first = min((step.days for step in self.steps), default=1)
        return 10 - 2 * first if first <= 0 else 0  # room for days off

    def is_reminded(self, due, today):
        """Whether the reminders for a due date have begun."""
        return any(step.days <= 0 and self.step_day(step, due) <= today for step in self.steps)


@dataclass(frozen=True)
class Demand:
    """What is to be demanded with a step: items and credits by key, their sum. ``reason``: why it is left out."""

    step: Step
    keys: tuple
    amount: float
    amount_company: float
    reason: str | None = None
    due: date | None = None  # of a reminder: the last due date among its items


def due_steps(policy, oldest, today, reached, done):
    """The steps after the due date that could be done today, the highest last."""
    return [
        step
        for step in policy.steps
        if step.days > max(reached, 0) and step.key not in done and policy.step_day(step, oldest) <= today
    ]


def next_step(policy, oldest, today, reached, done):
    """The step that comes next and its day, or (None, None): the highest one that is due, else the first to come.

    >>> policy = Policy((Step(1, 3), Step(2, 10), Step(3, 20)))
    >>> next_step(policy, date(2026, 1, 1), date(2026, 1, 2), 0, ())[1]
    datetime.date(2026, 1, 4)
    >>> next_step(policy, date(2026, 1, 1), date(2026, 1, 15), 0, ())[0].key
    2
    >>> next_step(policy, date(2026, 1, 1), date(2026, 1, 15), 20, ())
    (None, None)
    """
    if oldest is None:
        return None, None
    due = due_steps(policy, oldest, today, reached, done)
    if due:
        return due[-1], today
    for step in policy.steps:
        if step.days > max(reached, 0) and step.key not in done:
            return step, policy.step_day(step, oldest)
    return None, None


def uncovered(items, rounding=0.01):
    """The items that credits do not cover when they are used for the oldest first; those that are excluded take none.

    >>> items = [Item(1, date(2026, 1, 1), 100.0, 100.0), Item(2, date(2026, 1, 8), 50.0, 50.0, "dispute"),
    ...          Item(3, date(2026, 1, 9), 70.0, 70.0), Item(4, date(2026, 1, 9), -120.0, -120.0)]
    >>> [item.key for item in uncovered(items)]
    [2, 3]
    """
    credit = -sum(item.amount for item in items if item.amount < 0)
    found = []
    for item in sorted((item for item in items if item.amount > 0), key=lambda i: (i.due, i.key)):
        credit -= 0 if item.excluded else item.amount
        if item.excluded or credit < -rounding / 2:
            found.append(item)
    return found


def lasting_debts(items, rounding=0.01):
    """The items that credits cover neither now nor when nothing is excluded any more: for a while, what is promised or
    in dispute leaves the credits to others.

    >>> items = [Item(1, date(2026, 1, 1), 100.0, 100.0, "promise"), Item(2, date(2026, 1, 8), 50.0, 50.0, "promise"),
    ...          Item(3, date(2026, 1, 9), -100.0, -100.0)]
    >>> [item.key for item in uncovered(items)], [item.key for item in lasting_debts(items)]
    ([1, 2], [2])
    """
    free = {item.key for item in uncovered([replace(item, excluded=None) for item in items], rounding)}
    return [item for item in uncovered(items, rounding) if item.key in free]


def oldest_due(items, today, rounding=0.01):
    """The first due date of what is overdue, may be demanded and is not covered by credits, or None."""
    return next((i.due for i in uncovered(items, rounding) if not i.excluded and i.due < today), None)


def demand_overdue(items, policy, today, reached=0, done=(), rounding=0.01):
    """The demand for what is overdue, or None when no step is due.

    The highest step that is due is taken, once; never one before ``reached`` days, those of the last step that was done
    for the debt of the case (0 again when that debt is settled). Open credits are deducted; the days of a step are
    counted from the oldest item that they do not cover.

    >>> policy = Policy((Step(1, 3), Step(2, 10)))
    >>> items = [Item(1, date(2026, 1, 1), 100.0, 100.0), Item(2, date(2026, 1, 8), -30.0, -30.0)]
    >>> demand = demand_overdue(items, policy, date(2026, 1, 20))
    >>> demand.step.key, demand.amount, demand.keys, demand.reason
    (2, 70.0, (1, 2), None)
    >>> demand_overdue(items, policy, date(2026, 1, 20), reached=10)
    >>> disputed = [Item(1, date(2026, 1, 1), 100.0, 100.0, "dispute")]
    >>> demand_overdue(disputed, policy, date(2026, 1, 5)).reason
    'dispute'
    >>> credit = [*items, Item(3, date(2026, 1, 9), -70.0, -70.0)]
    >>> demand_overdue(credit, policy, date(2026, 1, 20)).reason
    'credits'
    >>> late = [*items, Item(4, date(2026, 1, 16), 5.0, 5.0), Item(5, date(2026, 1, 9), -70.0, -70.0)]
    >>> demand = demand_overdue(late, policy, date(2026, 1, 20))
    >>> demand.step.key, demand.amount, demand.keys
    (1, 5.0, (1, 4, 2, 5))
    >>> demand_overdue(late, policy, date(2026, 1, 18)).reason
    'credits'
    """
    overdue = sorted((item for item in items if item.amount > 0 and item.due < today), key=lambda i: (i.due, i.key))
    if not overdue:
        return None
    would_be = due_steps(policy, overdue[0].due, today, reached, done)
    if not would_be:
        return None
    demanded = [item for item in overdue if not item.excluded]
    if not demanded:
        return Demand(would_be[-1], (), 0.0, 0.0, overdue[0].excluded)
    oldest = oldest_due(items, today, rounding) or demanded[0].due
    due = due_steps(policy, oldest, today, reached, done)
    listed = demanded + [item for item in items if item.amount < 0]
    keys = tuple(item.key for item in listed)
    amount = sum(item.amount for item in listed)
    amount_company = sum(item.amount_company for item in listed)
    if not due:
        return Demand(would_be[-1], keys, amount, amount_company, overdue[0].excluded or "credits")
    reason = None
    allowed = [step for step in due if amount_company >= step.minimum - rounding / 2]
    if amount < rounding / 2:
        reason = "credits"
    elif amount_company < policy.minimum - rounding / 2 or not allowed:
        reason = "minimum"
    return Demand((allowed or due)[-1], keys, amount, amount_company, reason)


def demand_reminders(items, policy, today, covered=None, rounding=0.01):
    """The demands of reminders before (or on) a due date, by step; each due date has the highest step once.

    ``covered`` says for due dates the days of the last step that was done.

    >>> policy = Policy((Step(1, -7), Step(2, -2), Step(3, 5)))
    >>> items = [Item(1, date(2026, 1, 10), 100.0, 100.0), Item(2, date(2026, 1, 15), 50.0, 50.0)]
    >>> [(d.step.key, d.keys, d.due) for d in demand_reminders(items, policy, date(2026, 1, 8))]
    [(2, (1,), datetime.date(2026, 1, 10)), (1, (2,), datetime.date(2026, 1, 15))]
    >>> demand_reminders(items[:1], policy, date(2026, 1, 8), {date(2026, 1, 10): -2})
    []
    >>> credit = [*items, Item(3, date(2026, 1, 5), -120.0, -120.0)]
    >>> [(d.keys, d.amount, d.reason) for d in demand_reminders(credit, policy, date(2026, 1, 8))]
    [((1, 3), -20.0, 'credits'), ((2, 1, 3), 30.0, None)]
    """
    covered = covered or {}
    groups, step_of = {}, {}
    for item in sorted(items, key=lambda i: (i.due, i.key)):
        if item.amount <= 0 or item.excluded or item.due < today:
            continue
        if item.due not in step_of:
            due = [s for s in policy.steps if s.days <= 0 and policy.step_day(s, item.due) <= today]
            step_of[item.due] = due[-1] if due else None
        step = step_of[item.due]
        if step and step.days > covered.get(item.due, step.days - 1):
            groups.setdefault(step, []).append(item)
    demands = []
    for step, group in groups.items():
        # Credits pay the oldest items first. What they exceed those by that are due before pays this in advance; all of
        # it is listed, so that the sum can be followed.
        first = group[0].due
        settled = [item for item in items if item.amount < 0 or (not item.excluded and item.due < first)]
        credit = sum(item.amount for item in settled)
        credit_company = min(sum(item.amount_company for item in settled), 0.0)
        if credit > -rounding / 2:  # nothing is left of the credits; sums of floats are not exact
            settled, credit, credit_company = [], 0.0, 0.0
        amount = sum(item.amount for item in group) + credit
        amount_company = sum(item.amount_company for item in group) + credit_company
        reason = None
        if amount < rounding / 2:
            reason = "credits"
        elif amount_company < max(policy.minimum, step.minimum) - rounding / 2:
            reason = "minimum"
        keys = tuple(item.key for item in [*group, *settled])
        demands.append(Demand(step, keys, amount, amount_company, reason, group[-1].due))
    return demands


def allocate_transit(amounts, payments):
    """What of each item payments on their way will settle: {key: {position of the payment: amount}}.

    :param amounts: open amounts by key, the oldest first
    :param payments: pairs of amount and the keys that the payment names, maybe none

    >>> allocate_transit({1: 100.0, 2: 50.0}, [(120.0, ())])
    {1: {0: 100.0}, 2: {0: 20.0}}
    >>> allocate_transit({1: 100.0, 2: 50.0}, [(30.0, (2,)), (10.0, (9,))])
    {2: {0: 30.0}, 1: {1: 10.0}}
    """
    allocated, left = {}, dict(amounts)
    for position, (amount, named) in enumerate(payments):
        for key in [*(key for key in named if key in amounts), *amounts]:
            part = min(amount, left[key])
            if part > 0:
                parts = allocated.setdefault(key, {})
                parts[position] = parts.get(position, 0.0) + part
                left[key] -= part
                amount -= part
    return allocated


def case_state(is_legal, is_held, exclusions):
    """The state of an open case: legal > hold > disputed > instalment > promised > open.

    >>> case_state(False, True, {"dispute"}), case_state(False, False, {"promise", "dispute"})
    ('hold', 'disputed')
    >>> case_state(False, False, {"transit"}), case_state(True, True, set())
    ('open', 'legal')
    """
    facts = {STATE_OF_EXCLUSION[code] for code in exclusions if code in STATE_OF_EXCLUSION}
    facts |= {"legal"} if is_legal else set()
    facts |= {"hold"} if is_held else set()
    return next((state for state in PRECEDENCE if state in facts), "open")


def priority(amount, days, late_share, broken_share):
    """How urgent a case is, amount × age × behaviour: (number, factor of age, factor of behaviour).

    :param amount: overdue in company currency
    :param days: of the oldest item; every 30 days add the amount once more, up to 180
    :param late_share: of the bills of a year that were not paid in time, 0 to 1
    :param broken_share: of the promises that were not kept, 0 to 1

    >>> priority(1000.0, 30, 0.5, 0.0)
    (3000, 2.0, 1.5)
    >>> priority(-5.0, 0, 0, 0)
    (0, 1.0, 1.0)
    """
    age = round(1 + min(max(days, 0), 180) / 30, 2)
    behaviour = round(1.0 + late_share + broken_share, 2)
    return min(round(max(amount, 0) * age * behaviour), MAX_PRIORITY), age, behaviour
