from collections import defaultdict
from datetime import date as Date
from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import AccessError
from odoo.tools import SQL

from ..tools.ageing import first_days
from ..tools.customer_account import CustomerAccount

# A receivable line on a date: its columns by the name that they have in the results.
KIND = SQL(
    """CASE WHEN move.move_type IN ('out_invoice', 'out_receipt') THEN 'invoice'
            WHEN move.move_type = 'out_refund' THEN 'refund'
            WHEN account_move_line.payment_id IS NOT NULL OR account_move_line.statement_line_id IS NOT NULL
                 OR journal.type IN ('bank', 'cash', 'credit') THEN 'payment'
            ELSE 'entry' END"""
)
LINE = {
    "move_line_id": SQL("account_move_line.id"),
    "move_id": SQL("account_move_line.move_id"),
    "partner_id": SQL("customer.commercial_partner_id"),
    "contact_id": SQL("move.partner_id"),
    "company_id": SQL("account_move_line.company_id"),
    "currency_id": SQL("account_move_line.currency_id"),
    "date": SQL("account_move_line.date"),
    "invoice_date": SQL("move.invoice_date"),
    "date_maturity": SQL("COALESCE(account_move_line.date_maturity, account_move_line.date)"),
    "kind": KIND,
    "number": SQL("account_move_line.move_name"),
    "ref": SQL("account_move_line.ref"),
    "amount": SQL("account_move_line.amount_currency"),
    "balance": SQL("account_move_line.balance"),
}
# What residuals need of a match.
MATCH = SQL(", ").join(
    SQL.identifier("account_partial_reconcile", name)
    for name in ("id", "debit_move_id", "credit_move_id", "max_date", "amount", "debit_amount_currency",
                 "credit_amount_currency")
)  # fmt: skip
RESIDUAL = SQL("(account_move_line.amount_residual_currency + COALESCE(late.amount_currency, 0))")
RESIDUAL_COMPANY = SQL("(account_move_line.amount_residual + COALESCE(late.amount, 0))")
IS_OPEN = SQL("(%s <> 0 OR account_move_line.amount_currency = 0 AND %s <> 0)", RESIDUAL, RESIDUAL_COMPANY)
# What the customer sees happen: the rest only changes company currency.
IS_DOCUMENT = SQL("(account_move_line.amount_currency <> 0 OR move.move_type <> 'entry')")
# A line in an account: amounts as floating point, which Python reads in a fraction of the time of exact numbers.
ENTRY = {
    **{name: sql for name, sql in LINE.items() if name not in ("contact_id", "company_id", "balance")},
    "amount": SQL("%s::float8", LINE["amount"]),
    "residual": SQL("%s::float8", RESIDUAL),
    "residual_company": SQL("%s::float8", RESIDUAL_COMPANY),
}
BY_DATE = SQL("ORDER BY account_move_line.date, account_move_line.move_id, account_move_line.id")
BASIS = {
    "due": LINE["date_maturity"],
    "invoice": SQL("COALESCE(move.invoice_date, account_move_line.date)"),
}


