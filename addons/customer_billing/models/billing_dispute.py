from odoo import api, fields, models
from odoo.exceptions import ValidationError


class BillingDispute(models.Model):
    """A customer's objection to a bill. It changes no accounting entry."""

    _name = "billing.dispute"
    _description = "Billing Dispute"
    _inherit = ["mail.thread", "mail.activity.mixin"]
    _order = "date_due, id desc"
    _check_company_auto = True

    name = fields.Char(string="Subject", required=True, tracking=True)
    move_id = fields.Many2one(
        "account.move",
        string="Bill",
        required=True,
        index=True,
        domain=[("move_type", "in", ("out_invoice", "out_refund")), ("state", "=", "posted")],
        ondelete="restrict",
    )
    partner_id = fields.Many2one(
        related="move_id.commercial_partner_id", store=True, index=True, string="Customer"
    )
    company_id = fields.Many2one(related="move_id.company_id", store=True, index=True)
    currency_id = fields.Many2one(related="move_id.currency_id", store=True)
    amount = fields.Monetary(
        string="Disputed Amount",
        compute="_compute_amount",
        store=True,
        readonly=False,
        precompute=True,
        tracking=True,
    )
    reason = fields.Selection(
        [
            ("price", "Price or discount"),
            ("quantity", "Quantity"),
            ("period", "Period or dates"),
            ("service", "Service not received"),
            ("tax", "Tax"),
            ("duplicate", "Billed twice"),
            ("other", "Other"),
        ],
        default="other",
        required=True,
        tracking=True,
    )
    description = fields.Text()
    user_id = fields.Many2one(
        "res.users",
        string="Owner",
        default=lambda self: self.env.user,
        domain=[("share", "=", False)],
        tracking=True,
        index=True,
    )
    date_due = fields.Date(
        string="Answer By",
        default=lambda self: fields.Date.add(fields.Date.context_today(self), days=7),
        tracking=True,
    )
    state = fields.Selection(
        [("open", "Open"), ("accepted", "Accepted"), ("rejected", "Rejected")],
        string="Status",
        default="open",
        required=True,
        index=True,
        tracking=True,
        group_expand=True,
    )
    resolution = fields.Text(tracking=True, help="What was found and done.")
    date_closed = fields.Date(readonly=True, copy=False)

    @api.depends("move_id")
    def _compute_amount(self):
        for dispute in self:
            dispute.amount = dispute.move_id.amount_residual or dispute.move_id.amount_total

    @api.constrains("move_id")
    def _check_move(self):
        for dispute in self:
            move = dispute.move_id
            if move.move_type not in ("out_invoice", "out_refund") or move.state != "posted":
                raise ValidationError(self.env._("Only posted bills of customers are disputed."))

    @api.constrains("state", "resolution")
    def _check_resolution(self):
        for dispute in self:
            if dispute.state != "open" and not dispute.resolution:
                raise ValidationError(
                    self.env._(
                        "%s: write under Resolution what was found, then close the dispute.",
                        dispute.name,
                    )
                )

    @api.constrains("amount", "move_id")
    def _check_amount(self):
        for dispute in self:
            if not 0 < dispute.amount <= dispute.move_id.amount_total:
                raise ValidationError(
                    self.env._(
                        "The disputed amount must be above zero and at most the total of "
                        "%(bill)s, %(total)s.",
                        bill=dispute.move_id.name,
                        total=dispute.currency_id.format(dispute.move_id.amount_total),
                    )
                )

    def action_accept(self):
        """The customer is right: close with a resolution; credit the bill where due."""
        return self._close("accepted")

    def action_reject(self):
        """The bill stands: close with a resolution."""
        return self._close("rejected")

    def action_reopen(self):
        """Open the dispute again."""
        self.write({"state": "open"})
        return True

    def _close(self, state):
        self.write({"state": state})
        return True

    def write(self, vals):
        if "state" in vals:  # by a button, by dragging a card or through the API
            closed = vals["state"] != "open" and fields.Date.context_today(self)
            vals = {**vals, "date_closed": closed}
        return super().write(vals)
