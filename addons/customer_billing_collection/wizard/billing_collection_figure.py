from odoo import api, fields, models
from odoo.tools import SQL

# Empty where nothing can be said.
RATES = ("dso_simple:avg", "dso_count_back:avg", "effectiveness:avg", "promise_rate:avg")


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
        help="Days sales outstanding by counting back: of how many days up to the end the sales are what is owed; none "
        "where nothing was sold and nothing is owed.",
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
        help="Promises kept in full, of those that were decided in the period; in totals of all promises.",
    )  # fmt: skip

    @api.model
    def _read_group_select(self, aggregate_spec, query):
        """The promise-kept rate of several periods is that of all their promises, not the mean of rates."""
        if aggregate_spec != "promise_rate:avg":
            return super()._read_group_select(aggregate_spec, query)
        kept, count = (super(BillingCollectionFigure, self)._read_group_select(spec, query) for spec in
                       ("promise_kept:sum", "promise_count:sum"))  # fmt: skip
        return SQL("%s::float / NULLIF(%s, 0)", kept, count)

    @api.model
    @api.readonly
    def formatted_read_grouping_sets(self, domain, grouping_sets, aggregates=(), *, order=None):
        """As core, for pivots: a cell about which nothing can be said is empty, not 0 %."""
        sets = super().formatted_read_grouping_sets(domain, grouping_sets, aggregates, order=order)
        return [
            [{key: value for key, value in group.items() if key not in RATES or value is not False} for group in groups]
            for groups in sets
        ]

    @api.model
    @api.readonly
    def formatted_read_group(self, domain, groupby=(), aggregates=(), having=(), offset=0, limit=None, order=None):
        """As core; in graphs of a rate, periods about which nothing can be said are left out instead of being 0 %."""
        groups = super().formatted_read_group(domain, groupby, aggregates, having, offset, limit, order)
        shown = [spec for spec in aggregates if spec != "__count"]
        if len(shown) == 1 and shown[0] in RATES:
            return [group for group in groups if group[shown[0]] is not False]
        return groups

    @api.model
    def _get_xlsx_columns(self):
        return (
            "date_from", "date_to", "opening", "sales", "closing", "overdue", "collected", "dso_simple",
            "dso_count_back", "effectiveness", "promise_count", "promise_kept", "promise_rate",
        )  # fmt: skip

    def _get_unknown(self):
        """The names of the fields about which nothing can be said in this period."""
        known = {
            "dso_simple": self.sales > 0,
            "dso_count_back": bool(self.sales or self.closing),
            "effectiveness": self.opening + self.sales > self.closing - self.overdue,
            "promise_rate": self.promise_count > 0,
        }
        return {name for name, is_known in known.items() if not is_known}

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
