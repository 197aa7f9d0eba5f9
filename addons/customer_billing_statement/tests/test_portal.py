import base64
import io
from calendar import monthrange
from urllib.parse import urlparse

from PIL import Image

from odoo import Command
from odoo.http import Request
from odoo.tests import HttpCase, tagged
from odoo.tools import mute_logger

from ..controllers.portal import LINES_PER_PAGE
from .common import StatementCommon


def png(width=40, height=10):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


class StatementPortalCommon(StatementCommon, HttpCase):
    """Two customers, the first with two contacts who log in; the first has a statement."""

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
        cls.officer = cls.new_staff("officer", login="statement_officer")
        cls.officer.password = "statement_officer"
        (cls.user | cls.colleague | cls.other_user | cls.officer).lang = "en_US"
        cls.invoiced = cls.invoice("2026-01-05", 1234.5, due="2026-01-20")
        cls.paid = cls.pay("2026-01-20", 40.0, invoices=cls.invoiced)
        cls.doc = cls.sent(user_id=cls.officer.id)
        cls.line, cls.payment_line = cls.doc.line_ids
        cls.token = cls.doc._portal_ensure_token()
        cls.url = f"/my/statements/{cls.doc.id}"
        cls.link = f"{cls.url}?access_token={cls.token}"

    def get(self, url, login="portal_one", **kwargs):
        self.authenticate(login, login)
        return self.url_open(url, headers={"Accept-Language": "en-US"}, **kwargs)

    def assert_closed(self, url, login):
        response = self.get(url, login)
        path = urlparse(response.url).path
        self.assertTrue(path.endswith("/my" if login else "/web/login"), f"{login} {url}: {response.url}")
        self.assertNotIn(self.doc.name, response.text)

    def accept(self, login="portal_one", token=None, name="Ann Signer", signature=None):
        self.authenticate(login, login)
        return self.make_jsonrpc_request(
            f"{self.url}/accept" + (f"?access_token={token}" if token else ""),
            {"name": name, "signature": png() if signature is None else signature},
        )

    def dispute(self, form=None, login="portal_one", token=None, files=(), csrf=True, json=True, **values):
        """Send the form of objections."""
        self.authenticate(login, login)
        data = {"reason": "price", "description": "We agreed on less", **(form or {}), **values}
        if csrf:
            data["csrf_token"] = Request.csrf_token(self)
        return self.url_open(
            f"{self.url}/dispute" + (f"?access_token={token}" if token else ""),
            data=data,
            files=[("files", file) for file in files] or None,
            headers={"Accept": "application/json" if json else "text/html", "Accept-Language": "en-US"},
            allow_redirects=False,
        )

    def line_form(self, figure="1,200.00", line=None):
        line = line or self.line
        return {f"line_{line.id}": "1", f"figure_{line.id}": figure}


@tagged("post_install", "-at_install")
class TestStatementRole(StatementPortalCommon):
    def test_invariant_16_technical_contacts_are_shown_no_statement(self):
        models = ["billing.statement", "billing.statement.line"]
        for model in models:
            self.assertTrue(self.env[model].with_user(self.colleague).search([]))
        self.assertIn(self.doc.name, self.get(self.url, "portal_colleague").text)
        self.colleague.partner_id.billing_role_technical = True
        for model in models:
            self.assertFalse(self.env[model].with_user(self.colleague).search([]))
        for url in (self.url, f"{self.url}/pdf", f"{self.url}/xlsx"):
            self.assert_closed(url, "portal_colleague")
        for url in ("/my", "/my/statements"):
            text = self.get(url, "portal_colleague").text
            self.assertNotIn(self.doc.name, text)
            self.assertNotIn("1 statement to confirm", text)
        self.assertIn("error", self.accept("portal_colleague"))
        self.assertEqual(self.doc.state, "sent")


