import json
from datetime import timedelta
from unittest.mock import patch
from urllib.parse import parse_qs, urlparse

from lxml import html
from psycopg2 import IntegrityError

from odoo import Command
from odoo.http import Request
from odoo.tests import JsonRpcException, tagged
from odoo.tools import mute_logger

from odoo.addons.customer_billing.tests.test_portal_home import ROOM, clone_bills
from odoo.addons.customer_billing.tests.test_routes import routes_of
from odoo.addons.payment.tests.http_common import PaymentHttpCommon

from ..tools.documents import join_ids
from .common import PaymentBillingCommon


class PortalCommon(PaymentBillingCommon, PaymentHttpCommon):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        (cls.customer | cls.other_customer).lang = "en_US"
        cls.newer = cls.open_bill(80, days=10)
        cls.older = cls.open_bill(100, days=-10)
        cls.bills = cls.newer | cls.older
        cls.foreign = cls.open_bill(55, partner=cls.other_customer)
        cls.documents = join_ids(cls.bills.ids)

    def get(self, path, user="pay_one", status=200, **kwargs):
        if user:
            self.authenticate(user, user)
        else:
            self.authenticate(None, None)
        response = self.url_open(path, **kwargs)
        self.assertEqual(response.status_code, status, response.text[:300])
        return response

    def context_of(self, response):
        """What the payment form on the page goes on with."""
        context = self._get_payment_context(response)
        return {
            "provider_id": self.provider.id,
            "payment_method_id": self.payment_method_id,
            "token_id": None,
            "flow": "direct",
            "tokenization_requested": False,
            "payment_reference": False,
            **{name: context[name] for name in ("amount", "access_token", "landing_route")},
        }, context["transaction_route"]

    def send(self, route, values):
        return self._get_tx(self.make_jsonrpc_request(route, values)["reference"])

    def finish(self, tx):
        """The provider confirms, and the customer's browser comes back."""
        tx._set_done()
        tx._post_process()
        return self.url_open(tx.landing_route)

    @mute_logger("odoo.http")
    def assert_refused(self, route, values):
        before = self.env["payment.transaction"].search_count([])
        with self.assertRaises(JsonRpcException):
            self.make_jsonrpc_request(route, values)
        self.assertEqual(self.env["payment.transaction"].search_count([]), before)


