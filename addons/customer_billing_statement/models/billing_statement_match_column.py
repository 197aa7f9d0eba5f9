from odoo import fields, models
from odoo.exceptions import UserError

from ..tools.ledger_columns import FIELDS

LABELS = {
    "number": "Document number",
    "date": "Date",
    "debit": "Debit",
    "credit": "Credit",
    "amount": "Amount",
    "side": "Debit or credit (D/C)",
    "currency": "Currency",
    "reference": "Reference",
    "description": "Description",
    "balance": "Balance",
}


class BillingStatementMatchColumn(models.Model):
    """A column of a customer's ledger, and what it is."""

    _name = "billing.statement.match.column"
    _description = "Column of a Customer's Ledger"
    _inherit = ["billing.protected.mixin"]
    _order = "match_id desc, sequence"
    _billing_protected = frozenset(("match_id", "sequence", "letters", "name", "samples"))

    match_id = fields.Many2one(
        "billing.statement.match", required=True, readonly=True, index=True, ondelete="cascade"
    )
    company_id = fields.Many2one(related="match_id.company_id")
    sequence = fields.Integer(readonly=True)
    letters = fields.Char(string="Column", readonly=True)
    name = fields.Char(string="Heading", required=True, readonly=True)
    samples = fields.Char(string="First Rows", readonly=True)
    field = fields.Selection(
        [(name, LABELS[name]) for name in FIELDS],
        string="Is",
        help="Date and amount (or debit and credit) are needed. Empty: the column is not used.",
    )

    def write(self, vals):
        if "field" in vals and any(m.state not in ("draft", "mapped") for m in self.match_id):
            raise UserError(
                self.env._("The ledger was compared. Click “Change Columns” to read it differently.")
            )
        return super().write(vals)