@tagged("post_install", "-at_install")
class TestStatementPages(StatementPortalCommon):
    def test_home_counts_what_to_answer(self):
        self.authenticate("portal_one", "portal_one")
        ask = lambda: self.make_jsonrpc_request("/my/counters", {"counters": ["statement_count"]})  # noqa: E731
        self.assertEqual(ask(), {"statement_count": 1})
        self.assertIn("1 statement to confirm", self.url_open("/my").text)
        self.doc.action_confirm("Ann", note="by phone")
        self.assertNotIn("to confirm", self.url_open("/my").text)
        self.authenticate("portal_two", "portal_two")
        self.assertEqual(ask(), {"statement_count": 0})
        self.assertNotIn("to confirm", self.url_open("/my").text)

    def test_list(self):
        draft = self.statement("2026-02-01", "2026-02-28")
        checked = self.statement("2026-03-01", "2026-03-31")
        checked.action_check()
        foreign = self.sent(partner_id=self.other_customer.id)
        for query in ("", "?sortby=due", "?sortby=balance&filterby=answer", "?sortby=x&filterby=y", "/page/9"):
            text = self.get(f"/my/statements{query}").text
            self.assertIn(self.doc.name, text, query)
            self.assertIn("1,194.50", text)
            for hidden in (draft, checked, foreign):
                self.assertNotIn(hidden.name, text)
        self.assertNotIn(self.doc.name, self.get("/my/statements?filterby=confirmed").text)
        self.assertIn(self.doc.name, self.get("/my/statements", "portal_colleague").text)
        self.assertNotIn(self.doc.name, self.get("/my/statements", "portal_two").text)
        self.assert_closed("/my/statements", None)

    def test_page(self):
        text = self.get(self.url).text
        for expected in (
            self.doc.name, "Please compare with your books", "1,234.50", "1,194.50", "Overdue",
            f"/my/invoices/{self.invoiced.id}", self.paid.name, "Opening balance", "modalaccept",
            f"{self.url}/dispute?line={self.line.id}", "What the columns mean",
        ):  # fmt: skip
            self.assertIn(expected, text)
        self.assertNotIn(f"/my/invoices/{self.paid.id}", text)

    def test_who_sees_a_statement(self):
        for login in ("portal_one", "portal_colleague"):
            self.assertIn(self.doc.name, self.get(self.url, login).text)
        other = self.sent(partner_id=self.other_customer.id)._portal_ensure_token()
        for suffix in ("", "/pdf", "/xlsx", "/dispute", "/ledger", "/files/1"):
            for query in ("", "?access_token=wrong", "?access_token=", f"?access_token={other}"):
                self.assert_closed(f"{self.url}{suffix}{query}", "portal_two")
                self.assert_closed(f"{self.url}{suffix}{query}", None)
        self.assert_closed("/my/statements/999999999", "portal_one")

    def test_only_issued_statements_are_there(self):
        draft = self.statement("2026-02-01", "2026-02-28")
        checked = self.statement("2026-03-01", "2026-03-31")
        checked.action_check()
        withdrawn = self.sent("2025-12-01", "2025-12-31")
        withdrawn.action_cancel()
        for statement in draft | checked | withdrawn:
            token = statement._portal_ensure_token()
            for login in ("portal_one", None):
                for suffix in ("", "/pdf", "/dispute"):
                    self.assert_closed(f"/my/statements/{statement.id}{suffix}?access_token={token}", login)

    def test_link_opens_the_statement_alone(self):
        for login in (None, "portal_two"):
            response = self.get(self.link, login)
            self.assertIn(self.line.number, response.text)
            self.assertNotIn(f"/my/invoices/{self.invoiced.id}", response.text)
            self.assertNotIn("bill is open now", response.text)
            self.assertEqual(self.get(f"{self.url}/pdf?access_token={self.token}", login).status_code, 200)

    def test_opened_by_the_customer_only(self):
        self.get(self.link, "statement_officer")
        self.assertFalse(self.doc.date_opened)
        self.get(self.url + "?access_token=wrong", None)
        self.assertFalse(self.doc.date_opened)
        self.get(self.link, None)
        opened = self.doc.date_opened
        self.assertTrue(opened)
        self.get(self.url)
        self.assertEqual(self.doc.date_opened, opened)

    def test_files_are_those_that_were_issued(self):
        for kind in ("pdf", "xlsx"):
            response = self.get(f"{self.url}/{kind}")
            self.assertEqual(response.content, self.doc._get_file(kind))
            disposition = response.headers["Content-Disposition"]
            self.assertTrue(disposition.startswith("attachment"), disposition)
            self.assertIn(f".{kind}", disposition)
            self.assertEqual(response.headers["X-Content-Type-Options"], "nosniff")

    def test_replaced_statement_leads_to_its_successor(self):
        self.doc._reissue()
        new = self.doc.superseded_by_id
        self.assertIn("A new one is being made", self.get(self.url).text)
        self.assertNotIn(new.name, self.get(self.url).text)
        self.invoice("2026-01-30", 5.0)
        new.action_check()
        if new.state == "draft":
            new.action_check()
        new.action_send()
        text = self.get(self.url).text
        self.assertIn(f'href="/my/statements/{new.id}"', text)
        self.assertNotIn("modalaccept", text)
        self.assertNotIn(f'href="/my/statements/{new.id}"', self.get(self.link, None).text)
        self.assertIn("What changed since", self.get(f"/my/statements/{new.id}").text)

    def test_pay_link_is_for_members(self):
        self.assertIn("One bill is open now", self.get(self.url).text)
        self.assertIn(f"/my/invoices/{self.invoiced.id}?access_token", self.get(self.url).text)
        late = self.invoice("2026-02-01", 10.0)
        text = self.get(self.url).text
        self.assertIn("2 bills are open now", text.replace("<t>", "").replace("</t>", ""))
        installed = self.env["ir.module.module"]._installed()
        own, colleague = "/my/invoices?sortby", "/my/invoices?sortby"
        if "customer_billing_payment" in installed:
            own = colleague = "/my/billing/pay/"
        elif "account_payment" in installed:
            own = "/my/invoices/overdue"
        self.assertIn(own, text)
        self.assertIn(colleague, self.get(self.url, "portal_colleague").text)
        self.pay("2026-02-05", 10.0, invoices=late)
        self.pay("2026-01-25", 1194.5, invoices=self.invoiced)
        self.assertNotIn("open now", self.get(self.url).text)

    def test_message(self):
        """Who may see the page may write to us there; others may not."""

        def post(login, **parameters):
            self.authenticate(login, login)
            return self.make_jsonrpc_request(
                "/mail/message/post",
                {
                    "thread_model": "billing.statement",
                    "thread_id": self.doc.id,
                    "post_data": {"body": "A question", "message_type": "comment"},
                    **parameters,
                },
            )

        self.assertIn(f'data-token="{self.token}"', self.get(self.url).text)
        post("portal_colleague", token=self.token)
        self.assertEqual(self.doc.message_ids[0].author_id, self.colleague.partner_id)
        with self.assertRaises(Exception), mute_logger("odoo.http"):  # noqa: B017
            post("portal_two")

    def test_queries_do_not_grow(self):
        def count(url):
            self.url_open(url)  # caches
            self.env.flush_all()
            before = self.env.cr.sql_log_count
            self.url_open(url)
            return self.env.cr.sql_log_count - before

        self.authenticate("portal_one", "portal_one")
        empty = count("/my")
        one = count("/my/statements")
        for month in range(1, 13):
            self.sent(f"2025-{month:02}-01", f"2025-{month:02}-{monthrange(2025, month)[1]}")
        many = count("/my/statements")
        self.assertLessEqual(many, empty + 15, f"{empty} {one} {many}")
        counts = []
        for number, last, lines in ((2, 28, 10), (3, 31, LINES_PER_PAGE)):
            for i in range(lines):
                self.invoice(f"2026-0{number}-{i % 28 + 1:02}", 10.0 + i)
            doc = self.sent(f"2026-0{number}-01", f"2026-0{number}-{last}")
            self.assertEqual(len(doc.line_ids), lines)
            counts.append(count(f"/my/statements/{doc.id}"))
        self.assertEqual(counts[0], counts[1])

    def test_long_statements_have_pages(self):
        for i in range(LINES_PER_PAGE + 1):
            self.invoice("2026-02-01", 10.0 + i)
        doc = self.sent("2026-02-01", "2026-02-28")
        first, last = doc.line_ids[0], doc.line_ids[-1]
        url = f"/my/statements/{doc.id}"
        for page, shown, hidden in ((url, first, last), (f"{url}/page/2", last, first)):
            text = self.get(page).text
            self.assertIn(shown.number, text)
            self.assertNotIn(hidden.number, text)
        token = doc._portal_ensure_token()
        self.assertIn(f"{url}/page/2?access_token={token}", self.get(f"{url}?access_token={token}", None).text)
        self.assertIn(last.number, self.get(f"{url}/dispute?page=2&line={last.id}").text)


