from datetime import timedelta
from decimal import Decimal

from babel.dates import format_skeleton

from odoo import fields, http
from odoo.exceptions import AccessError, MissingError
from odoo.http import request
from odoo.tools import format_date
from odoo.tools.misc import babel_locale_parse, get_lang

from odoo.addons.portal.controllers.portal import CustomerPortal
from odoo.addons.portal.controllers.portal import pager as portal_pager

from ..tools import spending
from .xlsx import send_xlsx

MONTHS_SHOWN = 12
DAYS_SHOWN = 31
SPANS = (12, 24, 36)  # months of spending that may be asked for
PAGE_SIZE = 20


class BillingPortalUsage(CustomerPortal):
    """What the customer used and spent over time."""

    # Usage

    def _get_metered_domain(self):
        customer = request.env.user.partner_id.commercial_partner_id
        return customer._get_billing_contracts_domain() & fields.Domain("line_ids.charge_type", "=", "usage")

    @http.route(["/my/usage", "/my/usage/page/<int:page>"], type="http", auth="user", website=True, readonly=True)
    def portal_my_usage(self, page=1, **kw):
        contracts = request.env["billing.contract"]
        domain = self._get_metered_domain()
        total = contracts.search_count(domain) if contracts.has_access("read") else 0
        pager = portal_pager(url="/my/usage", total=total, page=page, step=PAGE_SIZE)
        if total:
            contracts = contracts.search(
                domain, order="state, name", limit=PAGE_SIZE, offset=pager["offset"]
            )
        rows = {}
        for row in contracts._get_usage_to_date(contracts._get_today()):
            rows.setdefault(row["contract_id"], []).append(row)
        return request.render(
            "customer_billing.portal_my_usage",
            {
                **self._prepare_portal_layout_values(),
                "page_name": "usage",
                "shows_money": request.env.user._sees_bills(),
                "contracts": contracts,
                "rows_by_contract": rows,
                "pager": pager,
            },
        )

    @http.route("/my/contracts/<int:contract_id>/usage", type="http", auth="user", website=True)
    def portal_my_contract_usage(self, contract_id, by="month", **kw):
        try:
            contract_sudo = self._document_check_access("billing.contract", contract_id)
        except (AccessError, MissingError):
            return request.redirect("/my")
        by = by if by in ("month", "day") else "month"
        today = contract_sudo._get_today()
        spans = self._get_usage_spans(today, by)
        describe = self._format_month if by == "month" else lambda day: format_date(request.env, day)
        labels = [describe(start) for start, _end in spans]
        meters = [
            {
                "meter": meter,
                "rows": [
                    (label, meter._format_quantity(quantity))
                    for label, quantity in zip(labels, quantities, strict=True)
                ][::-1],
                "chart": {
                    "type": "bar",
                    "labels": labels,
                    "datasets": [{"label": meter.name, "data": [float(quantity) for quantity in quantities]}],
                },
            }
            for meter, quantities in contract_sudo._get_usage_history(spans).items()
        ]
        return request.render(
            "customer_billing.portal_contract_usage",
            {
                **self._prepare_portal_layout_values(),
                "page_name": "contract_usage",
                "shows_money": request.env.user._sees_bills(),
                "contract": contract_sudo,
                "by": by,
                "meters": meters,
                "rows": contract_sudo._get_usage_to_date(today),
            },
        )

    def _format_month(self, day):
        """Month and year as the reader's language writes them."""
        return format_skeleton("yMMM", day, locale=babel_locale_parse(get_lang(request.env).code))

    def _get_usage_spans(self, today, by):
        """The spans of days of a chart, half-open: the last months, or the last days."""
        if by == "day":
            days = [today - timedelta(days=count) for count in range(DAYS_SHOWN - 1, -1, -1)]
            return [(day, day + timedelta(days=1)) for day in days]
        starts = spending.months_until(today, MONTHS_SHOWN)
        return [(start, fields.Date.add(start, months=1)) for start in starts]

    # Spending

    def _get_spending_domain(self, months):
        """The bill lines of the reader's company in some months; read with the reader's own rights."""
        customer = request.env.user.partner_id.commercial_partner_id
        return [
            ("move_id.commercial_partner_id", "=", customer.id),
            ("move_id.move_type", "in", ("out_invoice", "out_refund")),
            ("parent_state", "=", "posted"),
            ("display_type", "=", "product"),
            ("invoice_date", ">=", months[0]),
            ("invoice_date", "<", fields.Date.add(months[-1], months=1)),
        ]

    def _get_spending(self, span):
        """What was billed by currency: list of dicts (currency, months, rows of ``spending.tabulate``, names)."""
        lines = request.env["account.move.line"]
        months = spending.months_until(fields.Date.context_today(request.env.user), span)
        sums = {}
        groups = (
            lines._read_group(
                self._get_spending_domain(months),
                ["currency_id", "product_id", "invoice_date:month"],
                ["amount_currency:sum"],
            )
            if lines.has_access("read")
            else []
        )
        for currency, product, month, amount in groups:
            # income is booked as a credit
            sums.setdefault(currency, []).append((product.id, month, Decimal(str(-amount))))
        # sudo: items that are archived or of a closed catalogue keep their names on bills
        products_sudo = request.env["product.product"].sudo()
        found = []
        for currency, entries in sums.items():
            rows = spending.tabulate(entries, months)
            names = {
                product.id: product.name
                for product in products_sudo.browse([row.key for row in rows if row.key])
            }
            found.append({
                "currency": currency,
                "months": months,
                "rows": [
                    {
                        "name": names.get(row.key) or (
                            request.env._("Other items") if row.key is None else request.env._("Without an item")
                        ),
                        "amounts": [float(amount) for amount in row.amounts],
                        "total": float(row.total),
                    }
                    for row in rows
                ],
            })  # fmt: skip
        return found

    def _read_span(self, months):
        return int(months) if str(months) in map(str, SPANS) else SPANS[0]

    @http.route("/my/spending", type="http", auth="user", website=True, readonly=True)
    def portal_my_spending(self, filterby=None, **kw):
        span = self._read_span(filterby)
        tables = self._get_spending(span)
        for table in tables:
            labels = [self._format_month(month) for month in table["months"]]
            table["labels"] = labels
            table["sums"] = [sum(column) for column in zip(*(row["amounts"] for row in table["rows"]), strict=True)]
            table["chart"] = {
                "type": "bar",
                "stacked": True,
                "labels": labels,
                "datasets": [{"label": row["name"], "data": row["amounts"]} for row in table["rows"]],
            }
        return request.render(
            "customer_billing.portal_my_spending",
            {
                **self._prepare_portal_layout_values(),
                "page_name": "spending",
                "tables": tables,
                "default_url": "/my/spending",
                "searchbar_filters": {
                    str(months): {"label": request.env._("%s months", months)} for months in SPANS
                },
                "filterby": str(span),
            },
        )

    @http.route("/my/spending/xlsx", type="http", auth="user", readonly=True)
    def portal_my_spending_xlsx(self, filterby=None, **kw):
        env, span = request.env, self._read_span(filterby)
        months = spending.months_until(fields.Date.context_today(env.user), span)
        columns = [
            (env._("Item"), 30, "text"),
            (env._("Currency"), 10, "text"),
            *((self._format_month(month), 12, "amount") for month in months),
            (env._("Total"), 14, "amount"),
        ]
        rows = (
            (row["name"], table["currency"].name, *row["amounts"], row["total"])
            for table in self._get_spending(span)
            for row in table["rows"]
        )
        return send_xlsx(env._("Spending"), columns, rows)
