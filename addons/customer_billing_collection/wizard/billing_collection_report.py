from collections import defaultdict
from datetime import timedelta
from io import BytesIO

import xlsxwriter
from dateutil.relativedelta import relativedelta

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL

from odoo.addons.customer_billing.models.billing_receivable import KIND, LINE
from odoo.addons.customer_billing.tools.money import to_decimal
from odoo.addons.customer_billing.tools.sheet import write_sheet

from ..tools.results import count_back_dso, effectiveness, simple_dso, spans

LINES = {
    "collected": "billing.collection.payment",
    "figures": "billing.collection.figure",
    "moves": "billing.collection.move",
}
# Counting back looks so far before the period: beyond, debt is older than any sale that it could be compared with.
LOOK_BACK_DAYS = 3 * 366


class BillingCollectionReport(models.TransientModel):
    """Results of collections: asks for a period, then shows what was collected, key figures, or how debt aged.

    All is read from the ledger, for the user, when it is asked; amounts are in company currency. A company stands for
    itself and its branches.
    """

    _name = "billing.collection.report"
    _description = "Collection Results"

    kind = fields.Selection(
        [("collected", "Collected by step"), ("figures", "Key figures"), ("moves", "Ageing moves")],
        string="Show",
        required=True,
        default="figures",
    )
    company_id = fields.Many2one("res.company", required=True, readonly=True, default=lambda self: self.env.company)
    date_from = fields.Date(string="From", required=True, default=lambda self: self._get_default_dates()[0])
    date_to = fields.Date(string="To", required=True, default=lambda self: self._get_default_dates()[1])
    interval = fields.Selection(
        [("1", "Month"), ("3", "Quarter"), ("12", "Year")], string="By", required=True, default="1"
    )
    payment_ids = fields.One2many("billing.collection.payment", "report_id", readonly=True)
    figure_ids = fields.One2many("billing.collection.figure", "report_id", readonly=True)
    move_ids = fields.One2many("billing.collection.move", "report_id", readonly=True)

    @api.model
    def _get_default_dates(self):
        """The last twelve whole months."""
        last = self.env.company._get_billing_today().replace(day=1) - timedelta(days=1)
        return last.replace(day=1) - relativedelta(months=11), last

    def _compute_display_name(self):
        kinds = dict(self._fields["kind"]._description_selection(self.env))
        for report in self:
            report.display_name = self.env._(
                "%(what)s, %(first)s to %(last)s",
                what=kinds.get(report.kind, ""),
                first=fields.Date.to_string(report.date_from),
                last=fields.Date.to_string(report.date_to),
            )

    def action_show(self):
        """Compute the report and open its lines.

        :raises UserError: when the period ends before it begins
        :raises AccessError: when the user may not read journal items, or not those of the company
        """
        self.ensure_one()
        self._load()
        model = LINES[self.kind].replace(".", "_")
        action = self.env["ir.actions.actions"]._for_xml_id(f"customer_billing_collection.{model}_action")
        return {
            **action,
            "display_name": self.display_name,
            "domain": [("report_id", "=", self.id)],
            "context": {
                "billing_collection_report_id": self.id,
                "search_default_known": self.kind == "moves",
            },
        }

    def action_download(self):
        """Compute the report and download it as XLSX. Errors as for ``action_show``."""
        self.ensure_one()
        self._load()
        return self._get_download_action()

    def _get_download_action(self):
        return {"type": "ir.actions.act_url", "url": f"/billing/collection/{self.id}", "target": "download"}

    def _get_lines(self):
        return {"collected": self.payment_ids, "figures": self.figure_ids, "moves": self.move_ids}[self.kind]

    def _load(self):
        """Compute the lines of the report's kind anew."""
        self.ensure_one()
        self.check_access("write")
        self.env["billing.case"].check_access("read")
        if self.date_to < self.date_from:
            raise UserError(self.env._("The period ends before it begins: change its days."))
        scope = self.env["billing.receivable"]._get_scope(self.company_id)
        # sudo: the lines are nobody's to create; they hold what the user may read
        self.sudo()._get_lines().unlink()
        self.env.flush_all()
        if self.kind == "collected":
            self._load_payments(scope)
        elif self.kind == "figures":
            self._load_figures(scope)
        else:
            self._load_moves(scope)
        self.invalidate_recordset(["payment_ids", "figure_ids", "move_ids"])

    def _insert(self, model, values, source):
        """Insert lines of this report from a query: ``values`` are its columns."""
        values = {
            **{name: SQL.identifier(name) for name in values},
            "report_id": SQL("%s", self.id),
            "company_currency_id": SQL("%s", self.company_id.sudo().currency_id.id),
            "create_uid": SQL("%s", self.env.uid),
            "create_date": SQL("NOW() AT TIME ZONE 'UTC'"),
        }
        self.env.execute_query(
            SQL(
                "INSERT INTO %s (%s) SELECT %s FROM (%s) line RETURNING id",
                SQL.identifier(self.env[model]._table),
                SQL(", ").join(map(SQL.identifier, values)),
                SQL(", ").join(values.values()),
                source,
            )
        )

    # Collected

    def _load_payments(self, scope):
        columns = self._get_payment_columns()
        self._insert("billing.collection.payment", columns, self._select_payments(scope, columns))

    @api.model
    def _get_payment_columns(self):
        """The columns of a payment that counts as collected."""
        return {
            "date": SQL("match.max_date"),
            "move_line_id": LINE["move_line_id"],
            "move_id": LINE["move_id"],
            "payment_move_id": SQL("credit.move_id"),
            "partner_id": LINE["partner_id"],
            "case_id": SQL("collection_case.id"),
            "notice_id": SQL("notice.id"),
            "step_id": SQL("notice.step_id"),
            "channel": SQL("notice.channel"),
            "collector_id": SQL("COALESCE(notice.collector_id, collection_case.collector_id)"),
            "currency_id": LINE["currency_id"],
            "amount": SQL("match.debit_amount_currency"),
            "amount_company": SQL("match.amount"),
            "days_overdue": SQL("match.max_date - %s", LINE["date_maturity"]),
            "days_after": SQL("match.max_date - notice.day"),
        }

    def _select_payments(self, scope, columns):
        """Payments of the period for items of customers who had an open case on that day.

        What is matched on a day with a payment, or a bank or cash entry, counts, up to a company's own ledger: no
        credit notes, write-offs and exchange differences. It belongs to the last notice (also a call) of the case that
        was sent by that day and listed the item; to none when there was none yet.
        """
        zone = self.company_id.sudo().partner_id.tz or "UTC"
        return SQL(
            """SELECT %(columns)s
                 FROM %(from)s
                 JOIN account_partial_reconcile match ON match.debit_move_id = account_move_line.id
                 JOIN account_move_line credit ON credit.id = match.credit_move_id AND credit.parent_state = 'posted'
                 JOIN account_journal credit_journal ON credit_journal.id = credit.journal_id
                 JOIN LATERAL (
                    SELECT id, collector_id FROM billing_case
                     WHERE partner_id = customer.commercial_partner_id AND company_id = %(company)s
                       AND currency_id = account_move_line.currency_id AND date_opened <= match.max_date
                       AND (date_closed IS NULL OR date_closed >= match.max_date)
                     ORDER BY date_opened DESC, id DESC LIMIT 1
                 ) collection_case ON TRUE
                 LEFT JOIN LATERAL (
                    SELECT sent.id, sent.step_id, sent.channel, sent.collector_id, sent.day
                      FROM (
                        SELECT dunning.*, (date_sent AT TIME ZONE 'UTC' AT TIME ZONE %(zone)s)::date AS day
                          FROM billing_dunning_notice dunning
                         WHERE dunning.case_id = collection_case.id AND dunning.state = 'sent'
                      ) sent
                     WHERE sent.day <= match.max_date AND EXISTS (
                        SELECT FROM billing_dunning_notice_line item
                         WHERE item.notice_id = sent.id AND item.move_line_id = account_move_line.id
                     )
                     ORDER BY sent.date_sent DESC, sent.id DESC LIMIT 1
                 ) notice ON TRUE
                WHERE %(where)s AND match.max_date BETWEEN %(first)s AND %(last)s AND match.debit_amount_currency > 0
                  AND (credit.payment_id IS NOT NULL OR credit.statement_line_id IS NOT NULL
                       OR credit_journal.type IN ('bank', 'cash', 'credit'))""",
            **{"from": scope["query"].from_clause, "where": scope["query"].where_clause},
            columns=self.env["billing.receivable"]._columns(columns),
            zone=zone,
            company=self.company_id.sudo().root_id.id,  # branches have no cases of their own
            first=self.date_from,
            last=self.date_to,
        )

    # Key figures

    def _load_figures(self, scope):
        periods = spans(self.date_from, self.date_to, int(self.interval))
        sales = self._get_sales(scope)
        promises = self._get_promises(scope)
        collected = self._get_collected(scope)
        opening = self._get_balance(scope, self.date_from - timedelta(days=1))
        rows = []
        for period in periods:
            closing = self._get_balance(scope, period.last)
            rows.append(
                {
                    **self._get_figures(period, opening["balance"], closing, sales),
                    **self._count_promises(period, promises),
                    "collected": sum(amount for day, amount in collected if period.first <= day <= period.last),
                }
            )
            opening = closing
        # sudo: the lines are nobody's to create; they hold what the user may read
        self.env["billing.collection.figure"].sudo().create(
            [
                {"report_id": self.id, "company_currency_id": self.company_id.sudo().currency_id.id, **row}
                for row in rows
            ]
        )
        self.env.flush_all()
        # what nothing can be said about must not count in a mean
        self.env.execute_query(
            SQL(
                """UPDATE billing_collection_figure
                      SET dso_simple = CASE WHEN sales > 0 THEN dso_simple END,
                          dso_count_back = CASE WHEN sales <> 0 OR closing <> 0 THEN dso_count_back END,
                          effectiveness = CASE WHEN effectiveness >= 0 THEN effectiveness END,
                          promise_rate = CASE WHEN promise_count > 0 THEN promise_rate END
                    WHERE report_id = %s RETURNING id""",
                self.id,
            )
        )
        self.env.invalidate_all(flush=False)

    @api.model
    def _get_figures(self, period, opening, closing, sales):
        """The values of a period that follow from balances and sales."""
        sold = self._sum_sales(sales, period)
        balance, current = to_decimal(closing["balance"]), to_decimal(closing["balance"] - closing["overdue"])
        before = period.last - timedelta(days=LOOK_BACK_DAYS)
        months = [(self._sum_sales(sales, month), month.days) for month in reversed(spans(before, period.last))]
        simple = simple_dso(balance, sold, period.days)
        index = effectiveness(to_decimal(opening), sold, balance, current)
        return {
            "date_from": period.first,
            "date_to": period.last,
            "opening": opening,
            "sales": float(sold),
            "closing": closing["balance"],
            "overdue": closing["overdue"],
            "dso_simple": float(simple or 0),
            "dso_count_back": float(count_back_dso(balance, months)),
            "effectiveness": float(index) if index is not None else -1.0,  # see above
        }

    @api.model
    def _sum_sales(self, sales, period):
        return sum((amount for day, amount in sales if period.first <= day <= period.last), to_decimal(0))

    def _get_balance(self, scope, date):
        """What customers owed at the end of a day: ``balance``, and ``overdue``, by customer and currency at least 0.

        Payments and credits that are not matched yet are deducted from what is overdue, as on a case.
        """
        receivable = self.env["billing.receivable"]
        columns = {
            **receivable._get_aged_columns(self.company_id.sudo(), date, "due"),
            "overdue": SQL("(%s < %s)", LINE["date_maturity"], date),
        }
        ((balance, overdue),) = self.env.execute_query(
            SQL(
                """SELECT COALESCE(SUM(balance), 0), COALESCE(SUM(GREATEST(overdue, 0)), 0) FROM (
                    SELECT SUM(residual_company) AS balance,
                           SUM(CASE WHEN overdue OR residual < 0 THEN residual_company ELSE 0 END) AS overdue
                      FROM (%s) item GROUP BY partner_id, currency_id
                ) customer""",
                receivable._select_open(scope, date, columns),
            )
        )
        round_amount = self.company_id.sudo().currency_id.round
        return {"balance": round_amount(balance), "overdue": round_amount(overdue)}

    def _get_sales(self, scope):
        """(day, amount) of invoices and credit notes up to the end, tax included, from long before the beginning."""
        rows = self.env.execute_query(
            SQL(
                """SELECT account_move_line.date, SUM(account_move_line.balance) FROM %s
                    WHERE %s AND %s IN ('invoice', 'refund') AND account_move_line.date BETWEEN %s AND %s GROUP BY 1""",
                scope["query"].from_clause,
                scope["query"].where_clause,
                KIND,
                self.date_from - timedelta(days=LOOK_BACK_DAYS),
                self.date_to,
            )
        )
        round_amount = self.company_id.sudo().currency_id.round
        return [(day, to_decimal(round_amount(amount))) for day, amount in rows]

    def _get_collected(self, scope):
        """(day, amount in company currency) of what was collected."""
        payments = self._select_payments(scope, {"date": SQL("match.max_date"), "amount": SQL("match.amount")})
        return self.env.execute_query(SQL("SELECT date, SUM(amount) FROM (%s) payment GROUP BY date", payments))

    def _get_promises(self, scope):
        """(day, state, how many) of the promises that were decided."""
        return self.env["billing.promise"]._read_group(
            [
                ("company_id", "in", scope["companies"]),
                ("date_decided", ">=", self.date_from),
                ("date_decided", "<=", self.date_to),
                ("state", "in", ("kept", "partly", "broken")),
            ],
            ["date_decided:day", "state"],
            ["__count"],
        )

    @api.model
    def _count_promises(self, period, promises):
        """How many promises were decided and kept, and their share: a promise that was kept in part is not kept."""
        counts = defaultdict(int)
        for day, state, count in promises:
            if period.first <= day <= period.last:
                counts[state] += count
        decided = sum(counts.values())
        return {
            "promise_count": decided,
            "promise_kept": counts["kept"],
            "promise_rate": counts["kept"] / decided if decided else 0.0,
        }

    # Ageing moves

    def _load_moves(self, scope):
        columns = ("date_from", "date_to", "bucket_from", "bucket_to", "item_count", "amount", "rate")
        for month in spans(self.date_from, self.date_to):
            before = month.first - timedelta(days=1)
            source = SQL(
                """SELECT %s::date AS date_from, %s::date AS date_to, bucket_from, bucket_to,
                          COUNT(DISTINCT move_line_id) AS item_count, SUM(amount) AS amount,
                          SUM(amount) / SUM(SUM(amount)) OVER (PARTITION BY bucket_from) AS rate
                     FROM (%s) move GROUP BY bucket_from, bucket_to""",
                before,
                month.last,
                self._select_moves(scope, before, month.last),
            )
            self._insert("billing.collection.move", columns, source)

    def _select_moves(self, scope, before, after):
        """What of each debt was in which bucket on two days: kept, settled in between, or new.

        Credits that are not matched are left out, since they have no age; buckets count from the due date.
        """
        receivable = self.env["billing.receivable"]
        company = self.company_id.sudo()
        items = [
            SQL(
                "SELECT move_line_id, bucket, residual_company AS amount FROM (%s) item WHERE residual_company > 0",
                receivable._select_open(scope, day, receivable._get_aged_columns(company, day, "due")),
            )
            for day in (before, after)
        ]
        return SQL(
            """SELECT move_line_id, share.bucket_from, share.bucket_to, share.amount
                 FROM (%s) old FULL JOIN (%s) now USING (move_line_id)
                CROSS JOIN LATERAL (VALUES
                    (old.bucket::text, now.bucket::text, LEAST(COALESCE(old.amount, 0), COALESCE(now.amount, 0))),
                    (old.bucket::text, 'settled', GREATEST(COALESCE(old.amount, 0) - COALESCE(now.amount, 0), 0)),
                    ('new', now.bucket::text, GREATEST(COALESCE(now.amount, 0) - COALESCE(old.amount, 0), 0))
                ) share (bucket_from, bucket_to, amount)
                WHERE share.amount > 0""",
            *items,
        )

    def _get_moved_items(self, move):
        """The receivable lines that a line of the ageing moves stands for."""
        self.ensure_one()
        scope = self.env["billing.receivable"]._get_scope(self.company_id)
        rows = self.env.execute_query(
            SQL(
                "SELECT move_line_id FROM (%s) move WHERE bucket_from = %s AND bucket_to = %s",
                self._select_moves(scope, move.date_from, move.date_to),
                move.bucket_from,
                move.bucket_to,
            )
        )
        return self.env["account.move.line"].browse([line for (line,) in rows])

    # XLSX

    def _get_xlsx(self):
        """Return the lines as an XLSX file."""
        output = BytesIO()
        title = f"{self.company_id.name} · {self.display_name}"
        headings, rows = self._get_table(self._get_lines())
        with xlsxwriter.Workbook(output, {"in_memory": True}) as book:
            write_sheet(book, book.add_worksheet(), title, headings, rows)
        return output.getvalue()

    def _get_table(self, lines):
        """Headings and rows of lines."""
        described = lines.fields_get(lines._get_xlsx_columns(), ["string", "selection", "type", "currency_field"])
        rows = []
        for line in lines:
            row = []
            unknown = line._get_unknown() if self.kind == "figures" else ()
            for name in lines._get_xlsx_columns():
                value, field = line[name], described[name]
                if name in unknown:
                    value = None
                elif field["type"] == "selection":
                    value = dict(field["selection"]).get(value, "")
                elif field["type"] == "monetary":
                    value = (value, line[field["currency_field"]])
                elif isinstance(value, models.BaseModel):
                    # sudo: names of what the user may read as lines of the report
                    value = value.sudo().display_name
                row.append(value)
            rows.append(row)
        return [described[name]["string"] for name in lines._get_xlsx_columns()], rows