@tagged("post_install", "-at_install")
class TestStatementConfirm(StatementPortalCommon):
    def test_sign(self):
        result = self.accept("portal_colleague", name="  Ann   Signer ")
        self.assertTrue(result["force_refresh"], result)
        self.assertEqual(self.doc.state, "confirmed")
        self.assertEqual(self.doc.confirm_name, "Ann Signer")
        self.assertTrue(self.doc.date_confirmed and self.doc.signature and self.doc.confirm_ip)
        self.assertFalse(self.doc.confirm_user_id)
        self.assertEqual(self.doc.message_ids.filtered("body")[:1].author_id, self.colleague.partner_id)
        text = self.get(result["redirect_url"]).text
        self.assertIn("Thank you.", text)
        self.assertIn("Ann Signer", text)
        self.assertNotIn("modalaccept", text)

    def test_second_click_changes_nothing(self):
        self.accept(name="Ann")
        when, messages = self.doc.date_confirmed, len(self.doc.message_ids)
        self.assertTrue(self.accept(name="Bob")["force_refresh"])
        self.assertEqual((self.doc.confirm_name, self.doc.date_confirmed), ("Ann", when))
        self.assertEqual(len(self.doc.message_ids), messages)

    def test_with_the_link(self):
        self.assertIn("error", self.accept(None))
        self.assertIn("error", self.accept(None, token="wrong"))
        self.assertIn("error", self.accept("portal_two"))
        self.assertEqual(self.doc.state, "sent")
        self.accept(None, token=self.token)
        self.assertEqual(self.doc.state, "confirmed")
        self.assertEqual(self.doc.message_ids.filtered("body")[:1].author_id, self.customer)

    def test_bad_signatures_and_names(self):
        svg = base64.b64encode(b'<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>').decode()
        for values in (
            {"name": ""}, {"name": "   "}, {"name": "x" * 101}, {"signature": ""}, {"signature": "!!"},
            {"signature": svg}, {"signature": "A" * 2_000_000}, {"signature": ["x"]}, {"name": {"a": 1}},
        ):  # fmt: skip
            with self.subTest(values=str(values)[:60]):
                result = self.accept(**values)
                if values.get("name") != {"a": 1}:
                    self.assertIn("error", result)
                    self.assertEqual(self.doc.state, "sent")

    def test_a_signature_that_cannot_be_stored_confirms_nothing(self):
        result = self.accept(signature=png(8000, 7000))  # few bytes, many pixels
        self.doc.invalidate_recordset()
        self.assertEqual((self.doc.state, self.doc.confirm_name), ("sent", False))
        self.assertIn("error", result)

    def test_states_that_came_in_between(self):
        self.doc.action_dispute({"name": "Too much", "line_id": self.line.id, "claimed_amount": 1.0})
        self.assertIn("open objections", self.accept()["error"])
        self.doc.dispute_ids.write({"state": "rejected", "resolution": "Explained"})
        self.doc.action_reissue()
        self.assertIn("newer statement", self.accept()["error"])

    def test_staff_do_not_answer_for_the_customer_here(self):
        text = self.get(self.url, "statement_officer").text
        self.assertIn("Back to edit mode", text)
        self.assertNotIn("modalaccept", text)
        self.assertIn("error", self.accept("statement_officer"))
        self.assertEqual(self.doc.state, "sent")


