from collections import defaultdict
from io import BytesIO

import xlsxwriter

from odoo import fields, models
from odoo.tools import SQL

from ..tools.sheet import write_sheet

# Columns of the items that are copied as they are.
COPIED = (
    "move_line_id", "move_id", "partner_id", "contact_id", "currency_id", "kind", "number", "ref", "date",
    "invoice_date", "date_maturity", "amount", "residual", "residual_company",
)  # fmt: skip


class BillingAgedReport(models.TransientModel):
    """What customers owed on a day, by age: asks for the day, then shows the items of ``billing.receivable``."""

    _name = "billing.aged.report"
    _description = "Aged Receivable"

    date = fields.Date(required=True, default=lambda self: self.env.company._get_billing_today())
    basis = fields.Selection(
        [("due", "Due date"), ("invoice", "Invoice date")],
        string="Ageing By",
        required=True,
        default=lambda self: self.env.company.billing_ageing_basis,
    )
    company_id = fields.Many2one("res.company", required=True, readonly=True, default=lambda self: self.env.company)
    partner_ids = fields.Many2many("res.partner", string="Customers", help="Empty for all customers.")
    line_ids = fields.One2many("billing.aged.line", "report_id", readonly=True)

    def _compute_display_name(self):
        for report in self:
            report.display_name = self.env._("Aged receivable, %s", fields.Date.to_string(report.date))

    def action_show(self):
        """Compute the report and open its items."""
        self.ensure_one()
        self._load()
        action = self.env["ir.actions.actions"]._for_xml_id("customer_billing.billing_aged_line_action")
        return {
            **action,
            "display_name": self.display_name,
            "domain": [("report_id", "=", self.id)],
            "context": {
                "billing_aged_report_id": self.id,
                "search_default_group_partner": len(self.partner_ids) != 1,
            },
        }

    def action_download(self):
        """Compute the report and download it as XLSX."""
        self.ensure_one()
        self._load()
        return self._get_download_action()

    def _get_download_action(self):
        return {"type": "ir.actions.act_url", "url": f"/billing/aged/{self.id}", "target": "download"}

    def _load(self):
        """Read the open items of the day anew."""
        self.ensure_one()
        self.check_access("write")
        scope = self.env["billing.receivable"]._get_scope(self.company_id, self.partner_ids.ids or None)
        # sudo: the lines are nobody's to create; they hold what the user may read
        self.sudo().line_ids.unlink()
        self.env.flush_all()
        self.env.execute_query(self._get_insert_sql(scope))
        self.invalidate_recordset(["line_ids"])

    def _get_insert_sql(self, scope):
        """The open items on the day as lines of this report."""
        receivable, company = self.env["billing.receivable"], self.company_id.sudo()
        items = receivable._select_open(
            scope, self.date, receivable._get_aged_columns(company, self.date, self.basis)
        )
        values = {
            **{name: SQL.identifier(name) for name in COPIED},
            "days_overdue": SQL("%s::date - date_maturity", self.date),
            "bucket": SQL("bucket::text"),
            **{
                f"bucket_{index}": SQL("CASE WHEN bucket = %s THEN residual_company ELSE 0 END", index)
                for index in range(len(company._get_billing_bucket_labels()))
            },
            "report_id": SQL("%s", self.id),
            "company_currency_id": SQL("%s", company.currency_id.id),
            "create_uid": SQL("%s", self.env.uid),
            "create_date": SQL("NOW() AT TIME ZONE 'UTC'"),
        }
        return SQL(
            "INSERT INTO billing_aged_line (%s) SELECT %s FROM (%s) item RETURNING id",
            SQL(", ").join(map(SQL.identifier, values)),
            SQL(", ").join(values.values()),
            items,
        )

    # XLSX

    def _get_xlsx(self):
        """Return the items as an XLSX file: a sheet of customers by currency, a sheet of items."""
        output = BytesIO()
        title = f"{self.company_id.name} · {self.display_name}"
        with xlsxwriter.Workbook(output, {"in_memory": True}) as book:
            for name, headings, rows in (
                (self.env._("Customers"), *self._get_customer_table()),
                (self.env._("Items"), *self._get_item_table()),
            ):
                write_sheet(book, book.add_worksheet(name), title, headings, rows)
        return output.getvalue()

    def _get_customer_table(self):
        """Headings and rows: each customer and currency, then the totals of each currency and of all."""
        company = self.company_id.sudo()
        labels = company._get_billing_bucket_labels()
        sums = defaultdict(lambda: defaultdict(float))
        for line in self.line_ids:
            for key in ((line.partner_id, line.currency_id), (None, line.currency_id)):
                sums[key][line.bucket] += line.residual
                sums[key]["balance"] += line.residual
                sums[key]["overdue"] += line.residual if line.days_overdue > 0 and line.residual > 0 else 0.0
                sums[key]["unallocated"] += min(line.residual, 0.0)
                sums[key]["company"] += line.residual_company
        names = [*(str(index) for index in range(len(labels))), "balance", "overdue", "unallocated"]
        keys = sorted(sums, key=lambda key: (key[0] is None, key[0].display_name or "" if key[0] else "", key[1].name))
        rows = [
            [
                self.env._("Total") if partner is None else partner.display_name or self.env._("No customer"),
                currency.name,
                *((currency.round(sums[partner, currency][name]), currency) for name in names),
                (company.currency_id.round(sums[partner, currency]["company"]), company.currency_id),
            ]
            for partner, currency in keys
        ]
        total = sum(values["company"] for (partner, _currency), values in sums.items() if partner is None)
        blank = [""] * (len(names) + 1)
        rows.append([self.env._("Total"), *blank, (company.currency_id.round(total), company.currency_id)])
        headings = [
            self.env._("Customer"), self.env._("Currency"), *labels, self.env._("Balance"), self.env._("Overdue"),
            self.env._("Unallocated"), self.env._("Balance in %s", company.currency_id.name),
        ]  # fmt: skip
        return headings, rows

    def _get_item_table(self):
        """Headings and rows: all items."""
        names = (
            "partner_id", "contact_id", "kind", "number", "ref", "date", "invoice_date", "date_maturity",
            "days_overdue", "bucket", "currency_id", "amount", "residual", "residual_company",
        )  # fmt: skip
        described = self.line_ids.fields_get(names, ["string", "selection"])
        choices = {name: dict(described[name]["selection"]) for name in ("kind", "bucket")}
        rows = []
        for line in self.line_ids:
            row = []
            for name in names:
                value = line[name]
                if name in choices:
                    value = choices[name].get(value, "")
                elif name in ("amount", "residual"):
                    value = (value, line.currency_id)
                elif name == "residual_company":
                    value = (value, line.company_currency_id)
                elif isinstance(value, models.BaseModel):
                    value = value.sudo().display_name
                row.append(value)
            rows.append(row)
        return [described[name]["string"] for name in names], rows
