"""What contracts should have been charged, counted day by day and compared with what the database holds.

Nothing of the product's code is used: plain SQL reads the rows, and each month is priced here, by itself. For
monthly contracts of calendar months with daily proration, in a currency of two decimals.
"""

from calendar import monthrange
from collections import defaultdict
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

DAY = timedelta(days=1)


def rows(cr, query, *args):
    cr.execute(query, args)
    names = [column.name for column in cr.description]
    return [dict(zip(names, row, strict=True)) for row in cr.fetchall()]


def cents(value):
    quotient = Decimal(value.numerator) / Decimal(value.denominator)
    return quotient.quantize(Decimal("0.01"), ROUND_HALF_UP)


def months(first, until):
    """The first days of the months from that of FIRST to that of UNTIL."""
    day = first.replace(day=1)
    while day <= until:
        yield day
        day = (day + 31 * DAY).replace(day=1)


def served_days(line, month, pauses):
    """The days of MONTH on which LINE is charged."""
    length = monthrange(month.year, month.month)[1]
    ends = [end for end in (line["date_end"], line["contract_end"]) if end]
    return [
        day
        for day in (month + n * DAY for n in range(length))
        if line["date_start"] <= day
        and all(day <= end for end in ends)
        and not any(start <= day and (not end or day <= end) for start, end in pauses)
    ]


def price_of(line, month, days):
    """Each stretch of days costs round(price to its end) − round(price to its start)."""
    length = monthrange(month.year, month.month)[1]
    full = Fraction(str(line["price_unit"])) * Fraction(str(line["quantity"]))
    full *= 1 - Fraction(str(line["discount"] or 0)) / 100
    total = Decimal(0)
    for day in days:
        if day - DAY not in days:
            total -= cents(full * Fraction(day.day - 1, length))
        if day + DAY not in days:
            total += cents(full * Fraction(day.day, length))
    return total


def is_due(line, month, until):
    end = month + monthrange(month.year, month.month)[1] * DAY
    if line["charge_type"] == "recurring" and line["timing"] == "advance":
        return max(month, line["date_start"]) <= until
    return min(end, (line["contract_end"] or date.max - DAY) + DAY) <= until


def expected(cr, contracts, until):
    """{(line id, slot start): amount} that the ledger should hold, without zeros."""
    lines = rows(
        cr,
        """SELECT l.id, l.contract_id, l.charge_type, l.date_start, l.date_end, l.price_unit, l.quantity, l.discount,
                  c.date_end AS contract_end, p.timing
             FROM billing_contract_line l JOIN billing_contract c ON c.id = l.contract_id
             JOIN billing_plan p ON p.id = l.plan_id WHERE c.id = ANY(%s)""",
        contracts,
    )
    pauses = defaultdict(list)
    for pause in rows(cr, "SELECT * FROM billing_contract_pause WHERE contract_id = ANY(%s)", contracts):
        pauses[pause["contract_id"]].append((pause["date_uncharged"], pause["date_to"]))
    usage = defaultdict(Decimal)
    for record in rows(
        cr,
        """SELECT contract_line_id, date, quantity FROM billing_usage u WHERE contract_id = ANY(%s)
              AND reversed_id IS NULL AND NOT EXISTS (SELECT FROM billing_usage r WHERE r.reversed_id = u.id)""",
        contracts,
    ):
        usage[record["contract_line_id"], record["date"]] += Decimal(str(record["quantity"]))
    found = {}
    for line in lines:
        for month in months(line["date_start"], until):
            if not is_due(line, month, until):
                continue
            days = served_days(line, month, pauses[line["contract_id"]])
            if line["charge_type"] == "usage":
                quantity = sum((usage[line["id"], day] for day in days), Decimal(0))
                amount = cents(Fraction(quantity) * Fraction(str(line["price_unit"])))
            else:
                amount = price_of(line, month, days)
            if amount:
                found[line["id"], max(month, line["date_start"])] = amount
    return found


def check(cr, contracts, until):
    """Raise unless the ledger, the bills and the count by day agree."""
    charges = rows(
        cr,
        """SELECT h.*, b.move_id, b.parent_state, b.id AS bill_line
             FROM billing_charge h LEFT JOIN account_move_line b ON b.id = h.move_line_id
            WHERE h.contract_id = ANY(%s) AND h.state <> 'void'""",
        contracts,
    )
    keys = [(row["contract_line_id"], row["kind"], row["slot_start"], row["revision"]) for row in charges]
    assert len(keys) == len(set(keys)), "a slot twice"
    net, waived = defaultdict(Decimal), defaultdict(Decimal)
    for row in charges:
        assert row["state"] == "billed" and row["bill_line"], f"on no bill: {row}"
        (waived if row["waived"] else net)[row["contract_line_id"], row["slot_start"]] += Decimal(str(row["amount"]))
    due = expected(cr, contracts, until)
    for key in {*due, *net, *waived}:
        amount = due.get(key, Decimal(0))
        # what was credited for good is not credited again
        set_off = waived[key] < 0 and amount < net[key] <= -waived[key]
        assert net[key] == amount or set_off, (key, net[key], amount, waived[key])
    check_bills(cr, contracts, charges)


def check_bills(cr, contracts, charges):
    """Σ charges = Σ bill lines, line by line and altogether."""
    bill_lines = rows(
        cr,
        """SELECT l.id, CASE m.move_type WHEN 'out_refund' THEN -l.price_subtotal ELSE l.price_subtotal END AS amount
             FROM account_move_line l JOIN account_move m ON m.id = l.move_id
            WHERE l.display_type = 'product' AND m.state <> 'cancel' AND EXISTS (
                  SELECT FROM billing_contract_move_rel r WHERE r.move_id = m.id AND r.contract_id = ANY(%s))""",
        contracts,
    )
    by_line = defaultdict(Decimal)
    for row in charges:
        by_line[row["bill_line"]] += Decimal(str(row["amount"]))
    assert {row["id"]: Decimal(str(row["amount"])) for row in bill_lines} == by_line
