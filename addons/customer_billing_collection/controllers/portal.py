from odoo import http
from odoo.exceptions import AccessError, MissingError, UserError
from odoo.http import content_disposition, request
from odoo.tools import format_date

from odoo.addons.account.controllers.portal import PortalAccount

NOTICES = ("promised", "confirmed")
SHOWN_STATES = ("offered", "running", "completed", "broken")


class CollectionPortal(PortalAccount):
    """What is overdue: the customer promises a day, or confirms an agreement to pay in parts."""

    def _prepare_home_portal_values(self, counters):
        values = super()._prepare_home_portal_values(counters)
        if "billing_overdue_count" in counters:
            values["billing_overdue_count"] = len(self._get_overdue_groups())
        return values

    # What is overdue

    def _get_customer(self):
        return request.env.user.partner_id.commercial_partner_id

    def _get_cases(self):
        """The cases of the visitor's customer that are at work, as superuser with the visitor as user."""
        if not request.env.user._sees_bills():
            return request.env["billing.case"]
        # sudo: customers have no access to cases; only what the page needs is taken from them
        return request.env["billing.case"].sudo().search(
            [
                ("partner_id", "=", self._get_customer().id),
                ("company_id", "in", request.env.user.company_ids.ids),
                ("state", "not in", ("closed", "written_off")),
            ],
            order="company_id, currency_id",
        )

    def _get_overdue_groups(self):
        """What the visitor's customer owes past its due date, by company and currency: list of dicts.

        Items that no case demands (in dispute, or without a policy) are shown too.
        """
        cases = self._get_cases()
        found = {(case.company_id, case.currency_id): (case, rows) for case, rows in cases._get_items().items()}
        customer = self._get_customer()
        for company in request.env.user.company_ids.root_id:
            # sudo: what the customer owes; access was checked above
            for (_partner, currency), rows in request.env["billing.case"].sudo()._read_items(
                company, company._get_billing_today(), customer.ids
            ).items():
                found.setdefault((company, request.env["res.currency"].browse(currency)), (cases.browse(), rows))
        groups = []
        for (company, currency), (case, rows) in found.items():
            today = company._get_billing_today()
            items = [row for row in rows if row["residual"] > 0 and row["date_maturity"] < today]
            credit = sum(row["residual"] for row in rows if row["residual"] < 0)
            agreements = case.instalment_ids.filtered(lambda agreement: agreement.state in ("offered", "running"))
            if not items and not agreements:
                continue
            groups.append(
                {
                    "case": case,
                    "company": company.sudo().name,
                    "currency": currency,
                    "items": [self._prepare_item(row, currency) for row in items],
                    "credit": credit,
                    "total": currency.round(sum(row["residual"] for row in items) + credit),
                    "demanded": currency.round(
                        max(0, sum(row["residual"] for row in items if not row["excluded"]) + credit)
                    ),
                    "agreements": agreements,
                    "promise": case.promise_ids.filtered(lambda promise: promise.state == "open")[:1],
                }
            )
        return groups

    def _prepare_item(self, row, currency):
        """An overdue item as the page shows it; with an address where the visitor may open the bill."""
        labels = request.env["billing.case"]._get_portal_labels()
        return {
            "number": row["number"],
            "due": request.env._(
                "Due on %(date)s, %(days)s days late",
                date=format_date(request.env, row["date_maturity"]),
                days=row["days_overdue"],
            ),
            "amount": row["residual"],
            "currency": currency,
            "label": labels.get(row["excluded"]),
            "url": f"/my/invoices/{row['move_id']}" if row["kind"] == "invoice" else None,
        }

    @http.route("/my/billing/overdue", type="http", auth="user", website=True)
    def portal_my_overdue(self, message=None, **kw):
        return self._render_overdue(notice=message if message in NOTICES else None)

    def _render_overdue(self, notice=None, case=None, error=None, form=None):
        groups = self._get_overdue_groups()
        answers = not request.env.user._is_internal()
        for group in groups:
            group_case, currency = group.pop("case"), group["currency"]
            group |= {"id": group_case.id, "pay_url": self._get_overdue_pay_url(group), "form": {}}
            if not group_case:
                continue
            problem = group_case._get_promise_problem()
            group |= {
                "digits": currency.decimal_places,
                "step": currency.rounding,
                "may_promise": answers and not problem and group["demanded"] > 0,
                "problem": problem,
                "held": group_case._get_held_names() if group_case.date_hold else [],
                "first_date": group_case.company_id._get_billing_today(),
                "last_date": group_case._get_last_promise_date(),
                "promise_text": group["promise"]
                and request.env._(
                    "You promised %(amount)s by %(date)s.",
                    amount=currency.format(group["promise"].amount),
                    date=format_date(request.env, group["promise"].date),
                ),
            }
            if group_case == case:
                group |= {"error": error, "form": form}
        return request.render(
            "customer_billing_collection.portal_my_overdue",
            {
                **self._prepare_portal_layout_values(),
                "page_name": "billing_overdue",
                "groups": groups,
                "notice": notice,
            },
        )

    def _get_overdue_pay_url(self, group):
        """Where what the page shows is paid: where the bills say, as far as the visitor may read them."""
        ids = [int(item["url"].rsplit("/", 1)[1]) for item in group["items"] if item["url"]]
        moves = request.env["account.move"]
        if not ids or group["total"] <= 0 or not moves.has_access("read"):
            return None
        moves = moves.search([("id", "in", ids)], order="invoice_date_due, id")
        return moves._get_payment_url(group["total"]) if moves else None

    @http.route("/my/billing/overdue/<int:case_id>/promise", type="http", auth="user", website=True, methods=["POST"])
    def portal_promise(self, case_id, amount=None, date=None, note=None, **kw):
        case_sudo = self._get_cases().filtered(lambda case: case.id == case_id)
        if not case_sudo:
            return request.redirect("/my/billing/overdue")
        try:
            with request.env.cr.savepoint():  # all or nothing
                case_sudo._promise_from_portal(amount, date, note)
        except UserError as error:
            form = {"amount": amount, "date": date, "note": note}
            return self._render_overdue(case=case_sudo, error=str(error), form=form)
        return request.redirect("/my/billing/overdue?message=promised")

    # Paying in parts

    def _instalment_check_access(self, instalment_id, access_token=None):
        """The agreement (sudo, as the visitor) if he may see it by his own rights or by a token.

        :raises AccessError, MissingError: he may not, or it was not offered
        """
        agreement_sudo = self._document_check_access("billing.instalment", instalment_id, access_token)
        if agreement_sudo.state not in SHOWN_STATES:
            raise MissingError(request.env._("This document does not exist."))
        # sudo: access was checked. Who acts stays the visitor.
        return request.env["billing.instalment"].sudo().browse(agreement_sudo.id)

    def _get_instalment_url(self, agreement, access_token, suffix="", message=None, terms=None):
        query = [f"access_token={access_token}"] if access_token else []
        query += [f"message={message}"] if message else []
        query += [f"terms={terms}"] if terms else []
        return f"{agreement.access_url}{suffix}{'?' if query else ''}{'&'.join(query)}"

    @http.route("/my/instalments/<int:instalment_id>", type="http", auth="public", website=True)
    def portal_my_instalment(self, instalment_id, access_token=None, message=None, **kw):
        try:
            agreement_sudo = self._instalment_check_access(instalment_id, access_token)
        except (AccessError, MissingError):
            return request.redirect("/my")
        public = request.env.user._is_public()
        total = agreement_sudo.amount
        problem = agreement_sudo._get_confirm_problem()
        return request.render(
            "customer_billing_collection.portal_instalment_page",
            {
                "page_name": "billing_instalment",
                "agreement": agreement_sudo,
                "items": [
                    {
                        "number": line.move_name,
                        "due": request.env._("due on %s", format_date(request.env, line.date_maturity or line.date)),
                        "amount": line.amount_residual_currency,
                    }
                    for line in agreement_sudo.move_line_ids.sorted(lambda l: (l.date_maturity or l.date, l.id))
                ],
                "parts": agreement_sudo._get_settled_parts(),
                "today": agreement_sudo.company_id._get_billing_today(),
                "share": round(100 * agreement_sudo.amount_paid / total) if total else 0,
                "res_company": agreement_sudo.company_id,
                "texts": agreement_sudo._get_texts(),
                "may_confirm": not problem and not request.env.user._is_internal(),
                "problem": problem if agreement_sudo.state == "offered" else False,
                "signer_name": "" if public else request.env.user.name,
                "accept_url": self._get_instalment_url(
                    agreement_sudo, access_token, "/accept", terms=agreement_sudo._get_terms_key()
                ),
                "pdf_url": self._get_instalment_url(agreement_sudo, access_token, "/pdf"),
                "pay_url": agreement_sudo._get_payment_url(),
                "sign_text": request.env._(
                    "By signing you agree for %(customer)s to pay %(amount)s in the parts of agreement %(name)s. Your "
                    "name, signature, the time and your IP address are recorded.",
                    customer=agreement_sudo.partner_id.name,
                    amount=agreement_sudo.currency_id.format(agreement_sudo.amount),
                    name=agreement_sudo.name,
                ),
                "notice": message if message in NOTICES else None,
            },
        )

    @http.route("/my/instalments/<int:instalment_id>/accept", type="jsonrpc", auth="public", website=True)
    def portal_instalment_accept(self, instalment_id, access_token=None, name=None, signature=None, terms=None):
        # as the signature form of the portal sends it
        access_token = access_token or request.httprequest.args.get("access_token")
        terms = terms or request.httprequest.args.get("terms")
        try:
            agreement_sudo = self._instalment_check_access(instalment_id, access_token)
        except (AccessError, MissingError):
            return {"error": request.env._("This agreement is not here any more.")}
        try:
            with request.env.cr.savepoint():  # all or nothing
                agreement_sudo._confirm_from_portal(name, signature, request.httprequest.remote_addr, terms)
        except UserError as error:
            return {"error": str(error)}
        url = self._get_instalment_url(agreement_sudo, access_token, message="confirmed")
        return {"force_refresh": True, "redirect_url": url}

    @http.route("/my/instalments/<int:instalment_id>/pdf", type="http", auth="public")
    def portal_instalment_pdf(self, instalment_id, access_token=None, **kw):
        try:
            agreement_sudo = self._instalment_check_access(instalment_id, access_token)
        except (AccessError, MissingError):
            return request.redirect("/my")
        report_sudo = request.env["ir.actions.report"].sudo()  # of an agreement that the visitor may see
        content, kind = report_sudo._render_qweb_pdf(
            "customer_billing_collection.report_instalment_action", agreement_sudo.ids
        )
        name = f"{agreement_sudo.name.replace('/', '-')}.{kind}"
        return request.make_response(
            content,
            [
                ("Content-Type", "application/pdf" if kind == "pdf" else "text/html"),
                ("Content-Length", len(content)),
                ("Content-Disposition", content_disposition(name)),
                ("X-Content-Type-Options", "nosniff"),
            ],
        )
