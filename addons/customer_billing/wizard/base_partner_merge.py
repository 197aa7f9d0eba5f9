from odoo import api, models
from odoo.exceptions import UserError


class BasePartnerMergeAutomaticWizard(models.TransientModel):
    _inherit = "base.partner.merge.automatic.wizard"

    @api.model
    def _update_foreign_keys(self, src_partners, dst_partner):
        """Contracts, charges, usage, disputes and bills follow; what would go wrong is refused."""
        self._check_billing_merge(src_partners, dst_partner)
        super()._update_foreign_keys(src_partners, dst_partner)

    @api.model
    def _check_billing_merge(self, src_partners, dst_partner):
        """Raise when contracts could not follow their customer.

        Core moves every reference by SQL: no rule of a model is asked, and rows that violate a
        unique constraint are deleted. Modules with rows that are unique by partner override
        this, to join them before or to refuse with the reason.

        :raises UserError: the merged contact would owe bills to another debtor than before, or
            could not be the customer of its contracts' company
        """
        merged = src_partners | dst_partner
        contracts_sudo = self.env["billing.contract"].sudo().search(  # sudo: nobody may lose any
            [
                ("active", "in", (True, False)),
                "|",
                ("partner_id", "child_of", merged.ids),
                ("invoice_partner_id", "child_of", merged.ids),
            ]
        )
        for contract_sudo in contracts_sudo:
            for partner_sudo in contract_sudo.partner_id | contract_sudo.invoice_partner_id:
                self._check_billing_debtor(contract_sudo, partner_sudo, src_partners, dst_partner)
        self._check_billing_company(contracts_sudo, src_partners, dst_partner)

    @api.model
    def _check_billing_debtor(self, contract, partner, src_partners, dst_partner):
        """Receivables belong to the commercial entity: it must be the same after the merge."""
        merged = src_partners | dst_partner
        debtor, contact = partner.commercial_partner_id, partner
        while contact not in merged:
            if not contact or contact == debtor:
                return  # not below a merged contact
            contact = contact.parent_id
        # Core keeps what the destination has, and fills in what the sources have.
        parent = dst_partner.parent_id or src_partners.parent_id[-1:]
        is_company = not parent or any(merged.mapped("is_company"))
        after = dst_partner if is_company else parent.commercial_partner_id
        before = dst_partner if debtor in merged else debtor
        if before != after:
            raise UserError(
                self.env._(
                    "%(contract)s is billed to %(before)s and would be billed to %(after)s after "
                    "the merge. Move the contacts to the same company first, or close the contract "
                    "and start another one.",
                    contract=contract.name,
                    before=debtor.display_name,
                    after=after.display_name,
                )
            )

    @api.model
    def _check_billing_company(self, contracts, src_partners, dst_partner):
        """A contact that belongs to one company is no customer of another one."""
        company = dst_partner.company_id or src_partners.company_id[-1:]
        foreign = contracts.filtered(
            lambda contract: company and company not in contract.company_id.parent_ids
        )
        if foreign:
            raise UserError(
                self.env._(
                    "%(contract)s is a contract of %(contract_company)s, and the merged contact "
                    "would belong to %(company)s only. Empty the company of the contacts first.",
                    contract=foreign[0].name,
                    contract_company=foreign[0].company_id.name,
                    company=company.name,
                )
            )
