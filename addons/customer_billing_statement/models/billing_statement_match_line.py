from odoo import api, fields, models
from odoo.exceptions import UserError

from .ledger_texts import REASONS, say

STATUSES = [
    ("amount_differs", "Amount differs"),
    ("only_ours", "Only ours"),
    ("only_theirs", "Only theirs"),
    ("matched_sum", "Matched as a sum"),
    ("matched", "Matched"),
]
DIFFERENCES = ("amount_differs", "only_ours", "only_theirs")


class BillingStatementMatchLine(models.Model):
    """Entries of a statement and of the customer's ledger that belong together, or one alone."""

    _name = "billing.statement.match.line"
    _description = "Result of a Comparison"
    _inherit = ["billing.protected.mixin"]
    _order = "match_id desc, id"
    _rec_name = "number"
    _billing_protected = frozenset(
        (
            "match_id", "status", "date", "number", "statement_line_ids", "our_amount", "their_rows",
            "their_date", "their_number", "their_amount", "difference", "reason_code",
            "reason_value", "dispute_id",
        )
    )  # fmt: skip

    match_id = fields.Many2one(
        "billing.statement.match", string="Ledger", required=True, readonly=True, index=True,
        ondelete="cascade",
    )  # fmt: skip
    statement_id = fields.Many2one(related="match_id.statement_id")
    partner_id = fields.Many2one(related="match_id.partner_id")
    company_id = fields.Many2one(related="match_id.company_id", store=True, index=True)
    currency_id = fields.Many2one(related="match_id.currency_id")
    status = fields.Selection(STATUSES, required=True, readonly=True, index=True)
    statement_line_ids = fields.Many2many(
        "billing.statement.line", string="Statement Lines", readonly=True
    )
    date = fields.Date(string="Our Date", readonly=True)
    number = fields.Char(string="Our Number", readonly=True)
    our_amount = fields.Monetary(string="Our Figure", readonly=True)
    their_rows = fields.Char(
        string="Rows", readonly=True, help="The rows of the customer's file, as a spreadsheet shows them."
    )
    their_date = fields.Date(string="Their Date", readonly=True)
    their_number = fields.Char(readonly=True)
    their_amount = fields.Monetary(
        string="Customer's Figure", readonly=True, help="With the sign of our books."
    )
    difference = fields.Monetary(readonly=True, help="Customer's figure less ours.")
    reason_code = fields.Char(readonly=True)
    reason_value = fields.Integer(readonly=True, aggregator=None)
    reason = fields.Char(string="Why", compute="_compute_reason")
    dispute_id = fields.Many2one(
        "billing.dispute", readonly=True, copy=False, index="btree_not_null", ondelete="set null"
    )

    @api.depends("reason_code", "reason_value")
    @api.depends_context("lang")
    def _compute_reason(self):
        for line in self:
            text = say(self.env, REASONS[line.reason_code]) if line.reason_code else ""
            line.reason = text % {"count": line.reason_value, "days": line.reason_value}

    def action_dispute(self):
        """Open a dispute with the customer's figure for each of these differences that has none.

        :return: the action that opens the disputes
        """
        self.match_id.check_access("write")
        if agreed := self.filtered(lambda line: line.status not in DIFFERENCES)[:1]:
            raise UserError(
                self.env._(
                    "%s is not a difference: there is nothing to dispute.",
                    agreed.number or agreed.their_number or agreed.reason,
                )
            )
        for line in self.filtered(lambda line: not line.dispute_id):
            dispute_id = line.statement_id.action_dispute(line._prepare_dispute())
            line.sudo().dispute_id = dispute_id  # protected field
        action = {"type": "ir.actions.act_window", "res_model": "billing.dispute"}
        if len(self.dispute_id) == 1:
            return {**action, "res_id": self.dispute_id.id, "view_mode": "form"}
        return {
            **action,
            "name": self.env._("Disputes"),
            "view_mode": "list,form",
            "domain": [("id", "in", self.dispute_id.ids)],
        }

    def _prepare_dispute(self):
        """What ``action_dispute`` of the statement takes.

        Of several lines of the statement the first one carries the whole difference.
        """
        self.ensure_one()
        first = self.statement_line_ids[:1]
        numbers = [self.number] if self.number else []
        if self.their_number and self.their_number != self.number:
            numbers.append(self.their_number)
        labels = dict(self._fields["status"]._description_selection(self.env))
        return {
            "name": f"{labels[self.status]}: {', '.join(numbers) or self.their_rows}"[:200],
            "line_id": first.id,
            "claimed_amount": first._get_claimable_amount() + self.difference if first else self.their_amount,
            "description": self.env._(
                "The customer's ledger %(file)s, rows %(rows)s: %(theirs)s; our books: %(ours)s. "
                "Difference %(difference)s (%(reason)s).",
                file=self.match_id.file_name,
                rows=self.their_rows or "–",
                theirs=self.currency_id.format(self.their_amount),
                ours=self.currency_id.format(self.our_amount),
                difference=self.currency_id.format(self.difference),
                reason=self.reason,
            ),
        }