@tagged("post_install", "-at_install")
class TestStatementDispute(StatementPortalCommon):
    def test_line_missing_and_balance(self):
        form = {
            **self.line_form("1,200.00"),
            **self.line_form("50", self.payment_line),
            "missing": "1", "missing_number": "INV-X", "missing_figure": "-10",
            "balance": "1", "balance_figure": "1,140.00",
        }  # fmt: skip
        answer = self.dispute(form, "portal_colleague", files=[("proof.pdf", b"%PDF-1.4 x", "application/pdf")])
        self.assertIn("message=disputed", answer.json().get("redirect", ""), answer.text)
        disputes = self.doc.dispute_ids.sorted("id")
        self.assertEqual(
            disputes.mapped("claimed_amount"), [1200.0, -50.0, -10.0, 1140.0], "a payment by its bare amount"
        )
        self.assertEqual(disputes.mapped("our_amount"), [1234.5, -40.0, 0.0, 1194.5])
        self.assertEqual([round(amount, 2) for amount in disputes.mapped("amount")], [34.5, 10.0, 10.0, 54.5])
        self.assertEqual(disputes[0].move_id, self.invoiced)
        self.assertEqual(set(disputes.mapped("reason")), {"price"})
        self.assertEqual(disputes.user_id, self.officer)
        self.assertEqual(disputes.activity_ids.user_id, self.officer)
        self.assertEqual(len(disputes.activity_ids), 4)
        self.assertEqual(disputes.attachment_ids.mapped("name"), ["proof.pdf"])
        self.assertEqual(self.doc.state, "disputed")
        self.assertEqual(self.doc.message_ids.filtered("body")[:1].author_id, self.colleague.partner_id)
        text = self.get(self.url).text
        self.assertIn("We agreed on less", text)
        self.assertIn("In progress", text)
        disputes[0].write({"state": "accepted", "resolution": "Credited", "resolution_kind": "credit_note"})
        self.assertIn("Credited", self.get(self.url).text)

    def test_without_script_what_was_typed_stays(self):
        answer = self.dispute(self.line_form("12.345"), description="Our words", json=False)
        self.assertEqual(answer.status_code, 200)
        told = ('value="12.345"', "Our words", "Enter an amount such as", "choose your files again", "<textarea")
        for expected in told:
            self.assertIn(expected, answer.text)
        self.assertFalse(self.doc.dispute_ids)
        answer = self.dispute(self.line_form("12.34"), json=False)
        self.assertEqual(answer.status_code, 303)
        self.assertTrue(urlparse(answer.headers["Location"]).path.endswith(self.url))

    def test_bad_input_is_named_at_its_field(self):
        figure = f"figure_{self.line.id}"
        for values, field in (
            ({}, "what"),
            (self.line_form("abc"), figure),
            (self.line_form(""), figure),
            (self.line_form("1e99"), figure),
            (self.line_form("nan"), figure),
            (self.line_form("1.234.567,89"), figure),
            (self.line_form("1,234.50"), figure),  # ours
            ({"missing": "1", "missing_number": "", "missing_figure": "5"}, "missing_number"),
            ({"missing": "1", "missing_number": "A", "missing_figure": "0"}, "missing_figure"),
            ({"balance": "1", "balance_figure": "1194.50"}, "balance_figure"),
            ({**self.line_form(), "reason": "nonsense"}, "reason"),
            ({**self.line_form(), "reason": ""}, "reason"),
            ({**self.line_form(), "description": " "}, "description"),
            ({**self.line_form(), "description": "x" * 5001}, "description"),
        ):
            with self.subTest(values=str(values)[:80]):
                self.assertIn(field, self.dispute(values).json()["errors"])
        self.assertFalse(self.doc.dispute_ids)

    def test_amounts_in_the_language_of_the_customer(self):
        self.env["res.lang"]._activate_lang("de_DE")
        self.user.lang = "de_DE"
        self.dispute(self.line_form("1.200,50"))
        self.assertEqual(self.doc.dispute_ids.claimed_amount, 1200.5)

    def test_nothing_else_can_be_set(self):
        self.dispute(
            self.line_form(),
            state="accepted", user_id=self.user.id, amount="1", statement_id="1", resolution="yes",
            partner_id=self.other_customer.id, move_id="1", claimed_amount="7", name="Hacked",
        )  # fmt: skip
        dispute = self.doc.dispute_ids
        self.assertEqual(
            (dispute.state, dispute.user_id, dispute.claimed_amount, dispute.name, dispute.partner_id),
            ("open", self.officer, 1200.0, self.line.number, self.customer),
        )
        self.assertFalse(dispute.resolution)

    def test_lines_of_others_are_refused(self):
        self.invoice("2026-01-09", 70.0, partner=self.other_customer)
        foreign = self.sent(partner_id=self.other_customer.id).line_ids
        for name in (f"line_{foreign.id}", "line_x", "line_-1", "line_", "line_99999999999999999999", "line_1 OR 1=1"):
            with self.subTest(name=name):
                form = {**self.line_form(), name: "1", f"figure_{foreign.id}": "5"}
                self.assertIn("not on this statement", self.dispute(form).json()["errors"]["what"])
        self.assertFalse(self.env["billing.dispute"].search([("statement_line_id", "in", (foreign | self.line).ids)]))

    def test_who_may_object(self):
        for login, token in ((None, None), (None, "wrong"), ("portal_two", None)):
            self.dispute(self.line_form(), login, token)
        self.assertFalse(self.doc.dispute_ids)
        self.dispute(self.line_form(), "statement_officer")
        self.assertFalse(self.doc.dispute_ids)
        self.dispute(self.line_form(), None, self.token)
        self.assertEqual(len(self.doc.dispute_ids), 1)
        self.assertEqual(self.doc.message_ids.filtered("body")[:1].author_id, self.customer)

    def test_without_csrf_token(self):
        with mute_logger("odoo.http"):
            self.assertEqual(self.dispute(self.line_form(), csrf=False).status_code, 400)
        self.assertFalse(self.doc.dispute_ids)
        self.authenticate("portal_one", "portal_one")
        with mute_logger("odoo.http"):
            answer = self.url_open(f"{self.url}/ledger", data={}, files={"ledger": ("a.csv", b"a;b")})
        self.assertEqual(answer.status_code, 400)

    def test_twice_is_once(self):
        for form in (
            self.line_form(),
            {"balance": "1", "balance_figure": "5"},
            {"missing": "1", "missing_number": "A", "missing_figure": "5"},
        ):
            self.assertIn("redirect", self.dispute(form).json())
            messages = len(self.doc.message_ids)
            self.assertIn("redirect", self.dispute(form).json(), "a double click is no error")
            self.assertEqual(len(self.doc.message_ids), messages)
            self.assertIn("errors", self.dispute(form, description="Once more").json())
            self.assertIn("errors", self.dispute(form, "portal_colleague").json())
        self.assertEqual(len(self.doc.dispute_ids), 3)
        page = self.dispute(self.line_form(), json=False)
        self.assertEqual(page.status_code, 303)
        self.assertIn("message=disputed", page.headers["Location"])
        more = self.line_form() | self.line_form("50", self.payment_line)
        self.assertIn("errors", self.dispute(more).json(), "half of it is new")
        self.assertEqual(len(self.doc.dispute_ids), 3)

    def test_answered_statements(self):
        self.accept()
        answer = self.dispute(self.line_form())
        self.assertIn("was confirmed", answer.json()["errors"]["what"])
        self.doc.action_reissue()
        self.assertIn("newer statement", self.dispute(self.line_form()).json()["errors"]["what"])
        self.assertTrue(self.get(f"{self.url}/dispute").url.endswith(self.url))

    def test_files(self):
        for files, expected in (
            ([("page.html", b"<script>", "text/html")], "cannot be sent"),
            ([("drawing.svg", b"<svg/>", "image/svg+xml")], "cannot be sent"),
            ([("run.exe", b"MZ", "application/pdf")], "cannot be sent"),
            ([("empty.pdf", b"", "application/pdf")], "is empty"),
            ([("big.pdf", b"x" * (10 * 1024 * 1024 + 1), "application/pdf")], "larger than 10 MB"),
            ([(f"{i}.pdf", b"x", "application/pdf") for i in range(6)], "at most 5"),
        ):
            with self.subTest(files=files[0][0]):
                self.assertIn(expected, self.dispute(self.line_form(), files=files).json()["errors"]["files"])
        self.assertFalse(self.doc.dispute_ids)
        page = b"<html><script>alert(1)</script></html>"
        self.dispute(self.line_form(), files=[("../../x\\note.txt", page, "text/html")])
        file = self.doc.dispute_ids.attachment_ids
        self.assertEqual((file.name, file.mimetype), ("note.txt", "text/plain"))
        self.assertFalse(file.public or file.access_token)
        url = f"{self.url}/files/{file.id}"
        answer = self.get(url)
        self.assertEqual(answer.content, page)
        self.assertTrue(answer.headers["Content-Disposition"].startswith("attachment"))
        self.assertEqual(answer.headers["Content-Type"].split(";")[0], "application/octet-stream")
        self.assertEqual(self.get(f"{url}?access_token={self.token}", None).content, page)
        self.assert_closed(url, "portal_two")
        stored = self.env["ir.attachment"].search(
            [("res_model", "=", "billing.statement"), ("res_field", "=", "pdf"), ("res_id", "=", self.doc.id)]
        )
        own = self.env["ir.attachment"].create({"name": "internal.txt", "raw": b"internal"})
        self.doc.dispute_ids.attachment_ids = [Command.link(own.id)]
        for other in stored | own:
            self.assertEqual(self.get(f"{self.url}/files/{other.id}").status_code, 404)


