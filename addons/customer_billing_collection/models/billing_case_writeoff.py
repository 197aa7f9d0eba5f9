from odoo import models

from .billing_case import CLOSED, SETTLED


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
        written_off = self.filtered(lambda case: reason in SETTLED and case._is_written_off())
        if written_off:
            written_off._close("written_off")
        return super(BillingCase, self - written_off)._close(reason)

    def _reopen(self, reason):
        """Debt that was given up is collected again: by this case, from the step where it was, unless another one of
        the customer is open. Called as superuser.

        :param str reason: for the history
        """
        for case in self.filtered(lambda case: case.state in CLOSED):
            current = case._get_current_case()
            if current == case:
                case.write({"state": "open", "close_reason": False, "date_closed": False})
            current._message_log(body=self.env._("%(case)s is open again: %(reason)s", case=case.name, reason=reason))
        self._note_changes(self.partner_id.ids)

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
