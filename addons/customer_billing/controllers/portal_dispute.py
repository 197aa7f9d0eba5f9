from odoo import http
from odoo.exceptions import AccessError, MissingError, UserError
from odoo.http import content_disposition, request

from odoo.addons.portal.controllers.portal import CustomerPortal
from odoo.addons.portal.controllers.portal import pager as portal_pager

from ..tools.upload import FILE_TYPES, MAX_FILE_BYTES, MAX_FILES

PAGE_SIZE = 20
MEGABYTE = 1024 * 1024


class BillingPortalDispute(CustomerPortal):
    """Objections to bills: made, talked about, decided."""

    def _get_dispute_searchbar_filters(self):
        return {
            "all": {"label": request.env._("All"), "domain": []},
            "open": {"label": request.env._("Open"), "domain": [("state", "=", "open")]},
            "closed": {"label": request.env._("Decided"), "domain": [("state", "!=", "open")]},
        }

    @http.route(
        ["/my/disputes", "/my/disputes/page/<int:page>"], type="http", auth="user", website=True, readonly=True
    )
    def portal_my_disputes(self, page=1, filterby=None, **kw):
        disputes = request.env["billing.dispute"]
        filters = self._get_dispute_searchbar_filters()
        filterby = filterby if filterby in filters else "all"
        customer = request.env.user.partner_id.commercial_partner_id
        domain = [("partner_id", "=", customer.id), *filters[filterby]["domain"]]
        total = disputes.search_count(domain) if disputes.has_access("read") else 0
        pager = portal_pager(
            url="/my/disputes", url_args={"filterby": filterby}, total=total, page=page, step=PAGE_SIZE
        )
        if total:
            disputes = disputes.search(domain, order="id desc", limit=PAGE_SIZE, offset=pager["offset"])
        return request.render(
            "customer_billing.portal_my_disputes",
            {
                **self._prepare_portal_layout_values(),
                "page_name": "dispute",
                # sudo: the name of the document is part of the objection, which its reader may see
                "rows": [(dispute, dispute.sudo()._get_document_name()) for dispute in disputes],
                "pager": pager,
                "default_url": "/my/disputes",
                "searchbar_filters": filters,
                "filterby": filterby,
            },
        )

    @http.route("/my/disputes/<int:dispute_id>", type="http", auth="public", website=True)
    def portal_my_dispute(self, dispute_id, access_token=None, message=None, **kw):
        try:
            dispute_sudo = self._document_check_access("billing.dispute", dispute_id, access_token)
        except (AccessError, MissingError):
            return request.redirect("/my")
        is_own = request.env["billing.dispute"].browse(dispute_id).has_access("read")
        values = {
            "page_name": "dispute",
            "dispute": dispute_sudo,
            "res_company": dispute_sudo.company_id,
            "document_name": dispute_sudo._get_document_name(),
            "is_own": is_own,  # a link with a token opens the objection alone
            "credits": dispute_sudo.credit_move_ids.filtered(lambda move: move.state == "posted"),
            "reason": dict(dispute_sudo._fields["reason"]._description_selection(request.env))[dispute_sudo.reason],
            "was_sent": message == "sent",
            "query": f"?access_token={access_token}" if access_token else "",
        }
        values = self._get_page_view_values(dispute_sudo, access_token, values, "my_disputes_history", False, **kw)
        if request.env.user.share and is_own and not access_token:
            values["token"] = dispute_sudo._portal_ensure_token()  # to post messages
        return request.render("customer_billing.portal_dispute_page", values)

    @http.route("/my/disputes/<int:dispute_id>/files/<int:file_id>", type="http", auth="public", readonly=True)
    def portal_my_dispute_file(self, dispute_id, file_id, access_token=None, **kw):
        """A file that the customer sent, to be saved, never to be shown."""
        try:
            dispute_sudo = self._document_check_access("billing.dispute", dispute_id, access_token)
        except (AccessError, MissingError):
            return request.redirect("/my")
        file_sudo = dispute_sudo.attachment_ids.filtered(lambda file: file.id == file_id)
        if not file_sudo:
            raise request.not_found()
        return request.make_response(
            file_sudo.raw,
            [
                ("Content-Type", "application/octet-stream"),
                ("Content-Length", len(file_sudo.raw)),
                ("Content-Disposition", content_disposition(file_sudo.name)),
                ("X-Content-Type-Options", "nosniff"),
                ("Content-Security-Policy", "default-src 'none'; sandbox"),
            ],
        )

    @http.route(
        "/my/invoices/<int:invoice_id>/dispute",
        type="http", auth="public", website=True, methods=["GET", "POST"],
        max_content_length=MAX_FILES * MAX_FILE_BYTES + MEGABYTE,
    )  # fmt: skip
    def portal_my_invoice_dispute(self, invoice_id, access_token=None, **form):
        try:
            move_sudo = self._document_check_access("account.move", invoice_id, access_token)
        except (AccessError, MissingError):
            return request.redirect("/my")
        move_sudo = request.env["account.move"].sudo().browse(invoice_id)  # access was checked; the visitor acts
        if request.env.user._is_internal():  # staff note it in the dispute itself
            return request.redirect(move_sudo.access_url)
        form = {name: value for name, value in form.items() if isinstance(value, str)}
        disputes, errors = request.env["billing.dispute"], {}
        problem = disputes._get_dispute_problem(move_sudo)
        if request.httprequest.method == "POST" and not problem:
            try:
                with request.env.cr.savepoint():  # all or nothing
                    dispute_sudo, errors = disputes._dispute_from_portal(move_sudo, form, self._get_dispute_files())
            except UserError as error:
                errors = {"form": str(error)}
            if not errors:
                if access_token:
                    return request.redirect(dispute_sudo.get_portal_url(query_string="&message=sent"))
                return request.redirect(f"{dispute_sudo.access_url}?message=sent")
        return request.render(
            "customer_billing.portal_dispute_form",
            {
                "page_name": "dispute_form",
                "invoice": move_sudo,
                "res_company": move_sudo.company_id,
                "lines": move_sudo.invoice_line_ids.filtered(lambda line: line.display_type == "product"),
                "reasons": disputes._fields["reason"]._description_selection(request.env),
                "form": form,
                "errors": errors,
                "problem": problem,
                "query": f"?access_token={access_token}" if access_token else "",
                "file_types": ",".join(f".{name}" for name in FILE_TYPES),
                "files_help": request.env._(
                    "At most %(count)s files of %(size)s MB: PDF, pictures, text, spreadsheets, e-mails.",
                    count=MAX_FILES,
                    size=MAX_FILE_BYTES // MEGABYTE,
                ),
            },
        )

    def _get_dispute_files(self):
        """The uploaded files: list of (name, bytes). One file and one byte more than allowed are read, so that the
        limits are seen."""
        files = [file for file in request.httprequest.files.getlist("files") if file.filename]
        return [(file.filename, file.read(MAX_FILE_BYTES + 1)) for file in files[: MAX_FILES + 1]]
