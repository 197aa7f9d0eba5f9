from odoo import api, fields, models
from odoo.tools import format_date

from ..tools import dunning


class BillingCase(models.Model):
    """What is open, and what of it may be demanded."""

    _name = "billing.case"
    _inherit = "billing.case"

    def _get_items(self, date=None):
        """Return the open items of each case: {case: list of dicts}.

        The dicts are those of ``billing.receivable._get_open_items``, by due date, credits among them (negative), and
        ``days_overdue`` (negative: not due yet); ``transit``, what payments on their way will settle of it;
        ``payments``, which those are (the dicts of ``_get_in_transit`` with the ``amount`` for this item, and
        ``is_late``: not waited for any longer, and not in ``transit``);
        ``excluded``: None, or why the item is not demanded now: ``dispute``, ``promise``, ``instalment``, ``transit``.
        The number of queries does not depend on the number of cases. For methods: access is checked for the case alone.

        :param date date: the day of the residuals; today when empty. Exclusions are those of today
        """
        self.check_access("read")
        result = {}
        for company, cases in self.grouped("company_id").items():
            items = self._read_items(company, date or company._get_billing_today(), cases.partner_id.ids)
            for case in cases:
                result[case] = items.get((case.partner_id.id, case.currency_id.id), [])
        self._exclude_protected(result)
        return result

    @api.model
    def _read_items(self, company, date, partner_ids):
        """Return open items by (customer id, currency id), as ``_get_items`` but without what cases know."""
        # sudo: a case is read as a whole; who may read it was checked, or it is the job
        rows = self.env["billing.receivable"].sudo()._get_open_items(company, date, partner_ids)
        debits = [row["move_line_id"] for row in rows if row["residual"] > 0]
        disputed = self.env["billing.dispute"].sudo()._get_disputed_move_lines(debits)
        result = {}
        for row in rows:
            row["days_overdue"] = (date - row["date_maturity"]).days
            row["transit"], row["payments"] = 0.0, []
            row["excluded"] = "dispute" if row["move_line_id"] in disputed else None
            result.setdefault((row["partner_id"], row["currency_id"]), []).append(row)
        self._exclude_transit(company, result, debits)
        return result

    @api.model
    def _exclude_transit(self, company, items, move_line_ids):
        """Mark what payments on their way settle in ``items``, see ``_read_items``."""
        today = company._get_billing_today()
        lines_sudo = self.env["account.move.line"].sudo().browse(move_line_ids)  # as above
        lines_sudo.fetch(["partner_id", "company_id", "move_id"])
        payments = {}
        for payment in self.env["billing.receivable"].sudo()._get_in_transit(lines_sudo):
            if payment["kind"] == "announced":
                payment["is_late"] = self._is_transit_late(company, payment, today)
                payments.setdefault((payment["partner_id"], payment["currency_id"]), []).append(payment)
        for key, found in payments.items():
            found.sort(key=lambda payment: payment["is_late"])  # what comes soon counts first
            rows = {row["move_line_id"]: row for row in items.get(key, ()) if row["residual"] > 0}
            named = [
                (payment["amount"], [line for line, row in rows.items() if row["move_id"] in payment["move_ids"]])
                for payment in found
            ]
            amounts = {line: row["residual"] for line, row in rows.items()}
            for line, parts in dunning.allocate_transit(amounts, named).items():
                row = rows[line]
                row["payments"] = [{**found[position], "amount": amount} for position, amount in parts.items()]
                row["transit"] = sum(payment["amount"] for payment in row["payments"] if not payment["is_late"])
                if not row["excluded"] and row["transit"] and row["transit"] >= row["residual"]:
                    row["excluded"] = "transit"

    @api.model
    def _is_transit_late(self, company, payment, today):
        """Whether a payment is on its way for so long that nobody waits for it any more. Modules that know when their
        payments should have arrived override this; money that was taken from the customer is never late.

        :param payment: a dict of ``billing.receivable._get_in_transit``
        """
        return False

    @api.model
    def _get_awaited(self, rows):
        """The payments that keep items out of dunning, as JSON: list of dicts with ``name, date`` and ``amount``."""
        found = {}
        for row in rows:
            for payment in row["payments"] if row["excluded"] == "transit" else ():
                if not payment["is_late"]:
                    date = fields.Date.to_string(payment["date"])
                    new = {"name": payment["name"], "date": date, "amount": 0.0}
                    found.setdefault((payment["name"], date), new)["amount"] += payment["amount"]
        return list(found.values())

    @api.model
    def _describe_payment(self, payment, currency):
        """A payment on its way as a text: what, how much, since when."""
        return self.env._(
            "%(name)s, %(amount)s, since %(date)s",
            name=payment["name"],
            amount=currency.format(payment["amount"]),
            date=format_date(self.env, payment["date"]),
        )

    @api.model
    def _exclude_protected(self, items):
        """Mark what promises and instalment agreements take out of dunning; ``items`` as ``_get_items`` returns it."""
        cases = self.browse([case.id for case in items]).sudo()  # sudo: as in _read_items
        if not cases:
            return
        for code, model in (("instalment", "billing.instalment"), ("promise", "billing.promise")):
            for case, lines in self.env[model].sudo()._get_protected_items(cases).items():
                for row in items[case]:
                    if row["move_line_id"] in lines and row["residual"] > 0 and not row["excluded"]:
                        row["excluded"] = code

    @api.model
    def _get_kernel_items(self, rows):
        """Rows of ``_get_items`` as the kernel knows them; what is on its way is deducted, but where it settles all of
        an item, which is excluded."""
        result = []
        for row in rows:
            transit = 0.0 if row["excluded"] == "transit" else row["transit"]
            share = 1 - transit / row["residual"] if transit else 1
            result.append(
                dunning.Item(
                    row["move_line_id"],
                    row["date_maturity"],
                    row["residual"] - transit,
                    row["residual_company"] * share,
                    row["excluded"],
                )
            )
        return result