@tagged("post_install", "-at_install")
class TestStatementLedgerUpload(StatementPortalCommon):
    def upload(self, name, content, login="portal_one", token=None):
        self.authenticate(login, login)
        url = f"{self.url}/ledger" + (f"?access_token={token}" if token else "")
        return self.url_open(
            url,
            data={"csrf_token": Request.csrf_token(self)},
            files={"ledger": (name, content)},
            headers={"Accept-Language": "en-US"},
        )

    def test_upload(self):
        rows = f"Date,Number,Amount\n2026-01-05,{self.invoiced.name},-1234.50\n2026-01-20,P,40.00\n"
        answer = self.upload("ours.csv", rows.encode())
        self.assertIn("Thank you.", answer.text)
        ledger = self.env["billing.statement.match"].search([("statement_id", "=", self.doc.id)])
        self.assertEqual((ledger.state, ledger.file_name), ("matched", "ours.csv"))
        self.assertEqual(self.doc.activity_ids.user_id, self.officer)

    def test_problems_say_row_column_and_what_to_do(self):
        rows = f"Date,Number,Amount\n2026-01-05,{self.invoiced.name},abc\nsoon,P,40.00\n"
        text = self.upload("ours.csv", rows.encode()).text
        self.assertIn("What to do", text)
        self.assertIn("<td>2</td><td>C</td>", text)
        self.assertIn("<td>3</td><td>A</td>", text)

    def test_files_that_are_none(self):
        for name, content, expected in (
            ("a.csv", b"", "not empty"),
            ("a.xlsx", b"PK\x03\x04 broken", ""),
            ("a.pdf", b"%PDF-1.7", ""),
            ("a.csv", b"x" * (10 * 1024 * 1024 + 1), "larger than 10 MB"),
        ):
            with self.subTest(name=name):
                answer = self.upload(name, content)
                self.assertEqual(answer.status_code, 200)
                self.assertIn('id="error_ledger"', answer.text)
                self.assertIn(expected, answer.text)

    def test_who_may_upload(self):
        for login, token in ((None, None), (None, "wrong"), ("portal_two", None), ("statement_officer", None)):
            self.upload("a.csv", b"Date,Number,Amount\n2026-01-05,X,1\n", login, token)
        self.assertFalse(self.env["billing.statement.match"].search([("statement_id", "=", self.doc.id)]))
        self.upload("a.csv", b"Date,Number,Amount\n2026-01-05,X,1\n", None, self.token)
        self.assertTrue(self.env["billing.statement.match"].search([("statement_id", "=", self.doc.id)]))
