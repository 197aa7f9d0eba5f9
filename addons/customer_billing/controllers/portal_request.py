from odoo import http
from odoo.exceptions import AccessError, MissingError, UserError
from odoo.fields import Domain
from odoo.http import request

from odoo.addons.portal.controllers.portal import CustomerPortal
from odoo.addons.portal.controllers.portal import pager as portal_pager

PAGE_SIZE = 20
KINDS = "quantity,switch,pause,resume,close,stay"


class BillingPortalRequest(CustomerPortal):
    """What customers change in their contracts, at once or by a request."""

    def _get_own_contract(self, contract_id):
        """The contract as superuser, the visitor staying the user, if it is one of the visitor's company.

        Whoever only pays for another customer's contract, staff, and a link with a token change nothing.

        :raises AccessError, MissingError: it is not
        """
        self._document_check_access("billing.contract", contract_id)
        contract_sudo = request.env["billing.contract"].sudo().browse(contract_id)  # access was checked
        customer = request.env.user.partner_id.commercial_partner_id
        if request.env.user._is_internal() or contract_sudo.partner_id.commercial_partner_id != customer:
            raise AccessError(request.env._("Only the customer changes this contract here."))
        return contract_sudo

    @http.route(
        f"/my/contracts/<int:contract_id>/change/<any({KINDS}):kind>",
        type="http", auth="user", website=True, methods=["GET", "POST"],
    )  # fmt: skip
    def portal_contract_change(self, contract_id, kind, confirm=None, shown=None, **form):
        """Form, preview and confirmation of a change; everything is read and checked again at each step."""
        try:
            contract_sudo = self._get_own_contract(contract_id)
        except (AccessError, MissingError):
            return request.redirect("/my")
        form = {name: value for name, value in form.items() if isinstance(value, str)}
        requests_sudo = request.env["billing.request"].sudo()  # of a contract that the visitor may change
        is_sent = request.httprequest.method == "POST"
        if is_sent and confirm and (twin := requests_sudo._find_twin(contract_sudo, kind, form)):
            return request.redirect(twin.access_url)
        if problem := requests_sudo._get_problem(contract_sudo, kind):
            return self._render_change(contract_sudo, kind, problem=problem)
        if not is_sent:
            return self._render_change(contract_sudo, kind, form)
        vals, errors = requests_sudo._read_form(contract_sudo, kind, form)
        if errors:
            return self._render_change(contract_sudo, kind, form, errors)
        try:
            before, after, rows = requests_sudo._preview(contract_sudo, vals)
            # what was seen is what is confirmed: other amounts are shown once more
            if confirm and shown == self._sign_preview(before, after):
                with request.env.cr.savepoint():  # all or nothing
                    found = requests_sudo._submit(contract_sudo, vals)
                return request.redirect(found.access_url)
        except UserError as error:
            return self._render_change(contract_sudo, kind, form, {"form": str(error)})
        preview = {
            "before": before,
            "after": after,
            "rows": rows,
            "shown": self._sign_preview(before, after),
            "changed": bool(confirm),
            "summary": requests_sudo._describe(vals),
        }
        return self._render_change(contract_sudo, kind, form, vals=vals, preview=preview)

    def _sign_preview(self, before, after):
        return f"{before:.4f}|{after:.4f}" if request.env.user._sees_bills() else "unseen"

    def _render_change(self, contract, kind, form=None, errors=None, vals=None, preview=None, problem=None):
        requests_sudo = request.env["billing.request"].sudo()  # of a contract that the visitor may change
        kinds = requests_sudo._get_kinds(contract) if not problem else {}
        values = {
            **self._prepare_portal_layout_values(),
            "page_name": "contract_change",
            "contract": contract,
            "kind": kind,
            "problem": problem,
            "shows_money": request.env.user._sees_bills(),
            "is_direct": kind == "stay" or kinds.get(kind) == "direct",
            "form": form or {},
            "billing_quantity": requests_sudo._format_quantity,
            "errors": errors or {},
            "vals": vals,
            "preview": preview,
        }
        if not problem:
            reason = contract.env["billing.close.reason"].browse((vals or {}).get("close_reason_id") or ())
            values |= {
                "first_date": requests_sudo._get_first_date(contract, kind),
                "last_date": requests_sudo._get_last_date(contract, kind),
                "lines": requests_sudo._get_quantity_lines(contract) if kind == "quantity" else (),
                "switches": requests_sudo._get_switches(contract) if kind == "switch" else {},
                "reasons": requests_sudo._get_reasons() if kind == "close" else (),
                "offer_text": kind == "close" and values["shows_money"] and reason.offer,
                "offer": kind == "close" and reason and requests_sudo._get_offer(contract, reason) and reason,
            }
            if values["offer"]:
                values["offer_summary"] = requests_sudo._describe(
                    {
                        "kind": "stay",
                        "close_reason_id": reason.id,
                        "date": requests_sudo._get_first_date(contract, "stay"),
                    }
                )
        return request.render("customer_billing.portal_contract_change", values)

    # Requests that were made

    def _get_requests_domain(self):
        customer = request.env.user.partner_id.commercial_partner_id
        return Domain("partner_id", "child_of", customer.id)

    @http.route(
        ["/my/requests", "/my/requests/page/<int:page>"], type="http", auth="user", website=True, readonly=True
    )
    def portal_my_requests(self, page=1, **kw):
        requests = request.env["billing.request"]
        domain = self._get_requests_domain()
        total = requests.search_count(domain) if requests.has_access("read") else 0
        pager = portal_pager(url="/my/requests", total=total, page=page, step=PAGE_SIZE)
        if total:
            requests = requests.search(domain, limit=PAGE_SIZE, offset=pager["offset"])
        return request.render(
            "customer_billing.portal_my_requests",
            {
                **self._prepare_portal_layout_values(),
                "page_name": "request",
                "requests": requests,
                "pager": pager,
            },
        )

    @http.route("/my/requests/<int:request_id>", type="http", auth="public", website=True)
    def portal_my_request(self, request_id, access_token=None, **kw):
        try:
            request_sudo = self._document_check_access("billing.request", request_id, access_token)
        except (AccessError, MissingError):
            return request.redirect("/my")
        own = request.env["billing.request"].browse(request_id)
        is_own = request.env.user._is_portal() and own.has_access("read")
        values = {
            "page_name": "request",
            "billing_request": request_sudo,
            "shows_money": request.env.user._sees_bills(),
            "res_company": request_sudo.company_id,
            "may_withdraw": is_own and request_sudo.state == "requested",
        }
        values = self._get_page_view_values(request_sudo, access_token, values, "my_requests_history", False, **kw)
        if is_own and not access_token:
            values |= request_sudo._get_billing_message_key(request.env.user)
        values["object"] = request_sudo
        return request.render("customer_billing.portal_request_page", values)

    @http.route(
        "/my/requests/<int:request_id>/withdraw", type="http", auth="user", website=True, methods=["POST"]
    )
    def portal_my_request_withdraw(self, request_id, **kw):
        try:
            self._document_check_access("billing.request", request_id)
            request_sudo = request.env["billing.request"].sudo().browse(request_id)  # access was checked
            self._get_own_contract(request_sudo.contract_id.id)
            request_sudo._withdraw()
        except (AccessError, MissingError):
            return request.redirect("/my")
        except UserError:  # decided meanwhile: the page says so
            return request.redirect(f"/my/requests/{request_id}")
        return request.redirect(request_sudo.access_url)
