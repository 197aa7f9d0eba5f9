from dateutil.relativedelta import relativedelta

from odoo import api, models
from odoo.tools import SQL

from .billing_receivable import BASIS, LINE, RESIDUAL


class BillingReceivable(models.AbstractModel):
    _name = "billing.receivable"
    _inherit = ["billing.receivable"]

    @api.model
    def _get_payment_behaviour(self, company, date, partner_ids=None):
        """Return how customers have paid in the twelve months up to a day. Parameters as for ``_get_open_items``.

        Counted are the items of invoices that were settled in these months, by the day of their last payment or credit;
        invoices that were credited in full are not. Unpaid items that are past due count as late with the days so far:
        who stops paying does not look like a prompt payer.

        :return: dict by customer of dicts: ``days_to_pay``, mean days from the invoice date to the last payment, None
            when nothing was paid; ``days_late``, mean days past the due date (0 for what was paid before), None when
            nothing was paid or is past due; ``paid_count`` and ``overdue_count``, the numbers of items
        :raises AccessError: when the user may not read journal items, or not those of the company
        """
        scope = self._get_scope(company, partner_ids)
        result = {}
        for partner, paid, days_to_pay, days_late in self.env.execute_query(self._select_paid(scope, date)):
            result[partner] = {
                "days_to_pay": days_to_pay / paid, "days_late": days_late, "paid_count": paid, "overdue_count": 0,
            }  # fmt: skip
        for partner, overdue, days_late in self.env.execute_query(self._select_overdue(scope, date)):
            values = result.setdefault(partner, {"days_to_pay": None, "days_late": 0, "paid_count": 0})
            values.update(days_late=values["days_late"] + days_late, overdue_count=overdue)
        for values in result.values():
            values["days_late"] /= values["paid_count"] + values["overdue_count"]
        return result

    @api.model
    def _select_paid(self, scope, date):
        """By customer: items settled in twelve months, sums of their days to pay and of their days past due."""
        item = SQL(
            """SELECT %(partner)s AS partner_id, %(invoiced)s AS invoiced, %(due)s AS due, paid.day
                 FROM %(from)s
                 JOIN LATERAL (
                    SELECT MAX(match.max_date) AS day
                      FROM account_partial_reconcile match
                      JOIN account_move_line other ON other.id = match.credit_move_id
                     WHERE match.debit_move_id = account_move_line.id AND NOT %(exchange)s
                 ) paid ON TRUE
                WHERE %(where)s AND move.move_type = 'out_invoice' AND account_move_line.balance > 0
                  AND account_move_line.reconciled AND move.payment_state <> 'reversed'
                  AND account_move_line.id IN (
                    SELECT debit_move_id FROM account_partial_reconcile WHERE max_date > %(since)s)
                  AND paid.day > %(since)s AND paid.day <= %(date)s""",
            **{"from": scope["query"].from_clause},
            partner=LINE["partner_id"],
            invoiced=BASIS["invoice"],
            due=LINE["date_maturity"],
            exchange=self._is_exchange(scope, "other"),
            where=scope["query"].where_clause,
            since=date - relativedelta(months=12),
            date=date,
        )
        return SQL(
            """%s SELECT partner_id, COUNT(*), SUM(day - invoiced), SUM(GREATEST(day - due, 0))
                 FROM (%s) item WHERE partner_id IS NOT NULL GROUP BY partner_id""",
            self._with(scope),
            item,
        )

    @api.model
    def _select_overdue(self, scope, date):
        """By customer: items of invoices that are past due, and the sum of their days."""
        columns = {
            "partner_id": LINE["partner_id"],
            "late_days": SQL("%s::date - %s", date, LINE["date_maturity"]),
            "is_invoice": SQL("(move.move_type = 'out_invoice' AND %s > 0)", RESIDUAL),
        }
        return SQL(
            """SELECT partner_id, COUNT(*), SUM(late_days) FROM (%s) item
                WHERE is_invoice AND late_days > 0 AND partner_id IS NOT NULL GROUP BY partner_id""",
            self._select_open(scope, date, columns),
        )
