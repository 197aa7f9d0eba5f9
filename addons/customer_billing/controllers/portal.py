from odoo import http
from odoo.exceptions import AccessError, MissingError
from odoo.fields import Domain
from odoo.http import request
from odoo.tools import formatLang

from odoo.addons.account.controllers.portal import PortalAccount
from odoo.addons.portal.controllers.portal import pager as portal_pager

LATEST_BILLS = 6


class BillingPortal(PortalAccount):
    """Contracts of the customer, and what his bills are made of."""

    def _prepare_home_portal_values(self, counters):
        values = super()._prepare_home_portal_values(counters)
        if "contract_count" in counters:
            contracts = request.env["billing.contract"]
            values["contract_count"] = (
                contracts.search_count(self._get_contracts_domain(), limit=1) if contracts.has_access("read") else 0
            )
        return values

    # Contracts

    def _get_contracts_domain(self):
        """The contracts that the portal lists; whose they are is up to the record rules.

        Staff who look at the portal see their own, as a customer would.
        """
        partner = request.env.user.partner_id.commercial_partner_id
        return [
            ("state", "!=", "draft"),
            "|",
            ("partner_id", "child_of", partner.id),
            ("invoice_partner_id", "child_of", partner.id),
        ]

    def _get_contract_searchbar_sortings(self):
        return {
            "date": {"label": request.env._("Newest"), "order": "date_start desc, id desc"},
            "name": {"label": request.env._("Number"), "order": "name"},
            "next": {"label": request.env._("Next bill"), "order": "next_bill_date, id desc"},
            "state": {"label": request.env._("Status"), "order": "state, date_start desc"},
        }

    @http.route(
        ["/my/contracts", "/my/contracts/page/<int:page>"],
        type="http",
        auth="user",
        website=True,
        readonly=True,
    )
    def portal_my_contracts(self, page=1, sortby=None, **kw):
        contracts = request.env["billing.contract"]
        readable = contracts.has_access("read")
        sortings = self._get_contract_searchbar_sortings()
        sortby = sortby if sortby in sortings else "date"
        domain = self._get_contracts_domain()
        pager = portal_pager(
            url="/my/contracts",
            url_args={"sortby": sortby},
            total=contracts.search_count(domain) if readable else 0,
            page=page,
            step=self._items_per_page,
        )
        if readable:
            contracts = contracts.search(
                domain,
                order=sortings[sortby]["order"],
                limit=self._items_per_page,
                offset=pager["offset"],
            )
        request.session["my_contracts_history"] = contracts.ids[:100]
        return request.render(
            "customer_billing.portal_my_contracts",
            {
                **self._prepare_portal_layout_values(),
                "page_name": "contract",
                "contracts": [
                    {
                        "contract": contract,
                        "terms": contract.plan_id._describe_cycle(),
                        "items": ", ".join(contract._get_portal_lines().mapped("name")),
                    }
                    for contract in contracts
                ],
                "default_url": "/my/contracts",
                "pager": pager,
                "searchbar_sortings": sortings,
                "sortby": sortby,
            },
        )

    @http.route("/my/contracts/<int:contract_id>", type="http", auth="public", website=True)
    def portal_my_contract(self, contract_id, access_token=None, report_type=None, download=False, **kw):
        try:
            contract_sudo = self._document_check_access("billing.contract", contract_id, access_token)
        except (AccessError, MissingError):
            return request.redirect("/my")
        if report_type == "pdf":
            return self._show_report(
                contract_sudo, "pdf", "customer_billing.billing_contract_report", download=bool(download)
            )
        values = self._contract_get_page_view_values(contract_sudo, access_token, **kw)
        return request.render("customer_billing.portal_contract_page", values)

    @http.route(
        [
            "/my/contracts/<int:contract_id>/bills",
            "/my/contracts/<int:contract_id>/bills/page/<int:page>",
        ],
        type="http",
        auth="user",
        website=True,
    )
    def portal_my_contract_bills(self, contract_id, page=1, sortby=None, filterby=None, **kw):
        try:
            contract_sudo = self._document_check_access("billing.contract", contract_id)
        except (AccessError, MissingError):
            return request.redirect("/my")
        values = self._prepare_my_invoices_values(
            page,
            None,
            None,
            sortby if sortby in self._get_account_searchbar_sortings() else None,
            filterby if filterby in self._get_account_searchbar_filters() else None,
            domain=self._get_contract_bills_domain(contract_sudo),
            url=f"/my/contracts/{contract_id}/bills",
        )
        pager = portal_pager(**values["pager"])
        bills = values["invoices"](pager["offset"])
        request.session["my_invoices_history"] = [bill["invoice"].id for bill in bills][:100]
        values["searchbar_filters"].pop("bills")  # what the customer bills us
        values.update(
            {
                "page_name": "contract_bills",
                "contract": contract_sudo,
                "invoices": bills,
                "pager": pager,
            }
        )
        return request.render("account.portal_my_invoices", values)

    def _get_contract_bills_domain(self, contract):
        """The bills of a contract that the portal shows; searched with the reader's own rights."""
        return self._get_invoices_domain("out") & Domain("billing_contract_ids", "in", contract.ids)

    def _contract_get_page_view_values(self, contract_sudo, access_token, **kwargs):
        """Values of the page of a contract. Override to add values."""
        today = contract_sudo._get_today()
        lines = contract_sudo._get_portal_lines()
        # a line that replaces one shown is told with it
        followers = {
            line.previous_line_id.id: line
            for line in lines
            if line.previous_line_id in lines and line.date_start > today
        }
        lines -= lines.browse().union(*followers.values())
        taxed_prices = contract_sudo.company_id.account_price_include == "tax_included"
        shows_money = request.env.user._sees_bills()
        reader_sudo = contract_sudo.with_user(request.env.user).sudo()  # access was checked
        values = {
            "page_name": "contract",
            "contract": contract_sudo,
            "res_company": contract_sudo.company_id,  # its logo
            "today": today,
            "plan_sentence": contract_sudo.plan_id._describe_cycle(),
            "period_sentence": contract_sudo.plan_id._describe_periods(),
            "renewal_sentence": contract_sudo.plan_id._describe_term(),
            "lines": lines,
            "shows_money": shows_money,
            "pdf_url": reader_sudo.get_portal_url(report_type="pdf", download=True),
            "line_prices": {line.id: self._get_line_price(line) for line in lines},
            "next_prices": {
                line.id: self._get_next_prices(line, followers) for line in lines
            },
            "price_notices": self._get_price_notices(contract_sudo),
            "format_number": self._format_number,
            "period_total": shows_money
            and sum(line.price_subtotal for line in lines if line.charge_type == "recurring" and line.is_current),
            "taxed_prices": taxed_prices,
            "pauses": contract_sudo.pause_ids.filtered(
                lambda pause: not pause.date_to or pause.date_to >= today
            ).sorted("date_from"),
            "backend_url": f"/odoo/billing.contract/{contract_sudo.id}",
            **self._get_contract_changes(contract_sudo),
            "next_bill": shows_money and contract_sudo._preview_next_bill(),
            "usage_to_date": contract_sudo._get_usage_to_date(today),
            **self._get_contract_bills(contract_sudo),
        }
        values = self._get_page_view_values(
            contract_sudo, access_token, values, "my_contracts_history", False, **kwargs
        )
        if request.env.user.share and not access_token:
            values |= contract_sudo._get_billing_message_key(request.env.user)
        return values

    def _get_contract_changes(self, contract):
        """What the reader may change in the contract, and what was asked for already."""
        requests = request.env["billing.request"]
        customer = request.env.user.partner_id.commercial_partner_id
        if request.env.user.share and contract.partner_id.commercial_partner_id == customer:
            open_requests = requests.search([("contract_id", "=", contract.id), ("state", "=", "requested")])
            asked = set(open_requests.mapped("kind"))
            kinds = requests.sudo()._get_kinds(contract)  # settings and prices are closed to customers
            return {
                "open_requests": open_requests,
                "change_kinds": [kind for kind in kinds if kind not in asked],
            }
        return {"open_requests": requests, "change_kinds": []}

    def _get_contract_bills(self, contract):
        """The latest bills of a contract, for readers who may read them by their own rights.

        A link with a token opens the contract alone.
        """
        moves = request.env["account.move"]
        reader = contract.with_user(request.env.user)
        if not moves.has_access("read") or not reader.has_access("read"):
            return {"bills": None, "bill_count": 0}
        domain = self._get_contract_bills_domain(contract)
        return {
            "bills": moves.search(domain, order="invoice_date desc, id desc", limit=LATEST_BILLS),
            "bill_count": moves.search_count(domain),
        }

    # Terms in words

    def _get_line_price(self, line):
        """The unit price of a line as text, or False where it depends on the quantity."""
        if line.price_id and line.price_id.pricing_model != "per_unit":
            return False
        return self._format_number(line.price_unit, line.currency_id)

    def _get_next_prices(self, line, followers):
        """The known future terms of a line: list of dicts (date, quantity, price as texts)."""
        found = []
        while line := followers.get(line.id):
            is_counted = line.charge_type == "usage" or line.price_id.pricing_model == "flat"
            found.append(
                {
                    "date": line.date_start,
                    "quantity": False if is_counted else self._format_number(line.quantity),
                    "price": self._get_line_price(line),
                    "subtotal": line.price_subtotal,
                }
            )
        return found

    def _get_price_notices(self, contract):
        """The open letters about new prices of a contract that its reader may read."""
        # sudo: which letters there are; those that the reader may not read are left out
        lines_sudo = request.env["billing.price.revision.line"].sudo().search(
            [
                ("contract_id", "=", contract.id),
                ("revision_id.state", "=", "notified"),
                ("notice_id.state", "in", ("sent", "letter")),
                ("notice_id.is_acknowledged", "=", False),
            ]
        )
        return lines_sudo.notice_id.sudo(False)._filtered_access("read")

    def _format_number(self, value, currency=None):
        """A quantity, rate or price with as many decimals as it has (up to 6), as text."""
        digits = currency.decimal_places if currency else 0
        while digits < 6 and abs(round(value, digits) - value) > 1e-9:
            digits += 1
        text = formatLang(request.env, value, digits=digits)  # with a currency it would round
        if not currency:
            return text
        parts = (currency.symbol, text) if currency.position == "before" else (text, currency.symbol)
        return "\N{NO-BREAK SPACE}".join(parts)

    # Bills

    def _invoice_get_page_view_values(self, invoice, access_token, **kwargs):
        values = super()._invoice_get_page_view_values(invoice, access_token, **kwargs)
        if invoice.billing_run_id:
            values["billing_lines"] = self._get_billing_lines(invoice)
            values["format_number"] = self._format_number
        # Part of the bill, as the explanation: who may see the one may see the other.
        values["billing_disputes"] = invoice.sudo().billing_dispute_ids.sorted("id", reverse=True)
        values["may_dispute"] = not request.env.user._is_internal() and not request.env[
            "billing.dispute"
        ]._get_dispute_problem(invoice)
        values["is_own_bill"] = invoice.with_user(request.env.user).has_access("read")
        values["access_token"] = access_token
        return values

    def _get_billing_lines(self, invoice):
        """The lines of a bill with what explains them: list of dicts (line, name, explanations)."""
        explanations = {}
        for explanation in invoice._get_billing_explanations():
            explanations.setdefault(explanation["move_line"], []).append(explanation)
        lines = invoice.invoice_line_ids.filtered(lambda line: line.display_type == "product")
        return [
            {
                "line": line,
                "name": (line.name or "").split("\n")[0],
                "taxes": ", ".join(tax.tax_label for tax in line.tax_ids if tax.tax_label),
                "explanations": explanations.get(line, []),
            }
            for line in lines.sorted("sequence")
        ]
