from odoo import models


class BillingCase(models.Model):
    _name = "billing.case"
    _inherit = ["billing.case"]

    def _get_writeoff_items(self):
        """What is open of this case and of its branches, the oldest first."""
        self.ensure_one()
        return self.env["account.move.line"].search(
            [
                ("partner_id.commercial_partner_id", "=", self.partner_id.id),
                ("company_id", "child_of", self.company_id.id),
                ("currency_id", "=", self.currency_id.id),
                ("account_id.account_type", "=", "asset_receivable"),
                ("parent_state", "=", "posted"),
                ("reconciled", "=", False),
                ("amount_residual_currency", ">", 0),
            ],
            order="date_maturity, id",
        )

    def _is_written_off(self):
        """Whether debt of this case is written off: when nothing is open, that is how it ended."""
        self.ensure_one()
        # sudo: the state of a case, whoever looks
        return "posted" in self.sudo().writeoff_ids.mapped("state")

    def _close(self, reason):
        written_off = self.filtered(lambda case: reason == "paid" and case._is_written_off())
        if written_off:
            written_off._close("written_off")
        return super(BillingCase, self - written_off)._close(reason)

    def action_writeoff(self):
        """Ask for a write-off of open items."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Write Off"),
            "res_model": "billing.writeoff.wizard",
            "view_mode": "form",
            "target": "new",
            "context": {"default_case_id": self.id, "dialog_size": "extra-large"},
        }
