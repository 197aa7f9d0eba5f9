import json

from odoo import api, fields, models


class BillingStatementVerification(models.TransientModel):
    """What changed in the ledger since a statement, to look at."""

    _name = "billing.statement.verification"
    _description = "Verification of a Statement"

    statement_id = fields.Many2one("billing.statement", required=True, readonly=True)
    currency_id = fields.Many2one(related="statement_id.currency_id")
    # with the rights of the reader, who has named the statement himself
    statement_state = fields.Selection(related="statement_id.state", related_sudo=False)
    balance_close = fields.Monetary(related="statement_id.balance_close", related_sudo=False)
    result = fields.Char(string="Details", readonly=True)
    state = fields.Selection(
        [
            ("ok", "As it was issued"),
            ("changed", "The ledger has changed"),
            ("damaged", "A file is not the one that was issued"),
        ],
        string="Result",
        compute="_compute_result",
    )
    balance_now = fields.Monetary(compute="_compute_result", string="Closing Balance Now")
    changes_html = fields.Html(compute="_compute_result", string="What Changed")

    @api.depends("result")
    def _compute_result(self):
        for wizard in self:
            result = json.loads(wizard.result or "{}")
            wizard.state = result.get("state")
            wizard.balance_now = result.get("balance_close", 0.0)
            wizard.changes_html = wizard.statement_id._render_changes(result.get("changes", []))

    def action_reissue(self):
        """Make a new statement that takes the place of this one."""
        return self.statement_id.action_reissue()

    def _get_form_action(self):
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Verification"),
            "res_model": self._name,
            "res_id": self.id,
            "view_mode": "form",
            "target": "new",
        }