@tagged("post_install", "-at_install")
class TestPay(PortalCommon):
    def test_the_open_bills_with_their_total(self):
        page = html.fromstring(self.get("/my/billing/pay").content)
        boxes = page.xpath("//input[@name='bill']/@value")
        self.assertEqual(boxes, [str(self.older.id), str(self.newer.id)])
        self.assertIn("180.00", page.xpath("string(//*[contains(@class, 'o_billing_total')])"))

    def test_invariant_16_technical_contacts_pay_nothing(self):
        contact = self.env["res.partner"].create(
            {"name": "Technician", "parent_id": self.customer.id, "billing_role_technical": True}
        )
        technician = self.new_portal(contact, "pay_technician")
        self.pay_in(33.44)
        self.customer.billing_prepaid = True
        mandate = self.mandate()
        self.assertFalse(mandate.with_user(technician).has_access("read"))
        page = self.get("/my/billing/pay", "pay_technician").text
        for text in (self.older.name, "33.44"):
            self.assertNotIn(text, page)
        self.assertNotIn("33.44", self.get("/my/payments", "pay_technician").text)
        for path in (f"/my/billing/pay/{self.documents}", "/my/billing/topup", "/my/billing/automatic"):
            self.get(path, "pay_technician", status=404)
        self.authenticate("pay_technician", "pay_technician")
        self.assertEqual(
            self.make_jsonrpc_request("/my/counters", {"counters": ["billing_open_count", "billing_payment_count"]}),
            {"billing_open_count": 0, "billing_payment_count": 0},
        )
        contact.billing_role_billing = True
        self.assertIn(self.older.name, self.get("/my/billing/pay", "pay_technician").text)
        self.get("/my/billing/topup", "pay_technician")

    def test_pay_all_in_one_payment(self):
        page = self.get(f"/my/billing/pay/checkout?bill={self.newer.id}&bill={self.older.id}")
        values, route = self.context_of(page)
        self.assertEqual(values["amount"], 180)
        tx = self.send(route, values)
        self.assertEqual((tx.amount, tx.currency_id, tx.invoice_ids), (180, self.currency, self.bills))
        self.assertEqual(tx.partner_id, self.user_one.partner_id)
        receipt = self.finish(tx)
        self.assertEqual(self.bills.mapped("amount_residual"), [0, 0])
        self.assertEqual(len(tx.payment_id), 1)
        for move in self.bills:
            self.assertIn(move.name, receipt.text)
        desk = self.new_billing_contact(self.customer)
        with self.in_job():
            self.env["payment.transaction"].sudo()._cron_billing_receipts()
            self.env["payment.transaction"].sudo()._cron_billing_receipts()
        mail = self.env["mail.mail"].search([("model", "=", "account.payment"), ("res_id", "=", tx.payment_id.id)])
        self.assertEqual((len(mail), len(mail.attachment_ids)), (1, 1))
        self.assertEqual((mail.recipient_ids, mail.email_to), (desk, False))

    def test_a_receipt_that_fails_stops_no_other(self):
        paid = []
        for move in (self.older, self.newer):
            values, route = self.context_of(self.get(f"/my/billing/pay/{move.id}"))
            paid.append(self.send(route, values))
            self.finish(paid[-1])
        (paid[0] | paid[1]).billing_receipt_due = True
        model = self.registry["mail.template"]
        original, sent = model.send_mail, []

        def send(template, res_id, **kwargs):
            if res_id == paid[0].payment_id.id:
                raise ValueError("no paper")
            sent.append(res_id)
            return original(template, res_id, **kwargs)

        self.patch(model, "send_mail", send)
        with self.in_job(), mute_logger("odoo.addons.customer_billing_payment.models.payment_transaction"):
            self.env["payment.transaction"].sudo()._cron_billing_receipts()
        self.assertEqual(sent, paid[1].payment_id.ids)
        self.assertIn("no paper", paid[0].payment_id.message_ids[0].body)
        self.assertFalse((paid[0] | paid[1]).filtered("billing_receipt_due"))

    def test_pay_one_of_them(self):
        values, route = self.context_of(self.get(f"/my/billing/pay/checkout?bill={self.newer.id}"))
        tx = self.send(route, values)
        self.finish(tx)
        self.assertEqual((self.newer.amount_residual, self.older.amount_residual), (0, 100))
        self.assertTrue(tx.reference.startswith(self.newer.name))

    def test_pay_with_a_saved_method(self):
        values, route = self.context_of(self.get(f"/my/billing/pay/{self.documents}"))
        values.update(flow="token", token_id=self.token.id)
        tx = self.send(route, values)
        self.assertEqual((tx.state, tx.token_id, len(self.requests)), ("done", self.token, 1))
        stranger = self.new_token(self.other_customer)
        tx.state = "cancel"
        self.assert_refused(route, {**values, "token_id": stranger.id})

    def test_two_tabs_pay_once(self):
        values, route = self.context_of(self.get(f"/my/billing/pay/{self.documents}"))
        values.update(flow="token", token_id=self.token.id)
        self.send(route, values)
        self.assert_refused(route, values)  # confirmed and not booked yet
        self.assertIn("just being booked", self.get(f"/my/billing/pay/{self.documents}").text)
        self.assertEqual(len(self.requests), 1)

    def test_requests_at_the_same_moment_collide_in_the_database(self):
        """What a request that pays has seen must not be what another one has changed."""
        def version():
            self.env.cr.execute("SELECT ctid::text FROM account_move WHERE id = %s", [self.newer.id])
            return self.env.cr.fetchone()

        values, route = self.context_of(self.get(f"/my/billing/pay/{self.newer.id}"))
        before = version()
        self.send(route, values)
        own = version()
        self.assertNotEqual(own, before)
        core = {
            **values, "amount": 80, "access_token": self.newer._portal_ensure_token(), "landing_route": "/my/invoices",
        }  # fmt: skip
        core.pop("payment_reference")
        self.send(f"/invoice/transaction/{self.newer.id}", core)
        self.assertNotEqual(version(), own)

    def test_the_provider_confirms_twice(self):
        values, route = self.context_of(self.get(f"/my/billing/pay/{self.documents}"))
        tx = self.send(route, values)
        self.finish(tx)
        payments = self.env["account.payment"].search_count([])
        self.finish(tx)
        tx._set_error("late and wrong")
        tx._post_process()
        self.assertEqual((tx.state, self.env["account.payment"].search_count([])), ("done", payments))
        self.assertEqual(self.bills.mapped("amount_residual"), [0, 0])

    def test_a_receipt_lists_all_bills_and_comes_for_one_too(self):
        for documents, moves in ((self.documents, self.bills), (str(self.open_bill(7).id), None)):
            values, route = self.context_of(self.get(f"/my/billing/pay/{documents}"))
            tx = self.send(route, values)
            self.finish(tx)
            report = self.env["ir.actions.report"]
            page = report._render_qweb_html("account.action_report_payment_receipt", tx.payment_id.ids)[0].decode()
            self.assertTrue(tx.billing_receipt_due)
            for move in moves or tx.invoice_ids:
                self.assertIn(move.name, page)

    def test_the_signature_of_one_page_is_not_that_of_another(self):
        self.customer.billing_prepaid = True
        values, route = self.context_of(self.get(f"/my/billing/pay/{self.newer.id}"))
        topup, topup_route = self.context_of(self.get("/my/billing/topup?amount=80"))
        self.assertEqual(values["amount"], topup["amount"])
        self.assert_refused(route, {**values, "access_token": topup["access_token"]})
        self.assert_refused(topup_route, {**topup, "access_token": values["access_token"]})
        token = self.newer._portal_ensure_token()
        self.get(f"/my/billing/pay/{self.newer.id}?access_token={token}", user=None, status=404)
        self.assert_refused(route, {**values, "access_token": token})

    def test_top_up_amounts_that_were_tampered_with(self):
        self.customer.billing_prepaid = True
        values, route = self.context_of(self.get("/my/billing/topup?amount=80"))
        for amount in (-80, 0, 79, 1e15, "nan", "inf", None, [], {}):
            with self.subTest(amount=amount):
                self.assert_refused(route, {**values, "amount": amount})
        euro = self.setup_other_currency("EUR")
        self.assert_refused(route, {**values, "currency_id": euro.id})

    def test_very_many_open_bills_are_paid_from_the_oldest_on(self):
        module = "odoo.addons.customer_billing_payment"
        self.startPatcher(patch(f"{module}.controllers.portal.MAX_DOCUMENTS", 1))
        self.startPatcher(patch(f"{module}.models.account_move.MAX_DOCUMENTS", 1))
        page = html.fromstring(self.get("/my/billing/pay").content)
        self.assertEqual(page.xpath("//input[@name='bill']/@value"), [str(self.older.id)])
        self.assertIn("100.00", page.xpath("string(//*[contains(@class, 'o_billing_total')])"))
        self.assertIn(f"/my/billing/pay/{self.older.id}?", self.bills._get_payment_url())

    def test_nothing_chosen(self):
        page = self.get("/my/billing/pay/checkout")
        self.assertIn("Choose at least one bill", page.text)

    def test_a_part_settles_the_oldest_first(self):
        self.company.billing_partial_payment = True
        values, route = self.context_of(self.get(f"/my/billing/pay/{self.documents}?amount=120"))
        self.assertEqual(values["amount"], 120)
        tx = self.send(route, values)
        self.finish(tx)
        self.assertEqual((self.older.amount_residual, self.newer.amount_residual), (0, 60))

    def test_a_part_where_the_company_wants_all(self):
        page = self.get(f"/my/billing/pay/{self.documents}?amount=120")
        self.assertIn("can be paid as a whole only", page.text)
        self.assertNotIn("o_payment_form", page.text)

    def test_amounts_that_are_none(self):
        self.company.billing_partial_payment = True
        for amount in ("0", "-5", "180.01", "nan", "inf", "1e99", "abc"):
            with self.subTest(amount=amount):
                page = self.get(f"/my/billing/pay/{self.documents}?amount={amount}")
                self.assertNotIn('id="o_payment_form"', page.text)

    def test_a_bill_that_is_being_paid_waits(self):
        self.newer._set_billing_charge("processing")
        page = html.fromstring(self.get("/my/billing/pay").content)
        self.assertEqual(page.xpath("//input[@name='bill']/@value"), [str(self.older.id)])
        self.assertIn("Payment on its way", page.text_content())

    def test_bills_of_several_currencies_are_apart(self):
        euro = self.setup_other_currency("EUR")
        foreign = self.open_bill(10, currency=euro)
        page = html.fromstring(self.get("/my/billing/pay").content)
        forms = page.xpath("//form[contains(@class, 'o_billing_selection')]")
        boxes = sorted(len(form.xpath(".//input[@name='bill']")) for form in forms)
        self.assertEqual(boxes, [1, 2])
        self.get(f"/my/billing/pay/{join_ids([self.newer.id, foreign.id])}", status=404)
        page = self.get(f"/my/billing/pay/checkout?bill={self.newer.id}&bill={foreign.id}")
        self.assertIn("are paid separately", page.text)
        self.assertEqual((self.newer | foreign)._get_payment_url(), self.newer._get_billing_url())

    def test_bills_of_several_companies_are_apart(self):
        other = self.setup_other_company()["company"]
        theirs = self.env["account.move"].with_company(other).create(
            {
                "move_type": "out_invoice", "partner_id": self.customer.id, "invoice_date": self.today,
                "invoice_line_ids": [Command.create({"name": "Service", "price_unit": 10, "tax_ids": []})],
            }
        )  # fmt: skip
        theirs.action_post()
        self.user_one.sudo().company_ids |= other
        page = html.fromstring(self.get("/my/billing/pay").content)
        forms = page.xpath("//form[contains(@class, 'o_billing_selection')]")
        boxes = sorted(len(form.xpath(".//input[@name='bill']")) for form in forms)
        self.assertEqual(boxes, [1, 2])
        page = self.get(f"/my/billing/pay/checkout?bill={self.newer.id}&bill={theirs.id}")
        self.assertIn("are paid separately", page.text)
        self.get(f"/my/billing/pay/{join_ids([self.newer.id, theirs.id])}", status=404)
        self.assertEqual((self.newer | theirs)._get_payment_url(), self.newer._get_billing_url())

    # What the browser sends is not believed

    def test_tampered_amount(self):
        values, route = self.context_of(self.get(f"/my/billing/pay/{self.documents}"))
        for amount in (1, 179.99, 0, -180, 180.004, None, "nan", "x"):
            if amount == 180.004:
                continue  # the same amount of money
            with self.subTest(amount=amount):
                self.assert_refused(route, {**values, "amount": amount})
        self.company.billing_partial_payment = True
        self.assert_refused(route, {**values, "amount": 1})

    def test_tampered_currency_and_customer(self):
        values, route = self.context_of(self.get(f"/my/billing/pay/{self.documents}"))
        euro = self.setup_other_currency("EUR")
        for name, value in (
            ("currency_id", euro.id), ("partner_id", self.other_customer.id), ("invoice_ids", self.newer.ids),
            ("custom_create_values", {"amount": 1}), ("company_id", 1),
        ):  # fmt: skip
            with self.subTest(name=name):
                self.assert_refused(route, {**values, name: value})

    def test_tampered_bills(self):
        values, route = self.context_of(self.get(f"/my/billing/pay/{self.documents}"))
        for documents in (
            join_ids(self.older.ids), join_ids([*self.bills.ids, self.foreign.id]), join_ids(self.foreign.ids),
            "0", "-1", "999999999", f"{self.older.id}-{self.older.id}",
        ):  # fmt: skip
            with self.subTest(documents=documents):
                self.assert_refused(f"/my/billing/pay/{documents}/transaction", values)

    def test_tampered_signature_and_provider(self):
        values, route = self.context_of(self.get(f"/my/billing/pay/{self.documents}"))
        self.assert_refused(route, {**values, "access_token": "x" + values["access_token"][1:]})
        self.assert_refused(route, {**values, "access_token": None})
        other = self.setup_other_company()["company"]
        provider = self.provider.copy({"company_id": other.id, "state": "test", "is_published": True})
        self.assert_refused(route, {**values, "provider_id": provider.id})
        self.provider.state = "disabled"
        self.assert_refused(route, values)

    def test_what_was_signed_for_one_payer_is_not_for_another(self):
        values, route = self.context_of(self.get(f"/my/billing/pay/{self.documents}"))
        self.authenticate("pay_two", "pay_two")
        self.assert_refused(route, values)

    def test_the_landing_page_is_not_the_browsers(self):
        values, route = self.context_of(self.get(f"/my/billing/pay/{self.documents}"))
        tx = self.send(route, {**values, "landing_route": "https://evil.example"})
        self.assertTrue(tx.landing_route.startswith(f"/my/billing/receipt/{tx.id}?"))

    def test_terms_that_changed_meanwhile(self):
        values, route = self.context_of(self.get(f"/my/billing/pay/{self.documents}"))
        payment = self.pay_in(30)
        (payment.move_id.line_ids | self.older.line_ids).filtered(
            lambda line: line.account_type == "asset_receivable"
        ).reconcile()
        self.assert_refused(route, values)

    def test_a_signature_of_a_page_is_none_of_a_link(self):
        """Who is number 12 among the partners must not open bill number 12 by the signature of his own page."""
        values, _route = self.context_of(self.get(f"/my/billing/pay/{self.documents}"))
        payer = self.user_one.partner_id.id
        link = self.bills._get_billing_payment_token(str(payer), f"{self.documents}|180.00|{self.currency.id}")
        self.assertNotEqual(values["access_token"], link)
        self.customer.billing_prepaid = True
        topup, route = self.context_of(self.get("/my/billing/topup?amount=80"))
        link = self.bills._get_billing_payment_token(f"{payer}", f"{self.company.id}-{route.split('/')[-2]}|80.00|1")
        self.assertNotEqual(topup["access_token"], link)

    @mute_logger("odoo.http")
    def test_signatures_that_are_no_text_are_refused_as_others_are(self):
        values, route = self.context_of(self.get(f"/my/billing/pay/{self.documents}"))
        tx = self.send(route, values)
        for path in (
            f"/my/billing/pay/{self.documents}", f"/my/billing/pay/{self.documents}?amount=1",
            f"/my/billing/receipt/{tx.id}",
        ):  # fmt: skip
            self.get(f"{path}{'&' if '?' in path else '?'}access_token=%C3%A9", status=404)
        core = f"/invoice/transaction/{self.newer.id}"
        for target, changed in (
            (route, {"access_token": "é"}), (route, {"access_token": "\ud800"}), (route, {"access_token": ["x"]}),
            (route, {"access_token": {}}), (route, {"flow": "validation"}), (route, {"flow": ["token"]}),
            (f"{core}?link=%C3%A9", {"amount": 20}),
        ):  # fmt: skip
            changed = {"access_token": None} | changed if "link" in target else changed
            with self.subTest(changed=changed), self.assertRaisesRegex(JsonRpcException, "ValidationError"):
                self.make_jsonrpc_request(target, {**values, **changed})
        self.authenticate(None, None)
        with self.assertRaisesRegex(JsonRpcException, "ValidationError"):
            self.make_jsonrpc_request(core, {**self.direct_values(self.newer), "amount": 80, "access_token": "é"})

    def test_a_receipt_is_for_its_own_payment(self):
        values, route = self.context_of(self.get(f"/my/billing/pay/{self.newer.id}"))
        tx = self.send(route, values)
        other = self._create_transaction("direct", reference="OTHER", partner_id=self.other_customer.id)
        self.get(tx.landing_route)
        path, _question, query = tx.landing_route.partition("?")
        self.get(f"{path.replace(str(tx.id), str(other.id))}?{query}", status=404)
        self.get(f"{path}?access_token={values['access_token']}", status=404)
        self.get(path, status=404)

    def test_posts_of_another_site_start_nothing(self):
        """A page elsewhere cannot send JSON, and no form without our token."""
        contract = self.contract_bill().billing_contract_ids
        mandate = self.mandate(contracts=contract)
        values, route = self.context_of(self.get(f"/my/billing/pay/{self.documents}"))
        before = self.env["payment.transaction"].search_count([])
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
            response = self.url_open(route, data=json.dumps({"params": values}), headers={"Content-Type": kind})
            self.assertEqual(response.status_code, 415)
        self.assertEqual(self.env["payment.transaction"].search_count([]), before)
        with mute_logger("odoo.http"):
            for path, data in (
                ("/my/billing/automatic/grant", {"token_id": self.token.id, "consent": "1"}),
                (f"/my/billing/automatic/{mandate.id}/revoke", {"x": "1"}),
            ):
                self.assertEqual(self.url_open(path, data=data).status_code, 400)
        self.assertEqual((self.mandates(), self.mandates().state), (mandate, "active"))

    def test_cores_route_validates_and_saves_nothing(self):
        self.provider.allow_tokenization = True
        self.env["payment.method"].browse(self.payment_method_id).support_tokenization = True
        values = self.direct_values(self.newer, amount=80, tokenization_requested=True, is_validation=True)
        for login, is_saved in (("pay_one", True), (None, False)):
            self.authenticate(login, login)
            tx = self.send(f"/invoice/transaction/{self.newer.id}", values)
            self.assertEqual((tx.operation, tx.amount, tx.tokenize), ("online_direct", 80, is_saved))

    def test_no_validation_instead_of_a_payment(self):
        values, route = self.context_of(self.get(f"/my/billing/pay/{self.documents}"))
        tx = self.send(route, {**values, "is_validation": True})
        self.assertEqual((tx.operation, tx.amount), ("online_direct", 180))

    # Access

    def test_invariant_16_bills_of_others_are_not_found(self):
        for documents in (
            join_ids(self.foreign.ids), join_ids([*self.bills.ids, self.foreign.id]), "999999999", "x", "1-",
        ):  # fmt: skip
            with self.subTest(documents=documents):
                self.get(f"/my/billing/pay/{documents}", status=404)
                self.get(f"/my/billing/pay/{documents}?access_token=x", status=404)
        self.assertNotIn(self.foreign.name, self.get("/my/billing/pay").text)
        self.get(f"/my/billing/pay/{self.documents}", user="pay_two", status=404)
        self.get(f"/my/billing/pay/{self.documents}", user=None, status=404)

    def test_invariant_16_every_route_is_asked_for_by_strangers(self):
        contract = self.contract_bill().billing_contract_ids
        mandate = self.mandate(contracts=contract)
        payment = self.pay_in(33, memo="Secret payment")
        values, route = self.context_of(self.get(f"/my/billing/pay/{self.documents}"))
        tx = self.send(route, values)
        routes = {
            "/my/billing/automatic": None,
            "/my/billing/automatic/<int:mandate_id>/revoke": f"/my/billing/automatic/{mandate.id}/revoke",
            "/my/billing/automatic/grant": None,
            "/my/billing/pay": None,
            "/my/billing/pay/<string:documents>": f"/my/billing/pay/{self.documents}",
            "/my/billing/pay/<string:documents>/transaction": None,  # JSON, tested above
            "/my/billing/pay/checkout": f"/my/billing/pay/checkout?bill={self.older.id}",
            "/my/billing/receipt/<int:tx_id>": f"/my/billing/receipt/{tx.id}?access_token=guessed",
            "/my/billing/topup": None,
            "/my/billing/topup/<int:company_id>": f"/my/billing/topup/{self.company.id}",
            "/my/billing/topup/<int:company_id>/<string:key>/transaction": None,  # JSON, tested below
            "/my/payments/<int:payment_id>/receipt": f"/my/payments/{payment.id}/receipt",
        }
        self.assertEqual(set(routes), routes_of("customer_billing_payment"))
        form = {"token_id": self.token.id, "contract_id": contract.id, "consent": "1", "digest": "x"}
        for login in (None, "pay_two"):
            self.authenticate(login, login)
            data = {**form, "csrf_token": Request.csrf_token(self)}
            for name, path in routes.items():
                for values in (None, data):
                    with self.subTest(login=login, route=name, post=bool(values)), mute_logger("odoo.http"):
                        response = self.url_open(path or name, data=values)
                        self.assertLess(response.status_code, 500)
                        self.assertNotEqual(response.headers["Content-Type"], "application/pdf")
                        for secret in (self.older.name, contract.name, payment.memo):
                            self.assertNotIn(secret, response.text)
        self.assertEqual((self.mandates(), self.mandates().state), (mandate, "active"))

    def mandates(self):
        self.env.invalidate_all()
        return self.env["billing.payment.mandate"].search([], order="id")

    def test_a_signed_link_opens_without_login(self):
        url = urlparse(self.bills._get_payment_url())
        self.assertEqual(url.path, f"/my/billing/pay/{self.documents}")
        page = self.get(f"{url.path}?{url.query}", user=None)
        values, route = self.context_of(page)
        tx = self.send(route, values)
        self.assertEqual((tx.amount, tx.partner_id), (180, self.customer))
        self.assertFalse(tx.tokenize)
        receipt = self.finish(tx)
        self.assertIn(self.older.name, receipt.text)
        token = parse_qs(url.query)["access_token"][0]
        self.get(f"/my/billing/pay/{join_ids(self.foreign.ids)}?access_token={token}", user=None, status=404)
        self.get(f"/my/billing/pay/{join_ids(self.older.ids)}?access_token={token}", user=None, status=404)

    def test_a_link_that_asks_for_less_than_all(self):
        for moves, asked, rest in ((self.older, 60, 40), (self.bills, 90, 30)):
            url = urlparse(moves._get_payment_url(asked))
            path = f"{url.path}?{url.query}"
            for other in ("", "&amount=1.00"):
                self.get(path.replace(f"&amount={asked}.00", other), user=None, status=404)
            page = self.get(path, user=None)
            self.assertIn("This is what we ask you for", page.text)
            values, route = self.context_of(page)
            self.assertEqual(values["amount"], asked)
            for amount in (asked - 1, sum(moves.mapped("amount_residual"))):
                self.assert_refused(route, {**values, "amount": amount})
            self.finish(self.send(route, values))
            self.assertEqual(sum(moves.mapped("amount_residual")), rest)
        page = self.get(path, user=None)  # one of them is paid, and some of the other one
        self.assertNotIn("This is what we ask you for", page.text)
        self.assertEqual(self.context_of(page)[0]["amount"], 30)
        self.assertNotIn("amount=", self.bills._get_payment_url(30))

    def test_a_link_does_not_charge_the_saved_method_of_the_customer(self):
        token = self.new_token(self.customer, payment_details="9876")
        for moves in (self.bills, self.newer):
            url = urlparse(moves._get_payment_url())
            page = self.get(f"{url.path}?{url.query}", user=None)
            self.assertNotIn("9876", page.text)
            values, route = self.context_of(page)
            for changed in ({"flow": "token", "token_id": token.id}, {"token_id": token.id}):
                self.assert_refused(route, {**values, "amount": 80, **changed})
        self.assertFalse(self.requests)
        self.assertIn("9876", self.get(f"/my/billing/pay/{self.documents}").text)

    def direct_values(self, move, **values):
        """What core's page of a bill sends."""
        return {
            "provider_id": self.provider.id, "payment_method_id": self.payment_method_id, "token_id": None,
            "flow": "direct", "tokenization_requested": False, "landing_route": "/my/invoices",
            "access_token": move._portal_ensure_token(), **values,
        }  # fmt: skip

    def test_cores_route_takes_a_part_where_the_company_allows_it(self):
        route, values = f"/invoice/transaction/{self.newer.id}", self.direct_values(self.newer)
        euro = self.setup_other_currency("EUR")
        for login in ("pay_one", None):
            self.authenticate(login, login)
            for changed in ({"amount": 1}, {"amount": 79.99}, {"amount": 80, "currency_id": euro.id},
                            {"amount": 80, "partner_id": self.other_customer.id}):  # fmt: skip
                with self.subTest(login=login, changed=changed):
                    self.assert_refused(route, {**values, **changed})
                    self.assert_refused(f"{route}?link=x", {**values, **changed})
        part = {**self.direct_values(self.older), "amount": 40, "payment_reference": "X"}
        del part["access_token"]
        self.authenticate("pay_one", "pay_one")
        self.assert_refused("/invoice/transaction/overdue", part)
        self.company.billing_partial_payment = True
        self.assertEqual(self.send("/invoice/transaction/overdue", part).amount, 40)
        tx = self.send(route, {**values, "amount": 1})
        self.assertEqual((tx.amount, tx.currency_id), (1, self.currency))

    def test_the_link_of_staff_for_an_amount(self):
        wizard = self.env["payment.link.wizard"].create(
            {"res_model": "account.move", "res_id": self.newer.id, "amount": 30.0, "amount_max": 80.0,
             "partner_id": self.customer.id, "currency_id": self.currency.id}
        )  # fmt: skip
        link = urlparse(wizard.link)
        page = self.get(f"{link.path.replace('//', '/')}?{link.query}", user=None)
        context = self._get_payment_context(page)
        route, values = context["transaction_route"], self.direct_values(self.newer)
        self.assertIn("?link=", route)
        self.assert_refused(route, {**values, "amount": 29})
        self.assert_refused(route.replace(f"/{self.newer.id}?", f"/{self.older.id}?"),
                            {**self.direct_values(self.older), "amount": 30})  # fmt: skip
        self.assert_refused(route.partition("?")[0], {**values, "amount": 30})
        self.assertEqual(self.send(route, {**values, "amount": 30}).amount, 30)

    def test_core_offers_instalments(self):
        term = self.env["account.payment.term"].create(
            {"name": "Half and half", "line_ids": [
                Command.create({"value": "percent", "value_amount": 50, "nb_days": 5}),
                Command.create({"value": "percent", "value_amount": 50, "nb_days": 100})]}
        )  # fmt: skip
        move = self.open_bill(90, invoice_payment_term_id=term.id, invoice_date_due=False)
        self.authenticate("pay_one", "pay_one")
        route, values = f"/invoice/transaction/{move.id}", self.direct_values(move)
        self.assert_refused(route, {**values, "amount": 44})
        self.assertEqual(self.send(route, {**values, "amount": 45}).amount, 45)

    # Discounts for early payment

    def early(self, amount, taxes=(), **values):
        """A bill of today with 2 % off within 10 days."""
        term = self.env["account.payment.term"].create(
            {"name": "2/10", "early_discount": True, "discount_percentage": 2, "discount_days": 10,
             "line_ids": [Command.create({"value": "percent", "value_amount": 100, "nb_days": 30})]}
        )  # fmt: skip
        lines = [Command.create({"name": "Service", "price_unit": amount, "tax_ids": [Command.set(list(taxes))]})]
        return self.open_bill(
            invoice_payment_term_id=term.id, invoice_date=self.today, invoice_date_due=False,
            invoice_line_ids=lines, **values,
        )  # fmt: skip

    def test_early_payment_of_several_bills_is_discounted_as_of_one(self):
        tax = self.company_data["default_tax_sale"]
        alone, first, second = (self.early(amount, tax.ids) for amount in (1000, 200, 300))
        values, route = self.context_of(self.get(f"/my/billing/pay/{alone.id}"))
        self.assertAlmostEqual(values["amount"], alone.amount_total - alone._get_invoice_next_payment_values()[
            "epd_discount_amount_currency"])  # fmt: skip
        page = html.fromstring(self.get("/my/billing/pay").content)
        [box] = page.xpath(f"//input[@name='bill'][@value='{alone.id}']")
        self.assertAlmostEqual(float(box.get("data-amount")), values["amount"])
        self.assertIn("Discount of", page.text_content())
        self.finish(self.send(route, values))
        self.assertEqual((alone.amount_residual, alone.payment_state in ("paid", "in_payment")), (0, True))

        bills = first | second | self.newer
        page = self.get(f"/my/billing/pay/{join_ids(bills.ids)}")
        self.assertIn("Discount of", page.text)
        values, route = self.context_of(page)
        dues = sum(move._get_billing_due_now()[0] for move in bills)
        self.assertAlmostEqual(values["amount"], dues)
        self.assertLess(dues, sum(bills.mapped("amount_residual")))
        tx = self.send(route, values)
        self.finish(tx)
        self.assertEqual(bills.mapped("amount_residual"), [0, 0, 0])
        self.assertEqual(tx.payment_id.amount, tx.amount)
        entry = tx.payment_id.move_id
        self.assertTrue(entry.line_ids.filtered(lambda line: line.account_id.account_type.startswith("expense")))
        self.assertAlmostEqual(
            sum(entry.line_ids.filtered(lambda line: line.account_id.account_type == "asset_receivable").mapped(
                "credit")), sum(bills.mapped("amount_total")))  # fmt: skip

    def test_no_discount_after_its_day_or_for_a_part(self):
        bills = self.early(200) | self.early(300)
        self.company.billing_partial_payment = True
        values, route = self.context_of(self.get(f"/my/billing/pay/{join_ids(bills.ids)}?amount=100"))
        self.finish(self.send(route, values))
        self.assertEqual(sum(bills.mapped("amount_residual")), 400)
        late = self.early(50)
        late.line_ids.filtered(lambda line: line.display_type == "payment_term").discount_date = (
            self.today - timedelta(days=1)
        )
        self.assertEqual(late._get_billing_due_now(), (50, False))

    def test_cores_routes_take_no_other_amounts(self):
        self.authenticate("pay_one", "pay_one")
        values = {
            "provider_id": self.provider.id, "payment_method_id": self.payment_method_id, "token_id": None,
            "flow": "direct", "tokenization_requested": False, "landing_route": "/my/invoices",
        }  # fmt: skip
        single = f"/invoice/transaction/{self.newer.id}"
        signed = {**values, "access_token": self.newer._portal_ensure_token()}
        overdue = {**values, "amount": 100, "payment_reference": "X"}
        for amount in (0, -1, 100.01, "nan", None):
            with self.subTest(amount=amount):
                self.assert_refused(single, {**signed, "amount": amount})
                self.assert_refused("/invoice/transaction/overdue", {**overdue, "amount": amount})
        self.assertEqual(self.send("/invoice/transaction/overdue", overdue).invoice_ids, self.older)
        self.assertEqual(self.send(single, {**signed, "amount": 80}).amount, 80)
        for landing in (
            "https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/\t/evil.example",
            "/\n/evil.example", " //evil.example", "/x\\..\\/evil.example", ["/my"],
        ):  # fmt: skip
            with self.subTest(landing=landing):
                self.assert_refused(single, {**signed, "amount": 80, "landing_route": landing})
        self.bills._set_billing_charge("processing")
        self.assert_refused(single, {**signed, "amount": 80})
        self.assert_refused("/invoice/transaction/overdue", overdue)
        self.bills._set_billing_charge(False)
        self.authenticate("pay_two", "pay_two")
        self.assert_refused(single, {**signed, "amount": 80, "access_token": "x"})

    def test_the_link_of_one_bill_opens_its_payment(self):
        url = self.newer._get_payment_url()
        self.assertIn(f"/my/invoices/{self.newer.id}", url)
        self.assertIn("payment=True", url)
        self.assertEqual((self.newer | self.foreign)._get_payment_url(), self.newer._get_billing_url())
        with patch("odoo.addons.customer_billing_payment.models.account_move.qr_data_uri", lambda text: text):
            self.assertEqual(self.newer._get_billing_qr_code(), url)
        self.newer._set_billing_charge("processing")
        self.assertNotIn("payment=True", self.newer._get_payment_url())

    def test_login_is_asked_for(self):
        for path in ("/my/billing/pay", "/my/payments", "/my/billing/automatic", "/my/billing/topup"):
            with self.subTest(path=path):
                self.assertIn("/web/login", self.get(path, user=None).url)

    def count(self, path, user="pay_one"):
        """The SQL statements of a page that is opened again."""
        self.get(path, user)
        self.env.flush_all()
        self.env.invalidate_all()
        before = self.env.cr.sql_log_count
        self.url_open(path)
        return self.env.cr.sql_log_count - before

    def test_invariant_10_queries_of_pages_do_not_grow_with_history(self):
        self.new_portal(self.env["res.partner"].create({"name": "Nobody", "lang": "en_US"}), "pay_nobody")
        empty = self.count("/my", "pay_nobody")
        move = self.contract_bill()
        self.mandate()
        found = {}
        for first in (0, 5000):  # N, then 2N; later numbers follow those of the copies
            clone_bills(self.env, move, 2500, first)
            for _number in range(8):
                (self.pay_in(1).move_id.line_ids | self.open_bill(1).line_ids).filtered(
                    lambda line: line.account_type == "asset_receivable"
                ).reconcile()
            for path in ("/my", "/my/billing/pay", "/my/payments", "/my/billing/automatic"):
                found.setdefault(path, []).append(self.count(path))
        for path, (once, twice) in found.items():
            with self.subTest(path=path):
                self.assertLessEqual(twice, once, "grows")
                self.assertLessEqual(twice, empty + ROOM, f"{found}")

    def test_home_shows_what_is_open(self):
        self.authenticate("pay_one", "pay_one")
        counters = self.make_jsonrpc_request(
            "/my/counters", {"counters": ["billing_open_count", "billing_payment_count"]}
        )
        self.assertEqual(counters, {"billing_open_count": 2, "billing_payment_count": 0})


