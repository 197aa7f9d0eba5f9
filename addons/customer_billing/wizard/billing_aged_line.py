from odoo import api, fields, models


class BillingAgedLine(models.TransientModel):
    """An open item on the day of an aged report; its amount in company currency stands in its bucket's column."""

    _name = "billing.aged.line"
    _description = "Aged Receivable Item"
    _order = "partner_id, currency_id, date_maturity, id"
    _rec_name = "number"

    report_id = fields.Many2one("billing.aged.report", required=True, index=True, readonly=True, ondelete="cascade")
    move_line_id = fields.Many2one("account.move.line", index=True, readonly=True, ondelete="cascade")
    move_id = fields.Many2one("account.move", string="Document", index=True, readonly=True, ondelete="cascade")
    partner_id = fields.Many2one("res.partner", string="Customer", index=True, readonly=True, ondelete="cascade")
    contact_id = fields.Many2one("res.partner", string="Contact", index=True, readonly=True, ondelete="cascade")
    tier_id = fields.Many2one(related="partner_id.billing_tier_id")
    industry_id = fields.Many2one(related="partner_id.industry_id")
    billing_size = fields.Selection(related="partner_id.billing_size")
    currency_id = fields.Many2one("res.currency", readonly=True)
    company_currency_id = fields.Many2one("res.currency", readonly=True)
    kind = fields.Selection(
        [("invoice", "Invoice"), ("refund", "Credit note"), ("payment", "Payment"), ("entry", "Entry")], readonly=True
    )
    number = fields.Char(readonly=True)
    ref = fields.Char(string="Reference", readonly=True)
    date = fields.Date(readonly=True)
    invoice_date = fields.Date(readonly=True)
    date_maturity = fields.Date(string="Due Date", readonly=True)
    days_overdue = fields.Integer(
        readonly=True, aggregator="max", help="Days past the due date; below zero not yet due."
    )
    bucket = fields.Selection(selection="_get_buckets", readonly=True)
    amount = fields.Monetary(string="Original Amount", readonly=True)
    residual = fields.Monetary(string="Open Amount", readonly=True)
    residual_company = fields.Monetary(
        string="Open in Company Currency", readonly=True, currency_field="company_currency_id"
    )
    bucket_0 = fields.Monetary(string="Not Due", readonly=True, currency_field="company_currency_id")
    bucket_1 = fields.Monetary(string="1st Bucket", readonly=True, currency_field="company_currency_id")
    bucket_2 = fields.Monetary(string="2nd Bucket", readonly=True, currency_field="company_currency_id")
    bucket_3 = fields.Monetary(string="3rd Bucket", readonly=True, currency_field="company_currency_id")
    bucket_4 = fields.Monetary(string="4th Bucket", readonly=True, currency_field="company_currency_id")
    bucket_5 = fields.Monetary(string="Older", readonly=True, currency_field="company_currency_id")

    @api.model
    def _get_buckets(self):
        labels = self.env.company._get_billing_bucket_labels()
        return [(str(index), label) for index, label in enumerate(labels)]

    @api.model
    def fields_get(self, allfields=None, attributes=None):
        """The columns of the buckets are named by their days."""
        result = super().fields_get(allfields, attributes)
        for index, label in enumerate(self.env.company._get_billing_bucket_labels()):
            description = result.get(f"bucket_{index}", {})
            if "string" in description:
                description["string"] = label
        return result

    def action_download(self):
        """Download the report whose items are shown (``billing_aged_report_id`` in the context) as XLSX.

        All of its items, also when some of them are selected.
        """
        report = self.env["billing.aged.report"].browse(self.env.context.get("billing_aged_report_id"))
        report.check_access("read")
        return report._get_download_action()

    def action_open_document(self):
        """Open the invoice, credit note or entry; the journal item alone for those who may not read entries."""
        self.ensure_one()
        record = self.move_id if self.move_id.has_access("read") else self.move_line_id
        return {
            "type": "ir.actions.act_window",
            "name": self.number,
            "res_model": record._name,
            "res_id": record.id,
            "views": [(False, "form")],
        }
