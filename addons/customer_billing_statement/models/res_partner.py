from odoo import fields, models

from odoo.addons.customer_billing.models.res_partner import RECEIVABLE_GROUPS

from .res_company import FREQUENCIES, KINDS, TEMPLATES


class ResPartner(models.Model):
    _inherit = "res.partner"

    billing_statement_frequency = fields.Selection(
        FREQUENCIES,
        string="Statements",
        company_dependent=True,
        help="Empty: as the tier says, else as set for the company. Read from the customer's company.",
    )
    billing_statement_kind = fields.Selection(
        KINDS,
        string="Kind of Statement",
        company_dependent=True,
        help="Empty: as set for the company.",
    )
    billing_statement_template = fields.Selection(
        TEMPLATES,
        string="Statement Layout",
        company_dependent=True,
        help="Empty: as set for the company.",
    )
    billing_statement_user_id = fields.Many2one(
        "res.users",
        string="Responsible for Statements",
        company_dependent=True,
        domain=[("share", "=", False)],
        help="Empty: the billing officer, else as set for the company.",
        groups="base.group_user",
    )
    billing_statement_count = fields.Integer(
        compute="_compute_billing_statement_count", string="Number of Statements", groups="base.group_user"
    )

    billing_last_statement_ids = fields.Many2many(
        "billing.statement", string="Last Statements", compute="_compute_billing_overview", groups=RECEIVABLE_GROUPS
    )

    def _get_billing_overview(self, company):
        about = self._get_billing_domain(company, "partner_id")
        in_force = [*about, ("state", "!=", "cancelled")]
        return {
            **super()._get_billing_overview(company),
            "billing_last_statement_ids": self._search_last("billing.statement", in_force, "date_to desc, id desc"),
        }

    def _compute_billing_statement_count(self):
        counts = dict(
            self.env["billing.statement"]._read_group(
                [("partner_id", "in", self.commercial_partner_id.ids)],
                ["partner_id"],
                ["__count"],
            )
        )
        for partner in self:
            partner.billing_statement_count = counts.get(partner.commercial_partner_id, 0)

    def _get_billing_statement_frequency(self, company):
        """How often each customer gets statements of ``company``: {partner: frequency}.

        The customer's own choice, else that of its tier, else the company's. Override to take another source into
        account.
        """
        default = company.billing_statement_frequency
        result = {}
        for partner in self.with_company(company):
            tier_sudo = partner.commercial_partner_id.sudo().billing_tier_id  # a setting, whoever prepares
            frequency = partner.billing_statement_frequency or tier_sudo.statement_frequency
            result[partner.with_env(self.env)] = frequency or default
        return result

    def _get_billing_statement_user(self, company):
        """Who looks after the statements of this customer (without one: of the company), an empty
        recordset if nobody."""
        partner = self.with_company(company)
        return (
            partner.billing_statement_user_id
            or partner.billing_officer_id
            or company.billing_statement_user_id
        )

    def action_view_billing_statements(self):
        """Open the statements of this customer."""
        action = self.env["ir.actions.actions"]._for_xml_id(
            "customer_billing_statement.billing_statement_action"
        )
        action["domain"] = [("partner_id", "in", self.commercial_partner_id.ids)]
        action["context"] = {"default_partner_id": self[:1].commercial_partner_id.id}
        return action

    def _get_billing_portal_actions(self):
        """Also statements that wait for the customer's answer: one entry for all of them."""
        actions = super()._get_billing_portal_actions()
        statements = self.env["billing.statement"]
        if not statements.has_access("read"):
            return actions
        count = statements.search_count(
            [("partner_id", "=", self.commercial_partner_id.id), ("state", "=", "sent")], limit=100
        )
        if count:
            text = self.env._("1 statement to confirm") if count == 1 else self.env._("%s statements to confirm", count)
            actions.append({"text": text, "url": "/my/statements?filterby=answer", "level": "warning"})
        return actions
