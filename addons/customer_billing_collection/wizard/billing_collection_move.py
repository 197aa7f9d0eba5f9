from odoo import api, fields, models
from odoo.fields import Domain


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
        help="The share of the bucket before that went there; over several months, of all that was in it.",
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
    def _read_group(self, domain, groupby=(), aggregates=(), having=(), offset=0, limit=None, order=None):
        rows = super()._read_group(domain, groupby, aggregates, having, offset, limit, order)
        return self._set_rates(rows, domain, groupby, aggregates)

    @api.model
    def _read_grouping_sets(self, domain, grouping_sets, aggregates=(), order=None):
        sets = super()._read_grouping_sets(domain, grouping_sets, aggregates, order)
        return [
            self._set_rates(rows, domain, groupby, aggregates)
            for groupby, rows in zip(grouping_sets, sets, strict=True)
        ]

    @api.model
    def _set_rates(self, rows, domain, groupby, aggregates):
        """Make the roll rate of groups what went there of all that was in the buckets before: a mean of lines would
        leave out the months in which nothing went there.

        :param rows: what core gives for ``groupby`` and ``aggregates``
        """
        if "rate:avg" not in aggregates:
            return rows
        place = len(groupby) + list(aggregates).index("rate:avg")
        kept = [index for index, spec in enumerate(groupby) if spec != "bucket_to"]
        # wherever it went, whatever is shown of that
        anywhere = Domain(domain).map_conditions(
            lambda condition: Domain.TRUE if condition.field_expr == "bucket_to" else condition
        )
        moved = {row[:-1]: row[-1] for row in self._read_group(domain, groupby, ["amount:sum"])}
        held = {
            row[:-1]: row[-1]
            for row in self._read_group(anywhere, [groupby[index] for index in kept], ["amount:sum"])
        }
        result = []
        for row in rows:
            key = row[: len(groupby)]
            total = held.get(tuple(key[index] for index in kept))
            rate = moved[key] / total if total else False
            result.append((*row[:place], rate, *row[place + 1 :]))
        return result

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
