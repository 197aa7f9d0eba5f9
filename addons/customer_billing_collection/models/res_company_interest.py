from odoo import fields, models


class ResCompany(models.Model):
    _name = "res.company"
    _inherit = ["res.company"]

    billing_interest_billing = fields.Selection(
        [("none", "By hand"), ("draft", "Draft bills every month"), ("post", "Posted bills every month")],
        string="Bills of Interest",
        default="draft",
        required=True,
        help="What the job does with late interest and fees after a month has ended.",
        groups="base.group_user",
    )
    billing_collection_approval_amount = fields.Monetary(
        string="Waive and Write Off Up To",
        help="A person may waive or write off so much in a case without asking; above it a billing manager approves "
        "what another person asked for.",
        groups="base.group_user",
    )
    billing_bad_debt_account_id = fields.Many2one(
        "account.account",
        string="Bad Debt Account",
        domain=[("account_type", "in", ("expense", "expense_other", "expense_direct_cost"))],
        check_company=True,
        help="Debited with what is written off, taxes included.",
        groups="base.group_user",
    )
    billing_writeoff_journal_id = fields.Many2one(
        "account.journal",
        string="Write-off Journal",
        domain=[("type", "=", "general")],
        check_company=True,
        help="Else the first miscellaneous journal of the company.",
        groups="base.group_user",
    )

    def write(self, vals):
        limits = {company: company.billing_collection_approval_amount for company in self}
        result = super().write(vals)
        for company, was in limits.items():
            if company.billing_collection_approval_amount != was:
                # sudo: logged where all who work with the company see it
                company.partner_id.sudo().message_post(
                    body=self.env._(
                        "Waivers and write-offs need the approval of a second person above %(new)s, no longer above "
                        "%(old)s.",
                        new=company.currency_id.format(company.billing_collection_approval_amount),
                        old=company.currency_id.format(was),
                    )
                )
        return result

    def _get_billing_bad_debt_account(self):
        """The account of bad debt of this company, of a branch else that of its company; maybe none."""
        self.ensure_one()
        company_sudo = self.sudo()  # a setting; whoever may write off
        return company_sudo.billing_bad_debt_account_id or company_sudo.root_id.billing_bad_debt_account_id

    def _get_billing_writeoff_journal(self):
        """The journal of write-offs of this company, maybe none."""
        self.ensure_one()
        # sudo: a setting; whoever may write off
        return self.sudo().billing_writeoff_journal_id or self.env["account.journal"].sudo().search(
            [*self.env["account.journal"]._check_company_domain(self), ("type", "=", "general")], limit=1
        )
