from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError


class BillingDispute(models.Model):
    """A customer's objection to a bill. It changes no accounting entry."""

    _name = "billing.dispute"
    _description = "Billing Dispute"
    _inherit = ["billing.protected.mixin", "portal.mixin", "mail.thread", "mail.activity.mixin"]
    _order = "date_due, id desc"
    _check_company_auto = True
    _billing_protected = frozenset(
        (
            "partner_id", "company_id", "currency_id", "days_to_close", "date_opened", "date_closed",
            "credit_move_ids",
        )
    )  # fmt: skip

    name = fields.Char(string="Subject", required=True, tracking=True)
    move_id = fields.Many2one(
        "account.move",
        string="Bill",
        required=True,
        index=True,
        domain=[("move_type", "in", ("out_invoice", "out_refund")), ("state", "=", "posted")],
        ondelete="restrict",
    )
    move_line_id = fields.Many2one(
        "account.move.line",
        string="Bill Line",
        index="btree_not_null",
        domain="[('move_id', '=', move_id), ('display_type', '=', 'product')]",
        ondelete="restrict",
        help="Empty: the bill as a whole.",
    )
    claimed_amount = fields.Monetary(
        string="Customer's Figure",
        help="What it should be in the customer's own books, taxes included; negative for a credit.",
    )
    attachment_ids = fields.Many2many(
        "ir.attachment", string="Files", copy=False, help="What the customer sends as proof."
    )
    partner_id = fields.Many2one(
        "res.partner", compute="_compute_from_document", store=True, precompute=True, index=True,
        string="Customer",
    )  # fmt: skip
    company_id = fields.Many2one(
        "res.company", compute="_compute_from_document", store=True, precompute=True, index=True
    )
    currency_id = fields.Many2one(
        "res.currency", compute="_compute_from_document", store=True, precompute=True
    )
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
    cause_id = fields.Many2one(
        "billing.cause",
        tracking=True,
        index=True,
        ondelete="restrict",
        groups="base.group_user",
        help="Why it came to this: what the report by cause adds up.",
    )
    credit_move_ids = fields.Many2many(
        "account.move",
        "billing_dispute_credit_rel",
        "dispute_id",
        "move_id",
        string="Credit Notes",
        readonly=True,
        copy=False,
        help="The credit notes that settle this dispute.",
    )
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
    resolution = fields.Text(
        tracking=True, help="What was found and done. The customer reads it in the portal."
    )
    date_opened = fields.Date(
        string="Raised On", readonly=True, copy=False, default=fields.Date.context_today
    )
    date_closed = fields.Date(string="Closed", readonly=True, copy=False)
    days_open = fields.Integer(
        string="Days Open",
        compute="_compute_days_open",
        help="Until it was closed, or until today.",
    )
    days_to_close = fields.Integer(
        compute="_compute_days_to_close", store=True, aggregator="avg", copy=False
    )

    # What is disputed. A module that adds another document extends these methods.

    @api.depends("move_id.commercial_partner_id", "move_id.company_id", "move_id.currency_id")
    def _compute_from_document(self):
        for dispute in self:
            dispute.update(dispute._get_document_values())

    def _get_document_values(self):
        """Customer, company and currency of what is disputed, as values of these fields."""
        move = self.move_id
        return {
            "partner_id": move.commercial_partner_id,
            "company_id": move.company_id,
            "currency_id": move.currency_id,
        }

    def _get_document_name(self):
        """The name of what is disputed, for messages."""
        return self.move_id.name

    def _get_document_amounts(self):
        """What is open and what is the most that can be disputed: (open, total)."""
        return self.move_id.amount_residual, self.move_id.amount_total

    @api.depends("move_id", "move_line_id", "claimed_amount")
    def _compute_amount(self):
        """What is open of the bill; of a line what it differs from the customer's figure."""
        for dispute in self:
            is_open, total = dispute._get_document_amounts()
            dispute.amount = (
                abs(dispute.move_line_id.price_total - dispute.claimed_amount)
                if dispute.move_line_id
                else is_open or total
            )

    @api.depends("date_opened", "date_closed")
    def _compute_days_to_close(self):
        for dispute in self:
            dispute.days_to_close = (
                (dispute.date_closed - dispute.date_opened).days
                if dispute.date_closed and dispute.date_opened
                else False
            )

    @api.depends("date_opened", "date_closed")
    def _compute_days_open(self):
        today = fields.Date.context_today(self)
        for dispute in self:
            opened = dispute.date_opened or today
            dispute.days_open = ((dispute.date_closed or today) - opened).days

    @api.constrains("move_id")
    def _check_move(self):
        for dispute in self.filtered("move_id"):
            move = dispute.move_id
            if move.move_type not in ("out_invoice", "out_refund") or move.state != "posted":
                raise ValidationError(self.env._("Only posted bills of customers are disputed."))

    @api.constrains("move_id", "move_line_id")
    def _check_move_line(self):
        for dispute in self.filtered("move_line_id"):
            if dispute.move_line_id.move_id != dispute.move_id:
                raise ValidationError(self.env._("The line is on another bill."))

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
            _open, total = dispute._get_document_amounts()
            if not 0 < dispute.amount <= total:
                raise ValidationError(
                    self.env._(
                        "The disputed amount must be above zero and at most the total of "
                        "%(bill)s, %(total)s.",
                        bill=dispute._get_document_name(),
                        total=dispute.currency_id.format(total),
                    )
                )

    def action_accept(self):
        """The customer is right: close with a resolution; credit the bill where due."""
        return self._close("accepted")

    def action_reject(self):
        """The bill stands: close with a resolution."""
        return self._close("rejected")

    def action_credit(self):
        """Open Odoo's credit note wizard for the disputed bill; its credit note is linked here.

        :raises UserError: the dispute is not about a posted bill
        """
        self.ensure_one()
        self.check_access("write")
        if self.move_id.state != "posted" or self.move_id.move_type != "out_invoice":
            raise UserError(
                self.env._("%s is not about a posted bill: there is nothing to credit.", self.name)
            )
        action = self.move_id.action_reverse()
        return {
            **action,
            "context": {
                "active_model": "account.move",
                "active_ids": self.move_id.ids,
                "active_id": self.move_id.id,
                "default_billing_dispute_id": self.id,
                "default_reason": self.name,
            },
        }

    def action_view_credits(self):
        """Open the credit notes of these disputes."""
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Credit Notes"),
            "res_model": "account.move",
            "view_mode": "list,form",
            "domain": [("id", "in", self.credit_move_ids.ids)],
            "context": {"create": False},
        }

    def action_reopen(self):
        """Open the dispute again."""
        self.write({"state": "open"})
        return True

    def _close(self, state):
        self.write({"state": state})
        return True

    @api.model_create_multi
    def create(self, vals_list):
        disputes = super().create(vals_list)
        disputes.filtered(lambda dispute: dispute.state != "open")._note_closed()
        return disputes

    def write(self, vals):
        # What the API says about tracking does not count: who closed a dispute is on record.
        disputes = self.with_context(tracking_disable=False, mail_notrack=False)
        result = super(BillingDispute, disputes).write(vals)
        if "state" in vals:  # by a button, by dragging a card or through the API
            self._note_closed()
        return result

    def _note_closed(self):
        """Since when these disputes are closed, or that they are open again."""
        today = fields.Date.context_today(self)
        for is_open, disputes in self.grouped(lambda dispute: dispute.state == "open").items():
            disputes.sudo().date_closed = not is_open and today  # protected field
            if not is_open:  # nobody has to answer it any more
                # sudo: also the task of another owner
                disputes.sudo().activity_feedback(["mail.mail_activity_data_todo"])
