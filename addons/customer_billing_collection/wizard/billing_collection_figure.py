from odoo import api, fields, models


class BillingCollectionFigure(models.TransientModel):
    """The key figures of one period; amounts are in company currency."""

    _name = "billing.collection.figure"
    _description = "Collection Figures"
    _order = "date_from, id"
    _rec_name = "date_to"

    report_id = fields.Many2one(
        "billing.collection.report", required=True, index=True, readonly=True, ondelete="cascade"
    )
    company_currency_id = fields.Many2one("res.currency", readonly=True)
    date_from = fields.Date(string="From", readonly=True)
    date_to = fields.Date(string="To", readonly=True)
    opening = fields.Monetary(
        readonly=True, currency_field="company_currency_id", aggregator=None, help="Owed before the period."
    )
    sales = fields.Monetary(
        readonly=True, currency_field="company_currency_id", help="Invoices less credit notes, tax included."
    )
    closing = fields.Monetary(
        readonly=True, currency_field="company_currency_id", aggregator="avg", help="Owed at the end of the period."
    )
    overdue = fields.Monetary(
        readonly=True, currency_field="company_currency_id", aggregator="avg",
        help="Overdue at the end of the period; payments and credits that are not matched are deducted.",
    )  # fmt: skip
    collected = fields.Monetary(
        readonly=True, currency_field="company_currency_id",
        help="Payments of customers with an open case: see Collected by step.",
    )  # fmt: skip
    dso_simple = fields.Float(
        string="DSO, Simple", readonly=True, aggregator="avg", digits=(16, 1),
        help="Days sales outstanding: owed at the end ÷ sales of the period × its days; none without sales.",
    )  # fmt: skip
    dso_count_back = fields.Float(
        string="DSO, Count-Back", readonly=True, aggregator="avg", digits=(16, 1),
        help="Days sales outstanding by counting back: of how many days up to the end the sales are what is owed.",
    )  # fmt: skip
    effectiveness = fields.Float(
        string="Effectiveness Index", readonly=True, aggregator="avg", digits=(16, 4),
        help="Collection effectiveness index: what was collected of what could be. (Owed before + sales - owed at the "
        "end) ÷ (owed before + sales - owed at the end and not overdue).",
    )  # fmt: skip
    promise_count = fields.Integer(string="Promises Decided", readonly=True)
    promise_kept = fields.Integer(string="Promises Kept", readonly=True)
    promise_rate = fields.Float(
        string="Promise-Kept Rate", readonly=True, aggregator="avg", digits=(16, 4),
        help="Promises kept in full, of those that were decided in the period.",
    )  # fmt: skip

    @api.model
    def _get_xlsx_columns(self):
        return (
            "date_from", "date_to", "opening", "sales", "closing", "overdue", "collected", "dso_simple",
            "dso_count_back", "effectiveness", "promise_count", "promise_kept", "promise_rate",
        )  # fmt: skip

    def action_download(self):
        """Download the report whose lines are shown (``billing_collection_report_id`` in the context) as XLSX."""
        report = self.env["billing.collection.report"].browse(self.env.context.get("billing_collection_report_id"))
        report.check_access("read")
        return report._get_download_action()

    def action_open_items(self):
        """Open what was owed at the end of the period, item by item."""
        self.ensure_one()
        report = self.env["billing.aged.report"].create(
            {"date": self.date_to, "basis": "due", "company_id": self.report_id.company_id.id}
        )
        return report.action_show()

    def action_open_promises(self):
        """Open the promises that were decided in the period."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Promises"),
            "res_model": "billing.promise",
            "view_mode": "list,form",
            "domain": [
                ("company_id", "child_of", self.report_id.company_id.id),
                ("state", "in", ("kept", "partly", "broken")),
                ("date_decided", ">=", self.date_from),
                ("date_decided", "<=", self.date_to),
            ],
        }
