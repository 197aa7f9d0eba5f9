from odoo import Command, api, fields, models
from odoo.exceptions import UserError

# Who may read the items of customers, at least of their own.
RECEIVABLE_GROUPS = ",".join(
    f"customer_billing.group_billing_{role}" for role in ("sales", "collector", "auditor", "officer")
)


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
    profile_confirm_date = fields.Date(
        string="Profile Confirmed On",
        company_dependent=True,
        help="When the customer last confirmed or corrected what we know about it.",
    )
    billing_profile_opt_out = fields.Boolean(
        string="Not Asked About the Profile", help="The customer does not want to be asked to confirm its profile."
    )
    billing_officer_id = fields.Many2one(
        "res.users",
        string="Billing Officer",
        company_dependent=True,
        domain=[("share", "=", False)],
        groups="base.group_user",
    )
    # Fields of Odoo that customers could read of their own record over the API.
    comment = fields.Html(groups="base.group_user")
    trust = fields.Selection(groups="base.group_user")
    days_sales_outstanding = fields.Float(groups="base.group_user")
    billing_balance_amount = fields.Monetary(
        compute="_compute_billing_receivable", string="Balance", groups=RECEIVABLE_GROUPS
    )
    billing_overdue_amount = fields.Monetary(
        compute="_compute_billing_receivable", string="Overdue", groups=RECEIVABLE_GROUPS
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

    @api.depends_context("company", "uid")
    def _compute_billing_receivable(self):
        """What the customer owes today, and what of it is past its due date; in company currency."""
        company = self.env.company
        balances = self.env["billing.receivable"]._get_balances(
            company, company._get_billing_today(), self.commercial_partner_id.ids
        )
        sums = {}
        for (customer, _currency), values in balances.items():
            balance, overdue = sums.get(customer, (0.0, 0.0))
            sums[customer] = (balance + values["balance_company"], overdue + values["overdue_company"])
        for partner in self:
            amounts = sums.get(partner.commercial_partner_id.id, (0.0, 0.0))
            partner.billing_balance_amount, partner.billing_overdue_amount = amounts

    def action_view_billing_contracts(self):
        """Open the contracts of this customer and its contacts."""
        action = self.env["ir.actions.actions"]._for_xml_id(
            "customer_billing.billing_contract_action"
        )
        action["domain"] = [("partner_id", "child_of", self.ids)]
        action["context"] = {"default_partner_id": self[:1].id}
        return action

    def action_ask_billing_profile(self):
        """Ask these customers to confirm or correct their profile, now.

        :raises AccessError: for users who may not send requests
        :raises UserError: all of them have been asked already
        """
        model = self.env["billing.profile.confirmation"]
        model.check_access("write")
        self.check_access("read")
        records = model._ask(self.commercial_partner_id, self.env.company)
        if not records:
            raise UserError(self.env._("They have been asked already: remind them instead."))
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Profile Confirmations"),
            "res_model": model._name,
            "view_mode": "list,form",
            "domain": [("id", "in", records.ids)],
        }

    def action_view_billing_receivable(self):
        """Open what the customer owes today, item by item."""
        report = self.env["billing.aged.report"].create(
            {"partner_ids": [Command.set(self.commercial_partner_id.ids)]}
        )
        return report.action_show()
