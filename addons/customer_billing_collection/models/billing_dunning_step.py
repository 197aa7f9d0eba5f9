from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError


class BillingDunningStep(models.Model):
    """One step of a policy: when it is due, how it is done, what it says."""

    _name = "billing.dunning.step"
    _description = "Dunning Step"
    _order = "policy_id, days, id"

    policy_id = fields.Many2one("billing.dunning.policy", required=True, index=True, ondelete="cascade")
    company_id = fields.Many2one(related="policy_id.company_id", store=True)
    currency_id = fields.Many2one(related="company_id.currency_id")
    name = fields.Char(required=True, translate=True)
    active = fields.Boolean(default=True)
    days = fields.Integer(
        required=True,
        help="Days after the due date of the oldest item. 0 or negative: a reminder for items due so many days later.",
    )
    working_days = fields.Boolean(help="Count working days only.")
    channel = fields.Selection(
        [("email", "E-mail"), ("call", "Call"), ("letter", "Letter"), ("hold", "Service hold")],
        default="email",
        required=True,
    )
    template_id = fields.Many2one(
        "mail.template",
        domain=[("model", "=", "billing.dunning.notice")],
        ondelete="restrict",  # else the customer would get another text without anybody knowing
        help="Text of the e-mail or letter, translated for each language.",
    )
    minimum_amount = fields.Monetary(help="The step is left out while less is overdue; company currency.")
    approval = fields.Boolean(help="A billing manager approves each notice of this step before it goes out.")
    fee_amount = fields.Monetary(help="Fee charged with this step, company currency.")
    notice_ids = fields.One2many("billing.dunning.notice", "step_id")

    _amounts_positive = models.Constraint(
        "CHECK (minimum_amount >= 0 AND fee_amount >= 0)", "Amounts of a step cannot be negative."
    )

    @api.constrains("days", "active", "policy_id")
    def _check_days_once(self):
        for policy in self.policy_id:
            steps = policy.step_ids.filtered("active")
            for days, same in steps.grouped("days").items():
                if len(same) > 1:
                    raise ValidationError(
                        self.env._(
                            "“%(first)s” and “%(second)s” are both due after %(days)s days: only one would be carried "
                            "out. Give one of them another number of days.",
                            first=same[0].name,
                            second=same[1].name,
                            days=days,
                        )
                    )

    @api.ondelete(at_uninstall=False)
    def _unlink_except_used(self):
        # sudo: notices of customers that the user may not read count too
        for step in self.sudo().filtered("notice_ids")[:1]:
            raise UserError(self.env._("“%s” was carried out already: archive the step instead.", step.name))

    def write(self, vals):
        changed = self.filtered(lambda step: "approval" in vals and step.approval != vals["approval"])
        result = super().write(vals)
        for step in changed:
            step.policy_id.message_post(
                body=self.env._("“%s” needs the approval of a billing manager now.", step.name)
                if step.approval
                else self.env._("“%s” needs no approval any more.", step.name)
            )
        return result
