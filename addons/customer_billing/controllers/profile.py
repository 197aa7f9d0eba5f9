from odoo import http
from odoo.exceptions import AccessError, MissingError, UserError
from odoo.http import request

from odoo.addons.portal.controllers.portal import CustomerPortal

from ..models.billing_profile_change import BANK, PROFILE_FIELDS
from ..tools.text import read_text

MAX_NAME = 200


class ProfilePortal(CustomerPortal):
    """The page where customers confirm or correct their profile."""

    def _get_confirmation(self, confirmation_id, access_token):
        """The request as superuser, for those who may see it; raises otherwise."""
        return self._document_check_access("billing.profile.confirmation", confirmation_id, access_token)

    def _is_own(self, confirmation_sudo):
        """Whether the visitor sees the request by his own rights, without its link."""
        own = request.env["billing.profile.confirmation"].browse(confirmation_sudo.id or ())
        return not own or own.has_access("read")  # nobody has asked: the profile of the reader's company

    def _may_answer(self, confirmation_sudo):
        """Whether the visitor may answer now: the link is for one answer and expires."""
        if self._is_own(confirmation_sudo):
            return confirmation_sudo.state == "asked"
        return confirmation_sudo._is_link_valid()

    def _render_profile(self, confirmation_sudo, access_token, form=None, **values):
        """The page, with what the visitor had entered in ``form``."""
        partner = confirmation_sudo.partner_id
        # An answered request shows nothing of the profile: its link may have been passed on.
        is_open, is_own = self._may_answer(confirmation_sudo), self._is_own(confirmation_sudo)
        profile = confirmation_sudo.with_context(lang=request.env.lang)._get_profile() if is_open else []
        for row in profile:
            row["value"] = (form or {}).get(row["name"], row["value"])
        return request.render(
            "customer_billing.portal_profile",
            {
                "page_name": "profile",
                "confirmation": confirmation_sudo,
                "res_company": confirmation_sudo.company_id,
                "profile": profile,
                "is_open": is_open,
                "is_own": is_own,
                "may_stop": (is_open or is_own) and not partner.billing_profile_opt_out,
                "is_staff": request.env.user._is_internal(),
                "access_token": access_token,
                "confirm_url": f"/my/billing/profile/{confirmation_sudo.id}/confirm",
                "partner": partner,
                **values,
            },
        )

    @http.route("/my/billing/profile/<int:confirmation_id>", type="http", auth="public", website=True)
    def portal_profile(self, confirmation_id, access_token=None, message=None, **kw):
        try:
            confirmation_sudo = self._get_confirmation(confirmation_id, access_token)
        except (AccessError, MissingError):
            return request.redirect("/my")
        return self._render_profile(
            confirmation_sudo, access_token, message="stopped" if message == "stopped" else None
        )

    @http.route("/my/billing/profile", type="http", auth="user", website=True, methods=["GET", "POST"])
    def portal_my_profile(self, **post):
        """The profile of the reader's company, to correct it any time: what was asked or waits, else a new answer."""
        customer = request.env.user.partner_id.commercial_partner_id
        if not request.env.user._is_portal() or not request.env.user._sees_bills():
            return request.redirect("/my")
        if not customer._is_billing_customer():
            return request.redirect("/my/account")
        # sudo: customers make no requests; this one is of their own company
        model_sudo = request.env["billing.profile.confirmation"].sudo()
        if found := model_sudo._get_unfinished(customer, request.env.company):
            return request.redirect(found.access_url)
        error = values = None
        if request.httprequest.method == "POST":
            values = {key: post[key] for key in (*PROFILE_FIELDS, BANK) if key in post}
            try:
                with request.env.cr.savepoint():
                    record_sudo = model_sudo._prepare_own(customer, request.env.company, "create")
                    record_sudo._answer(values, request.env.user.name, "portal", request.httprequest.remote_addr)
                return request.redirect(record_sudo.access_url)
            except UserError as failure:
                request.env.invalidate_all(flush=False)
                error = str(failure)
        return self._render_profile(
            model_sudo._prepare_own(customer, request.env.company, "new"),
            None,
            form=values,
            confirm_url="/my/billing/profile",
            error=error,
        )

    # Core's own page of addresses

    @http.route()
    def portal_address_submit(self, partner_id=None, **form_data):
        form_data.pop("verify_address_values", None)  # core would take it from the browser, and check nothing
        return super().portal_address_submit(partner_id, **form_data)

    def _validate_address_values(self, address_values, partner_sudo, *args, **kwargs):
        """Names, countries and numbers on bills of a customer wait for approval: they are changed in the profile."""
        guarded = partner_sudo._get_guarded_values(address_values) if partner_sudo else {}
        invalid, missing, errors = super()._validate_address_values(address_values, partner_sudo, *args, **kwargs)
        if guarded:
            labels = partner_sudo.fields_get(guarded, ["string"])
            errors.append(
                request.env._(
                    "%s is on your bills: change it under “Your Details”, where we look at it first.",
                    ", ".join(labels[name]["string"] for name in guarded),
                )
            )
        return invalid | set(guarded), missing, errors

    @http.route(
        "/my/billing/profile/<int:confirmation_id>/confirm",
        type="http", auth="public", website=True, methods=["POST"],
    )  # fmt: skip
    def portal_profile_confirm(self, confirmation_id, access_token=None, who=None, **post):
        try:
            confirmation_sudo = self._get_confirmation(confirmation_id, access_token)
        except (AccessError, MissingError):
            return request.redirect("/my")
        user = request.env.user
        name = read_text(who, MAX_NAME) if user._is_public() else user.name
        if user._is_internal():  # staff note an answer on the record, as far as their rights go
            return request.redirect("/my")
        values = {key: post[key] for key in (*PROFILE_FIELDS, BANK) if key in post}
        error = None
        if not name:
            error = request.env._("Please write your name.")
        elif self._may_answer(confirmation_sudo):  # twice clicked: the first counts
            try:
                with request.env.cr.savepoint():
                    confirmation_sudo._answer(values, name, "portal", request.httprequest.remote_addr)
            except UserError as failure:
                confirmation_sudo.env.invalidate_all(flush=False)
                error = str(failure)
        if error:
            return self._render_profile(confirmation_sudo, access_token, form=values, error=error, who=who)
        return request.redirect(confirmation_sudo.get_portal_url() if access_token else confirmation_sudo.access_url)

    @http.route(
        "/my/billing/profile/<int:confirmation_id>/stop",
        type="http", auth="public", website=True, methods=["POST"],
    )  # fmt: skip
    def portal_profile_stop(self, confirmation_id, access_token=None, **kw):
        try:
            confirmation_sudo = self._get_confirmation(confirmation_id, access_token)
        except (AccessError, MissingError):
            return request.redirect("/my")
        may_stop = self._is_own(confirmation_sudo) or self._may_answer(confirmation_sudo)
        if may_stop and not request.env.user._is_internal():
            confirmation_sudo._stop(request.httprequest.remote_addr)
        url = confirmation_sudo.get_portal_url(query_string="&message=stopped") if access_token else (
            f"{confirmation_sudo.access_url}?message=stopped")  # fmt: skip
        return request.redirect(url)
