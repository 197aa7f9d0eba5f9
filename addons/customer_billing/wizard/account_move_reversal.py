from odoo import api, fields, models


class AccountMoveReversal(models.TransientModel):
    _inherit = "account.move.reversal"

    is_billing = fields.Boolean(string="Bill of a Contract", compute="_compute_is_billing")
    billing_again = fields.Boolean(
        string="Bill These Periods Again",
        help="The next billing run bills the credited periods anew. Leave it off for a credit "
        "that is for good.",
    )

    billing_dispute_id = fields.Many2one(
        "billing.dispute", string="Dispute", readonly=True, help="What this credit note settles."
    )

    @api.depends("move_ids")
    def _compute_is_billing(self):
        for wizard in self:
            wizard.is_billing = bool(wizard.move_ids.billing_contract_ids)

    def reverse_moves(self, is_modify=False):
        wizard = self.with_context(
            billing_again=is_modify or self.billing_again, billing_modify=is_modify
        )
        before = self.move_ids.reversal_move_ids
        action = super(AccountMoveReversal, wizard).reverse_moves(is_modify=is_modify)
        if is_modify:
            for move, copy in zip(self.move_ids, self.new_move_ids, strict=True):
                move._copy_charges_to(copy, sign=1, waived=False)
        if dispute := self.billing_dispute_id:
            credits = self.move_ids.reversal_move_ids - before
            dispute.check_access("write")
            dispute.sudo().credit_move_ids += credits  # protected field
            dispute.message_post(
                body=self.env._("Credited by %s.", ", ".join(credits.mapped("display_name")))
            )
        return action
