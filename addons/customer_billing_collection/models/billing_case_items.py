from odoo import api, models

from ..tools import dunning


class BillingCase(models.Model):
    """What is open, and what of it may be demanded."""

    _name = "billing.case"
    _inherit = "billing.case"

    def _get_items(self, date=None):
        """Return the open items of each case: {case: list of dicts}.

        The dicts are those of ``billing.receivable._get_open_items``, by due date, credits among them (negative), and
        ``days_overdue`` (negative: not due yet); ``transit``, what payments on their way will settle of it;
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
            row["transit"] = 0.0
            row["excluded"] = "dispute" if row["move_line_id"] in disputed else None
            result.setdefault((row["partner_id"], row["currency_id"]), []).append(row)
        self._exclude_transit(result, debits)
        return result

    @api.model
    def _exclude_transit(self, items, move_line_ids):
        """Mark what payments on their way settle in ``items``, see ``_read_items``."""
        lines_sudo = self.env["account.move.line"].sudo().browse(move_line_ids)  # as above
        lines_sudo.fetch(["partner_id", "company_id", "move_id"])
        payments = {}
        for payment in self.env["billing.receivable"].sudo()._get_in_transit(lines_sudo):
            if payment["kind"] == "announced":
                payments.setdefault((payment["partner_id"], payment["currency_id"]), []).append(payment)
        for key, found in payments.items():
            rows = {row["move_line_id"]: row for row in items.get(key, ()) if row["residual"] > 0}
            named = [
                (payment["amount"], [line for line, row in rows.items() if row["move_id"] in payment["move_ids"]])
                for payment in found
            ]
            amounts = {line: row["residual"] for line, row in rows.items()}
            for line, amount in dunning.allocate_transit(amounts, named).items():
                rows[line]["transit"] = amount
                if not rows[line]["excluded"] and amount >= rows[line]["residual"]:
                    rows[line]["excluded"] = "transit"

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
        """Rows of ``_get_items`` as the kernel knows them; what is on its way is deducted."""
        result = []
        for row in rows:
            share = 1 - row["transit"] / row["residual"] if row["transit"] else 1
            result.append(
                dunning.Item(
                    row["move_line_id"],
                    row["date_maturity"],
                    row["residual"] - row["transit"],
                    row["residual_company"] * share,
                    row["excluded"],
                )
            )
        return result
