from odoo import http
from odoo.exceptions import AccessError, MissingError
from odoo.http import request

from odoo.addons.portal.controllers.portal import CustomerPortal

from ..tools.text import read_text

MAX_NAME, MAX_TEXT = 200, 4000
MESSAGES = ("acknowledged", "objected", "empty")


class PriceNoticePortal(CustomerPortal):
    """The letter about new prices, and the customer's answer to it."""

    def _get_notice(self, notice_id, access_token):
        """The letter as superuser, for those who may see it; raises otherwise."""
        notice_sudo = self._document_check_access("billing.price.notice", notice_id, access_token)
        if notice_sudo.state not in ("sent", "letter"):  # also not by an early link
            raise MissingError(request.env._("This letter was not sent yet."))
        return notice_sudo

    @http.route("/my/price-changes/<int:notice_id>", type="http", auth="public", website=True)
    def portal_price_notice(self, notice_id, access_token=None, message=None, **kw):
        try:
            notice_sudo = self._get_notice(notice_id, access_token)
        except (AccessError, MissingError):
            return request.redirect("/my")
        return request.render(
            "customer_billing.portal_price_notice",
            {
                "page_name": "price_notice",
                "notice": notice_sudo,
                "res_company": notice_sudo.company_id,
                "changes": notice_sudo._get_changes(),
                "why": notice_sudo._get_why(),
                "is_open": notice_sudo._is_open(),
                "is_staff": request.env.user._is_internal(),
                "taxed_prices": notice_sudo.company_id.account_price_include == "tax_included",
                "access_token": access_token,
                "message": message if message in MESSAGES else None,
            },
        )

    @http.route(
        "/my/price-changes/<int:notice_id>/acknowledge",
        type="http", auth="public", website=True, methods=["POST"],
    )  # fmt: skip
    def portal_price_notice_acknowledge(self, notice_id, access_token=None, name=None, **kw):
        def answer(notice_sudo, who):
            notice_sudo._acknowledge(who, "portal", request.httprequest.remote_addr)
            notice_sudo.revision_id._trigger_job()
            return "acknowledged"

        return self._answer(notice_id, access_token, name, answer)

    @http.route(
        "/my/price-changes/<int:notice_id>/object",
        type="http", auth="public", website=True, methods=["POST"],
    )  # fmt: skip
    def portal_price_notice_object(self, notice_id, access_token=None, name=None, text="", **kw):
        text = read_text(text, MAX_TEXT)

        def answer(notice_sudo, who):
            if not text:
                return "empty"
            notice_sudo._object(text, who, request.httprequest.remote_addr)
            return "objected"

        return self._answer(notice_id, access_token, name, answer)

    def _answer(self, notice_id, access_token, name, answer):
        """Log an answer in the name of the user, or of who holds the link, and show the letter."""
        try:
            notice_sudo = self._get_notice(notice_id, access_token)
        except (AccessError, MissingError):
            return request.redirect("/my")
        user = request.env.user
        who = read_text(name, MAX_NAME) if user._is_public() else user.name
        message = "empty"
        # Staff note an answer on the letter itself, as far as their rights go.
        if who and notice_sudo._is_open() and not user._is_internal():
            message = answer(notice_sudo, who)
        url = notice_sudo.get_portal_url(query_string=f"&message={message}") if access_token else (
            f"{notice_sudo.access_url}?message={message}")  # fmt: skip
        return request.redirect(url)
