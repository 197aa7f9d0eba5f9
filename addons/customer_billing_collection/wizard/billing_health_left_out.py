from odoo import api, models
from odoo.tools import format_date


class BillingHealth(models.TransientModel):
    """Customers who are overdue and whom collections leave alone."""

    _name = "billing.health"
    _inherit = "billing.health"

    @api.model
    def _get_collection_items(self):
        return [*super()._get_collection_items(), *self._get_left_out_items()]

    @api.model
    def _get_left_out_items(self):
        """A line for each company that has dunning policies: how many customers, and why."""
        # sudo: the page counts whatever its readers may see or not
        policies_sudo = self.env["billing.dunning.policy"].sudo().search(
            [("company_id", "in", self.env.companies.root_id.ids)]
        )
        return [self._get_left_out_item(company) for company in policies_sudo.company_id]

    @api.model
    def _get_left_out_item(self, company):
        found = self.env["billing.case"].sudo()._get_left_out(company)  # sudo: as above
        labels = {
            **self.env["billing.case"]._get_exclusion_labels(),
            "credits": self.env._("Covered by credits"),
            "policy": self.env._("No dunning policy applies"),
            "night": self.env._("The next night opens a case"),
            "more": self.env._("Not looked at here"),
        }
        if since := self.env["billing.case"].sudo()._get_awaited_since(company, found.get("transit", ())):  # as above
            labels["transit"] = self.env._(
                "%(reason)s (since %(date)s)", reason=labels["transit"], date=format_date(self.env, since)
            )
        customers = set().union(*found.values())
        return {
            "label": self.env._("Overdue customers without a case: %s", company.name),
            "value": len(customers),
            "severity": "warning" if "policy" in found else "info" if customers else "ok",
            "hint": ". ".join(f"{labels.get(code, code)}: {len(ids)}" for code, ids in found.items()),
            "action": {
                "xmlid": "customer_billing.res_partner_action_customers",
                "domain": [("id", "in", sorted(customers))],
                "context": {"create": False},
            },
        }
