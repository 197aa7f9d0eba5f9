from odoo import api, fields, models


class BillingRunLine(models.Model):
    """What a run says about one contract: billed so much, or nothing, because …"""

    _name = "billing.run.line"
    _description = "Billing Run Line"
    _inherit = ["billing.protected.mixin"]
    _order = "run_id desc, outcome, id"
    _rec_name = "contract_id"
    _billing_protected = frozenset(
        ("run_id", "contract_id", "amount", "amount_tax", "outcome", "reason", "move_id",
         "bill_number")
    )  # fmt: skip

    run_id = fields.Many2one("billing.run", required=True, index=True, ondelete="cascade")
    contract_id = fields.Many2one(
        "billing.contract", required=True, index=True, ondelete="cascade"
    )
    partner_id = fields.Many2one(related="contract_id.partner_id", store=True)
    plan_id = fields.Many2one(related="contract_id.plan_id")
    company_id = fields.Many2one(related="run_id.company_id", store=True, index=True)
    currency_id = fields.Many2one(related="contract_id.currency_id", store=True)
    run_state = fields.Selection(related="run_id.state", string="Run Status")
    date = fields.Date(related="run_id.date", store=True)
    bill_number = fields.Integer(
        string="Bill Group", aggregator=None, help="Contracts with the same number share a bill."
    )
    amount = fields.Monetary(string="Untaxed")
    amount_tax = fields.Monetary(string="Tax Amount")
    outcome = fields.Selection(
        [
            ("proposed", "Proposed"),
            ("billed", "Billed"),
            ("held", "Held"),
            ("nothing", "Nothing to bill"),
            ("excluded", "Excluded"),
            ("failed", "Failed"),
        ],
        required=True,
        index=True,
    )
    reason = fields.Char()
    move_id = fields.Many2one("account.move", string="Bill", ondelete="set null", index="btree_not_null")

    _contract_unique = models.UniqueIndex(
        "(run_id, contract_id)", "A run has one line per contract."
    )

    def action_exclude(self):
        """Leave these contracts out of the run; the next run bills them."""
        self._change_proposal("proposed", "excluded", self.env._("Excluded by %s.", self.env.user.name))
        return True

    def action_include(self):
        """Take excluded contracts in again."""
        self._change_proposal("excluded", "proposed", False)
        return True

    def _change_proposal(self, before, after, reason):
        for run in self.run_id:
            run._check_idle()
        lines = self.filtered(
            lambda line: line.outcome == before and line.run_id.state == "proposed"
        )
        lines.sudo().write({"outcome": after, "reason": reason})  # protected fields
        lines.run_id._note_preparer()
        for run in lines.run_id:
            run._update_totals()

    @api.autovacuum
    def _gc_nothing(self):
        """Reasons for contracts without a bill are kept for a quarter of a year."""
        limit = fields.Date.add(fields.Date.today(), days=-92)
        self.search(
            [("outcome", "=", "nothing"), ("date", "<", limit), ("run_id.state", "=", "sent")],
            limit=10_000,
        ).unlink()
