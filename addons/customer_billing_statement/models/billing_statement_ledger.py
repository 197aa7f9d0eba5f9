from odoo import fields, models


class BillingStatement(models.Model):
    """The customer's own ledgers beside a statement."""

    _name = "billing.statement"
    _inherit = "billing.statement"

    match_ids = fields.One2many("billing.statement.match", "statement_id", readonly=True)
    match_count = fields.Integer(compute="_compute_match_count", string="Customer's Ledgers")

    def _compute_match_count(self):
        counts = dict(
            self.env["billing.statement.match"]._read_group(
                [("statement_id", "in", self.ids)], ["statement_id"], ["__count"]
            )
        )
        for statement in self:
            statement.match_count = counts.get(statement, 0)

    def action_compare_ledger(self):
        """Upload the customer's ledger and compare it with this statement."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Compare with the Customer's Ledger"),
            "res_model": "billing.statement.match",
            "view_mode": "form",
            "context": {"default_statement_id": self.id},
        }

    def action_view_ledgers(self):
        """Open the customer's ledgers that were compared with this statement."""
        action = self.env["ir.actions.actions"]._for_xml_id(
            "customer_billing_statement.billing_statement_match_action"
        )
        action["domain"] = [("statement_id", "in", self.ids)]
        action["context"] = {"default_statement_id": self[:1].id}
        return action
