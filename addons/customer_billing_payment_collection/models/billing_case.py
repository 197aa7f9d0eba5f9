from odoo import api, models

from odoo.addons.customer_billing_collection.tools.dunning import MAX_PRIORITY

FAILED_FACTOR = 1.5  # of the priority of a case with a failed charge


class BillingCase(models.Model):
    """What is charged automatically is not demanded; what was declined for good is, from its due date on."""

    _name = "billing.case"
    _inherit = "billing.case"

    @api.model
    def _read_items(self, company, date, partner_ids):
        """Items also have ``charge_failed``: their bill was to be charged, which has failed. ``excluded`` may be
        ``charge``: it is being charged, or will be."""
        result = super()._read_items(company, date, partner_ids)
        rows = [row for found in result.values() for row in found]
        # sudo: a case is read as a whole
        moves_sudo = self.env["account.move"].sudo().browse({row["move_id"] for row in rows})
        expected = set(moves_sudo._filter_billing_charge_expected().ids)
        failed = set(moves_sudo.search([("id", "in", moves_sudo.ids), ("billing_charge_state", "=", "failed")]).ids)
        for row in rows:
            row["charge_failed"] = row["residual"] > 0 and row["move_id"] in failed
            if row["residual"] > 0 and row["move_id"] in expected and not row["excluded"]:
                row["excluded"] = "charge"
        return result

    @api.model
    def _get_failed_rows(self, rows):
        """Those of these items that are due and whose automatic payment has failed."""
        return [row for row in rows if row["charge_failed"] and row["days_overdue"] >= 0 and not row["excluded"]]

    @api.model
    def _is_to_open(self, rows, policy, today, currency_id):
        """Also on the due date itself, for what has failed then."""
        return super()._is_to_open(rows, policy, today, currency_id) or self._exceeds_credits(
            self._get_failed_rows(rows), rows, self.env["res.currency"].browse(currency_id)
        )

    def _is_to_stay_open(self, rows, policy, today):
        """Also while what is due today has failed, or is being charged again."""
        due = [row for row in rows if row["excluded"] == "charge" and row["days_overdue"] >= 0]
        return super()._is_to_stay_open(rows, policy, today) or self._exceeds_credits(
            due + self._get_failed_rows(rows), rows, self.currency_id
        )

    @api.model
    def _exceeds_credits(self, due, rows, currency):
        """Whether the credits among these items leave something of those that are ``due``."""
        credit = sum(row["residual"] for row in rows if row["residual"] < 0)
        return bool(due) and currency.compare_amounts(sum(row["residual"] for row in due) + credit, 0) > 0

    def _prepare_refreshed(self, rows, policy, today, behaviour):
        values = super()._prepare_refreshed(rows, policy, today, behaviour)
        if self._get_failed_rows(rows):
            values["priority"] = min(round(values["priority"] * FAILED_FACTOR), MAX_PRIORITY)
            values["priority_reason"]["charge_factor"] = FAILED_FACTOR
        return values

    # Texts

    @api.depends_context("lang")
    @api.depends("priority_reason")
    def _compute_priority_text(self):
        super()._compute_priority_text()
        for case in self:
            if factor := (case.priority_reason or {}).get("charge_factor"):
                case.priority_text = self.env._(
                    "%(reason)s × %(factor)s (automatic payment declined)", reason=case.priority_text, factor=factor
                )

    @api.model
    def _get_exclusion_labels(self):
        return {**super()._get_exclusion_labels(), "charge": self.env._("Automatic payment")}

    @api.model
    def _get_portal_labels(self):
        return {**super()._get_portal_labels(), "charge": self.env._("Paid automatically")}
