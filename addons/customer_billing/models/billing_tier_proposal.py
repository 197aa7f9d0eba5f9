from collections import defaultdict

from odoo import api, fields, models
from odoo.exceptions import UserError


class BillingTierProposal(models.Model):
    """Another tier for a customer, with the figures that speak for it: made by the job, decided by a manager.

    Where tiers are applied by themselves, it is the record of why."""

    _name = "billing.tier.proposal"
    _description = "Tier Proposal"
    _order = "date desc, id desc"

    partner_id = fields.Many2one("res.partner", string="Customer", required=True, index=True, ondelete="cascade")
    company_id = fields.Many2one("res.company", required=True, index=True)
    currency_id = fields.Many2one(related="company_id.currency_id")
    user_id = fields.Many2one(related="partner_id.user_id", string="Salesperson")
    date = fields.Date(required=True, help="The night of the figures.")
    tier_from_id = fields.Many2one("billing.tier", string="Tier Now", index=True, ondelete="restrict")
    tier_id = fields.Many2one("billing.tier", string="Proposed Tier", index=True, ondelete="restrict")
    change = fields.Selection(
        [("up", "Better"), ("down", "Worse")], compute="_compute_change", store=True, string="Direction"
    )
    revenue = fields.Monetary(string="Revenue of 12 Months")
    tenure = fields.Integer(string="Months as a Customer", aggregator="avg")
    has_days_late = fields.Boolean(string="Has Paid")
    days_late = fields.Float(string="Days Late", digits=(16, 1), aggregator="avg")
    checks = fields.Json()
    explanation = fields.Text(compute="_compute_explanation", string="Rules")
    state = fields.Selection(
        [("open", "Open"), ("accepted", "Accepted"), ("refused", "Refused"), ("superseded", "No longer so")],
        string="Status",
        default="open",
        required=True,
        index=True,
    )
    reason = fields.Char(string="Reason of the Refusal")
    closed_by_id = fields.Many2one("res.users", string="Decided By", help="Empty: applied by itself.")

    _open_unique = models.UniqueIndex(
        "(company_id, partner_id) WHERE state = 'open'", "A customer has one open proposal in a company."
    )

    @api.depends("partner_id", "tier_id", "tier_from_id")
    def _compute_display_name(self):
        for proposal in self:
            before, after = proposal._get_tier_names()
            proposal.display_name = f"{proposal.partner_id.display_name}: {before} → {after}"

    def _get_tier_names(self):
        """The names of the tier now and of the proposed one."""
        self.ensure_one()
        none = self.env._("no tier")
        return self.tier_from_id.name or none, self.tier_id.name or none

    @api.depends("tier_from_id", "tier_id")
    def _compute_change(self):
        for proposal in self:
            before, after = proposal.tier_from_id, proposal.tier_id
            better = after and (not before or (after.sequence, after.id) < (before.sequence, before.id))
            proposal.change = "up" if better else "down"

    @api.depends("checks", "revenue", "tenure", "days_late", "has_days_late")
    @api.depends_context("lang")
    def _compute_explanation(self):
        """Tier by tier from the best on: each rule that was asked, the customer's figure, and whether it holds."""
        # sudo: a rule that was asked belongs to the explanation, also when its tier was archived
        names = {
            tier.id: tier.name
            for tier in self.env["billing.tier"].sudo().browse(
                {check["tier"] for proposal in self for check in proposal.checks or []}
            ).exists()
        }  # fmt: skip
        for proposal in self:
            proposal.explanation = "\n".join(
                f"{names.get(check['tier'], '')}: {proposal._explain_check(check)}"
                for check in proposal.checks or []
            )

    def _explain_check(self, check):
        """The rules of one tier in words."""
        texts = []
        if rule := check.get("revenue"):
            format_amount = self.currency_id.format
            texts.append((
                rule, self.env._("revenue %(value)s, at least %(limit)s", value=format_amount(self.revenue),
                                 limit=format_amount(float(rule[0]))),
            ))  # fmt: skip
        if rule := check.get("tenure"):
            texts.append((rule, self.env._("%(value)s months, at least %(limit)s", value=self.tenure, limit=rule[0])))
        if rule := check.get("days_late"):
            text = (
                self.env._("%(value)s days late, at most %(limit)s", value=f"{self.days_late:.1f}", limit=rule[0])
                if self.has_days_late
                else self.env._("nothing paid yet")
            )
            texts.append((rule, text))
        if not texts:
            return self.env._("no rules")
        return "; ".join(f"{'✓' if rule[1] else '✗'} {text}" for rule, text in texts)

    @api.model
    def _propose(self, company, partners, found):
        """Bring the open proposals of ``partners`` in line with what was found for them, as superuser.

        What a manager refused is not proposed again until something else is found.

        :param found: {partner: values} of those whose tier should be another one
        """
        is_open = [("company_id", "=", company.id), ("partner_id", "in", partners.ids), ("state", "=", "open")]
        known = self.search(is_open)
        by_partner = {proposal.partner_id: proposal for proposal in known}
        refused = self._get_last_refused(company, partners)
        stale, vals_list = self.browse(), []
        for partner, proposal in by_partner.items():
            values = found.get(partner)
            if not values or not proposal._is_about(values):
                stale |= proposal
        stale.state = "superseded"
        for partner, values in found.items():
            proposal = by_partner.get(partner)
            if proposal and proposal not in stale:
                changed = {
                    name: value for name, value in values.items()
                    if self._fields[name].type not in ("many2one", "json") and proposal[name] != value
                }  # fmt: skip
                if changed.keys() - {"date"}:
                    proposal.write({**changed, "checks": values["checks"]})
            elif partner not in refused or not refused[partner]._is_about(values):
                vals_list.append(values)
        self.flush_model()  # the old one is closed before the new one is open
        self.create(vals_list)
        if company.billing_tier_mode == "apply":
            self.search(is_open)._apply()

    @api.model
    def _get_last_refused(self, company, partners):
        """{partner: its proposal} for those whose last decision was a refusal."""
        ids = self._read_group(
            [
                ("company_id", "=", company.id),
                ("partner_id", "in", partners.ids),
                ("state", "in", ("accepted", "refused")),
            ],
            ["partner_id"],
            ["id:max"],
        )
        last = self.browse(proposal_id for _partner, proposal_id in ids)
        return {proposal.partner_id: proposal for proposal in last if proposal.state == "refused"}

    def _is_about(self, values):
        """Whether this proposes the same change."""
        return (self.tier_from_id.id, self.tier_id.id) == (values["tier_from_id"], values["tier_id"])

    def _apply(self, user=None):
        """Give the customers the proposed tiers, as superuser, with the reason on each of them."""
        groups = defaultdict(self.browse)
        for proposal in self:
            groups[proposal.company_id, proposal.tier_id] |= proposal
        for (company, tier), proposals in groups.items():
            reasons = {
                proposal.partner_id.id: self.env._("by its figures: %s", proposal.explanation.replace("\n", " · "))
                for proposal in proposals
            }
            proposals.partner_id._set_billing_tier(company, tier, reasons)
        self.write({"state": "accepted", "closed_by_id": user and user.id})

    # Actions

    def _check_open(self):
        """Raise unless the user decides about tiers and all of these are open; returns them as superuser."""
        self.env["billing.tier"].check_access("write")
        self.check_access("read")
        if closed := self.filtered(lambda proposal: proposal.state != "open")[:1]:
            raise UserError(self.env._("%s is not open any more: look for a newer one.", closed.display_name))
        return self.sudo()  # decided by a manager, who has no other way to write here

    def action_accept(self):
        """Give the customers the proposed tiers.

        :raises UserError: a proposal is not open
        """
        self._check_open()._apply(self.env.user)
        return True

    def action_refuse(self, reason=None):
        """Leave the customers as they are; the same is not proposed again.

        :param str reason: why, for those who read the history
        :raises UserError: a proposal is not open
        """
        self._check_open().write({"state": "refused", "reason": reason, "closed_by_id": self.env.uid})
        return True

    @api.model
    def _get_list_action(self):
        """The list of open proposals."""
        return self.env["ir.actions.actions"]._for_xml_id("customer_billing.billing_tier_proposal_action")
