from odoo import api, fields, models


class ResPartner(models.Model):
    _inherit = "res.partner"

    billing_contract_ids = fields.One2many("billing.contract", "partner_id", string="Contracts")
    billing_contract_count = fields.Integer(string="Number of Contracts", compute="_compute_billing_contract_count")
    billing_consolidation = fields.Selection(
        [("contract", "One bill per contract"), ("customer", "One bill for all contracts")],
        string="Consolidation",
        company_dependent=True,
        default="contract",
        help="Read from the company that the bill goes to.",
    )
    billing_channel = fields.Selection(
        [("email", "E-mail"), ("portal", "Portal only"), ("post", "Print and post")],
        string="Bills By",
        company_dependent=True,
        default="email",
        help="Portal only: nothing is sent, the customer looks into the portal. Print and post: "
        "sending puts the bill on the list of those to print. Read from the company that the bill "
        "goes to.",
    )
    billing_officer_id = fields.Many2one(
        "res.users", string="Billing Officer", company_dependent=True, domain=[("share", "=", False)]
    )
    billing_overdue_amount = fields.Monetary(
        compute="_compute_billing_overdue_amount",
        string="Overdue",
        groups="account.group_account_invoice,account.group_account_readonly",
    )

    def _compute_billing_contract_count(self):
        counts = dict.fromkeys(self.ids, 0)
        partners = self.with_context(active_test=False).search_fetch(
            [("id", "child_of", self.ids)], ["parent_id"]
        )
        for partner, count in self.env["billing.contract"]._read_group(
            [("partner_id", "in", partners.ids)], ["partner_id"], ["__count"]
        ):
            while partner:
                if partner.id in counts:
                    counts[partner.id] += count
                partner = partner.parent_id
        for partner in self:
            partner.billing_contract_count = counts.get(partner.id, 0)

    @api.depends_context("company", "allowed_company_ids")
    def _compute_billing_overdue_amount(self):
        """Open receivable past its due date, in company currency."""
        today = self.env.company._get_billing_today()
        sums = dict(
            self.env["account.move.line"]._read_group(
                [
                    ("partner_id", "in", self.commercial_partner_id.ids),
                    ("company_id", "child_of", self.env.company.root_id.id),
                    ("account_id.account_type", "=", "asset_receivable"),
                    ("parent_state", "=", "posted"),
                    ("reconciled", "=", False),
                    ("date_maturity", "<", today),
                ],
                ["partner_id"],
                ["amount_residual:sum"],
            )
        )
        for partner in self:
            partner.billing_overdue_amount = sums.get(partner.commercial_partner_id, 0.0)

    def action_view_billing_contracts(self):
        """Open the contracts of this customer and its contacts."""
        action = self.env["ir.actions.actions"]._for_xml_id(
            "customer_billing.billing_contract_action"
        )
        action["domain"] = [("partner_id", "child_of", self.ids)]
        action["context"] = {"default_partner_id": self[:1].id}
        return action

    def action_view_billing_overdue(self):
        """Open the overdue bills of this customer."""
        action = self.env["ir.actions.actions"]._for_xml_id(
            "customer_billing.account_move_action_bills"
        )
        action["domain"] = [
            ("commercial_partner_id", "in", self.commercial_partner_id.ids),
            ("move_type", "in", ("out_invoice", "out_refund")),
            ("state", "=", "posted"),
            ("payment_state", "in", ("not_paid", "partial")),
        ]
        action["context"] = {"create": False}
        return action
