from odoo import api, fields, models
from odoo.exceptions import ValidationError

from ..tools.ageing import buckets, check_bounds


class ResCompany(models.Model):
    _inherit = "res.company"

    billing_approval = fields.Boolean(
        string="Approval by a Second Person",
        default=True,
        help="Bills above the limit are posted only after a billing manager other than the one "
        "who prepared the run approved it.",
        groups="base.group_user",
    )
    billing_approval_amount = fields.Monetary(
        string="Approval Above", default=10_000.0, help="Total of one bill in company currency.",
        groups="base.group_user",
    )
    billing_ageing_bounds = fields.Char(
        string="Ageing Buckets",
        default="30, 60, 90, 120",
        required=True,
        help="Last days of the first four buckets of what is overdue; the fifth one has no end.",
        groups="base.group_user",
    )
    billing_ageing_basis = fields.Selection(
        [("due", "Due date"), ("invoice", "Invoice date")],
        string="Ageing By",
        default="due",
        required=True,
        help="The date from which the days of an open item are counted.",
        groups="base.group_user",
    )
    billing_credit_mode = fields.Selection(
        [("line", "Negative lines on the next bill"), ("note", "Credit notes of their own")],
        string="Credits Come as",
        default="line",
        required=True,
        help="How corrections in the customer's favour of what was billed earlier are printed. A "
        "bill with a negative total is a credit note in any case.",
        groups="base.group_user",
    )
    billing_mails_per_hour = fields.Integer(
        string="Mails per Hour",
        default=0,
        help="At most so many mails leave in an hour, bills, statements, reminders and letters together, so that a "
        "mail server does not refuse them; what is left waits. 0: no limit.",
        groups="base.group_user",
    )

    _billing_mails_per_hour_positive = models.Constraint(
        "CHECK (billing_mails_per_hour >= 0)", "The number of mails per hour is 0 or more."
    )

    billing_profile_months = fields.Integer(
        string="Confirm the Profile Every",
        default=6,
        help="After so many months customers are asked whether what we know about them is right. 0: never.",
        groups="base.group_user",
    )
    billing_profile_reminder_days = fields.Integer(
        string="Remind After", default=14, help="Days without an answer, until a reminder.",
        groups="base.group_user",
    )

    _billing_profile_positive = models.Constraint(
        "CHECK (billing_profile_months >= 0 AND billing_profile_reminder_days > 0)",
        "The months between two requests are 0 or more, the days until a reminder 1 or more.",
    )

    @api.constrains("billing_ageing_bounds")
    def _check_billing_ageing_bounds(self):
        for company in self:
            try:
                valid = len(check_bounds(company._get_billing_ageing_bounds())) == 4
            except ValueError:
                valid = False
            if not valid:
                raise ValidationError(
                    self.env._(
                        "“%s” are no ageing buckets: give four numbers of days in ascending order, "
                        "for instance 30, 60, 90, 120.",
                        company.billing_ageing_bounds,
                    )
                )

    def _get_billing_ageing_bounds(self):
        """Return the last days of the ageing buckets, ascending.

        :raises ValueError: while an invalid text is being saved
        """
        self.ensure_one()
        return [int(days) for days in self.billing_ageing_bounds.replace("，", ",").split(",")]

    def _get_billing_bucket_labels(self):
        """Return the headings of the ageing buckets: not due, then days from and to."""
        self.ensure_one()
        _not_due, *middle, last = buckets(self.sudo()._get_billing_ageing_bounds())
        return [
            self.env._("Not due"),
            *(f"{bucket.first}–{bucket.last}" for bucket in middle),
            self.env._("Over %s days", last.first - 1),
        ]

    billing_price_notice_days = fields.Integer(
        string="Notice of New Prices",
        default=30,
        help="Customers are told about new prices at least this many days before.",
        groups="base.group_user",
    )

    _billing_price_notice_days_positive = models.Constraint(
        "CHECK (billing_price_notice_days >= 0)", "The days of notice cannot be negative."
    )

    billing_tier_mode = fields.Selection(
        [("propose", "Propose them to a billing manager"), ("apply", "Apply them by itself")],
        string="Tiers of Customers",
        default="propose",
        required=True,
        help="What the nightly job does when the rules say that a customer has another tier.",
        groups="base.group_user",
    )
    billing_tier_cursor = fields.Integer(
        readonly=True, help="The last customer graded by a nightly job that is not done yet.",
        groups="base.group_user",
    )

    def write(self, vals):
        before = {company: company.billing_approval for company in self}
        limits = {company: company.billing_approval_amount for company in self}
        result = super().write(vals)
        if "billing_approval_amount" in vals:
            for company, was in limits.items():
                if company.billing_approval_amount != was:
                    # sudo: as below; a high limit is as good as none
                    company.partner_id.sudo().message_post(
                        body=self.env._(
                            "Bills need the approval of a second person above %(new)s, no longer "
                            "above %(old)s.",
                            new=company.currency_id.format(company.billing_approval_amount),
                            old=company.currency_id.format(was),
                        )
                    )
        if "billing_approval" in vals:
            for company, was in before.items():
                if company.billing_approval != was:
                    message = (
                        self.env._("Approval of bills by a second person was switched on.")
                        if company.billing_approval
                        else self.env._("Approval of bills by a second person was switched off.")
                    )
                    # sudo: the switch is logged where all who work with the company see it
                    company.partner_id.sudo().message_post(body=message)
        return result

    def _get_billing_today(self):
        """Today in the time zone of this company (of its partner, else UTC)."""
        self.ensure_one()
        zone = self.sudo().partner_id.tz or "UTC"
        return fields.Date.context_today(self.with_context(tz=zone))
