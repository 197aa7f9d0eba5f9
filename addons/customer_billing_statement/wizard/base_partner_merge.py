from odoo import api, models
from odoo.exceptions import UserError


class BasePartnerMergeAutomaticWizard(models.TransientModel):
    _inherit = "base.partner.merge.automatic.wizard"

    @api.model
    def _check_billing_merge(self, src_partners, dst_partner):
        """Statements follow their customer; two for the same period could not both do so.

        :raises UserError: two of the merged contacts have a statement for the same period
        """
        super()._check_billing_merge(src_partners, dst_partner)
        statements_sudo = self.env["billing.statement"].sudo().search(  # sudo: nobody may lose any
            [
                ("partner_id", "in", (src_partners | dst_partner).ids),
                ("state", "not in", ("superseded", "cancelled")),
            ]
        )
        for same in statements_sudo.grouped(
            lambda s: (s.company_id, s.currency_id, s.date_from, s.date_to)
        ).values():
            if len(same) > 1:
                raise UserError(
                    self.env._(
                        "%(first)s and %(second)s are statements for the same period, which one "
                        "customer cannot have. Cancel one of them first.",
                        first=same[0].name,
                        second=same[1].name,
                    )
                )
