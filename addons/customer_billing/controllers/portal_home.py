from odoo import fields, http
from odoo.fields import Domain
from odoo.http import request
from odoo.tools.sql import escape_psql

from odoo.addons.account.controllers.portal import PortalAccount
from odoo.addons.portal.controllers.portal import pager as portal_pager

from ..tools.text import read_text
from .xlsx import MAX_ROWS, send_xlsx

MAX_SEARCH = 100  # characters of a search
PAGE_SIZE = 20


class BillingPortalHome(PortalAccount):
    """The first page, bills and payments of the customer."""

    def _get_reader_company(self):
        """The company (or person) that the reader belongs to; staff see themselves as a customer would."""
        return request.env.user.partner_id.commercial_partner_id.sudo(False)

    @http.route()
    def home(self, **kw):
        response = super().home(**kw)
        response.qcontext["billing_card"] = self._get_billing_card()
        return response

    def _get_billing_card(self):
        """The values of the card on the first page; None for staff, and for whoever is no customer of ours."""
        if request.env.user._is_internal():  # balances are shown without a look at accounting rights
            return None
        customer = self._get_reader_company()
        next_bill = customer._get_billing_portal_next_bill()
        balances = customer._get_billing_portal_balances()
        actions = customer._get_billing_portal_actions()
        contracts = request.env["billing.contract"]
        if not next_bill and not balances and not actions and not (
            contracts.has_access("read")
            and contracts.search_count(customer._get_billing_contracts_domain(), limit=1)
        ):  # fmt: skip
            return None
        return {
            "balances": [row for row in balances if not row["currency"].is_zero(row["balance"])],
            "sees_bills": request.env.user._sees_bills(),
            "next_bill": next_bill,
            "actions": actions,
            "today": fields.Date.context_today(request.env.user),
            "company_currency": request.env.company.currency_id,
        }

    # Bills: core's page, with search, more filters and a download

    def _get_account_searchbar_filters(self):
        filters = super()._get_account_searchbar_filters()
        customer = [("move_type", "in", ("out_invoice", "out_receipt")), ("state", "=", "posted")]
        unpaid = Domain(customer) & Domain("payment_state", "in", ("not_paid", "partial"))
        return {
            **filters,
            "open": {"label": request.env._("To pay"), "domain": unpaid},
            "overdue": {
                "label": request.env._("Overdue, of all contacts"),
                "domain": unpaid & Domain([request.env.user.partner_id._get_overdue_bill_condition()]),
            },
            "paid": {
                "label": request.env._("Paid"),
                "domain": Domain(customer) & Domain("payment_state", "in", ("paid", "in_payment", "reversed")),
            },
            "credits": {
                "label": request.env._("Credit notes"),
                "domain": [("move_type", "=", "out_refund"), ("state", "=", "posted")],
            },
        }

    def _get_bill_searchbar_inputs(self):
        return {
            "number": {"input": "number", "label": request.env._("Search in number and reference")},
            "item": {"input": "item", "label": request.env._("Search in items")},
            "contract": {"input": "contract", "label": request.env._("Search in contracts")},
        }

    def _get_bill_search_domain(self, search, search_in):
        search = escape_psql(read_text(search, MAX_SEARCH))
        if not search:
            return Domain.TRUE
        if search_in == "item":
            return Domain("invoice_line_ids.name", "ilike", search)
        if search_in == "contract":
            return Domain("billing_contract_ids.name", "ilike", search)
        return Domain("name", "ilike", search) | Domain("ref", "ilike", search)

    def _read_bill_query(self, sortby, filterby, search_in):
        """The parts of a query that are known; others count as not given."""
        return (
            sortby if sortby in self._get_account_searchbar_sortings() else "date",
            filterby if filterby in self._get_account_searchbar_filters() else "all",
            search_in if search_in in self._get_bill_searchbar_inputs() else "number",
        )

    def _prepare_my_invoices_values(self, *args, **kwargs):
        values = super()._prepare_my_invoices_values(*args, **kwargs)
        get_bills = values["invoices"]

        def get_bills_with_tokens(offset):
            rows = get_bills(offset)
            request.env["account.move"].union(*(row["invoice"] for row in rows))._ensure_billing_tokens()
            return rows

        values["invoices"] = get_bills_with_tokens
        return values

    @http.route()
    def portal_my_invoices(
        self, page=1, date_begin=None, date_end=None, sortby=None, filterby=None, search=None, search_in=None, **kw
    ):
        sortby, filterby, search_in = self._read_bill_query(sortby, filterby, search_in)
        values = self._prepare_my_invoices_values(
            page, None, None, sortby, filterby, domain=self._get_bill_search_domain(search, search_in)
        )
        values["pager"]["url_args"] |= {"search": search or "", "search_in": search_in}
        pager = portal_pager(**values["pager"])
        invoices = values["invoices"](pager["offset"])
        request.session["my_invoices_history"] = [row["invoice"].id for row in invoices][:100]
        values.update(
            {
                "invoices": invoices,
                "pager": pager,
                "searchbar_inputs": self._get_bill_searchbar_inputs(),
                "search": search,
                "search_in": search_in,
                "xlsx_url": "/my/invoices/xlsx",
            }
        )
        return request.render("account.portal_my_invoices", values)

    @http.route("/my/invoices/xlsx", type="http", auth="user", readonly=True)
    def portal_my_invoices_xlsx(self, sortby=None, filterby=None, search=None, search_in=None, **kw):
        """The list of bills, as it is searched and filtered on the page."""
        sortby, filterby, search_in = self._read_bill_query(sortby, filterby, search_in)
        domain = (
            self._get_bill_search_domain(search, search_in)
            & self._get_invoices_domain()
            & Domain(self._get_account_searchbar_filters()[filterby]["domain"])
        )
        moves = request.env["account.move"]
        if moves.has_access("read"):
            moves = moves.search_fetch(
                domain,
                ["name", "invoice_date", "invoice_date_due", "ref", "amount_untaxed_signed", "move_type", "currency_id",
                 "amount_untaxed", "amount_tax", "amount_total", "amount_residual", "payment_state"],
                order=self._get_account_searchbar_sortings()[sortby]["order"],
                limit=MAX_ROWS,
            )  # fmt: skip
        states = dict(moves._fields["payment_state"]._description_selection(request.env))
        env = request.env
        columns = [
            (env._("Number"), 22, "text"), (env._("Date"), 12, "date"), (env._("Due Date"), 12, "date"),
            (env._("Reference"), 22, "text"), (env._("Before Taxes"), 14, "amount"), (env._("Taxes"), 12, "amount"),
            (env._("Total"), 14, "amount"), (env._("Left to Pay"), 14, "amount"), (env._("Currency"), 10, "text"),
            (env._("Status"), 18, "text"),
        ]  # fmt: skip
        rows = (
            (
                move.name, move.invoice_date, move.invoice_date_due, move.ref, sign * move.amount_untaxed,
                sign * move.amount_tax, sign * move.amount_total, sign * move.amount_residual,
                move.currency_id.name, states.get(move.payment_state),
            )
            for move in moves
            for sign in (-1 if move.move_type in ("out_refund", "in_refund") else 1,)
        )  # fmt: skip
        return send_xlsx(env._("Bills"), columns, rows)

    # Payments

    def _get_shown_payments_domain(self):
        """The payments of the reader's company to ours; applied as superuser, so it says whose they are.

        Staff see none: they have their own list, as far as their rights go. Nor do contacts who are not shown bills.
        """
        if request.env.user._is_internal() or not request.env.user._sees_bills():
            return Domain.FALSE
        return [
            ("partner_id", "child_of", self._get_reader_company().id),
            ("company_id", "in", request.env.companies.ids),
            ("partner_type", "=", "customer"),
            ("state", "in", ("in_process", "paid")),
        ]

    @http.route(
        ["/my/payments", "/my/payments/page/<int:page>"], type="http", auth="user", website=True, readonly=True
    )
    def portal_my_payments(self, page=1, **kw):
        # sudo: customers have no right to read payments; the domain gives them those of their company
        payments_sudo = request.env["account.payment"].sudo()
        domain = self._get_shown_payments_domain()
        pager = portal_pager(
            url="/my/payments", total=payments_sudo.search_count(domain), page=page, step=PAGE_SIZE
        )
        payments_sudo = payments_sudo.search(
            domain, order="date desc, id desc", limit=PAGE_SIZE, offset=pager["offset"]
        )
        return request.render(
            "customer_billing.portal_my_payments",
            {
                **self._prepare_portal_layout_values(),
                "page_name": "payment",
                "payments": payments_sudo,
                "paid_bills": self._get_paid_bills(payments_sudo),
                "pager": pager,
                "default_url": "/my/payments",
            },
        )

    def _get_paid_bills(self, payments_sudo):
        """The bills that payments settle and the reader may open: {payment: list of (bill, amount)}."""
        by_move = {payment.move_id: payment for payment in payments_sudo if payment.move_id}
        groups = payments_sudo.env["account.partial.reconcile"]._read_group(
            [("credit_move_id.move_id", "in", [move.id for move in by_move])],
            ["credit_move_id", "debit_move_id"],
            ["debit_amount_currency:sum"],
        )
        readable = request.env["account.move"]
        if readable.has_access("read"):
            bills = {debit.move_id.id for _credit, debit, _amount in groups}
            readable = readable.search(
                [("id", "in", list(bills)), ("move_type", "in", ("out_invoice", "out_receipt"))]
            )
        found, by_id = {}, {bill.id: bill for bill in readable}
        for credit, debit, amount in groups:
            if bill := by_id.get(debit.move_id.id):
                found.setdefault(by_move[credit.move_id].id, []).append((bill, amount))
        return found

    # Published prices

    @http.route("/my/prices", type="http", auth="user", website=True, readonly=True)
    def portal_my_prices(self, **kw):
        if not request.env.user._sees_bills():
            return request.redirect("/my")
        # sudo: customers read the published prices only, of the companies that they deal with
        prices_sudo = request.env["billing.price"].sudo()._search_published(
            request.env.companies, fields.Date.context_today(request.env.user)
        )
        return request.render(
            "customer_billing.portal_my_prices",
            {
                **self._prepare_portal_layout_values(),
                "page_name": "price",
                "prices": prices_sudo,
                "taxed_prices": request.env.company.sudo().account_price_include == "tax_included",
            },
        )
