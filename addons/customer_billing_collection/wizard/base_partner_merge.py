from odoo import api, models


class BasePartnerMergeAutomaticWizard(models.TransientModel):
    _inherit = "base.partner.merge.automatic.wizard"

    @api.model
    def _check_billing_merge(self, src_partners, dst_partner):
        """Close all but one open case of each company and currency: there can be one for the merged customer only.

        The destination's case goes on; without one, the oldest.
        """
        super()._check_billing_merge(src_partners, dst_partner)
        case_model = self.env["billing.case"].sudo()  # sudo: nobody may lose any
        cases = case_model.search(
            [*case_model._get_open_domain(), ("partner_id", "in", (src_partners | dst_partner).ids)], order="id"
        )
        for same in cases.grouped(lambda case: (case.company_id, case.currency_id)).values():
            kept = (same.filtered(lambda case: case.partner_id == dst_partner) or same)[:1]
            for case in same - kept:
                case._merge_into(kept)
