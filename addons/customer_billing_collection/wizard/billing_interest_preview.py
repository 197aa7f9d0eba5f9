from odoo import Command, api, fields, models
from odoo.exceptions import UserError


class BillingInterestPreview(models.TransientModel):
    """What interest a run would book through a day, with the calculation: the same code, nothing is written."""

    _name = "billing.interest.preview"
    _description = "Preview of Late Interest"

    case_id = fields.Many2one("billing.case", readonly=True)
    policy_id = fields.Many2one("billing.dunning.policy", readonly=True)
    company_id = fields.Many2one("res.company", compute="_compute_company_id")
    date = fields.Date(string="Through", required=True, default=fields.Date.context_today)
    line_ids = fields.One2many(
        "billing.interest.preview.line", "preview_id", compute="_compute_line_ids", store=True, readonly=True
    )
    entry_count = fields.Integer(compute="_compute_line_ids", store=True)

    @api.depends("case_id", "policy_id")
    def _compute_company_id(self):
        for preview in self:
            preview.company_id = preview.case_id.company_id or preview.policy_id.company_id

    @api.depends("case_id", "policy_id", "date")
    def _compute_line_ids(self):
        for preview in self:
            vals_list = preview._get_entries()
            preview.entry_count = len(vals_list)
            preview.line_ids = [
                Command.clear(),
                *(Command.create(values) for entry in vals_list for values in preview._prepare_lines(entry)),
            ]

    def _get_cases(self):
        if self.case_id:
            return self.case_id
        cases = self.env["billing.interest"]._get_due_cases(self.company_id, self.date)
        return cases.filtered(lambda case: case.policy_id == self.policy_id)

    def _get_entries(self):
        """The values of the entries that a run would make."""
        cases = self._get_cases()
        cases.check_access("read")
        # sudo: matches of items; whoever sees the case sees what its interest would be
        return self.env["billing.interest"].sudo()._prepare_entries(cases.sudo(), self.date) if self.date else []

    @api.model
    def _prepare_lines(self, entry):
        """Values of the lines of one entry: its stretches, with what is booked on the last one."""
        common = {
            "case_id": entry["case_id"],
            "move_line_id": entry["move_line_id"],
            "rate": float(entry["trace"]["rate"]),
            "is_correction": bool(entry.get("revision")),
        }
        lines = [
            {
                **common,
                "date_from": stretch["from"],
                "date_to": stretch["to"],
                "days": stretch["days"],
                "residual": float(stretch["residual"]),
                "interest": float(stretch["interest"]),
            }
            for stretch in entry["trace"]["stretches"]
        ] or [{**common, "date_from": entry["date_from"], "date_to": entry["date_to"]}]
        lines[-1]["amount"] = entry["amount"]
        return lines

    def action_accrue(self):
        """Book what is shown."""
        self.ensure_one()
        entries = self.env["billing.interest"]._accrue(self.company_id, self.date, self._get_cases())
        if not entries:
            raise UserError(self.env._("There is no interest to book through this day."))
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Late Interest"),
            "res_model": "billing.interest",
            "view_mode": "list,form",
            "domain": [("id", "in", entries.ids)],
        }

    def action_bill(self):
        """Book what is shown, and bill all that is pending of these cases."""
        self.ensure_one()
        interest, cases = self.env["billing.interest"], self._get_cases()
        interest._accrue(self.company_id, self.date, cases)
        if self.policy_id:  # also what was accrued before
            cases |= interest.search([("state", "=", "pending"), ("case_id.policy_id", "=", self.policy_id.id)]).case_id
        return interest._view_bills(interest._bill(self.company_id, self.company_id._get_billing_today(), cases))


class BillingInterestPreviewLine(models.TransientModel):
    """A stretch of days of an item with its interest."""

    _name = "billing.interest.preview.line"
    _description = "Line of a Preview of Late Interest"
    _order = "id"

    preview_id = fields.Many2one("billing.interest.preview", required=True, index=True, ondelete="cascade")
    case_id = fields.Many2one("billing.case")
    partner_id = fields.Many2one(related="case_id.partner_id")
    currency_id = fields.Many2one(related="case_id.currency_id")
    move_line_id = fields.Many2one("account.move.line", string="Item")
    move_id = fields.Many2one(related="move_line_id.move_id", string="Bill")
    date_maturity = fields.Date(related="move_line_id.date_maturity", string="Due")
    date_from = fields.Date(string="From")
    date_to = fields.Date(string="Through")
    days = fields.Integer(help="As the day count has them.")
    residual = fields.Monetary(string="Open")
    rate = fields.Float(help="Per year.", digits=(16, 6))
    interest = fields.Float(string="Exact", digits=(16, 4), help="Before rounding.")
    amount = fields.Monetary(string="To Book", help="Of all days of the item, rounded once.")
    is_correction = fields.Boolean(string="Correction", help="Of days that have been charged already.")
