import logging
from collections import defaultdict
from dataclasses import dataclass
from datetime import date as Date
from datetime import timedelta
from decimal import Decimal
from functools import partial

from psycopg2 import OperationalError

from odoo import api, fields, models
from odoo.exceptions import ConcurrencyError
from odoo.tools import SQL, split_every

from odoo.addons.customer_billing.tools.dates import subtract
from odoo.addons.customer_billing.tools.money import round_amount, to_decimal

from ..tools.interest import Item, Span, Terms, accrue, get_adjustments

_logger = logging.getLogger(__name__)

CHUNK = 500  # cases
DAY = timedelta(days=1)
SHOWN = Decimal("0.000001")  # of the interest of a stretch in the calculation


@dataclass
class Booked:
    """What was charged for a span of days of an item: the first entry, and the sum and calculation with corrections."""

    span: Span
    grace: int
    amount: Decimal
    revision: int
    is_waived: bool
    stretches: list

    def is_changed(self, entry):
        """Whether ``entry``, what should have been charged, is about other days or amounts."""
        now = [(str(part.start + DAY), str(part.end), str(part.residual)) for part in entry.stretches]
        return now != [(part["from"], part["to"], part["residual"]) for part in self.stretches]


class BillingInterest(models.Model):
    """What items bear: computed for all days, compared with the entries there are, and the difference booked."""

    _name = "billing.interest"
    _inherit = "billing.interest"

    @api.model
    def _accrue(self, company, date, cases=None):
        """Book the interest of a company's cases through a date; what is booked already is not booked again.

        :param company: the company whose cases are looked at
        :param date date: the last day that bears interest
        :param cases: only these; None: all that may bear interest that is not booked
        :return: the new entries
        :raises AccessError: when the user may not work on interest
        :raises LockError: when somebody else works on one of ``cases``
        """
        self.check_access("write")
        is_all = cases is None
        cases = self._get_due_cases(company, date) if is_all else cases
        cases.check_access("read")
        if is_all:
            cases = cases.try_lock_for_update(allow_referencing=True)  # the others are at work, and stay due
        else:
            cases.lock_for_update(allow_referencing=True)
        entries = self.browse()
        for ids in split_every(CHUNK, cases.ids):
            entries += self._accrue_chunk(cases.browse(ids), date)
        return entries

    @api.model
    def _accrue_chunk(self, cases, date):
        """Book the interest of a few hundred locked cases: a fixed number of queries, and the entries."""
        # sudo: entries are made by this method alone
        entries = self.sudo().create(self._prepare_entries(cases, date))
        # A new version of the rows, even with the same day: who read the ledger before is refused and reads again.
        cases.flush_recordset()
        self.env.cr.execute(
            SQL("UPDATE billing_case SET interest_through = %s WHERE id = ANY(%s)", date, cases.ids)
        )
        cases.invalidate_recordset(["interest_through"], flush=False)
        return entries.sudo(self.env.su)

    @api.model
    def _get_due_cases(self, company, date):
        """The cases of a company that may bear interest up to a date that is not booked, by customer."""
        cases = self.env["billing.case"]
        cases.flush_model()
        self.env["billing.dunning.policy"].flush_model()
        self.flush_model()
        rows = self.env.execute_query(
            SQL(
                """SELECT item.id FROM billing_case item
                     LEFT JOIN billing_dunning_policy policy ON policy.id = item.policy_id
                    WHERE item.company_id = %(company)s
                      AND (item.interest_through IS NULL
                           OR item.interest_through < LEAST(%(date)s::date, item.date_closed))
                      AND (policy.interest_rate > 0
                           OR EXISTS (SELECT FROM billing_interest entry WHERE entry.case_id = item.id))
                    ORDER BY item.partner_id, item.id""",
                company=company.id,
                date=date,
            )
        )
        return cases.browse([case_id for (case_id,) in rows])

    @api.model
    def _prepare_entries(self, cases, date):
        """Compute what is to be booked for cases through a date: the preview, and the values of the run.

        :return: list of values of entries
        """
        items = self._load_items(cases, date)
        ids = [item["id"] for item in items]
        matches, booked = self._load_matches(ids), self._load_booked(ids)
        vals_list = []
        for item in items:
            case = self._find_case(item, matches[item["id"]])
            if case and case in cases:
                vals_list += self._prepare_item(case, item, matches[item["id"]], booked[item["id"]], date)
        return vals_list

    @api.model
    def _load_items(self, cases, date):
        """The items of the customers of ``cases`` that may bear interest, or have, with all cases they may belong to.

        Items are what bills and opening entries demand; payments to customers and bills without interest are not. A
        company stands for itself and its branches.
        """
        others = self.env["billing.case"].sudo().search_fetch(  # sudo: which case an item belongs to, whoever asks
            [
                ("partner_id", "in", cases.partner_id.ids),
                ("company_id", "in", cases.company_id.ids),
                ("currency_id", "in", cases.currency_id.ids),
            ],
            ["partner_id", "company_id", "currency_id", "policy_id", "date_opened"],
            order="date_opened, id",
        )
        by_key = others.grouped(lambda case: (case.partner_id.id, case.company_id.id, case.currency_id.id))
        self.env["billing.receivable"]._flush()
        self.flush_model()
        columns = ("id", "partner_id", "company_id", "currency_id", "due", "amount", "is_reconciled")
        rows = self.env.execute_query(
            SQL(
                """WITH candidate AS (
                    SELECT line.id, customer.commercial_partner_id, line.currency_id,
                           split_part(company.parent_path, '/', 1)::int AS company_id,
                           COALESCE(line.date_maturity, line.date) AS due, line.amount_currency,
                           line.reconciled IS TRUE AS is_reconciled,
                           line.parent_state = 'posted' AND move.billing_no_interest IS NOT TRUE
                               AND (move.move_type IN ('out_invoice', 'out_receipt')
                                    OR move.move_type = 'entry' AND line.payment_id IS NULL
                                       AND line.statement_line_id IS NULL
                                       AND journal.type NOT IN ('bank', 'cash', 'credit')) AS bears
                      FROM account_move_line line
                      JOIN account_move move ON move.id = line.move_id
                      JOIN account_journal journal ON journal.id = line.journal_id
                      JOIN account_account account ON account.id = line.account_id
                      JOIN res_company company ON company.id = line.company_id
                      JOIN res_partner customer ON customer.id = line.partner_id
                     WHERE line.partner_id IN (
                               SELECT id FROM res_partner WHERE commercial_partner_id = ANY(%(partners)s))
                       AND account.account_type = 'asset_receivable'
                       AND split_part(company.parent_path, '/', 1)::int = ANY(%(companies)s)
                       AND line.currency_id = ANY(%(currencies)s)
                       AND line.amount_currency > 0
                )
                SELECT id, commercial_partner_id, company_id, currency_id, due,
                       CASE WHEN bears THEN amount_currency ELSE 0 END, is_reconciled
                  FROM candidate
                 WHERE bears AND due < %(date)s
                       AND (NOT is_reconciled
                            OR EXISTS (SELECT FROM account_partial_reconcile match
                                        WHERE match.debit_move_id = candidate.id AND match.max_date > due))
                    OR EXISTS (SELECT FROM billing_interest entry
                                WHERE entry.move_line_id = candidate.id AND entry.state <> 'void')
                 ORDER BY due, id""",
                partners=cases.partner_id.ids,
                companies=cases.company_id.ids,
                currencies=cases.currency_id.ids,
                date=date,
            )
        )
        items = [dict(zip(columns, row, strict=True)) for row in rows]
        for item in items:
            item["cases"] = by_key.get((item["partner_id"], item["company_id"], item["currency_id"]), ())
        return items

    @api.model
    def _load_matches(self, line_ids):
        """What was paid or credited of items: {line id: [(day, amount)]}, in the currency of the item.

        The amount of an exchange entry counts on the day of the match that caused it.
        """
        found = defaultdict(list)
        rows = self.env.execute_query(
            SQL(
                """SELECT match.debit_move_id, LEAST(match.max_date, cause.date), SUM(match.debit_amount_currency)
                     FROM account_partial_reconcile match
                     JOIN account_move_line other ON other.id = match.credit_move_id
                     LEFT JOIN LATERAL (
                         SELECT MIN(max_date) AS date FROM account_partial_reconcile
                          WHERE exchange_move_id = other.move_id
                     ) cause ON TRUE
                    WHERE match.debit_move_id = ANY(%s) AND other.parent_state = 'posted'
                    GROUP BY 1, 2 ORDER BY 1, 2""",
                list(line_ids),
            )
        )
        for line_id, day, amount in rows:
            found[line_id].append((day, to_decimal(amount)))
        return found

    @api.model
    def _load_booked(self, line_ids):
        """What was charged of items: {line id: {first day: Booked}}."""
        found = defaultdict(dict)
        rows = self.env.execute_query(
            SQL(
                """SELECT move_line_id, date_from, date_to, revision, amount, state, trace FROM billing_interest
                    WHERE move_line_id = ANY(%s) AND kind = 'interest' AND state <> 'void'
                    ORDER BY move_line_id, date_from, revision""",
                list(line_ids),
            )
        )
        for line_id, day, date_to, revision, amount, state, trace in rows:
            if first := found[line_id].get(day):
                first.amount += to_decimal(amount)
                first.revision, first.stretches = revision, trace["stretches"]
            else:
                terms = Terms(Decimal(trace["rate"]), trace["basis"], Decimal(trace["cap"]))
                span = Span(day - DAY, date_to, terms)
                found[line_id][day] = Booked(
                    span, trace["grace"], to_decimal(amount), revision, state == "waived", trace["stretches"]
                )
        return found

    @api.model
    def _find_case(self, item, matches):
        """The case that an item belongs to: the last one that was opened before the item was settled, or None."""
        settled = max((day for day, _amount in matches), default=None) if item["is_reconciled"] else None
        found = None
        for case in item["cases"]:
            if settled is None or (case.date_opened or Date.min) <= settled:
                found = case
        return found

    @api.model
    def _prepare_item(self, case, item, matches, booked, date):
        """The values of the entries that are missing for one item."""
        policy = case.policy_id
        grace = next((slot.grace for slot in booked.values()), policy.interest_grace_days)
        debt = Item(to_decimal(item["amount"]), item["due"], grace, tuple(matches))
        spans = {day: slot.span for day, slot in booked.items()}
        covered = [(span.start, span.end) for span in spans.values()]
        spans |= {span.start + DAY: span for span in self._get_new_spans(debt, policy, covered, date)}
        rounded = partial(round_amount, rounding=to_decimal(case.currency_id.rounding))
        ordered = [spans[day] for day in sorted(spans)]
        found = {entry.span.start + DAY: entry for entry in accrue(debt, ordered, rounded)}
        common = {"case_id": case.id, "move_line_id": item["id"], "kind": "interest"}
        vals_list = self._prepare_adjustments(common, debt, booked, found)
        for day, entry in found.items():
            if day not in booked and entry.amount:
                vals_list.append({**common, **self._prepare_entry(debt, entry, entry.amount)})
        return vals_list

    @api.model
    def _get_new_spans(self, debt, policy, covered, date):
        """The days up to a date without an entry, until the item is settled, at the terms of today."""
        if not policy.interest_rate or date <= debt.grace_end:
            return []
        start = debt.due
        if policy.interest_date_from:
            start = max(start, policy.interest_date_from - DAY)
        paid = [(day, amount) for day, amount in debt.payments if day <= date]
        end = date
        if sum(amount for _day, amount in paid) >= debt.amount:
            end = max((day for day, _amount in paid), default=start)
        terms = Terms(to_decimal(policy.interest_rate), policy.interest_basis, to_decimal(policy.interest_cap_rate))
        return [Span(first, last, terms) for first, last in subtract([(start, end)], covered)]

    @api.model
    def _prepare_adjustments(self, common, debt, booked, found):
        """The values of corrections of days that have entries; what was waived stays so."""
        days = sorted(booked)
        entries = [found[day] for day in days]
        amounts = [booked[day].amount for day in days]
        changed = [booked[day].is_changed(found[day]) for day in days]
        differences = get_adjustments(entries, amounts, changed)
        return [
            {
                **common,
                **self._prepare_entry(debt, entry, amount),
                "revision": booked[day].revision + 1,
                "state": "waived" if booked[day].is_waived else "pending",
            }
            for day, entry, amount in zip(days, entries, differences, strict=True)
            if amount
        ]

    @api.model
    def _prepare_entry(self, debt, entry, amount):
        return {
            "date_from": entry.span.start + DAY,
            "date_to": entry.span.end,
            "amount": float(amount),
            "trace": self._get_trace(debt, entry),
        }

    @api.model
    def _get_trace(self, debt, entry):
        """The terms and the calculation of an entry; days inclusive, numbers as text."""
        terms = entry.span.terms
        return {
            "due": fields.Date.to_string(debt.due),
            "grace": debt.grace_days,
            "rate": str(terms.rate),
            "basis": terms.basis,
            "cap": str(terms.cap),
            "stretches": [
                {
                    "from": fields.Date.to_string(stretch.start + DAY),
                    "to": fields.Date.to_string(stretch.end),
                    "days": stretch.days,
                    "residual": str(stretch.residual),
                    "interest": str(round_amount(stretch.interest, SHOWN)),
                }
                for stretch in entry.stretches
            ],
        }

    # Follow the items

    @api.model
    def _touch(self, line_ids):
        """Let the next run look at the interest of items again, whatever was accrued."""
        # sudo: whoever books a payment
        cases_sudo = self.sudo().search([("move_line_id", "in", line_ids)]).case_id
        if cases_sudo := cases_sudo.filtered("interest_through"):
            cases_sudo.interest_through = False

    @api.model
    def _void_pending(self, line_ids):
        """Void what is not billed yet of items that are no longer in the books: the next run books it anew."""
        # sudo: whoever resets a bill
        self.sudo().search([("move_line_id", "in", line_ids), ("state", "=", "pending")]).state = "void"

    # Job

    @api.model
    def _cron_accrue(self):
        """Accrue through the last month of every company and bill it, chunk by chunk, each its own commit.

        Found by the state of the data: a day later there is nothing to do, unless something changed or was at work.
        """
        for company in self.env["res.company"].search([("parent_id", "=", False)]):
            through = company._get_billing_today().replace(day=1) - DAY
            entries = self.with_company(company).with_context(allowed_company_ids=company.ids)
            if not (entries._accrue_in_job(company, through) and entries._bill_in_job(company, through)):
                return

    @api.model
    def _accrue_in_job(self, company, through):
        """Accrue chunk by chunk; returns whether there is time left."""
        commit = self.env["ir.cron"]._commit_progress
        cases = self._get_due_cases(company, through)
        if not commit(remaining=len(cases)):
            return False
        for ids in split_every(CHUNK, cases.ids):
            chunk = cases.browse(ids).try_lock_for_update(allow_referencing=True)
            self._attempt(chunk, lambda part: self._accrue_chunk(part, through))
            if not commit(len(ids)):
                return False
        return True

    @api.model
    def _attempt(self, cases, method):
        """Call ``method`` with cases; when that fails, one at a time, so that one stops no other: it is told there."""
        try:
            with self.env.cr.savepoint():
                method(cases)
        except (OperationalError, ConcurrencyError):
            raise
        except Exception as error:
            self.env.invalidate_all(flush=False)
            if len(cases) > 1:
                for case in cases:
                    self._attempt(case, method)
                return
            _logger.exception("Interest of case %s could not be worked on", cases.id)
            cases.sudo().error = str(error)  # protected field; the health page counts it
