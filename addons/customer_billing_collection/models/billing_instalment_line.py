from odoo import api, fields, models
from odoo.exceptions import UserError


class BillingInstalmentLine(models.Model):
    """One part of an instalment agreement."""

    _name = "billing.instalment.line"
    _description = "Instalment"
    _inherit = ["billing.protected.mixin"]
    _order = "instalment_id, date, id"
    _billing_protected = frozenset(("date_reminded", "company_id", "currency_id"))

    instalment_id = fields.Many2one("billing.instalment", required=True, index=True, ondelete="cascade")
    company_id = fields.Many2one(related="instalment_id.company_id", store=True, index=True)
    currency_id = fields.Many2one(related="instalment_id.currency_id", store=True)
    date = fields.Date(string="Due", required=True)
    amount = fields.Monetary(required=True)
    amount_paid = fields.Monetary(compute="_compute_amount_paid", string="Paid")
    date_reminded = fields.Date(string="Reminded On", readonly=True, copy=False)

    _amount_positive = models.Constraint("CHECK (amount > 0)", "Each part is an amount above zero.")

    @api.depends("instalment_id.amount_paid", "instalment_id.line_ids.amount", "instalment_id.line_ids.date")
    def _compute_amount_paid(self):
        self.amount_paid = 0.0
        for agreement in self.instalment_id:
            for line, paid in agreement._get_settled_parts():
                line.amount_paid = float(paid)

    @api.model_create_multi
    def create(self, vals_list):
        lines = super().create(vals_list)
        lines._check_draft()
        return lines

    def write(self, vals):
        if {"date", "amount", "instalment_id"}.intersection(vals):
            self._check_draft()
        return super().write(vals)

    @api.ondelete(at_uninstall=False)
    def _unlink_only_drafts(self):
        self._check_draft()

    def _check_draft(self):
        if fixed := self.instalment_id.filtered(lambda agreement: agreement.state != "draft")[:1]:
            raise UserError(
                self.env._("Agreement %s was offered: set it back to draft to change its parts.", fixed.name)
            )
