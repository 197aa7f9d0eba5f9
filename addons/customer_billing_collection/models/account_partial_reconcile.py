from odoo import api, models


class AccountPartialReconcile(models.Model):
    _inherit = "account.partial.reconcile"

    @api.model_create_multi
    def create(self, vals_list):
        partials = super().create(vals_list)
        if partials._note_collection_changes():
            self.env.cr.precommit.data.setdefault("billing_case_matches", set()).update(partials.ids)
        return partials

    def unlink(self):
        partners = self._note_collection_changes()
        # while an entry is reversed, its write-off is told by that
        is_reversed = self.env.context.get("billing_writeoff_reversed")
        writeoffs_sudo = self.env["billing.writeoff"]._get_of_matches(self.browse() if is_reversed else self)
        result = super().unlink()
        self.env["billing.promise"]._take_back(partners)
        writeoffs_sudo._follow_unmatched()
        return result

    def _note_payments_gone(self):
        """These matches count no more, though they are still there."""
        self.env["billing.promise"]._take_back(self._note_collection_changes())

    def _note_collection_changes(self):
        """Let the cases of these customers be looked at again; returns the customers."""
        lines_sudo = (self.debit_move_id | self.credit_move_id).sudo()  # who pays need not read cases
        lines_sudo = lines_sudo.filtered(lambda line: line.account_type == "asset_receivable")
        if partners := lines_sudo.partner_id.commercial_partner_id:
            self.env["billing.case"]._note_changes(partners.ids)
        return partners
