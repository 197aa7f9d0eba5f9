"""A customer's account in one currency over a period: what rows of its items and movements add up to."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from operator import itemgetter

_BY_DUE_DATE = itemgetter("date_maturity", "move_line_id")


@dataclass
class CustomerAccount:
    """Amounts are in the account's currency, ``balance_company`` is in that of the company.

    ``opening`` and ``balance`` are what the customer owes before and at the end; ``debit`` and ``credit`` what
    ``move_count`` movements charged and credited, both positive. ``overdue`` is owed past its due date, credits not
    deducted; ``unallocated`` are credits that settle nothing yet, negative; ``buckets`` the balance by age.
    ``items`` are open at the end, ``movements`` happened in the period: dicts.
    """

    opening: float = 0.0
    debit: float = 0.0
    credit: float = 0.0
    move_count: int = 0
    balance: float = 0.0
    balance_company: float = 0.0
    overdue: float = 0.0
    unallocated: float = 0.0
    buckets: list[float] = field(default_factory=list)
    items: list[dict] = field(default_factory=list)
    movements: list[dict] = field(default_factory=list)

    def is_empty(self) -> bool:
        """Return whether nothing moved and nothing is open."""
        return not (self.move_count or self.items or self.opening)

    def add_movements(self, rows: Iterable[dict]) -> None:
        """Add the ``amount`` of each row to the sums.

        >>> account = CustomerAccount()
        >>> account.add_movements([{"amount": 100.0}, {"amount": -30.0}])
        >>> account.debit, account.credit, account.move_count
        (100.0, 30.0, 2)
        """
        amounts = [row["amount"] for row in rows]
        self.debit += sum(amount for amount in amounts if amount > 0)
        self.credit -= sum(amount for amount in amounts if amount < 0)
        self.move_count += len(amounts)

    def close(self, day: date, bucket_count: int, digits: int, company_digits: int) -> None:
        """Add up the items, in order of due date; the opening balance is the closing one without the movements.

        :param day: the last day of the period
        :param bucket_count: how many age buckets there are
        :param digits: decimal places of the currency; all amounts are whole in it
        :param company_digits: those of the company's currency

        >>> account = CustomerAccount(debit=20.0, items=[
        ...     {"move_line_id": 2, "date_maturity": date(2026, 2, 1), "residual": 0.2, "residual_company": 0.1,
        ...      "bucket": 0},
        ...     {"move_line_id": 1, "date_maturity": date(2026, 1, 1), "residual": 0.1, "residual_company": 0.1,
        ...      "bucket": 1},
        ... ])
        >>> account.close(date(2026, 1, 31), 3, 2, 2)
        >>> account.balance, account.balance_company, account.overdue, account.buckets, account.opening
        (0.3, 0.2, 0.1, [0.2, 0.1, 0.0], -19.7)
        >>> [item["move_line_id"] for item in account.items]
        [1, 2]
        """
        self.items.sort(key=_BY_DUE_DATE)
        buckets, company, overdue, unallocated = [0.0] * bucket_count, 0.0, 0.0, 0.0
        for item in self.items:
            residual = item["residual"]
            buckets[item["bucket"]] += residual
            company += item["residual_company"]
            if residual < 0:
                unallocated += residual
            elif item["date_maturity"] < day:
                overdue += residual
        self.buckets = [round(amount, digits) for amount in buckets]
        self.balance = round(sum(buckets), digits)
        self.balance_company = round(company, company_digits)
        self.overdue, self.unallocated = round(overdue, digits), round(unallocated, digits)
        self.debit, self.credit = round(self.debit, digits), round(self.credit, digits)
        self.opening = round(self.balance - self.debit + self.credit, digits)
