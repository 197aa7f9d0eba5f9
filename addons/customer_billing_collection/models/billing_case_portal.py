from datetime import timedelta
from decimal import Decimal, InvalidOperation

from odoo import fields, models
from odoo.exceptions import UserError
from odoo.tools import format_date

from odoo.addons.customer_billing.tools.money import to_decimal

from .billing_case import CLOSED

MAX_NOTE = 1000
TWICE_MINUTES = 10  # the same promise within this time is one click too many


class BillingCase(models.Model):
    """What a customer sees and may do about what is overdue. The case itself is not shown to customers."""

    _name = "billing.case"
    _inherit = "billing.case"

    def _get_promise_problem(self):
        """Why the customer may not promise in the portal now, as a text; False when he may."""
        self.ensure_one()
        policy = self.policy_id
        promises = self.promise_ids.filtered(lambda promise: promise.state != "cancelled")
        if self.state in CLOSED or self.currency_id.compare_amounts(self._get_overdue(), 0) <= 0:
            return self.env._("Nothing is overdue: thank you.")
        if self.date_legal:
            return self.env._("This was handed over to others: please write to us.")
        if promises.filtered(lambda promise: promise.state == "open"):
            return self.env._("You have told us a date already. If it has to change, please write to us.")
        if len(promises.filtered(lambda promise: promise.origin == "portal")) >= policy.promise_max_count:
            return self.env._("Please write to us or call us about a new date.")
        return False

    def _get_last_promise_date(self):
        """The last day that a customer may promise."""
        self.ensure_one()
        return self.company_id._get_billing_today() + timedelta(days=self.policy_id.promise_max_days)

    def _promise_from_portal(self, amount, date, note=None):
        """The customer promises on the page; all limits of the policy are checked here.

        The caller has checked that the visitor belongs to the customer; called as superuser with the visitor as user.

        :param str amount: as a form sends it, with a decimal point
        :param str date: ``YYYY-MM-DD``
        :raises UserError: not now, or not these terms; the text tells the customer what to do
        """
        self.ensure_one()
        if self.env.user._is_internal():
            raise UserError(self.env._("This page is the customer's: record a promise on the case itself."))
        self._mark_changed()  # one at a time: two clicks are one promise
        if self._is_promised(amount, date):
            return
        if problem := self._get_promise_problem():
            raise UserError(problem)
        today, last = self.company_id._get_billing_today(), self._get_last_promise_date()
        try:
            day = fields.Date.to_date((date or "")[:10])
        except ValueError:
            day = None
        if not day or not today <= day <= last:
            raise UserError(
                self.env._("Choose a day from today to %s.", format_date(self.env, last))
            )
        self.env["billing.promise"].create(
            {
                "case_id": self.id,
                "amount": self._read_promised_amount(amount),
                "date": day,
                "date_given": today,
                "note": (note or "").replace("\0", "").strip()[:MAX_NOTE],
                "origin": "portal",
                "user_id": self.env.user.id,
            }
        )
        self.message_post(
            body=self.env._("The customer promised in the portal: %s", self.promise_ids[:1].display_name),
            author_id=self.env.user.partner_id.id,
        )

    def _is_promised(self, amount, date):
        """Whether the visitor has just promised this: a second click."""
        since = fields.Datetime.subtract(fields.Datetime.now(), minutes=TWICE_MINUTES)
        try:
            amount = float(amount)
        except (TypeError, ValueError):
            return False
        return bool(
            self.promise_ids.filtered(
                lambda promise: promise.state == "open"
                and promise.origin == "portal"
                and promise.user_id == self.env.user
                and promise.create_date > since
                and str(promise.date) == (date or "")[:10]
                and not promise.currency_id.compare_amounts(promise.amount, amount)
            )
        )

    def _read_promised_amount(self, text):
        overdue = self._get_overdue()
        try:
            amount = Decimal((text or "").strip()[:30])
        except InvalidOperation:
            amount = Decimal(0)
        step = to_decimal(self.currency_id.rounding)
        if not amount.is_finite() or not 0 < amount <= to_decimal(overdue) or amount % step:
            raise UserError(self.env._("Enter an amount up to %s.", self.currency_id.format(overdue)))
        return float(amount)
