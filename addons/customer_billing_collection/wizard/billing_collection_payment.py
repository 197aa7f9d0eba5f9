from odoo import api, fields, models


class BillingCollectionPayment(models.TransientModel):
    """What was paid on one item while the customer had an open case, with the notice that came last before it."""

    _name = "billing.collection.payment"
    _description = "Collected Payment"
    _order = "date, id"

    report_id = fields.Many2one(
        "billing.collection.report", required=True, index=True, readonly=True, ondelete="cascade"
    )
    date = fields.Date(readonly=True)
    move_line_id = fields.Many2one("account.move.line", index=True, readonly=True, ondelete="cascade")
    move_id = fields.Many2one("account.move", string="Document", index=True, readonly=True, ondelete="cascade")
    payment_move_id = fields.Many2one(
        "account.move", string="Payment", index=True, readonly=True, ondelete="cascade"
    )
    partner_id = fields.Many2one("res.partner", string="Customer", index=True, readonly=True, ondelete="cascade")
    case_id = fields.Many2one("billing.case", index=True, readonly=True, ondelete="cascade")
    notice_id = fields.Many2one(
        "billing.dunning.notice", index=True, readonly=True, ondelete="cascade",
        help="The last one that listed the item and was sent by the day of the payment; empty: none was.",
    )  # fmt: skip
    step_id = fields.Many2one("billing.dunning.step", index=True, readonly=True, ondelete="cascade")
    channel = fields.Selection(selection="_get_channels", readonly=True)
    collector_id = fields.Many2one("res.users", index=True, readonly=True, ondelete="cascade")
    currency_id = fields.Many2one("res.currency", readonly=True)
    company_currency_id = fields.Many2one("res.currency", readonly=True)
    amount = fields.Monetary(readonly=True)
    amount_company = fields.Monetary(
        string="Amount in Company Currency", readonly=True, currency_field="company_currency_id"
    )
    days_overdue = fields.Integer(readonly=True, aggregator="avg", help="Days from the due date to the payment.")
    days_after = fields.Integer(
        string="Days After Notice", readonly=True, aggregator="avg", help="Days from the notice to the payment."
    )

    @api.model
    def _get_channels(self):
        return self.env["billing.dunning.step"]._fields["channel"]._description_selection(self.env)

    @api.model
    def _get_xlsx_columns(self):
        return (
            "partner_id", "date", "move_id", "payment_move_id", "case_id", "step_id", "channel", "collector_id",
            "days_overdue", "days_after", "currency_id", "amount", "amount_company",
        )  # fmt: skip

    def action_download(self):
        """Download the report whose lines are shown (``billing_collection_report_id`` in the context) as XLSX."""
        report = self.env["billing.collection.report"].browse(self.env.context.get("billing_collection_report_id"))
        report.check_access("read")
        return report._get_download_action()

    def action_open_case(self):
        """Open the case."""
        self.ensure_one()
        return self.case_id._get_records_action()
