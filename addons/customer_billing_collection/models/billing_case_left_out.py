from odoo import api, models

MAX_CUSTOMERS = 500  # of which the items are read


class BillingCase(models.Model):
    """Why customers with overdue items have no case."""

    _name = "billing.case"
    _inherit = "billing.case"

    @api.model
    def _get_left_out(self, company):
        """Return the customers who owe something overdue and have no case: {code: set of customer ids}.

        The code is that of an exclusion, ``credits`` (they cover it), ``policy`` (none applies), ``night`` (the next
        one opens a case), or ``more`` (beyond ``MAX_CUSTOMERS``, not looked at). A fixed number of queries.

        :param company: a company without parent; its branches are included
        """
        today = company._get_billing_today()
        left = self._get_overdue_keys(company, today) - {
            (partner.id, currency.id)
            for partner, currency in self._read_group(
                [*self._get_open_domain(), ("company_id", "=", company.id)], ["partner_id", "currency_id"]
            )
        }
        partners = self.env["res.partner"].browse({partner for partner, _currency in left})
        policies = self.env["billing.dunning.policy"]._get_for(partners, company)
        followed = partners.filtered(policies.get).sorted("id")
        found = {"policy": set((partners - followed).ids), "more": set(followed[MAX_CUSTOMERS:].ids)}
        looked_at = followed[:MAX_CUSTOMERS]
        kernels = self.env["billing.dunning.policy"].union(*policies.values())._get_kernel_policies()
        for key, rows in self._read_items(company, today, looked_at.ids).items():
            if key in left:
                kernel = kernels[policies[partners.browse(key[0])]]
                found.setdefault(self._get_reason_left_out(rows, kernel, today, key[1]), set()).add(key[0])
        return {code: ids for code, ids in found.items() if ids}

    @api.model
    def _get_awaited_since(self, company, partner_ids):
        """The first day of the payments on their way that keep items of these customers out of dunning; None: none."""
        items = self._read_items(company, company._get_billing_today(), list(partner_ids)) if partner_ids else {}
        return min((payment["date"] for rows in items.values() for payment in self._get_awaited(rows)), default=None)

    @api.model
    def _get_overdue_keys(self, company, today):
        """Customers and currencies with something overdue: set of pairs of ids."""
        groups = self.env["account.move.line"]._read_group(
            [
                ("parent_state", "=", "posted"),
                ("account_id.account_type", "=", "asset_receivable"),
                ("reconciled", "=", False),
                ("amount_residual_currency", ">", 0),
                "|", ("date_maturity", "<", today), "&", ("date_maturity", "=", False), ("date", "<", today),
                ("company_id", "child_of", company.id),
                ("partner_id", "!=", False),
            ],  # fmt: skip
            ["partner_id", "currency_id"],
        )
        return {(partner.commercial_partner_id.id, currency.id) for partner, currency in groups}

    @api.model
    def _get_reason_left_out(self, rows, policy, today, currency_id):
        """Why there is no case for these items of a customer in one currency."""
        if self._is_to_open(rows, policy, today, currency_id):
            return "night"
        overdue = [row["excluded"] for row in rows if row["residual"] > 0 and row["days_overdue"] > 0]
        return next((code for code in overdue if code), "credits")
