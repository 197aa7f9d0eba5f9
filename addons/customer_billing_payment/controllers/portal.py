import hashlib
import math
import re
import secrets

from werkzeug.exceptions import BadRequest, NotFound

from odoo import Command, fields, http
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.fields import Domain
from odoo.http import request
from odoo.tools import consteq

from odoo.addons.account_payment.controllers.payment import PaymentPortal
from odoo.addons.account_payment.controllers.portal import PortalAccount
from odoo.addons.customer_billing.controllers.portal_home import BillingPortalHome
from odoo.addons.payment import utils as payment_utils

from ..tools.documents import MAX_DOCUMENTS, join_ids, split_ids
from ..tools.expiry import card_expiry, is_plausible

RECEIPT = "account.action_report_payment_receipt"
MAX_AMOUNT = 1e12
NOTICES = ("granted", "revoked")
# A path of this site. Browsers drop white space in addresses and take a backslash for a slash: neither is in one.
OWN_PATH = re.compile(r"/(?!/)[^\s\\\x00-\x1f]*")
ERRORS = ("choose", "mixed")


class BillingPaymentPortal(PortalAccount, BillingPortalHome, PaymentPortal):
    """Pay bills together, top up, allow automatic payments, find receipts. Core's engine does the payment."""

    def _prepare_home_portal_values(self, counters):
        values = super()._prepare_home_portal_values(counters)
        if "billing_open_count" in counters:
            moves = request.env["account.move"]
            readable = moves.has_access("read")
            values["billing_open_count"] = moves.search_count(self._get_open_bills_domain()) if readable else 0
        if "billing_payment_count" in counters:
            # sudo: portal users have no access to payments; the domain lists their own
            values["billing_payment_count"] = request.env["account.payment"].sudo().search_count(
                self._get_shown_payments_domain(), limit=1
            )
        return values

    # Open bills

    def _get_customer(self):
        return request.env.user.partner_id.commercial_partner_id

    def _get_open_bills_domain(self):
        """The open bills of the user's company that he may read; staff see their own, as a customer would."""
        return (
            self._get_invoices_domain("out")
            & Domain("move_type", "=", "out_invoice")
            & Domain("payment_state", "in", ("not_paid", "partial", "in_payment"))
            & Domain("amount_residual", ">", 0)
            & Domain("commercial_partner_id", "=", self._get_customer().id)
        )

    @http.route("/my/billing/pay", type="http", auth="user", website=True)
    def portal_billing_pay(self, error=None, **kw):
        moves = request.env["account.move"]
        if moves.has_access("read"):
            moves = moves.search(self._get_open_bills_domain(), order="invoice_date_due, id", limit=MAX_DOCUMENTS + 1)
        has_more, moves = len(moves) > MAX_DOCUMENTS, moves[:MAX_DOCUMENTS]  # as many as an address takes
        groups = []
        for (company, currency), bills in moves.grouped(lambda move: (move.company_id, move.currency_id)).items():
            payable = bills.filtered(lambda move: move._is_billing_payable())
            dues = self._get_dues(payable)
            groups.append(
                {
                    "company": company,
                    "currency": currency,
                    "payable": payable,
                    "waiting": bills - payable,
                    "dues": dues,
                    "total": sum(amount for amount, _discount in dues.values()),
                }
            )
        return request.render(
            "customer_billing_payment.portal_pay",
            {
                **self._prepare_portal_layout_values(),
                "page_name": "billing_pay",
                "groups": groups,
                "shown_count": has_more and len(moves),
                "credits": self._get_credits(),
                "today": fields.Date.context_today(request.env.user),
                "error": error if error in ERRORS else False,
            },
        )

    @http.route("/my/billing/pay/checkout", type="http", auth="user", website=True, methods=["GET"])
    def portal_billing_checkout(self, **kw):
        """The chosen bills, as an address of their own."""
        chosen = [self._cast_as_int(text) for text in request.httprequest.args.getlist("bill")]
        documents = join_ids([number for number in chosen if number and number > 0])
        if not split_ids(documents):
            return request.redirect("/my/billing/pay?error=choose")
        moves = request.env["account.move"]
        if moves.has_access("read"):
            moves = moves.search([("id", "in", split_ids(documents))])
        if len(moves.company_id) > 1 or len(moves.currency_id) > 1:
            return request.redirect("/my/billing/pay?error=mixed")
        return request.redirect(f"/my/billing/pay/{documents}")

    def _get_dues(self, moves):
        """What pays these bills today: {id: (amount, discount for early payment in words)}."""
        # sudo: what the ledger says about bills that the visitor may see
        return {move.id: move.sudo()._get_billing_due_now() for move in moves}

    # Payment of chosen bills

    def _get_chosen_bills(self, documents, access_token=None, asked=None):
        """Return the bills of an address in sudo: with its signature, else those that the user may read.

        :param str asked: the amount of an address that asks for less than all, which is signed too
        :raises NotFound: when these are no bills that he may pay together; nothing is told about others
        """
        ids = split_ids(documents)
        moves_sudo = request.env["account.move"].sudo().browse(ids or []).exists()
        if not ids or len(moves_sudo) != len(ids):
            raise NotFound()
        if access_token:
            if not self._is_signature(access_token, moves_sudo._get_billing_payment_token(documents, asked)):
                raise NotFound()
        elif request.env.user._is_public() or not moves_sudo.sudo(False).has_access("read"):
            raise NotFound()
        if len(moves_sudo.company_id) != 1 or len(moves_sudo.currency_id) != 1:
            raise NotFound()
        if len(moves_sudo.commercial_partner_id) != 1:
            raise NotFound()
        return moves_sudo.sorted(self._get_bill_order)

    @staticmethod
    def _get_bill_order(move):
        """The oldest first."""
        return move.invoice_date_due or move.invoice_date or move.create_date.date(), move.id

    @staticmethod
    def _cast_amount(value):
        """Return an amount that a browser has sent, or None where it is no number or none that money can be."""
        amount = PaymentPortal._cast_as_float(value)
        return amount if amount is not None and math.isfinite(amount) and abs(amount) < MAX_AMOUNT else None

    def _get_payer(self, moves_sudo):
        """Who pays: the user, or the customer for a link without login, as core does."""
        return moves_sudo[0].partner_id if request.env.user._is_public() else request.env.user.partner_id

    def _check_amount(self, moves_sudo, amount, starts=False, is_asked=False):
        """Return the amount to pay: all that is open, less discounts for early payment, or a part where the company
        allows it or has asked for less.

        :param float amount: what the customer wants to pay; None for all
        :param bool starts: as of ``_check_payable``
        :param bool is_asked: it was the company that named the amount
        :raises ValidationError: when the bills cannot be paid now, or not this amount
        """
        self._check_payable(moves_sudo, starts)
        currency, total = moves_sudo.currency_id, sum(move._get_billing_due_now()[0] for move in moves_sudo)
        if amount is None or not currency.compare_amounts(amount, total):
            return currency.round(total)
        partial = is_asked or moves_sudo.company_id.billing_partial_payment
        if partial and currency.compare_amounts(amount, 0) > 0 and currency.compare_amounts(amount, total) < 0:
            return currency.round(amount)
        raise ValidationError(
            request.env._("Choose an amount above zero and up to %s.", currency.format(total))
            if partial
            else request.env._("The open amount is %s and can be paid as a whole only.", currency.format(total))
        )

    def _check_payable(self, moves_sudo, starts=False):
        """Raise when one of these bills cannot be paid now.

        :param bool starts: a transaction is started then: one at a time, so that a second click sees the first
        """
        if starts:
            moves_sudo._mark_changed()
        for move in moves_sudo:
            if not move._has_to_be_paid():
                raise ValidationError(
                    request.env._(
                        "%(bill)s cannot be paid now: %(reason)s",
                        bill=move.name,
                        reason=move._get_online_payment_error(),
                    )
                )

    # Core's routes believe the amount of the browser, and take saved methods without a login

    @http.route()
    def invoice_transaction(self, invoice_id, access_token, **kwargs):
        access_token = access_token if str(access_token).isascii() else None  # core compares nothing else
        try:
            self._document_check_access("account.move", invoice_id, access_token)
        except AccessError:
            raise ValidationError(request.env._("The access token is invalid.")) from None
        self._check_core_terms(request.env["account.move"].sudo().browse(invoice_id), kwargs)  # access was checked
        return super().invoice_transaction(invoice_id, access_token, **kwargs)

    @http.route()
    def overdue_invoices_transaction(self, payment_reference, **kwargs):
        if not request.env.user._is_public():
            moves = request.env["account.move"].search(self._get_overdue_invoices_domain())
            self._check_core_terms(moves.sudo(), kwargs)  # sudo: transactions decide whether they can be paid
        return super().overdue_invoices_transaction(payment_reference, **kwargs)

    def _check_core_terms(self, moves_sudo, kwargs):
        """Raise when bills cannot be paid now, not this amount, or not in this way.

        Where the company allows no partial payments, less than all is what core itself offers: instalments, the
        discount for early payment, and a link for an amount that staff made.
        """
        self._check_payable(moves_sudo, starts=True)
        amount, total = self._cast_amount(kwargs.get("amount")), sum(moves_sudo.mapped("amount_residual"))
        currency = moves_sudo.currency_id[:1]
        if amount is None or currency.compare_amounts(amount, 0) <= 0 or currency.compare_amounts(amount, total) > 0:
            raise ValidationError(
                request.env._("Choose an amount above zero and up to %s.", currency.format(total))
            )
        if not moves_sudo.company_id[:1].billing_partial_payment and all(
            currency.compare_amounts(amount, offered) for offered in self._get_offered_amounts(moves_sudo, amount)
        ):
            raise ValidationError(
                request.env._("The open amount is %s and can be paid as a whole only.", currency.format(total))
            )
        if not OWN_PATH.fullmatch(str(kwargs.get("landing_route") or "/")):
            raise ValidationError(request.env._("The address to come back to is not one of this site."))
        kwargs.pop("is_validation", None)  # a bill is paid, by the amount that was checked
        self._check_method(kwargs)

    def _get_offered_amounts(self, moves_sudo, amount):
        """The amounts that core's pages offer for these bills; ``amount`` too where staff made a link for it."""
        offered = [sum(moves_sudo.mapped("amount_residual"))]
        if len(moves_sudo) == 1:
            values = moves_sudo._get_invoice_next_payment_values()
            offered += [values["next_amount_to_pay"], values["amount_due"]]
            if self._is_signature(request.httprequest.args.get("link"), self._sign_link(moves_sudo, amount)):
                offered.append(amount)
        return offered

    def _sign_link(self, move, amount):
        """The signature that lets core's route take the amount of a payment link."""
        return self._sign("billing_link", move.partner_id, move.id, amount, move.currency_id)

    def _invoice_get_page_view_values(self, invoice, access_token, payment=False, amount=None, **kwargs):
        """As core, which has checked the link that ``amount`` comes from: the transaction route is told so."""
        values = super()._invoice_get_page_view_values(invoice, access_token, payment=payment, amount=amount, **kwargs)
        if amount and (figure := self._cast_amount(amount)) and "transaction_route" in values:
            values["transaction_route"] += f"?link={self._sign_link(invoice, figure)}"
        return values

    def _overdue_invoices_get_page_view_values(self, overdue_invoices, **kwargs):
        """As core, but what is paid of these bills already is not asked for again."""
        values = super()._overdue_invoices_get_page_view_values(overdue_invoices, **kwargs)
        if "payment" in values:
            values["amount"] = values["payment"]["amount"] = sum(overdue_invoices.mapped("amount_residual"))
        return values

    def _check_method(self, kwargs):
        """Raise when a saved method is used without a login: a link to a bill is not its owner. Nor is one saved."""
        if kwargs.get("flow") not in ("redirect", "direct", "token"):
            raise ValidationError(
                request.env._("This payment method cannot be used here. Choose one of those shown.")
            )
        if not request.env.user._is_public():
            return
        if kwargs["flow"] == "token" or kwargs.get("token_id"):
            raise ValidationError(request.env._("Please log in to pay with a saved payment method."))
        kwargs["tokenization_requested"] = False  # it would be saved for the customer

    def _get_common_page_view_values(self, *args, **kwargs):
        """As core, but who is not logged in is shown no saved methods."""
        values = super()._get_common_page_view_values(*args, **kwargs)
        if request.env.user._is_public():
            values["tokens_sudo"] = values["tokens_sudo"].browse()
        return values

    def _sign(self, kind, partner, reference, amount, currency):
        """The signature that binds a transaction to what the page has shown; the amount to the currency's digits."""
        figure = f"{currency.round(amount):.{currency.decimal_places}f}"
        # no text signed for a link begins like this: who has one cannot pass it off as the other
        return payment_utils.generate_access_token("billing_page", kind, partner.id, reference, figure, currency.id)

    @staticmethod
    def _is_signature(given, signature):
        """Whether what a browser has sent, of whatever kind, is this signature."""
        return consteq(str(given or "").encode(errors="replace"), signature.encode())

    @http.route("/my/billing/pay/<string:documents>", type="http", auth="public", website=True, sitemap=False)
    def portal_billing_pay_bills(self, documents, access_token=None, amount=None, **kw):
        asked = self._get_asked_figure(documents, access_token, amount)
        moves_sudo = self._get_chosen_bills(documents, access_token, asked)
        if open_sudo := moves_sudo.filtered(lambda move: not move.currency_id.is_zero(move.amount_residual)):
            moves_sudo = open_sudo  # some of them were paid since the link was sent
        documents = join_ids(moves_sudo.ids)
        payer, company, currency = self._get_payer(moves_sudo), moves_sudo.company_id, moves_sudo.currency_id
        dues = self._get_dues(moves_sudo)
        total = sum(amount for amount, _discount in dues.values())
        wanted = self._cast_amount(amount) or 0.0 if amount else None
        if asked:
            wanted = min(wanted, total)
        kind = "billing_pay_asked" if asked else "billing_pay"
        values = {
            **self._prepare_portal_layout_values(),
            "page_name": "billing_pay_bills",
            "bills": moves_sudo,
            "dues": dues,
            "total": total,
            "documents": documents,
            "link_token": access_token and moves_sudo._get_billing_payment_token(documents),
            "res_company": company,
            "partial_allowed": company.billing_partial_payment,
            "problem": False,
        }
        try:
            to_pay = self._check_amount(moves_sudo, wanted, is_asked=bool(asked))
        except ValidationError as error:
            values.update(problem=str(error), currency=currency, amount=total)
            return request.render("customer_billing_payment.portal_pay_bills", values)
        values.update(
            self._get_common_page_view_values(
                invoices_data={
                    "partner": payer,
                    "company": company,
                    "total_amount": to_pay,
                    "currency": currency,
                    "transaction_route": f"/my/billing/pay/{documents}/transaction",
                    "landing_route": "/my/billing/receipt",
                },
                access_token=self._sign(kind, payer, documents, to_pay, currency),
            ),
            amount=to_pay,
            is_asked=asked and currency.compare_amounts(to_pay, total) < 0,
        )
        return request.render("customer_billing_payment.portal_pay_bills", values)

    def _get_asked_figure(self, documents, access_token, amount):
        """The amount of an address as it was signed, None where the visitor has written it himself."""
        ids = split_ids(documents)
        moves_sudo = request.env["account.move"].sudo().browse(ids or [])
        is_signed = amount and self._is_signature(
            access_token, moves_sudo._get_billing_payment_token(documents, amount)
        )
        return amount if is_signed else None

    @http.route("/my/billing/pay/<string:documents>/transaction", type="jsonrpc", auth="public")
    def billing_transaction(self, documents, access_token, amount, **kwargs):
        """Create the transaction that pays bills, all of whose terms are computed again.

        :param str documents: the ids of the bills, as in the address
        :param str access_token: the signature of the page for payer, bills, amount and currency
        :param float amount: the amount that the page has shown
        :param dict kwargs: what core's payment form sends
        :return: the values that core's payment form goes on with
        :raises ValidationError: when the signature is not that of these terms, or these terms hold no more
        """
        ids = split_ids(documents)
        moves_sudo = request.env["account.move"].sudo().browse(ids or []).exists()
        if not ids or len(moves_sudo) != len(ids):
            raise ValidationError(request.env._("The access token is invalid."))
        payer, currency, amount = self._get_payer(moves_sudo), moves_sudo.currency_id[:1], self._cast_amount(amount)
        is_asked = amount is not None and self._is_signature(
            access_token, self._sign("billing_pay_asked", payer, documents, amount, currency)
        )
        if not is_asked:
            self._check_signature(access_token, "billing_pay", payer, documents, amount, currency)
        moves_sudo = moves_sudo.sorted(self._get_bill_order)
        amount = self._check_amount(moves_sudo, amount, starts=True, is_asked=is_asked)
        reference = (
            moves_sudo.name
            if len(moves_sudo) == 1
            else moves_sudo.company_id.get_next_batch_payment_communication()
        )
        return self._start_transaction(
            moves_sudo.company_id, payer, amount, currency, reference,
            {"invoice_ids": [Command.set(moves_sudo.ids)]}, kwargs,
        )  # fmt: skip

    def _check_signature(self, access_token, kind, payer, reference, amount, currency):
        if amount is None or not self._is_signature(
            access_token, self._sign(kind, payer, reference, amount, currency)
        ):
            raise ValidationError(request.env._("The access token is invalid."))

    def _start_transaction(self, company, payer, amount, currency, reference, custom_values, kwargs):
        """Create a transaction by core's method, with a provider that is offered for these terms; its landing page is
        the receipt."""
        self._validate_transaction_kwargs(kwargs, additional_allowed_keys=("payment_reference", "reference_prefix"))
        for name in ("payment_reference", "reference_prefix", "landing_route", "is_validation", "csrf_token"):
            kwargs.pop(name, None)
        # sudo: as core, providers and tokens are checked here and shown by what the payer may use
        providers_sudo = request.env["payment.provider"].sudo()._get_compatible_providers(
            company.id, payer.id, amount, currency_id=currency.id
        )
        self._check_method(kwargs)
        token_sudo = request.env["payment.token"].sudo()
        if kwargs.get("flow") == "token":
            token_sudo = token_sudo.browse(self._cast_as_int(kwargs.get("token_id"))).exists()
        provider_id = token_sudo.provider_id.id or kwargs.get("provider_id")
        if provider_id not in providers_sudo.ids or kwargs.get("flow") == "token" and not token_sudo:
            raise ValidationError(request.env._("This payment method cannot be used here. Choose one of those shown."))
        kwargs["provider_id"] = provider_id
        tx_sudo = self._create_transaction(
            amount=amount,
            currency_id=currency.id,
            partner_id=payer.id,
            reference_prefix=reference,
            landing_route="/my/billing/receipt",
            custom_create_values=custom_values,
            **kwargs,
        )
        token = payment_utils.generate_access_token("billing_receipt", tx_sudo.id)
        tx_sudo.landing_route = f"/my/billing/receipt/{tx_sudo.id}?access_token={token}"
        return tx_sudo._get_processing_values()

    # Receipts

    def _get_receipt_transaction(self, tx_id, access_token):
        tx_sudo = request.env["payment.transaction"].sudo().browse(tx_id).exists()  # sudo: signed address
        signature = payment_utils.generate_access_token("billing_receipt", tx_id)
        if not tx_sudo or not self._is_signature(access_token, signature):
            raise NotFound()
        return tx_sudo

    @http.route("/my/billing/receipt/<int:tx_id>", type="http", auth="public", website=True, sitemap=False)
    def portal_billing_receipt(self, tx_id, access_token=None, report_type=None, **kw):
        """What became of a payment, and which bills it has settled."""
        tx_sudo = self._get_receipt_transaction(tx_id, access_token)
        payment = tx_sudo.payment_id
        if report_type == "pdf" and payment:
            return self._show_report(payment, "pdf", RECEIPT, download=True)
        return request.render(
            "customer_billing_payment.portal_receipt",
            {
                **self._prepare_portal_layout_values(),
                "page_name": "billing_receipt",
                "tx": tx_sudo,
                "payment": payment,
                "entry": self._get_payment_entry(payment) if payment else False,
                "res_company": tx_sudo.company_id,
                "access_token": access_token,
            },
        )

    def _get_payment_entry(self, payment_sudo):
        """A payment with what it settles: dict (payment, bills: list of (bill, amount), rest)."""
        line = payment_sudo.move_id.line_ids.filtered(
            lambda line: line.account_id.account_type == "asset_receivable" and line.credit
        )
        bills = [
            (match.debit_move_id.move_id, match.credit_amount_currency) for match in line.matched_debit_ids.sorted("id")
        ]
        rest = -sum(line.mapped("amount_residual_currency")) if line else 0.0
        return {"payment": payment_sudo, "bills": bills, "rest": payment_sudo.currency_id.round(rest)}

    @http.route()
    def portal_my_payments(self, **kw):
        """The page of the base, with credits, prepaid balances and receipts."""
        response = super().portal_my_payments(**kw)
        payments_sudo = response.qcontext["payments"]
        prepaid = self._get_prepaid()
        balances = [company for company, _balance in prepaid]
        response.qcontext.update(
            {
                "rests": self._get_rests(payments_sudo),
                "credits": [credit for credit in self._get_credits() if credit[0] not in balances],
                "prepaid": prepaid,
            }
        )
        return response

    def _get_rests(self, payments_sudo):
        """What is left of payments: {payment id: amount in its currency}."""
        rests = dict(
            payments_sudo.env["account.move.line"]._read_group(
                [
                    ("move_id", "in", payments_sudo.move_id.ids),
                    ("account_id.account_type", "=", "asset_receivable"),
                    ("amount_residual_currency", "<", 0),
                ],
                ["move_id"],
                ["amount_residual_currency:sum"],
            )
        )
        return {payment.id: -rests.get(payment.move_id, 0.0) for payment in payments_sudo}

    @http.route("/my/payments/<int:payment_id>/receipt", type="http", auth="user", website=True)
    def portal_billing_payment_receipt(self, payment_id, **kw):
        # sudo: portal users have no access to payments; the domain lists their own
        payment_sudo = request.env["account.payment"].sudo().search(
            Domain(self._get_shown_payments_domain()) & Domain("id", "=", payment_id)
        )
        if not payment_sudo:
            raise NotFound()
        return self._show_report(payment_sudo, "pdf", RECEIPT, download=True)

    def _get_credits(self):
        """The customer's unallocated credits: list of (company, currency, amount)."""
        if not request.env.user._sees_bills():
            return []
        customer, found = self._get_customer(), []
        for company in request.env.user.company_ids:
            for currency, (amount, _amount) in customer._get_billing_credits(company).get(customer.id, {}).items():
                found.append((company, currency, amount))
        return found

    # Prepaid balances

    def _get_prepaid(self):
        """The companies with which the customer has a prepaid balance: list of (company, balance)."""
        if not request.env.user._sees_bills():
            return []
        customer, found = self._get_customer().sudo(), []  # sudo: a setting of the customer himself
        for company in request.env.user.company_ids:
            if customer.with_company(company).billing_prepaid:
                sums = customer._get_billing_credits(company).get(customer.id, {})
                found.append((company, sum(amount for _amount, amount in sums.values())))
        return found

    @http.route(
        ["/my/billing/topup", "/my/billing/topup/<int:company_id>"], type="http", auth="user", website=True
    )
    def portal_billing_topup(self, company_id=None, amount=None, **kw):
        prepaid = {company.id: (company.sudo(), balance) for company, balance in self._get_prepaid()}
        if not prepaid:
            raise NotFound()
        if company_id and company_id not in prepaid:
            raise NotFound()
        company, balance = prepaid[company_id or next(iter(prepaid))]
        payer, currency = request.env.user.partner_id, company.currency_id
        values = {
            **self._prepare_portal_layout_values(),
            "page_name": "billing_topup",
            "companies": [entry[0] for entry in prepaid.values()],
            "company": company,
            "res_company": company,
            "balance": balance,
            "currency": currency,
            "problem": False,
            "amount": 0.0,
        }
        wanted = self._cast_amount(amount) or 0.0
        if amount and currency.compare_amounts(wanted, 0) <= 0:
            values["problem"] = request.env._("Enter an amount above zero.")
        elif amount:
            wanted = currency.round(wanted)
            key = secrets.token_hex(8)  # of this page: sent twice it is one top-up
            values.update(
                self._get_common_page_view_values(
                    invoices_data={
                        "partner": payer,
                        "company": company,
                        "total_amount": wanted,
                        "currency": currency,
                        "transaction_route": f"/my/billing/topup/{company.id}/{key}/transaction",
                        "landing_route": "/my/billing/receipt",
                    },
                    access_token=self._sign("billing_topup", payer, f"{company.id}-{key}", wanted, currency),
                ),
                amount=wanted,
            )
        return request.render("customer_billing_payment.portal_topup", values)

    @http.route("/my/billing/topup/<int:company_id>/<string:key>/transaction", type="jsonrpc", auth="user")
    def billing_topup_transaction(self, company_id, key, access_token, amount, **kwargs):
        """Create the transaction of a prepayment: a payment without bill, which becomes a credit of the customer.

        :param str key: of the page; a saved method is charged once for it
        :raises ValidationError: when the signature is not that of these terms, or the customer has no prepaid balance
        """
        company = next((company.sudo() for company, _b in self._get_prepaid() if company.id == company_id), None)
        if not company:
            raise ValidationError(request.env._("The access token is invalid."))
        payer, currency, amount = request.env.user.partner_id, company.currency_id, self._cast_amount(amount)
        self._check_signature(access_token, "billing_topup", payer, f"{company.id}-{key}", amount, currency)
        if currency.compare_amounts(amount, 0) <= 0:
            raise ValidationError(request.env._("Enter an amount above zero."))
        # sudo: the payer's own; any that is not refused counts, whichever way it went
        done_sudo = request.env["payment.transaction"].sudo().search_count(
            [("billing_topup_key", "=", key), ("state", "in", ("pending", "authorized", "done"))], limit=1
        )
        if done_sudo:
            raise ValidationError(
                request.env._("This top-up was sent already: look at your payments before you try again.")
            )
        reference = payment_utils.singularize_reference_prefix(prefix="PREPAID")
        custom_values = {"billing_is_topup": True, "billing_topup_key": key}
        return self._start_transaction(
            company, payer, currency.round(amount), currency, reference, custom_values, kwargs
        )

    # Automatic payment

    def _get_own_tokens(self):
        if not request.env.user._sees_bills():
            raise NotFound()
        partner = request.env.user.partner_id
        # sudo: those of the user's company too, which the rules of core leave out
        return request.env["payment.token"].sudo().search(
            [("partner_id", "in", (partner | partner.commercial_partner_id).ids)]
        )

    def _get_own_contracts(self):
        contracts = request.env["billing.contract"]
        if not contracts.has_access("read"):
            return contracts
        return contracts.search(
            [
                ("state", "in", ("active", "paused")),
                ("invoice_partner_id.commercial_partner_id", "=", self._get_customer().id),
                ("plan_id.invoice_policy", "=", "charge"),
            ]
        )

    def _get_consents(self, tokens_sudo):
        """What the customer agrees to, by company of the tokens: list of (company, text, digest)."""
        consents = []
        for company_sudo in tokens_sudo.company_id:
            text = company_sudo._get_billing_mandate_text()
            consents.append((company_sudo, text, hashlib.sha256(text.encode()).hexdigest()))
        return consents

    def _render_automatic(self, problem=False, notice=False):
        tokens_sudo = self._get_own_tokens()
        mandates = request.env["billing.payment.mandate"]
        if mandates.has_access("read"):
            mandates = mandates.search([("partner_id", "=", self._get_customer().id)], order="state, id desc", limit=20)
        return request.render(
            "customer_billing_payment.portal_automatic",
            {
                **self._prepare_portal_layout_values(),
                "page_name": "billing_automatic",
                "tokens": tokens_sudo,
                # sudo: a mandate of the customer's company names the method of a colleague
                "mandates": mandates.sudo(),
                "contracts": self._get_own_contracts(),
                "consents": self._get_consents(tokens_sudo),
                "problem": problem,
                "notice": notice if notice in NOTICES else False,
            },
        )

    @http.route("/my/billing/automatic", type="http", auth="user", website=True)
    def portal_billing_automatic(self, notice=None, **kw):
        return self._render_automatic(notice=notice)

    @http.route("/my/billing/automatic/grant", type="http", auth="user", website=True, methods=["POST"])
    def portal_billing_grant(self, token_id=None, contract_id=None, consent=None, digest=None, expiry=None, **kw):
        """Keep the customer's consent, in the words that he has seen."""
        token_sudo = self._get_own_tokens().filtered(lambda token: token.id == self._cast_as_int(token_id))
        if not token_sudo:
            return self._render_automatic(problem=request.env._("Choose a payment method."))
        [(_company, text, expected)] = self._get_consents(token_sudo)
        if consent != "1":
            return self._render_automatic(problem=request.env._("Tick the box to allow automatic payments."))
        if expected not in (digest or "").split(","):  # one for each company
            return self._render_automatic(problem=request.env._("The text has changed. Please read it again."))
        contracts = self._get_own_contracts()
        if contract_id:
            contracts = contracts.filtered(lambda contract: contract.id == self._cast_as_int(contract_id))
            if not contracts:
                raise BadRequest()
        else:
            contracts = contracts.browse()
        expiry_date = card_expiry(expiry) or False
        if expiry and not (expiry_date and is_plausible(expiry_date, token_sudo.company_id._get_billing_today())):
            return self._render_automatic(
                problem=request.env._("Enter the month until which the card is valid, for instance 06/31.")
            )
        try:
            request.env["billing.payment.mandate"]._grant(
                token_sudo.sudo(False), text, contracts, expiry_date, request.httprequest.remote_addr
            )
        except (AccessError, UserError) as error:
            return self._render_automatic(problem=str(error))
        return request.redirect("/my/billing/automatic?notice=granted")

    @http.route(
        "/my/billing/automatic/<int:mandate_id>/revoke", type="http", auth="user", website=True, methods=["POST"]
    )
    def portal_billing_revoke(self, mandate_id, **kw):
        mandate = request.env["billing.payment.mandate"].search(
            [("id", "=", mandate_id), ("partner_id", "=", self._get_customer().id)]
        )
        if not mandate:
            raise NotFound()
        mandate._revoke()
        return request.redirect("/my/billing/automatic?notice=revoked")
