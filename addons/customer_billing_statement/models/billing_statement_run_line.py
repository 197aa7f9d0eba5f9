from odoo import fields, models


class BillingStatementRunLine(models.Model):
    """What a run says about one customer and currency: made, or nothing, because …"""

    _name = "billing.statement.run.line"
    _description = "Statement Run Line"
    _inherit = ["billing.protected.mixin"]
    _order = "run_id desc, outcome, id"
    _rec_name = "partner_id"
    _billing_protected = frozenset(
        ("run_id", "partner_id", "currency_id", "outcome", "reason", "statement_id")
    )

    run_id = fields.Many2one(
        "billing.statement.run", required=True, readonly=True, index=True, ondelete="cascade"
    )
    company_id = fields.Many2one(related="run_id.company_id", store=True, index=True)
    date_to = fields.Date(related="run_id.date_to", store=True)
    partner_id = fields.Many2one(
        "res.partner", string="Customer", required=True, readonly=True, index=True,
        ondelete="cascade",
    )  # fmt: skip
    currency_id = fields.Many2one("res.currency", readonly=True)
    outcome = fields.Selection(
        [
            ("waiting", "Waiting"),
            ("made", "Made"),
            ("held", "Held"),
            ("sent", "Sent"),
            ("nothing", "No statement"),
            ("failed", "Failed"),
        ],
        required=True,
        readonly=True,
        index=True,
    )
    reason = fields.Char(readonly=True)
    statement_id = fields.Many2one(
        "billing.statement", readonly=True, index="btree_not_null", ondelete="set null"
    )
    statement_state = fields.Selection(related="statement_id.state", string="Statement Status")
    balance_close = fields.Monetary(related="statement_id.balance_close")

    _customer_unique = models.UniqueIndex(
        "(run_id, partner_id, COALESCE(currency_id, 0))",
        "A run has one line per customer and currency.",
    )
