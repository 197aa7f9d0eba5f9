from odoo import api, fields, models
from odoo.exceptions import UserError

LINE_KINDS = [
    ("invoice", "Invoice"),
    ("refund", "Credit note"),
    ("payment", "Payment"),
    ("entry", "Entry"),
    ("conversion", "Settled in another currency"),
    ("transfer", "Settled on another account"),
]


class BillingStatementLine(models.Model):
    """One row of a statement: a copy of what the ledger said, fixed once it was checked."""

    _name = "billing.statement.line"
    _description = "Statement Line"
    _inherit = ["billing.protected.mixin"]
    _order = "statement_id desc, sequence, id"
    _rec_name = "number"
    _billing_protected = frozenset(
        (
            "statement_id", "company_id", "partner_id", "currency_id", "sequence", "kind",
            "date", "date_maturity", "move_id",
            "move_line_id", "key", "number", "ref", "counterpart", "debit", "credit", "balance",
            "residual", "unallocated", "days_overdue", "bucket", "contract_id", "contract_name",
        )
    )  # fmt: skip

    statement_id = fields.Many2one(
        "billing.statement", required=True, readonly=True, index=True, ondelete="cascade"
    )
    # Copied, not related: reading them from the statement doubles the time of writing lines.
    company_id = fields.Many2one("res.company", required=True, readonly=True)
    partner_id = fields.Many2one("res.partner", string="Customer", readonly=True, ondelete="restrict")
    currency_id = fields.Many2one("res.currency", required=True, readonly=True)
    state = fields.Selection(related="statement_id.state")
    sequence = fields.Integer(readonly=True, aggregator=None)
    kind = fields.Selection(LINE_KINDS, string="Type", required=True, readonly=True)
    date = fields.Date(required=True, readonly=True)
    date_maturity = fields.Date(string="Due Date", readonly=True)
    move_id = fields.Many2one(
        "account.move",
        string="Document",
        readonly=True,
        index="btree_not_null",
        ondelete="set null",
        help="To look it up; what the statement says was copied and stays.",
    )
    move_line_id = fields.Many2one(
        "account.move.line", readonly=True, index="btree_not_null", ondelete="set null"
    )
    key = fields.Char(
        readonly=True,
        help="Names the entry of the ledger that this line was copied from, also when it is gone.",
    )
    number = fields.Char(readonly=True)
    ref = fields.Char(string="Reference", readonly=True)
    counterpart = fields.Char(
        string="Settled By",
        readonly=True,
        help="The document in another currency, with its amount, that settled this one.",
    )
    debit = fields.Monetary(string="Charged", readonly=True)
    credit = fields.Monetary(string="Credited", readonly=True)
    balance = fields.Monetary(
        string="Running Balance", readonly=True, aggregator=None,
        help="On a statement of open items: of what is open.",
    )  # fmt: skip
    residual = fields.Monetary(
        string="Open", readonly=True, help="What was open on the last day of the statement."
    )
    unallocated = fields.Boolean(
        readonly=True, help="A payment or credit that is not matched to a bill yet."
    )
    days_overdue = fields.Integer(
        readonly=True, aggregator=None, help="On the last day of the statement; 0: not due."
    )
    bucket = fields.Integer(
        string="Age Band", readonly=True, aggregator=None,
        help="0: not due, 1: the first age band of the statement, and so on.",
    )  # fmt: skip
    contract_id = fields.Many2one(
        "billing.contract", readonly=True, index="btree_not_null", ondelete="set null"
    )
    contract_name = fields.Char(string="Contract Number", readonly=True)
    dispute_ids = fields.One2many("billing.dispute", "statement_line_id", readonly=True)

    # What a statement said does not change, whoever writes, also as superuser.

    @api.model_create_multi
    def create(self, vals_list):
        lines = super().create(vals_list)
        lines._check_not_frozen()
        return lines

    def write(self, vals):
        self._check_not_frozen()
        return super().write(vals)

    @api.ondelete(at_uninstall=False)
    def _unlink_except_frozen(self):
        self._check_not_frozen()

    def _check_not_frozen(self):
        for statement in self.statement_id:
            if statement.state != "draft":
                raise UserError(
                    self.env._(
                        "Statement %s was checked: its lines stay as they are. A new statement "
                        "can take its place.",
                        statement.name,
                    )
                )

    def _get_claimable_amount(self):
        """Our figure that a customer compares with his own: what is open, or what was booked."""
        self.ensure_one()
        if self.statement_id.kind == "open_item":
            return self.residual
        return self.debit - self.credit

    def action_open_document(self):
        """Open the document in the ledger that this line was copied from."""
        self.ensure_one()
        if not self.move_id:
            raise UserError(self.env._("%s is not in the ledger any more.", self.number))
        return {
            "type": "ir.actions.act_window",
            "res_model": "account.move",
            "res_id": self.move_id.id,
            "view_mode": "form",
        }

    def action_dispute(self):
        """Open a new dispute about this line."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "res_model": "billing.dispute",
            "view_mode": "form",
            "target": "new",
            "context": {
                "default_statement_id": self.statement_id.id,
                "default_statement_line_id": self.id,
                "default_move_id": self.statement_id._get_disputed_move(self).id,
                "default_name": self.number,
            },
        }
