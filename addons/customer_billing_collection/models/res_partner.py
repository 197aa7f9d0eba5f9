from odoo import fields, models

COLLECTION_GROUPS = ",".join(
    f"customer_billing.group_billing_{role}" for role in ("sales", "collector", "auditor", "officer")
)


class ResPartner(models.Model):
    _inherit = "res.partner"

    billing_dunning_policy_id = fields.Many2one(
        "billing.dunning.policy", string="Dunning Policy", company_dependent=True, check_company=True,
        help="How this customer is asked to pay; empty: as its tier, tags, industry or the company say.",
        groups="base.group_user",
    )  # fmt: skip
    billing_collector_id = fields.Many2one(
        "res.users",
        string="Collector",
        company_dependent=True,
        domain=[("share", "=", False)],
        groups="base.group_user",
    )
    billing_case_ids = fields.One2many(
        "billing.case", "partner_id", string="Collection Cases", groups="base.group_user"
    )
    billing_open_case_count = fields.Integer(
        compute="_compute_billing_open_case_count", string="Open Cases", groups=COLLECTION_GROUPS
    )

    billing_last_case_ids = fields.Many2many(
        "billing.case", string="Last Cases", compute="_compute_billing_overview", groups=COLLECTION_GROUPS
    )

    def _get_billing_overview(self, company):
        about = [("partner_id", "=", self.id), ("company_id", "child_of", company.id)]
        return {
            **super()._get_billing_overview(company),
            "billing_last_case_ids": self._search_last("billing.case", about, "date_closed desc, id desc"),
        }

    def _compute_billing_open_case_count(self):
        case_model = self.env["billing.case"]
        counts = dict(
            case_model._read_group(
                [*case_model._get_open_domain(), ("partner_id", "in", self.commercial_partner_id.ids)],
                ["partner_id"],
                ["__count"],
            )
        )
        for partner in self:
            partner.billing_open_case_count = counts.get(partner.commercial_partner_id, 0)

    def action_view_billing_cases(self):
        """Open the collection cases of this customer."""
        action = self.env["ir.actions.actions"]._for_xml_id("customer_billing_collection.billing_case_action")
        action["domain"] = [("partner_id", "in", self.commercial_partner_id.ids)]
        action["context"] = {"search_default_open": 0}
        cases = self.env["billing.case"].search(
            [*self.env["billing.case"]._get_open_domain(), ("partner_id", "in", self.commercial_partner_id.ids)],
            limit=2,
        )
        if len(cases) == 1:
            return {**action, "views": [(False, "form")], "view_mode": "form", "res_id": cases.id}
        return action

    def _get_billing_portal_actions(self):
        """Also a service hold, and offers to pay in parts that wait for the customer's answer."""
        actions = super()._get_billing_portal_actions()
        # sudo: customers have no access to cases; they are told of their own
        cases_sudo = self.env["billing.case"].sudo()
        cases_sudo = cases_sudo.search(
            [*cases_sudo._get_open_domain(), ("partner_id", "=", self.commercial_partner_id.id)]
        )
        if cases_sudo.filtered("date_hold"):
            text = self.env._("Your service is on hold: see what is overdue")
            actions.insert(0, {"text": text, "url": "/my/billing/overdue", "level": "danger"})
        for agreement in cases_sudo.instalment_ids.filtered(lambda agreement: agreement.state == "offered"):
            text = self.env._("You can pay in parts: please confirm %s", agreement.name)
            actions.append({"text": text, "url": agreement.access_url, "level": "warning"})
        return actions

    def _get_dunning_contact(self):
        """The contact that letters and calls about what is owed go to: of the role, else for invoices."""
        self.ensure_one()
        return self._get_dunning_recipients()[:1] or self._get_billing_address()

    def _get_billing_address(self):
        partner_sudo = self.sudo()  # an address, whoever sends
        return partner_sudo.browse(partner_sudo.address_get(["invoice"])["invoice"]).sudo(self.env.su)

    def _get_dunning_recipients(self):
        """The contacts with an e-mail address that reminders go to."""
        return self._get_billing_address()._get_billing_recipients("collection")
