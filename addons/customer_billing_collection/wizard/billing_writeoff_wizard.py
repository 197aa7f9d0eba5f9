from odoo import Command, api, fields, models
from odoo.exceptions import UserError


class BillingWriteoffWizard(models.TransientModel):
    """Asks what to write off of a case: items, small rests, a part."""

    _name = "billing.writeoff.wizard"
    _description = "Write Off"

    case_id = fields.Many2one(
        "billing.case",
        required=True,
        default=lambda self: self.env.context.get("active_id")
        if self.env.context.get("active_model") == "billing.case"
        else False,
    )
    partner_id = fields.Many2one(related="case_id.partner_id")
    currency_id = fields.Many2one(related="case_id.currency_id")
    selection = fields.Selection(
        [("items", "Items that I choose"), ("small", "Small rests")], string="What", default="items", required=True
    )
    small_amount = fields.Monetary(string="Rests Up To", default=1.0, help="Items with no more than this open.")
    available_ids = fields.Many2many("account.move.line", compute="_compute_available_ids")
    move_line_ids = fields.Many2many(
        "account.move.line",
        string="Items",
        compute="_compute_move_line_ids",
        store=True,
        readonly=False,
        domain="[('id', 'in', available_ids)]",
    )
    amount = fields.Monetary(
        compute="_compute_amount", store=True, readonly=False, help="Less than all: of the oldest items first."
    )
    date = fields.Date(string="Accounting Date", required=True, default=fields.Date.context_today)
    reason = fields.Text(required=True)
    approval_needed = fields.Boolean(compute="_compute_approval_needed")

    @api.depends("case_id")
    def _compute_available_ids(self):
        for wizard in self:
            wizard.available_ids = wizard.case_id._get_writeoff_items() if wizard.case_id else False

    @api.depends("case_id", "selection", "small_amount")
    def _compute_move_line_ids(self):
        for wizard in self:
            items = wizard.available_ids
            if wizard.selection == "small":
                items = items.filtered(
                    lambda line, most=wizard.small_amount: line.currency_id.compare_amounts(
                        line.amount_residual_currency, most
                    )
                    <= 0
                )
            wizard.move_line_ids = items

    @api.depends("move_line_ids")
    def _compute_amount(self):
        for wizard in self:
            wizard.amount = wizard._get_total(wizard.move_line_ids)

    @api.depends("case_id", "amount")
    def _compute_approval_needed(self):
        for wizard in self:
            posted = wizard.case_id.writeoff_ids.filtered(lambda w: w.state == "posted" and not w.approver_id)
            total = wizard.amount + sum(posted.mapped("amount"))
            wizard.approval_needed = bool(wizard.case_id) and wizard.case_id._exceeds_approval_limit(total)

    def action_request(self):
        """Make a write-off for each branch with items, ask for them, and show them."""
        self.ensure_one()
        by_company = self.move_line_ids.grouped("company_id") or {self.env.company: self.move_line_ids}
        if len(by_company) > 1 and self.currency_id.compare_amounts(self.amount, self._get_total(self.move_line_ids)):
            raise UserError(
                self.env._(
                    "The items belong to several branches, each with its own books: write off one branch at a time."
                )
            )
        writeoffs = self.env["billing.writeoff"].create(
            [
                {
                    "case_id": self.case_id.id,
                    "move_line_ids": [Command.set(items.ids)],
                    "amount": self.amount if len(by_company) == 1 else self._get_total(items),
                    "date": self.date,
                    "reason": self.reason,
                }
                for items in by_company.values()
            ]
        )
        writeoffs.action_request()
        if len(writeoffs) == 1:
            return writeoffs.get_formview_action()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Write-offs"),
            "res_model": "billing.writeoff",
            "view_mode": "list,form",
            "domain": [("id", "in", writeoffs.ids)],
        }

    @api.model
    def _get_total(self, items):
        return sum(items.mapped("amount_residual_currency"))
