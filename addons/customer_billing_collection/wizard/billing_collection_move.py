from odoo import api, fields, models


class BillingCollectionMove(models.TransientModel):
    """What of the debt in one age bucket was in which bucket a month later, or settled by then."""

    _name = "billing.collection.move"
    _description = "Ageing Move"
    _order = "date_from, bucket_from, bucket_to, id"
    _rec_name = "date_to"

    report_id = fields.Many2one(
        "billing.collection.report", required=True, index=True, readonly=True, ondelete="cascade"
    )
    company_currency_id = fields.Many2one("res.currency", readonly=True)
    date_from = fields.Date(string="From", readonly=True)
    date_to = fields.Date(string="To", readonly=True)
    bucket_from = fields.Selection(selection="_get_buckets_from", string="Bucket Before", readonly=True)
    bucket_to = fields.Selection(selection="_get_buckets_to", string="Bucket After", readonly=True)
    item_count = fields.Integer(string="Items", readonly=True)
    amount = fields.Monetary(readonly=True, currency_field="company_currency_id")
    rate = fields.Float(
        string="Roll Rate", readonly=True, aggregator="avg", digits=(16, 4),
        help="The share of the bucket before that went there; over several months their mean.",
    )  # fmt: skip

    @api.model
    def _get_buckets(self):
        labels = self.env.company._get_billing_bucket_labels()
        return [(str(index), label) for index, label in enumerate(labels)]

    @api.model
    def _get_buckets_from(self):
        return [*self._get_buckets(), ("new", self.env._("New"))]

    @api.model
    def _get_buckets_to(self):
        return [*self._get_buckets(), ("settled", self.env._("Settled"))]

    @api.model
    def _get_xlsx_columns(self):
        return ("date_from", "date_to", "bucket_from", "bucket_to", "item_count", "amount", "rate")

    def action_download(self):
        """Download the report whose lines are shown (``billing_collection_report_id`` in the context) as XLSX."""
        report = self.env["billing.collection.report"].browse(self.env.context.get("billing_collection_report_id"))
        report.check_access("read")
        return report._get_download_action()

    def action_open_items(self):
        """Open the items that moved."""
        self.ensure_one()
        items = self.report_id._get_moved_items(self)
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Items"),
            "res_model": "account.move.line",
            "view_mode": "list,form",
            "domain": [("id", "in", items.ids)],
        }
