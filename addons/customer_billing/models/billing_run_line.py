from odoo import api, fields, models
from odoo.tools import SQL, format_date

OUTCOME_ORDER = ("failed", "held", "proposed", "billed", "excluded", "nothing")


class BillingRunLine(models.Model):
    """What a run says about one contract: billed so much, or nothing, because …"""

    _name = "billing.run.line"
    _description = "Billing Run Line"
    _inherit = ["billing.protected.mixin"]
    _order = "run_id desc, outcome, id"
    _rec_name = "contract_id"
    _billing_protected = frozenset(
        ("run_id", "contract_id", "amount", "amount_tax", "outcome", "reason_code",
         "reason_values", "move_id", "bill_number", "further_bills")
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
    further_bills = fields.Integer(
        help="Bills of the contract besides that of its group: a credit note, missed periods."
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
    reason_code = fields.Selection(
        [
            ("text", "Other"),
            ("zero", "Only zeros"),
            ("zero_booked", "Only zeros, noted"),
            ("paused", "Paused"),
            ("ended", "Ended"),
            ("later", "Not due yet"),
            ("done", "Billed already"),
            ("busy", "Busy"),
            ("held", "Held by a check"),
            ("approval", "Waits for approval"),
            ("not_posted", "Not posted"),
            ("excluded", "Excluded"),
        ],
        string="Kind of Reason",
    )
    reason_values = fields.Json()
    reason = fields.Char(compute="_compute_reason")
    move_id = fields.Many2one("account.move", string="Bill", ondelete="set null", index="btree_not_null")

    _contract_unique = models.UniqueIndex(
        "(run_id, contract_id)", "A run has one line per contract."
    )

    def _order_field_to_sql(self, alias, field_name, direction, nulls, query):
        """Outcomes are sorted by what needs a person, not by the alphabet."""
        term = super()._order_field_to_sql(alias, field_name, direction, nulls, query)
        if field_name != "outcome":
            return term
        column = self._field_to_sql(alias, field_name, query)
        return SQL("array_position(%s::varchar[], %s) %s %s", list(OUTCOME_ORDER), column, direction, nulls)

    @api.depends_context("lang")
    @api.depends("reason_code", "reason_values")
    def _compute_reason(self):
        texts = self._get_reason_texts()
        for line in self:
            line.reason = line.reason_code and texts[line.reason_code] % line._get_reason_values()

    @api.model
    def _get_reason_texts(self):
        """The text of each code, in the language of the reader. Modules add those of theirs."""
        return {
            "text": "%(text)s",  # an error, in the words it came in
            "zero": self.env._("Only amounts of zero: shown with the next bill."),
            "zero_booked": self.env._("Only amounts of zero: noted, and shown with the next bill."),
            "paused": self.env._("Paused: no day to charge up to %(date)s."),
            "ended": self.env._("Ended on %(date)s, billed to the end."),
            "later": self.env._("Nothing due until %(date)s."),
            "done": self.env._("All that is due is billed already."),
            "busy": self.env._("Another process works on this contract; the next run bills it."),
            "held": self.env._("Held by: %(checks)s."),
            "approval": self.env._("Waits for the approval of a second person."),
            "not_posted": self.env._("Not posted: %(text)s"),
            "excluded": self.env._("Excluded by %(name)s."),
        }

    def _get_reason_values(self):
        """What the text of a reason names, as the reader writes it."""
        values = dict(self.reason_values or {})
        if "date" in values:
            values["date"] = format_date(self.env, values["date"])
        if "check_ids" in values:
            checks = self.env["billing.check"].browse(values["check_ids"]).exists()
            values["checks"] = ", ".join(dict.fromkeys(checks.mapped("name")))
        return values

    @api.model
    def _prepare_reason(self, code, **values):
        """Values that say why: a code of ``reason_code`` (False: no reason) and what its text
        names: ``text``, ``name``, ``date`` (a date), ``check_ids``."""
        if "date" in values:
            values["date"] = fields.Date.to_string(values["date"])
        return {"reason_code": code, "reason_values": values or False}

    def _is_to_book(self):
        """Whether the run still has to book something for this line.

        A contract that is due and costs nothing is noted as far as it is due.
        """
        day = self.contract_id.next_bill_date
        is_due = day and day <= self.run_id.date
        return self.outcome == "proposed" or bool(self.outcome == "nothing" and is_due)

    def action_exclude(self):
        """Leave these contracts out of the run; the next run bills them."""
        self._change_proposal(
            "proposed", "excluded", self._prepare_reason("excluded", name=self.env.user.name)
        )
        return True

    def action_include(self):
        """Take excluded contracts in again."""
        self._change_proposal("excluded", "proposed", self._prepare_reason(False))
        return True

    def _change_proposal(self, before, after, reason):
        for run in self.run_id:
            run._check_idle()
        lines = self.filtered(
            lambda line: line.outcome == before and line.run_id.state == "proposed"
        )
        lines.sudo().write({"outcome": after, **reason})  # protected fields
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
