from odoo import fields, models
from odoo.exceptions import UserError


class ResPartner(models.Model):
    _name = "res.partner"
    _inherit = ["res.partner", "billing.protected.mixin"]
    _billing_protected = frozenset(
        ("billing_tier_id", "billing_tier_manual", "billing_tier_reason", "billing_tier_until")
    )

    billing_tier_id = fields.Many2one(
        "billing.tier",
        string="Tier",
        company_dependent=True,
        ondelete="restrict",
        readonly=True,
        copy=False,
        groups="base.group_user",
        help="Of the customer's company; its contacts have none of their own.",
    )
    billing_tier_manual = fields.Boolean(
        string="Tier Set by Hand", company_dependent=True, readonly=True, copy=False,
        groups="base.group_user", help="The nightly job leaves the tier alone.",
    )  # fmt: skip
    billing_tier_reason = fields.Char(
        string="Reason for the Tier", company_dependent=True, readonly=True, copy=False, groups="base.group_user"
    )
    billing_tier_until = fields.Date(
        string="Tier Kept Until", company_dependent=True, readonly=True, copy=False,
        groups="base.group_user", help="After this day the rules decide again. Empty: until a manager says so.",
    )  # fmt: skip

    def action_set_billing_tier(self, tier_id, reason, date_until=None):
        """Give customers a tier by hand, in the current company; the nightly job leaves them alone.

        :param tier_id: a ``billing.tier`` record or its id; False for no tier
        :param str reason: why; kept in the history of the customer
        :param date_until: last day on which this holds (a date or its string); None: until it is released
        :raises AccessError: when the user does not keep tiers
        :raises UserError: without a reason, or with a day in the past
        """
        customers_sudo = self._check_tier_keeper(reason)
        until = fields.Date.to_date(date_until)
        if until and until < self.env.company._get_billing_today():
            raise UserError(self.env._("The last day of a tier set by hand is today or later."))
        tier = tier_id if isinstance(tier_id, models.BaseModel) else self.env["billing.tier"].browse(tier_id or ())
        tier.check_access("read")
        if tier.company_id not in (tier.company_id.browse(), self.env.company):
            raise UserError(self.env._("Tier %s is one of another company.", tier.name))
        customers_sudo._set_billing_tier(
            self.env.company,
            tier,
            dict.fromkeys(customers_sudo.ids, reason.strip()),
            billing_tier_manual=True,
            billing_tier_reason=reason.strip(),
            billing_tier_until=until,
        )
        # sudo: what was proposed is settled by this
        self.env["billing.tier.proposal"].sudo().search(
            [
                ("partner_id", "in", customers_sudo.ids),
                ("company_id", "=", self.env.company.id),
                ("state", "=", "open"),
            ]
        ).state = "superseded"
        return True

    def action_release_billing_tier(self, reason):
        """Let the rules decide again about the tier of customers; it stays until the next night.

        :raises AccessError: when the user does not keep tiers
        :raises UserError: without a reason
        """
        customers_sudo = self._check_tier_keeper(reason).filtered("billing_tier_manual")
        customers_sudo._release_billing_tier(self.env.company, reason.strip())
        return True

    def _check_tier_keeper(self, reason):
        """Raise unless the user keeps tiers and gives a reason; returns the customers as superuser."""
        self.env["billing.tier"].check_access("write")
        self.check_access("read")
        if not (reason or "").strip():
            raise UserError(self.env._("Say why: the reason is kept in the history of the customer."))
        return self.commercial_partner_id.sudo().with_company(self.env.company)  # protected fields

    def _set_billing_tier(self, company, tier, reasons, **values):
        """Set the tier of these customers, as superuser, and log it on each of them.

        :param dict reasons: {partner id: why}
        """
        customers = self.with_company(company)
        before = {partner.id: partner.billing_tier_id.name for partner in customers}
        customers.write({"billing_tier_id": tier.id, **values})
        none = self.env._("no tier")
        self._log_tier(
            {
                partner_id: self.env._(
                    "Tier in %(company)s: %(old)s → %(new)s (%(reason)s)",
                    company=company.name,
                    old=old or none,
                    new=tier.name or none,
                    reason=reasons[partner_id],
                )
                for partner_id, old in before.items()
            }
        )

    def _release_billing_tier(self, company, reason):
        """The rules decide again from now on, as superuser."""
        self.with_company(company).write(
            {"billing_tier_manual": False, "billing_tier_reason": False, "billing_tier_until": False}
        )
        self._log_tier(
            dict.fromkeys(
                self.ids,
                self.env._(
                    "Tier in %(company)s: the rules decide again (%(reason)s)", company=company.name, reason=reason
                ),
            )
        )

    def _log_tier(self, bodies):
        if bodies:
            self._message_log_batch(bodies=bodies)

    def _end_billing_tier_overrides(self, company, today):
        """Overrides whose last day is over end, as superuser."""
        over = self.with_company(company).filtered(
            lambda partner: partner.billing_tier_manual
            and partner.billing_tier_until
            and partner.billing_tier_until < today
        )
        if over:
            over._release_billing_tier(company, self.env._("its last day is over"))

    def action_open_billing_tier(self):
        """Open the wizard that sets the tier by hand."""
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Set Tier"),
            "res_model": "billing.tier.change",
            "view_mode": "form",
            "target": "new",
            "context": {"default_partner_ids": self.commercial_partner_id.ids},
        }