@tagged("post_install", "-at_install")
class TestPayments(PortalCommon):
    def test_payments_with_what_they_settle(self):
        payment = self.pay_in(130, memo="Bank transfer")
        (payment.move_id.line_ids | self.older.line_ids).filtered(
            lambda line: line.account_type == "asset_receivable"
        ).reconcile()
        page = html.fromstring(self.get("/my/payments").content).text_content()
        for text in (payment.memo, self.older.name, "30.00", "Your credit"):
            self.assertIn(text, page)

    def test_receipts_are_for_their_customer(self):
        own, other = self.pay_in(10, memo="Own"), self.pay_in(20, self.other_customer)
        response = self.get(f"/my/payments/{own.id}/receipt")
        self.assertEqual(response.headers["Content-Type"], "application/pdf")
        self.get(f"/my/payments/{other.id}/receipt", status=404)
        page = self.get("/my/payments").text
        self.assertIn(own.memo, page)
        self.get("/my/billing/payments", status=404)  # there is one page of payments
        self.assertNotIn(f"/my/payments/{other.id}/receipt", page)

    def test_payments_to_suppliers_and_drafts_are_not_listed(self):
        draft = self.pay_in(10)
        draft.action_draft()
        self.get(f"/my/payments/{draft.id}/receipt", status=404)
        supplier = self.pay_in(10, partner_type="supplier", payment_type="outbound")
        self.get(f"/my/payments/{supplier.id}/receipt", status=404)

    def test_a_receipt_page_needs_its_signature(self):
        values, route = self.context_of(self.get(f"/my/billing/pay/{self.documents}"))
        tx = self.send(route, values)
        self.finish(tx)
        self.get(f"/my/billing/receipt/{tx.id}", status=404)
        self.get(f"/my/billing/receipt/{tx.id}?access_token=x", status=404)
        self.get(tx.landing_route.replace(f"/{tx.id}?", f"/{tx.id - 1}?"), status=404)
        response = self.get(f"{tx.landing_route}&report_type=pdf", user=None)
        self.assertEqual(response.headers["Content-Type"], "application/pdf")

    # Prepaid

    def test_top_up(self):
        self.get("/my/billing/topup", status=404)
        self.customer.write({"billing_prepaid": True, "billing_prepaid_threshold": 10.0})
        self.assertIn("Your prepaid balance is low", self.get("/my").text)
        (self.newer | self.older).button_draft()
        page = self.get("/my/billing/topup?amount=75")
        values, route = self.context_of(page)
        self.assertEqual(values["amount"], 75)
        self.assert_refused(route, {**values, "amount": 7.5})
        other = self.setup_other_company()["company"]
        key = route.split("/")[-2]
        self.assert_refused(f"/my/billing/topup/{other.id}/{key}/transaction", values)
        self.assert_refused(route.replace(key, "0" * 16), values)
        tx = self.send(route, values)
        self.assertTrue(tx.billing_is_topup)
        self.assertFalse(tx.invoice_ids)
        self.finish(tx)
        self.assertEqual(self.customer.billing_credit_amount, 75)
        self.assertIn("75.00", self.get("/my/payments").text)
        self.company.billing_prepaid_account_id = self.company_data["default_account_payable"].copy(
            {"account_type": "liability_current", "reconcile": True}
        )
        self.customer._bill_billing_prepayments(self.company)
        bill = self.env["account.move"].search([("billing_prepaid_kind", "=", "topup")])
        self.assertIn(bill.name, self.get("/my/payments").text)
        self.assertIn(bill.name, self.get(f"/my/invoices/{bill.id}").text)
        self.assertIn("Top-Up Bill", self.get(f"/my/invoices/{bill.id}?report_type=html").text)
        document = self.get(f"/my/invoices/{bill.id}?report_type=pdf")
        self.assertEqual(document.headers["Content-Type"], "application/pdf")
        stranger = self.get(f"/my/invoices/{bill.id}?report_type=pdf", user="pay_two")
        self.assertNotEqual(stranger.headers["Content-Type"], "application/pdf")
        self.authenticate("pay_two", "pay_two")
        self.assert_refused(route, values)

    def test_a_saved_method_tops_up_once(self):
        self.customer.billing_prepaid = True
        values, route = self.context_of(self.get("/my/billing/topup?amount=75"))
        values |= {"flow": "token", "token_id": self.token.id, "provider_id": None, "payment_method_id": None}
        self.answers[1] = lambda tx: tx._set_error("Card declined")
        refused = self.send(route, values)
        self.assertEqual(refused.state, "error")
        tx = self.send(route, values)
        self.assertEqual((tx.state, tx.operation), ("done", "online_token"))
        self.assert_refused(route, values)
        self.assertEqual(len(self.requests), 2)
        with mute_logger("odoo.sql_db"), self.assertRaises(IntegrityError), self.env.cr.savepoint():
            tx.copy({"reference": "second", "operation": "online_token"}).billing_topup_key = tx.billing_topup_key
        values, route = self.context_of(self.get("/my/billing/topup?amount=75"))
        values |= {"flow": "token", "token_id": self.token.id, "provider_id": None, "payment_method_id": None}
        self.assertEqual(self.send(route, values).state, "done", "another page is another top-up")

    def test_a_bill_is_paid_once_by_a_second_click(self):
        values, route = self.context_of(self.get(f"/my/billing/pay/{self.older.id}"))
        values |= {"flow": "token", "token_id": self.token.id, "provider_id": None, "payment_method_id": None}
        self.assertEqual(self.send(route, values).state, "done")
        self.assert_refused(route, values)
        self.assertEqual(len(self.requests), 1)

    def test_top_up_amounts_that_are_none(self):
        self.customer.billing_prepaid = True
        for amount in ("0", "-1", "x", "nan", "inf", "0.004", "1e12"):
            with self.subTest(amount=amount):
                page = self.get(f"/my/billing/topup?amount={amount}")
                self.assertIn("Enter an amount above zero", page.text)

    def test_a_top_up_is_at_a_company_where_the_customer_pays_in_advance(self):
        self.customer.billing_prepaid = True
        values, route = self.context_of(self.get("/my/billing/topup?amount=80"))
        other = self.setup_other_company()["company"]
        self.user_one.sudo().company_ids |= other
        for number in (other.id, 99999999999):
            self.get(f"/my/billing/topup/{number}", status=404)
            self.assert_refused(route.replace(f"/topup/{self.company.id}/", f"/topup/{number}/"), values)
        self.assert_refused(route.replace("/transaction", "0/transaction"), values)
        self.authenticate("pay_two", "pay_two")
        self.assert_refused(route, values)

    # Automatic payment

    def post(self, path, **data):
        return self.url_open(path, data=data)

    def consent_page(self, user="pay_one"):
        page = html.fromstring(self.get("/my/billing/automatic", user=user).content)
        [form] = page.xpath("//form[@action='/my/billing/automatic/grant']")
        return {field.get("name"): field.get("value") for field in form.xpath(".//input[@type='hidden']")}

    def mandates(self):
        self.env.invalidate_all()
        return self.env["billing.payment.mandate"].search([], order="id")

    def test_allow_and_revoke(self):
        contract = self.contract_bill().billing_contract_ids
        hidden = self.consent_page()
        page = self.post(
            "/my/billing/automatic/grant", **hidden, token_id=self.token.id, contract_id=contract.id, consent=1,
            expiry="2031-02",
        )  # fmt: skip
        self.assertIn("now paid automatically", page.text)
        [mandate] = self.mandates()
        self.assertEqual((mandate.partner_id, mandate.token_id), (self.customer, self.token))
        self.assertEqual(mandate.contract_ids, contract)
        self.assertEqual(str(mandate.expiry_date), "2031-02-28")
        self.assertEqual(mandate.consent_text, self.company._get_billing_mandate_text())
        self.assertEqual((mandate.consent_user_id, mandate.consent_ip), (self.user_one, "127.0.0.1"))
        page = self.post(f"/my/billing/automatic/{mandate.id}/revoke", csrf_token=hidden["csrf_token"])
        self.assertIn("Revoked", page.text)
        self.assertEqual((self.mandates().state, self.mandates().revoked_by_id), ("revoked", self.user_one))

    def test_no_consent_without_the_box_the_text_or_the_token(self):
        other_contract = self.contract_bill(partner_id=self.other_customer.id).billing_contract_ids
        self.contract_bill()
        stranger = self.new_token(self.other_customer)
        hidden = self.consent_page()
        for changed in (
            {"consent": ""}, {"consent": "0"}, {"consent": "false"}, {"digest": "x"}, {"token_id": stranger.id},
            {"token_id": ""}, {"contract_id": other_contract.id}, {"csrf_token": "x"}, {"expiry": "soon"},
            {"expiry": "2020-01"}, {"expiry": "01/20"}, {"expiry": "2099-01"}, {"expiry": "2031-13"},
        ):  # fmt: skip
            with self.subTest(changed=changed), mute_logger("odoo.http"):
                self.post(
                    "/my/billing/automatic/grant", **{**hidden, "token_id": self.token.id, "consent": 1, **changed}
                )
                self.assertFalse(self.mandates())

    def test_others_do_not_revoke(self):
        self.contract_bill()
        mandate = self.mandate()
        self.contract_bill(partner_id=self.other_customer.id)
        self.new_token(self.other_customer)
        hidden = self.consent_page("pay_two")
        response = self.post(f"/my/billing/automatic/{mandate.id}/revoke", csrf_token=hidden["csrf_token"])
        self.assertEqual(response.status_code, 404)
        with mute_logger("odoo.http"):
            self.authenticate("pay_one", "pay_one")
            self.post(f"/my/billing/automatic/{mandate.id}/revoke", csrf_token="x")
            self.url_open(f"/my/billing/automatic/{mandate.id}/revoke")
        self.assertEqual(self.mandates().state, "active")

    def test_a_changed_text_is_read_again(self):
        self.contract_bill()
        hidden = self.consent_page()
        self.company.billing_mandate_text = "Other words"
        page = self.post("/my/billing/automatic/grant", **hidden, token_id=self.token.id, consent=1)
        self.assertIn("The text has changed", page.text)
        self.assertFalse(self.mandates())

    def test_only_contracts_that_charge_are_offered(self):
        page = self.get("/my/billing/automatic").text
        self.assertIn("None of your contracts", page)
        self.new_contract(str(self.today - timedelta(days=3)))
        self.assertIn("None of your contracts", self.get("/my/billing/automatic").text)