class BillingReceivable(models.AbstractModel):
    """What customers owe on any date, read from the ledger of account and stored nowhere.

    A line is open on date t by what is left of it after the matches that count by then: both lines posted and dated
    up to t. A match that is undone later is undone for all dates, since account deletes it.

    Entries for exchange differences are no business of the customer: they are left out, and their amounts in currency
    count with the match that caused them. What such an entry moves in company currency counts on its own date, as in
    the general ledger; until then it is a reconciling item.

    A company stands for itself and its branches. All methods read for the user, with the record rules of journal items.
    """

    _name = "billing.receivable"
    _description = "Receivable Queries"

    # Public methods

    @api.model
    @api.readonly
    def get_open_items(self, date, company_id=None, partner_id=None, currency_id=None):
        """Return the open items of customers on a date: see ``_get_open_items``; dates as text.

        :param str date: the day, ``YYYY-MM-DD``
        :raises AccessError: when the user may not read journal items, or not those of the company
        """
        return self._serialize(self._get_open_items(*self._read_arguments(date, company_id, partner_id, currency_id)))

    @api.model
    @api.readonly
    def get_movements(self, date_from, date_to, company_id=None, partner_id=None, currency_id=None):
        """Return what happened on the accounts of customers: see ``_get_movements``; dates as text.

        :raises AccessError: when the user may not read journal items, or not those of the company
        """
        company, date_to, *rest = self._read_arguments(date_to, company_id, partner_id, currency_id)
        return self._serialize(self._get_movements(company, fields.Date.to_date(date_from), date_to, *rest))

    @api.model
    @api.readonly
    def get_balances(self, date, company_id=None, partner_id=None, currency_id=None, basis=None, bounds=None):
        """Return balances with ageing, a dict for each customer and currency: see ``_get_balances``.

        :param str date: the day, ``YYYY-MM-DD``
        :param str basis: ``due`` or ``invoice``; else as the company has it
        :param list bounds: last days of the buckets, ascending; else as the company has them
        :raises AccessError: when the user may not read journal items, or not those of the company
        """
        arguments = self._read_arguments(date, company_id, partner_id, currency_id)
        return [
            {"partner_id": partner, "currency_id": currency, **values}
            for (partner, currency), values in self._get_balances(*arguments, basis=basis, bounds=bounds).items()
        ]

    @api.model
    def _read_arguments(self, date, company_id, partner_id, currency_id):
        company = self.env["res.company"].browse(company_id) if company_id else self.env.company
        return (
            company,
            fields.Date.to_date(date),
            [partner_id] if partner_id else None,
            [currency_id] if currency_id else None,
        )

    @api.model
    def _serialize(self, rows):
        return [
            {key: fields.Date.to_string(value) if isinstance(value, Date) else value for key, value in row.items()}
            for row in rows
        ]

    # For other modules

    @api.model
    def _get_open_items(self, company, date, partner_ids=None, currency_ids=None):
        """Return the items that were open at the end of a day, by customer, currency and due date.

        :param company: one company; its branches are included
        :param date date: the day
        :param list partner_ids: customers (any contact of a company stands for it); None for all
        :param list currency_ids: currencies of the items; None for all
        :return: list of dicts: ``move_line_id, move_id``; ``partner_id``, the customer (commercial partner) or None,
            ``contact_id``, the partner of the document; ``company_id, currency_id, date, invoice_date,
            date_maturity``; ``kind``, one of invoice, refund, payment, entry; ``number, ref``; ``amount`` and
            ``residual`` in the item's currency, ``balance`` and ``residual_company`` in company currency, all signed:
            what the customer owes is positive
        :raises AccessError: when the user may not read journal items, or not those of the company
        """
        scope = self._get_scope(company, partner_ids, currency_ids)
        columns = {**LINE, "residual": RESIDUAL, "residual_company": RESIDUAL_COMPANY}
        return self._fetch(
            columns,
            SQL(
                "%s ORDER BY customer.commercial_partner_id, account_move_line.currency_id, %s, account_move_line.id",
                self._select_open(scope, date, columns),
                LINE["date_maturity"],
            ),
        )

    @api.model
    def _get_movements(self, company, date_from, date_to, partner_ids=None, currency_ids=None):
        """Return what changed the accounts of customers from one day to another, in order of date.

        Closing = opening + Σ amount, for each customer and currency. Parameters as for ``_get_open_items``.

        :return: list of dicts: ``move_line_id, move_id, partner_id, contact_id, company_id, currency_id, date,
            invoice_date, date_maturity, kind, number, ref, amount, balance``. Beside the kinds of items there are
            ``conversion``, a match of items in two currencies (one row in each of them), and ``transfer``, a match
            with an item of another customer or outside of the company; these have no balance, but ``partial_id,
            counterpart_move_id, counterpart_number, counterpart_partner_id, counterpart_currency_id`` and
            ``counterpart_amount``, what was matched there, positive
        :raises AccessError: when the user may not read journal items, or not those of the company
        """
        scope = self._get_scope(company, partner_ids, currency_ids)
        rows = self._fetch(LINE, SQL("%s %s", self._select_lines(scope, date_from, date_to, LINE), BY_DATE))
        return self._sort_movements(rows, self._get_conversions(scope, date_from, date_to))

    @api.model
    def _sort_movements(self, rows, conversions):
        """Lines, which are in order, with matches among them."""
        if conversions:
            rows += conversions
            rows.sort(key=lambda row: (row["date"], row["move_id"], row["move_line_id"], row.get("partial_id", 0)))
        return rows

    @api.model
    def _get_accounts(self, company, date_from, date_to, partner_ids, basis=None, bounds=None, list_movements=True):
        """Return the accounts of customers over a period, from one look at the items. Parameters as for
        ``_get_balances``.

        :param bool list_movements: False when their sums are enough
        :return: dict by (customer, currency) of ``CustomerAccount``. Its ``items`` are by due date, its ``movements``
            in order of date, dicts as of ``_get_open_items`` and ``_get_movements`` without ``contact_id, company_id,
            balance``; movements that are no matches have a ``residual``, too
        :raises AccessError: when the user may not read journal items, or not those of the company
        """
        scope = self._get_scope(company, partner_ids)
        bounds = bounds or company.sudo()._get_billing_ageing_bounds()
        bucket = self._get_bucket_sql(date_to, basis or company.sudo().billing_ageing_basis, bounds)
        moved = SQL("(%s >= %s AND %s)", LINE["date"], date_from, IS_DOCUMENT) if list_movements else SQL("FALSE")
        columns = {**ENTRY, "moved": moved, "bucket": bucket}
        if list_movements:
            accounts = defaultdict(CustomerAccount)
            query = self._select_period(scope, date_to, columns)
        else:
            accounts = self._read_turnover(scope, date_from, date_to)
            query = self._select_open(scope, date_to, columns)
        for row in self._fetch(columns, query):
            account = accounts[row["partner_id"], row["currency_id"]]
            if row["residual"] or row["residual_company"] and not row["amount"]:
                account.items.append(row)
            if row["moved"]:
                account.movements.append(row)
        for account in accounts.values():
            account.add_movements(account.movements)
        conversions = defaultdict(list)
        for row in self._get_conversions(scope, date_from, date_to):
            conversions[row["partner_id"], row["currency_id"]].append(row)
        for key, rows in conversions.items():
            accounts[key].add_movements(rows)
            if list_movements:
                self._sort_movements(accounts[key].movements, rows)
        digits = {currency: self.env["res.currency"].browse(currency).decimal_places for _partner, currency in accounts}
        company_digits = company.sudo().currency_id.decimal_places
        for (_partner, currency), account in accounts.items():
            account.close(date_to, len(bounds) + 2, digits[currency], company_digits)
        return accounts

    @api.model
    def _read_turnover(self, scope, date_from, date_to):
        """Accounts with the sums of their lines in a span."""
        amount = LINE["amount"]
        columns = {"partner_id": LINE["partner_id"], "currency_id": LINE["currency_id"], "amount": amount}
        rows = self.env.execute_query(
            SQL(
                """SELECT partner_id, currency_id, COALESCE(SUM(amount) FILTER (WHERE amount > 0), 0),
                          COALESCE(-SUM(amount) FILTER (WHERE amount < 0), 0), COUNT(*)
                     FROM (%s) line GROUP BY partner_id, currency_id""",
                self._select_lines(scope, date_from, date_to, columns),
            )
        )
        accounts = defaultdict(CustomerAccount)
        for partner, currency, debit, credit, count in rows:
            accounts[partner, currency] = CustomerAccount(debit=debit, credit=credit, move_count=count)
        return accounts

    @api.model
    def _get_balances(self, company, date, partner_ids=None, currency_ids=None, basis=None, bounds=None):
        """Return what each customer owed at the end of a day, with ageing. Parameters as for ``_get_open_items``.

        :param str basis: ``due`` or ``invoice``, the date that ageing counts from; None as the company has it
        :param list bounds: last days of the buckets, ascending; None as the company has them
        :return: dict by (customer, currency) of dicts: ``balance``, and in company currency ``balance_company``;
            ``buckets``, amounts that add up to the balance, the first not due; ``overdue`` and ``overdue_company``,
            what is owed past its due date, credits not deducted; ``unallocated``, payments, credit notes and other
            credits that are not matched, negative; ``open_count``, the number of items
        :raises AccessError: when the user may not read journal items, or not those of the company
        """
        scope = self._get_scope(company, partner_ids, currency_ids)
        bounds = bounds or company.sudo()._get_billing_ageing_bounds()
        basis = basis or company.sudo().billing_ageing_basis
        columns = {
            "partner_id": LINE["partner_id"],
            "currency_id": LINE["currency_id"],
            "residual": RESIDUAL,
            "residual_company": RESIDUAL_COMPANY,
            "bucket": self._get_bucket_sql(date, basis, bounds),
            "overdue": SQL("(%s < %s AND %s > 0)", LINE["date_maturity"], date, RESIDUAL),
        }
        buckets = SQL(", ").join(
            SQL("COALESCE(SUM(residual) FILTER (WHERE bucket = %s), 0)", index) for index in range(len(bounds) + 2)
        )
        rows = self.env.execute_query(
            SQL(
                """SELECT partner_id, currency_id, SUM(residual), SUM(residual_company),
                          COALESCE(SUM(residual) FILTER (WHERE overdue), 0),
                          COALESCE(SUM(residual_company) FILTER (WHERE overdue), 0),
                          COALESCE(SUM(residual) FILTER (WHERE residual < 0), 0), COUNT(*), %s
                     FROM (%s) item
                    GROUP BY partner_id, currency_id ORDER BY partner_id, currency_id""",
                buckets,
                self._select_open(scope, date, columns),
            )
        )
        names = ("balance", "balance_company", "overdue", "overdue_company", "unallocated", "open_count")
        return {tuple(row[:2]): {**dict(zip(names, row[2:8], strict=True)), "buckets": list(row[8:])} for row in rows}

    @api.model
    def _check_identity(self, company, date, partner_ids=None, date_from=None):
        """Compare two ways to the same balances. Parameters as for ``_get_open_items``.

        Only for those who may read all items of the customers in question.

        :param date date_from: first day of a period that ends on ``date``; None for the day after
        :return: dict by (customer, currency) of dicts. In currency: ``closing``, by residuals; ``closing_by_sums``,
            by amounts and conversions up to the date; their ``difference``; ``opening_by_sums``, by those before
            ``date_from``. In company currency:
            ``balance_company``, by residuals of open items; ``exchange_rest``, what exchange entries have booked or
            will book on items without changing them in currency; ``ledger``, the general ledger's balance;
            ``moved_company``, what matches moved between customers and currencies (zero over all of them);
            ``difference_company`` = ledger + moved - balance - rest
        :raises AccessError: when the user may not read journal items, or not those of the company
        """
        scope = self._get_scope(company, partner_ids)
        date_from = date_from or date + timedelta(days=1)
        result = {}
        for names, query in (
            (("closing", "balance_company", "exchange_rest"), self._select_residuals(scope, date)),
            (("amounts_before", "amounts", "ledger"), self._select_sums(scope, date_from, date)),
            (("conversions_before", "conversions", "moved_company"), self._select_moved(scope, date_from, date)),
        ):
            for partner, currency, *values in self.env.execute_query(query):
                result.setdefault((partner, currency), {}).update(zip(names, values, strict=True))
        names = (
            "closing", "balance_company", "exchange_rest", "amounts_before", "amounts", "ledger",
            "conversions_before", "conversions", "moved_company",
        )  # fmt: skip
        round_company = company.sudo().currency_id.round
        for (_partner, currency), values in result.items():
            values.update({name: values.get(name) or 0.0 for name in names})
            round_amount = self.env["res.currency"].browse(currency).round
            values["opening_by_sums"] = round_amount(values.pop("amounts_before") + values.pop("conversions_before"))
            values["closing_by_sums"] = round_amount(values.pop("amounts") + values.pop("conversions"))
            values["difference"] = round_amount(values["closing"] - values["closing_by_sums"])
            values["difference_company"] = round_company(
                values["ledger"] + values["moved_company"] - values["balance_company"] - values["exchange_rest"]
            )
        return result

    @api.model
    def _get_in_transit(self, move_lines):
        """Return payments that their customers have made and that settle nothing yet. Modules extend the list.

        Ask before demanding money: what is on its way, or waits to be matched, may be for these items.

        :param move_lines: receivable lines
        :return: list of dicts: ``partner_id`` (commercial partner), ``company_id, currency_id, date, name``;
            ``amount``, positive; ``kind``: ``announced`` is not in the ledger yet, ``unallocated`` is (there it is an
            open item); ``payment_id``; ``move_ids``, the documents that the payment names, maybe none
        :raises AccessError: when the user may not read the lines
        """
        move_lines.check_access("read")
        # sudo: who reads an item may know of the money that is on its way for it, though not read payments
        payments_sudo = self.env["account.payment"].sudo().search_fetch(
            [
                ("partner_id.commercial_partner_id", "in", move_lines.sudo().partner_id.commercial_partner_id.ids),
                ("company_id", "in", move_lines.sudo().company_id.ids),
                ("payment_type", "=", "inbound"),
                ("partner_type", "=", "customer"),
                ("state", "in", ("in_process", "paid")),
                ("is_reconciled", "=", False),
                "|", ("move_id.state", "=", "posted"), "&", ("move_id", "=", False), ("state", "=", "in_process"),
            ],
            ["partner_id", "company_id", "currency_id", "date", "name", "amount", "move_id", "invoice_ids"],
        )  # fmt: skip
        residuals = {
            move: (-residual, currency)
            for move, currency, residual in self.env["account.move.line"].sudo()._read_group(
                [("move_id", "in", payments_sudo.move_id.ids), ("account_id.account_type", "=", "asset_receivable")],
                ["move_id", "currency_id"],
                ["amount_residual_currency:sum"],
            )
        }  # fmt: skip
        found = []
        for payment in payments_sudo:
            amount, currency = residuals.get(payment.move_id, (payment.amount, payment.currency_id))
            if not currency.is_zero(amount):
                found.append(
                    {
                        "kind": "unallocated" if payment.move_id else "announced",
                        "payment_id": payment.id,
                        "partner_id": payment.partner_id.commercial_partner_id.id,
                        "company_id": payment.company_id.id,
                        "currency_id": currency.id,
                        "date": payment.date,
                        "name": payment.name,
                        "amount": amount,
                        "move_ids": payment.invoice_ids.ids,
                    }
                )
        return found

    # Queries

    @api.model
    def _get_scope(self, company, partner_ids=None, currency_ids=None):
        """Return what the queries are about: the posted receivable lines that the user may read, as a dict."""
        company.ensure_one()
        # sudo: which branches and accounts there are is no secret among those who may read a company's items
        branches = self.env["res.company"].sudo().search([("id", "child_of", company.id)]).ids
        if not self.env.su:
            allowed = self.env.user._get_company_ids()
            if company.id not in allowed:
                raise AccessError(
                    self.env._("You have no access to company “%s”: ask an administrator.", company.sudo().name)
                )
            branches = [branch for branch in branches if branch in allowed]
        accounts = (
            self.env["account.account"].sudo().with_context(active_test=False)
            .search([("account_type", "=", "asset_receivable")]).ids
        )  # fmt: skip
        journals = self.env["res.company"].sudo().browse(branches).mapped("root_id.currency_exchange_journal_id")
        journals |= self.env["res.company"].sudo().browse(branches).currency_exchange_journal_id
        domain = [
            ("account_id", "in", accounts),
            ("parent_state", "=", "posted"),
            ("company_id", "in", branches),
        ]
        if currency_ids is not None:
            domain.append(("currency_id", "in", list(currency_ids)))
        lines = self.env["account.move.line"].with_context(allowed_company_ids=branches)
        query = lines._search(domain)
        query.add_join("LEFT JOIN", "customer", "res_partner", SQL("customer.id = account_move_line.partner_id"))
        query.add_join("JOIN", "move", "account_move", SQL("move.id = account_move_line.move_id"))
        query.add_join("JOIN", "journal", "account_journal", SQL("journal.id = account_move_line.journal_id"))
        self._flush()
        contacts = self._get_contacts(partner_ids)
        if contacts is not None:
            query.add_where(SQL("account_move_line.partner_id = ANY(%s)", contacts))
        return {
            "query": query,
            "companies": branches,
            "accounts": accounts,
            "exchange_journals": journals.ids,
            "contacts": contacts,
        }

    @api.model
    def _flush(self):
        """Write what the queries read and the ORM holds back."""
        for model in ("account.move", "account.move.line", "account.partial.reconcile", "res.partner"):
            self.env[model].flush_model()

    @api.model
    def _fetch(self, columns, query):
        return [dict(zip(columns, row, strict=True)) for row in self.env.execute_query(query)]

    @api.model
    def _get_contacts(self, partner_ids):
        """The ids of all contacts of these customers; None for all. As a list: the planner knows how many they are."""
        if partner_ids is None:
            return None
        rows = self.env.execute_query(
            SQL(
                """SELECT id FROM res_partner WHERE commercial_partner_id IN (
                    SELECT commercial_partner_id FROM res_partner WHERE id = ANY(%s))""",
                list(partner_ids),
            )
        )
        return [contact for [contact] in rows]

    @api.model
    def _columns(self, columns):
        return SQL(", ").join(SQL("%s AS %s", sql, SQL.identifier(name)) for name, sql in columns.items())

    @api.model
    def _with(self, scope):
        """What the queries start with.

        ``unposted`` are lines that are matched although their document is a draft: these matches do not count.
        ``exchange`` are the lines of exchange entries with the match that caused them, and its date; they are void when
        that match does not count. ``touched`` are the lines whose matches need a second look for either reason.
        """
        return SQL(
            """WITH unposted AS (
                SELECT id FROM account_move_line
                 WHERE parent_state <> 'posted' AND matching_number IS NOT NULL AND account_id = ANY(%(accounts)s)
            ), exchange AS (
                SELECT DISTINCT ON (line.id) line.id AS line_id, cause.id AS partial_id, cause.max_date AS date,
                       cause.debit_move_id IN (SELECT id FROM unposted)
                       OR cause.credit_move_id IN (SELECT id FROM unposted) AS void
                  FROM account_partial_reconcile cause
                  JOIN account_move_line line ON line.move_id = cause.exchange_move_id
                 WHERE cause.exchange_move_id IS NOT NULL AND line.account_id = ANY(%(accounts)s)
                 ORDER BY line.id, cause.max_date, cause.id
            ), touched AS (
                SELECT id FROM unposted UNION SELECT line_id FROM exchange WHERE void
            )""",
            accounts=scope["accounts"],
        )

    @api.model
    def _sides(self, matches):
        """Each match once for either of its lines; amounts have the sign of the line."""
        return SQL(
            """(SELECT id, debit_move_id AS line_id, credit_move_id AS other_id, max_date, amount,
                       debit_amount_currency AS amount_currency, credit_amount_currency AS other_amount
                  FROM %(matches)s
                 UNION ALL
                SELECT id, credit_move_id, debit_move_id, max_date, -amount, -credit_amount_currency,
                       -debit_amount_currency
                  FROM %(matches)s)""",
            matches=matches,
        )

    @api.model
    def _is_exchange(self, scope, alias):
        """Whether a line belongs to an exchange entry: by its match, or by its journal when that was undone."""
        return SQL(
            "(%(alias)s.journal_id = ANY(%(journals)s) OR %(alias)s.id IN (SELECT line_id FROM exchange))",
            alias=SQL.identifier(alias),
            journals=scope["exchange_journals"],
        )

    @api.model
    def _with_residuals(self, scope, date):
        """``_with``, and what the residuals of a date need.

        ``later`` are the matches that do not count then, found by index: there are few when the date is near today.
        ``late`` is, by line, what they have taken from today's residual. ``candidate`` are the lines that may be open.
        """
        return SQL(
            """%(with)s, later AS (
                %(later)s
                UNION
                SELECT %(match)s FROM account_partial_reconcile JOIN touched ON touched.id = debit_move_id
                UNION
                SELECT %(match)s FROM account_partial_reconcile JOIN touched ON touched.id = credit_move_id
            ), late AS (
                SELECT side.line_id,
                       SUM(side.amount) FILTER (WHERE side.max_date > %(date)s OR %(unposted)s) AS amount,
                       SUM(side.amount_currency) FILTER (
                           WHERE %(unposted)s OR exchange.void OR LEAST(side.max_date, exchange.date) > %(date)s
                       ) AS amount_currency
                  FROM %(sides)s side
                  LEFT JOIN exchange ON exchange.line_id = side.other_id
                 GROUP BY side.line_id
            ), candidate AS (
                SELECT id FROM account_move_line
                 WHERE account_id = ANY(%(accounts)s) AND reconciled IS NOT TRUE AND %(customers)s
                 UNION
                SELECT line_id FROM late
            )""",
            **{"with": self._with(scope)},
            later=self._select_later(scope, date),
            match=MATCH,
            date=date,
            unposted=SQL("side.other_id IN (SELECT id FROM unposted)"),
            sides=self._sides(SQL("later")),
            accounts=scope["accounts"],
            customers=self._is_of(scope),
        )

    @api.model
    def _select_later(self, scope, date):
        """The matches after a date; for some customers through their lines."""
        if scope["contacts"] is None:
            return SQL("SELECT %s FROM account_partial_reconcile WHERE max_date > %s", MATCH, date)
        lines = SQL(
            "(SELECT id FROM account_move_line WHERE account_id = ANY(%s) AND %s)",
            scope["accounts"],
            self._is_of(scope),
        )
        return SQL(" UNION ").join(
            SQL("SELECT %s FROM account_partial_reconcile WHERE max_date > %s AND %s IN %s", MATCH, date, side, lines)
            for side in (SQL("debit_move_id"), SQL("credit_move_id"))
        )

    @api.model
    def _from_residuals(self, scope, date):
        """FROM and WHERE: the lines up to a date that may be open.

        As an array, so that the planner goes from them to their documents: of a subquery it expects far too many.
        """
        return SQL(
            """FROM %s LEFT JOIN late ON late.line_id = account_move_line.id
              WHERE %s AND account_move_line.date <= %s
                AND account_move_line.id = ANY(ARRAY(SELECT id FROM candidate))""",
            scope["query"].from_clause,
            scope["query"].where_clause,
            date,
        )

    @api.model
    def _select_open(self, scope, date, columns):
        """The open items on a date."""
        return SQL(
            "%s SELECT %s %s AND %s AND NOT %s",
            self._with_residuals(scope, date),
            self._columns(columns),
            self._from_residuals(scope, date),
            IS_OPEN,
            self._is_exchange(scope, "account_move_line"),
        )

    @api.model
    def _get_aged_columns(self, company, date, basis):
        """The columns of the aged report: those of an open item, and its bucket."""
        bucket = self._get_bucket_sql(date, basis, company._get_billing_ageing_bounds())
        return {**LINE, "residual": RESIDUAL, "residual_company": RESIDUAL_COMPANY, "bucket": bucket}

    @api.model
    def _get_bucket_sql(self, date, basis, bounds):
        """The bucket of a line on a date, see ``tools.ageing``."""
        return SQL("width_bucket(%s::date - %s, %s)", date, BASIS[basis], first_days(bounds))

    @api.model
    def _select_lines(self, scope, date_from, date_to, columns):
        """The documents dated in a span."""
        return SQL(
            "%s SELECT %s FROM %s WHERE %s AND account_move_line.date BETWEEN %s AND %s AND %s AND NOT %s",
            self._with(scope),
            self._columns(columns),
            scope["query"].from_clause,
            scope["query"].where_clause,
            date_from,
            date_to,
            IS_DOCUMENT,
            self._is_exchange(scope, "account_move_line"),
        )

    @api.model
    def _select_period(self, scope, date, columns):
        """The lines up to a date that count as ``moved`` or are open, in order of date."""
        return SQL(
            """%s SELECT %s FROM %s LEFT JOIN late ON late.line_id = account_move_line.id
                WHERE %s AND account_move_line.date <= %s AND (%s OR %s) AND NOT %s %s""",
            self._with_residuals(scope, date),
            self._columns(columns),
            scope["query"].from_clause,
            scope["query"].where_clause,
            date,
            columns["moved"],
            IS_OPEN,
            self._is_exchange(scope, "account_move_line"),
            BY_DATE,
        )

    # Matches that are a movement: those between two currencies or two customers

    @api.model
    def _with_suspects(self, scope, date_from=None):
        """``_with``, and ``suspect``: the matches that may be a movement, those from a date on.

        Nearly all matches are between two lines of one contact, company and currency, of the same amount: they are
        told by the ids that ``own`` lines have. Those of some customers are found by their lines.
        """
        return SQL(
            """%(with)s, own AS MATERIALIZED (
                SELECT id, partner_id, currency_id, company_id, %(is_exchange)s AS is_exchange
                  FROM account_move_line WHERE account_id = ANY(%(accounts)s) AND %(customers)s
            ), suspect AS (
                SELECT %(match)s FROM own debit
                  JOIN account_partial_reconcile ON debit_move_id = debit.id
                  LEFT JOIN own credit ON credit.id = credit_move_id
                 WHERE %(since)s
                   AND (credit.id IS NULL OR credit.partner_id IS DISTINCT FROM debit.partner_id
                        OR credit.currency_id <> debit.currency_id OR credit.company_id <> debit.company_id
                        OR debit_amount_currency <> credit_amount_currency
                        OR credit.is_exchange OR debit.is_exchange)
                 UNION ALL
                SELECT %(match)s FROM own credit
                  JOIN account_partial_reconcile ON credit_move_id = credit.id
                 WHERE %(since)s AND NOT EXISTS (SELECT FROM own WHERE id = debit_move_id)
            )""",
            **{"with": self._with(scope)},
            is_exchange=self._is_exchange(scope, "account_move_line"),
            accounts=scope["accounts"],
            customers=self._is_of(scope),
            match=MATCH,
            since=SQL("max_date >= %s", date_from) if date_from else SQL("TRUE"),
        )

    @api.model
    def _is_of(self, scope):
        """Whether a line is of the customers in question."""
        if scope["contacts"] is None:
            return SQL("TRUE")
        return SQL("partner_id = ANY(%s)", scope["contacts"])

    @api.model
    def _from_matches(self, scope):
        """FROM and WHERE: lines with the suspected matches that count, from the line's side."""
        return SQL(
            """FROM %s
               JOIN %s side ON side.line_id = account_move_line.id
               JOIN account_move_line other ON other.id = side.other_id
               LEFT JOIN res_partner other_customer ON other_customer.id = other.partner_id
               LEFT JOIN exchange ON exchange.line_id = other.id
              WHERE %s AND other.parent_state = 'posted'""",
            scope["query"].from_clause,
            self._sides(SQL("suspect")),
            scope["query"].where_clause,
        )

    @api.model
    def _leaves_account(self, scope):
        """Whether a match reaches out of the account of a customer in a currency."""
        return SQL(
            """(other.currency_id <> account_move_line.currency_id OR %s)""", self._leaves_customer(scope)
        )

    @api.model
    def _leaves_customer(self, scope):
        return SQL(
            """(other_customer.commercial_partner_id IS DISTINCT FROM customer.commercial_partner_id
                OR other.company_id <> ALL(%s))""",
            scope["companies"],
        )

    @api.model
    def _is_conversion(self, scope):
        """Whether the customer sees a match as a movement; exchange entries add to that of their cause."""
        return SQL(
            """(NOT %s AND exchange.void IS NOT TRUE AND side.amount_currency <> 0
                AND (%s OR %s OR side.amount_currency <> side.other_amount))""",
            self._is_exchange(scope, "account_move_line"),
            self._is_exchange(scope, "other"),
            self._leaves_account(scope),
        )

    @property
    def _match_date(self):
        """The day of a match for the customer: for that with an exchange entry, the day of its cause."""
        return SQL("GREATEST(LEAST(side.max_date, exchange.date), account_move_line.date)")

    @api.model
    def _get_conversions(self, scope, date_from, date_to):
        """The rows of ``_get_movements`` for matches."""
        columns = {
            **LINE,
            "date": self._match_date,
            "amount": SQL("-side.amount_currency"),
            "partial_id": SQL("COALESCE(exchange.partial_id, side.id)"),
            "counterpart_move_id": SQL("other.move_id"),
            "counterpart_number": SQL("other.move_name"),
            "counterpart_partner_id": SQL("other_customer.commercial_partner_id"),
            "counterpart_currency_id": SQL("other.currency_id"),
            "counterpart_amount": SQL("ABS(side.other_amount)"),
            "kind": SQL("CASE WHEN %s THEN 'transfer' ELSE 'conversion' END", self._leaves_customer(scope)),
            "is_exchange": self._is_exchange(scope, "other"),
        }
        rows = self._fetch(
            columns,
            SQL(
                "%s SELECT %s %s AND %s BETWEEN %s AND %s AND %s ORDER BY side.id",
                self._with_suspects(scope, date_from),
                self._columns(columns),
                self._from_matches(scope),
                self._match_date,
                date_from,
                date_to,
                self._is_conversion(scope),
            ),
        )
        return self._fold_conversions(rows)

    @api.model
    def _fold_conversions(self, rows):
        """Add the amounts of exchange entries to the match that caused them, and forget the entries."""
        folded = {}
        for row in sorted(rows, key=lambda row: row["is_exchange"]):
            row["balance"] = 0.0
            is_exchange = row.pop("is_exchange")
            key = (row["partial_id"], row["move_line_id"], row["date"])
            if key in folded:
                folded[key]["amount"] += row["amount"]
                continue
            if is_exchange:  # its cause is no movement: there is nothing to name
                row.update(
                    counterpart_move_id=None,
                    counterpart_number=None,
                    counterpart_currency_id=None,
                    counterpart_amount=0.0,
                )
            folded[key] = row
        currencies = self.env["res.currency"].browse({row["currency_id"] for row in folded.values()})
        rounds = {currency.id: currency.round for currency in currencies}
        for row in folded.values():
            row["amount"] = rounds[row["currency_id"]](row["amount"])
        return [row for row in folded.values() if row["amount"]]

    # The check

    @api.model
    def _select_residuals(self, scope, date):
        """By customer and currency: residual, that of open items in company currency, and all other."""
        is_exchange = self._is_exchange(scope, "account_move_line")
        return SQL(
            """%s SELECT %s, %s, SUM(%s) FILTER (WHERE NOT %s), SUM(%s) FILTER (WHERE NOT %s AND %s),
                      SUM(%s) FILTER (WHERE %s OR NOT %s) %s GROUP BY 1, 2""",
            self._with_residuals(scope, date),
            LINE["partner_id"],
            LINE["currency_id"],
            RESIDUAL,
            is_exchange,
            RESIDUAL_COMPANY,
            is_exchange,
            IS_OPEN,
            RESIDUAL_COMPANY,
            is_exchange,
            IS_OPEN,
            self._from_residuals(scope, date),
        )

    @api.model
    def _select_sums(self, scope, date_from, date):
        """By customer and currency: amounts of documents before and up to a date, and the general ledger's balance."""
        is_exchange = self._is_exchange(scope, "account_move_line")
        return SQL(
            """%s SELECT %s, %s, SUM(%s) FILTER (WHERE %s < %s AND NOT %s), SUM(%s) FILTER (WHERE NOT %s), SUM(%s)
                 FROM %s WHERE %s AND account_move_line.date <= %s GROUP BY 1, 2""",
            self._with(scope),
            LINE["partner_id"],
            LINE["currency_id"],
            LINE["amount"],
            LINE["date"],
            date_from,
            is_exchange,
            LINE["amount"],
            is_exchange,
            LINE["balance"],
            scope["query"].from_clause,
            scope["query"].where_clause,
            date,
        )

    @api.model
    def _select_moved(self, scope, date_from, date):
        """By customer and currency: conversions before and up to a date, and what they moved in company currency."""
        return SQL(
            """%s SELECT %s, %s, SUM(-side.amount_currency) FILTER (WHERE %s < %s AND %s),
                      SUM(-side.amount_currency) FILTER (WHERE %s <= %s AND %s),
                      SUM(-side.amount) FILTER (WHERE side.max_date <= %s AND %s)
                 %s AND account_move_line.date <= %s GROUP BY 1, 2""",
            self._with_suspects(scope),
            LINE["partner_id"],
            LINE["currency_id"],
            self._match_date,
            date_from,
            self._is_conversion(scope),
            self._match_date,
            date,
            self._is_conversion(scope),
            date,
            self._leaves_account(scope),
            self._from_matches(scope),
            date,
        )
