import base64
import io
from urllib.parse import urlparse

from freezegun import freeze_time
from PIL import Image

from odoo import Command
from odoo.http import Request
from odoo.tests import HttpCase, tagged
from odoo.tests.common import JsonRpcException
from odoo.tools import mute_logger

from .facts_common import FactsCommon

OVERDUE = "/my/billing/overdue"


def png(width=40, height=10):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


class PortalCommon(FactsCommon, HttpCase):
    """Two customers, the first with two contacts who log in; both have something overdue."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        (cls.customer | cls.other_customer).lang = "en_US"
        contact = cls.env["res.partner"].create(
            {"name": "Second Contact", "parent_id": cls.customer.id, "lang": "en_US"}
        )
        cls.user = cls.new_portal(cls.customer, "portal_one")
        cls.colleague = cls.new_portal(contact, "portal_colleague")
        cls.other_user = cls.new_portal(cls.other_customer, "portal_two")
        cls.collector.password = "facts_collector"
        cls.old, cls.new = cls.invoice(100, due=-30), cls.invoice(200, due=-10)
        cls.later = cls.invoice(70, due=30)
        cls.theirs = cls.invoice(555, due=-10, partner=cls.other_customer)
        cls.case, cls.other_case = cls.new_case(), cls.new_case(cls.other_customer)
        (cls.case | cls.other_case)._refresh()

    def get(self, url, login="portal_one", **kwargs):
        self.authenticate(login, login)
        return self.url_open(url, headers={"Accept-Language": "en-US"}, **kwargs)

    def promise(self, login="portal_one", case=None, csrf=True, **form):
        """Send the form; returns the response."""
        self.authenticate(login, login)
        form = {"amount": "100", "date": str(self.day(5)), **form}
        if csrf:
            form["csrf_token"] = Request.csrf_token(self)
        return self.url_open(
            f"{OVERDUE}/{(case or self.case).id}/promise", data=form, headers={"Accept-Language": "en-US"}
        )


@tagged("post_install", "-at_install")
class TestOverduePage(PortalCommon):
    def test_what_it_shows(self):
        for login in ("portal_one", "portal_colleague"):
            text = self.get(OVERDUE, login).text
            self.assertIn(self.old.name, text)
            self.assertIn(self.new.name, text)
            self.assertIn("300.00", text)
            self.assertNotIn(self.later.name, text)
            self.assertNotIn(self.theirs.name, text)
        self.assertIn(self.theirs.name, self.get(OVERDUE, "portal_two").text)
        self.assertTrue(urlparse(self.get(OVERDUE, None).url).path.endswith("/web/login"))

    def test_invariant_16_technical_contacts_are_shown_nothing_overdue(self):
        promise = self.new_promise(50)
        self.assertTrue(promise.with_user(self.colleague).has_access("read"))
        self.colleague.partner_id.billing_role_technical = True
        self.assertFalse(promise.with_user(self.colleague).has_access("read"))
        self.assertNotIn(self.old.name, self.get(OVERDUE, "portal_colleague").text)
        count = len(self.case.promise_ids)
        self.promise("portal_colleague")
        self.assertEqual(len(self.case.promise_ids), count)
        self.colleague.partner_id.billing_role_collection = True
        self.assertIn(self.old.name, self.get(OVERDUE, "portal_colleague").text)

    def test_a_second_click_is_the_same_promise(self):
        for _click in range(2):
            self.assertIn("You promised", self.promise(amount="100.00").text)
        self.assertEqual(len(self.case.promise_ids), 1)
        self.promise(amount="90")
        self.assertEqual(len(self.case.promise_ids), 1)

    def test_nothing_internal_is_shown(self):
        self.case.sudo().write({"priority": 98765})
        self.case.message_post(body="internal-secret-note")
        self.new_promise(50, note="staff-secret-note")
        text = self.get(OVERDUE).text
        secrets = ("98765", "internal-secret-note", "staff-secret-note", self.case.name, self.policy.name)
        for secret in (*secrets, self.collector.name):
            self.assertNotIn(secret, text)

    def test_home_counts(self):
        def count(login):
            self.authenticate(login, login)
            return self.make_jsonrpc_request("/my/counters", {"counters": ["billing_overdue_count"]})

        self.assertEqual(count("portal_one"), {"billing_overdue_count": 1})
        self.pay(300, self.old, self.new)
        self.assertEqual(count("portal_one"), {"billing_overdue_count": 0})
        self.assertIn("Nothing is overdue", self.get(OVERDUE).text)

    def test_why_an_item_is_not_demanded(self):
        self.env["billing.dispute"].create({"name": "Wrong", "move_id": self.old.id})
        self.assertIn("You objected", self.get(OVERDUE).text)

    def test_what_no_case_demands_is_shown_too(self):
        self.env["billing.dispute"].create({"name": "Wrong", "move_id": self.theirs.id})
        self.other_case._close("merged")
        text = self.get(OVERDUE, "portal_two").text
        for expected in (self.theirs.name, "555.00", "You objected"):
            self.assertIn(expected, text)
        self.assertNotIn("I will pay by then", text)

    def test_the_first_page_tells_of_a_hold_and_of_an_offer(self):
        self.case.sudo().date_hold = self.day(-1)
        agreement = self.new_agreement(confirm=False)
        agreement.action_offer()
        actions = self.customer.with_user(self.user).sudo(False)._get_billing_portal_actions()
        texts = {action["text"]: action["url"] for action in actions}
        self.assertEqual(texts["Your service is on hold: see what is overdue"], OVERDUE)
        self.assertEqual(texts[f"You can pay in parts: please confirm {agreement.name}"], agreement.access_url)

    def test_nothing_is_promised_that_is_paid_in_parts(self):
        self.new_agreement()
        text = self.get(OVERDUE).text
        self.assertIn("Paid in parts", text)
        self.assertNotIn("I will pay by then", text)

    def test_credits_are_deducted(self):
        self.invoice(-30, due=0)
        text = self.get(OVERDUE).text
        self.assertIn("Your credit with us", text)
        self.assertIn("270.00", text)

    def test_a_promise(self):
        response = self.promise(note="After the holidays", login="portal_colleague")
        self.assertIn("your date is noted", response.text)
        promise = self.case.promise_ids
        self.assertEqual((promise.amount, promise.date, promise.origin), (100, self.day(5), "portal"))
        self.assertEqual((promise.state, promise.user_id, promise.note), ("open", self.colleague, "After the holidays"))
        self.assertEqual(self.case.state, "promised")
        text = self.get(OVERDUE).text
        self.assertIn("You promised", text)
        self.assertNotIn("I will pay by then", text, "one at a time")
        self.promise()
        self.assertEqual(len(self.case.promise_ids), 1)

    def test_within_the_limits(self):
        for form in (
            {"amount": "300.01"}, {"amount": "0"}, {"amount": "-5"}, {"amount": "nan"}, {"amount": "inf"},
            {"amount": "1e9"}, {"amount": "0.001"}, {"amount": ""}, {"amount": "x" * 5000}, {"date": str(self.day(15))},
            {"date": str(self.day(-1))}, {"date": "yesterday"}, {"date": ""},
        ):  # fmt: skip
            with self.subTest(form):
                response = self.promise(**form)
                self.assertEqual(response.status_code, 200)
                self.assertIn("alert-danger", response.text)
                self.assertFalse(self.case.promise_ids)
        self.promise(amount="300", date=str(self.day(14)))
        self.assertEqual(len(self.case.promise_ids), 1)

    def test_so_many_per_case(self):
        for number in (1, 2):
            self.promise()
            self.assertEqual(len(self.case.promise_ids), number)
            self.case.promise_ids.filtered(lambda p: p.state == "open").sudo().state = "broken"
        self.promise()
        self.assertEqual(len(self.case.promise_ids), 2)
        self.assertIn("write to us", self.get(OVERDUE).text)

    def test_not_after_the_hand_over(self):
        self.case.sudo().date_legal = self.today
        self.promise()
        self.assertFalse(self.case.promise_ids)

    def test_others_promise_nothing_here(self):
        with mute_logger("odoo.http"):
            self.promise(login="portal_two")
            self.promise(case=self.other_case)
            self.promise(login="facts_collector")
            self.promise(csrf=False)
            self.url_open(f"{OVERDUE}/999999/promise", data={"amount": "1"})
        self.assertFalse(self.case.promise_ids | self.other_case.promise_ids)
        self.authenticate(None, None)
        form = {"amount": "1", "csrf_token": Request.csrf_token(self)}
        response = self.url_open(f"{OVERDUE}/{self.case.id}/promise", data=form)
        self.assertTrue(urlparse(response.url).path.endswith("/web/login"))
        self.assertFalse(self.case.promise_ids)

    def test_no_access_by_rpc(self):
        mine, theirs = self.new_promise(10), self.new_promise(20, case=self.other_case)
        self.authenticate("portal_one", "portal_one")

        def call(model, method, *args, **kwargs):
            return self.make_jsonrpc_request(
                f"/web/dataset/call_kw/{model}/{method}",
                {"model": model, "method": method, "args": list(args), "kwargs": kwargs},
            )

        self.assertEqual(call("billing.promise", "search", []), mine.ids)
        for model, method, *args in (
            ("billing.case", "search_read", [], ["priority"]),
            ("billing.promise", "read", theirs.ids, ["amount"]),
            ("billing.promise", "read", mine.ids, ["note"]),
            ("billing.promise", "write", mine.ids, {"amount": 1}),
            ("billing.promise", "create", [{"case_id": self.case.id, "amount": 1, "date": str(self.day(1))}]),
            ("billing.promise", "action_cancel", mine.ids),
            ("billing.case", "action_release_hold", self.case.ids),
        ):
            with self.subTest(f"{model}.{method}"), self.assertRaises(JsonRpcException), mute_logger("odoo.http"):
                call(model, method, *args)
        self.assertEqual(mine.state, "open")


@tagged("post_install", "-at_install")
class TestInstalmentPage(PortalCommon):
    def setUp(self):
        super().setUp()
        self.agreement = self.new_agreement(confirm=False)
        self.agreement.action_offer()
        self.url = self.agreement.access_url
        self.token = self.agreement.access_token

    def accept(self, login="portal_one", token=None, name="Ann Signer", signature=None):
        self.authenticate(login, login)
        return self.make_jsonrpc_request(
            f"{self.url}/accept" + (f"?access_token={token}" if token else ""),
            {"name": name, "signature": png() if signature is None else signature},
        )

    def assert_closed(self, url, login):
        response = self.get(url, login)
        path = urlparse(response.url).path
        self.assertTrue(path.endswith("/my" if login else "/web/login"), f"{login} {url}: {response.url}")
        self.assertNotIn(self.agreement.name, response.text)

    def test_page(self):
        for login, query in (("portal_one", ""), ("portal_colleague", ""), (None, f"?access_token={self.token}")):
            text = self.get(self.url + query, login).text
            for expected in (self.agreement.name, "To confirm", "300.00", "100.00", self.old.name, "modalaccept"):
                self.assertIn(expected, text)
        self.assertIn(self.agreement.name, self.get(OVERDUE).text)

    def test_who_does_not_see_it(self):
        other = self.new_agreement(case=self.other_case, confirm=False)
        other.action_offer()
        for suffix in ("", "/pdf"):
            for query in ("", "?access_token=wrong", "?access_token=", f"?access_token={other.access_token}"):
                self.assert_closed(f"{self.url}{suffix}{query}", "portal_two")
                self.assert_closed(f"{self.url}{suffix}{query}", None)
        self.assertTrue(self.get("/my/instalments/99999999", "portal_one").url.endswith("/my"))
        self.assertIn("error", self.accept("portal_two"))
        self.assertIn("error", self.accept(None, "wrong"))
        self.assertEqual(self.agreement.state, "offered")
        self.agreement.action_draft()
        self.assert_closed(self.url, "portal_one")
        self.assert_closed(f"{self.url}?access_token={self.token}", None)

    def test_confirm(self):
        result = self.accept("portal_colleague")
        self.assertIn("message=confirmed", result["redirect_url"])
        agreement = self.agreement
        self.assertEqual((agreement.state, agreement.confirmed_by), ("running", "Ann Signer"))
        self.assertTrue(agreement.date_confirmed and agreement.signature and agreement.confirm_ip)
        self.assertEqual(self.case.state, "instalment")
        self.assertIn("redirect_url", self.accept(name="Somebody Else"), "twice is once")
        self.assertEqual(agreement.confirmed_by, "Ann Signer")
        text = self.get(result["redirect_url"], "portal_colleague").text
        self.assertIn("Your confirmation was recorded", text)
        self.assertNotIn("modalaccept", text)

    def test_confirm_by_link(self):
        self.assertIn(self.token, self.accept(None, self.token)["redirect_url"])
        self.assertEqual(self.agreement.state, "running")

    def test_what_is_no_confirmation(self):
        for values in (
            {"name": ""}, {"name": "x" * 101}, {"name": ["Ann"]}, {"signature": ""}, {"signature": "no image"},
            {"signature": base64.b64encode(b"<svg/>").decode()}, {"signature": "A" * 2_000_000},
            {"signature": {"a": 1}},
        ):  # fmt: skip
            with self.subTest(str(values)[:40]):
                self.assertIn("error", self.accept(**values))
        self.assertIn("error", self.accept("facts_collector"))
        self.assertEqual(self.agreement.state, "offered")

    def test_an_old_offer(self):
        with freeze_time(self.day(12)):
            self.assertIn("does not fit", self.agreement._get_confirm_problem())
        self.item(self.old).remove_move_reconcile()
        self.agreement.action_cancel()
        self.assertIn("error", self.accept())

    def test_progress(self):
        self.accept()
        self.pay(150, self.old, self.new)
        text = self.get(self.url).text
        self.assertIn("50%", text)
        self.assertEqual(text.count('text-bg-success">Paid'), 1)
        self.assertIn("Pay the next part", text)
        self.pay(150, self.new)
        self.assertEqual(self.agreement.state, "completed")
        self.assertNotIn("Pay the next part", self.get(self.url).text)

    def test_pdf(self):
        response = self.get(f"{self.url}/pdf")
        self.assertEqual(response.status_code, 200)
        self.assertIn("attachment", response.headers["Content-Disposition"])

    def test_rpc_shows_no_internal_fields(self):
        self.accept()
        self.authenticate("portal_one", "portal_one")
        with self.assertRaises(JsonRpcException), mute_logger("odoo.http"):
            self.make_jsonrpc_request(
                "/web/dataset/call_kw/billing.instalment/read",
                {
                    "model": "billing.instalment", "method": "read", "args": [self.agreement.ids, ["confirm_ip"]],
                    "kwargs": {},
                },
            )


@tagged("post_install", "-at_install")
class TestDispute(FactsCommon):
    def test_a_disputed_bill_is_out_of_dunning_as_a_whole_until_it_is_closed(self):
        bill = self.invoice(100, due=-30)
        other = self.invoice(40, due=-20)
        case = self.new_case()
        dispute = self.env["billing.dispute"].create({"name": "Too much", "move_id": bill.id, "amount": 10})

        def excluded():
            return {row["move_id"]: row["excluded"] for row in case._get_items()[case]}

        self.assertEqual(excluded(), {bill.id: "dispute", other.id: None})
        dispute.write({"resolution": "The price is right"})
        dispute.action_reject()
        self.assertEqual(excluded(), {bill.id: None, other.id: None})
        dispute.action_reopen()
        self.assertEqual(excluded()[bill.id], "dispute")

    def test_all_parts_of_a_disputed_bill(self):
        term = self.env["account.payment.term"].create(
            {
                "name": "Halves",
                "line_ids": [
                    Command.create({"value": "percent", "value_amount": 50, "nb_days": days}) for days in (0, 10)
                ],
            }
        )
        bill = self.invoice(100, due=-30, invoice_payment_term_id=term.id)
        case = self.new_case()
        self.env["billing.dispute"].create({"name": "Too much", "move_id": bill.id})
        self.assertEqual([row["excluded"] for row in case._get_items()[case]], ["dispute"] * 2)
