import io
import re
from urllib.parse import urlparse

import openpyxl

from odoo import fields
from odoo.exceptions import AccessError
from odoo.http import Request
from odoo.tests import HttpCase, tagged
from odoo.tests.common import JsonRpcException
from odoo.tools import mute_logger

from .test_portal import BillingPortalCommon

MONEY_MODELS = (
    "account.move", "account.move.line", "billing.charge", "billing.dispute", "billing.price.notice",
    "billing.profile.confirmation",
)  # fmt: skip
SERVICE_MODELS = ("billing.contract", "billing.contract.line", "billing.contract.pause", "billing.usage")


@tagged("post_install", "-at_install")
class TestPortalRole(BillingPortalCommon, HttpCase):
    """What contacts of a customer are shown, by their roles."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.customer.is_company = True
        cls.contacts = {
            name: cls.env["res.partner"].create(
                {"name": f"Contact {name}", "parent_id": cls.customer.id, "lang": "en_US",
                 **{f"billing_role_{role}": True for role in roles}}
            )
            for name, roles in {
                "none": (), "technical": ("technical",), "billing": ("billing",), "collection": ("collection",),
                "both": ("billing", "technical"),
            }.items()
        }  # fmt: skip
        cls.logins = {name: cls.new_portal(contact, f"role_{name}") for name, contact in cls.contacts.items()}
        cls.logins["customer"] = cls.user
        cls.technical = cls.logins["technical"]
        meter = cls.env["billing.meter"].create({"name": "Water", "code": "WATER"})
        metered = cls.new_contract(
            fields.Date.subtract(fields.Date.today(), days=3),
            [{"charge_type": "usage", "meter_id": meter.id, "price_unit": 1.0}],
        )
        cls.usage = cls.env["billing.usage"].create(
            {"contract_line_id": metered.line_ids.id, "quantity": 3, "timestamp": fields.Datetime.now()}
        )
        cls.company.billing_approval = False
        revision = cls.env["billing.price.revision"].create({"name": "More", "percent": 3.0, "date": "2060-01-01"})
        revision.action_compute()
        revision.action_notify()
        cls.notice = revision.notice_ids.filtered(lambda notice: notice.partner_id == cls.customer)
        cls.notice.action_letter()
        cls.profile = cls.env["billing.profile.confirmation"]._ask(cls.customer, cls.company)
        cls.metered = metered

    def get(self, url, login):
        self.authenticate(login, login)
        return self.url_open(url, headers={"Accept-Language": "en-US"})

    def test_who_is_shown_bills(self):
        self.customer.billing_role_technical = True  # the customer itself
        shown = {name for name, user in self.logins.items() if user._sees_bills()}
        self.assertEqual(shown, {"none", "billing", "collection", "both", "customer"})
        staff = self.new_staff("officer", login="role_staff")
        staff.partner_id.write({"parent_id": self.customer.id, "billing_role_technical": True})
        self.assertTrue(staff._sees_bills())
        self.assertTrue(self.env.ref("base.public_user").sudo()._sees_bills())

    def test_invariant_16_records_by_role(self):
        for model in (*MONEY_MODELS, *SERVICE_MODELS):
            seen = {
                name: self.env[model].with_user(user).search([], order="id").sudo()
                for name, user in self.logins.items()
            }
            for name, found in seen.items():
                with self.subTest(model=model, role=name):
                    closed = name == "technical" and model in MONEY_MODELS
                    self.assertTrue(found or closed)
                    self.assertEqual(found, seen["customer"].browse() if closed else seen["customer"])
        move = self.move.with_user(self.technical)
        for read in (
            lambda: move.read(["amount_total"]),
            lambda: move.invoice_line_ids.read(["price_total"]),
            lambda: move.get_portal_url(),
            lambda: move.message_ids.read(["body"]) if move.message_ids else move.check_access("read"),
        ):
            with self.assertRaises(AccessError):
                read()
        self.assertFalse(self.contract.with_user(self.technical).charge_ids.ids)

    def test_invariant_16_every_model_of_customers_is_decided(self):
        """A model that customers read is about the service, or closed by role; also those of other modules."""
        portal = self.env.ref("base.group_portal")
        access = self.env["ir.model.access"].search(
            [("group_id", "=", portal.id), ("model_id.model", "=like", "billing.%")]
        )
        rules = self.env["ir.rule"].search([("groups", "=", False), ("domain_force", "like", "_sees_bills")])
        terms = {"billing.plan", "billing.close.reason", "billing.meter"}  # requests: one's own
        self.assertEqual(set((access.model_id - rules.model_id).mapped("model")), {*SERVICE_MODELS, *terms})

    def test_invariant_16_over_rpc(self):
        call = {"model": "account.move", "method": "search_read", "args": [[], ["name"]], "kwargs": {}}
        for name, expected in (("technical", 0), ("collection", 1)):
            self.authenticate(f"role_{name}", f"role_{name}")
            found = self.make_jsonrpc_request("/web/dataset/call_kw", call)
            self.assertEqual(len(found), expected)
        self.authenticate("role_technical", "role_technical")
        with mute_logger("odoo.http"), self.assertRaises(JsonRpcException):
            self.make_jsonrpc_request(
                "/web/dataset/call_kw", {**call, "method": "read", "args": [self.move.ids, ["amount_total"]]}
            )

    def test_a_role_that_is_given_or_taken_counts_at_once(self):
        moves = self.env["account.move"].with_user(self.technical)
        self.assertFalse(moves.search_count([]))
        self.contacts["technical"].billing_role_collection = True
        self.assertTrue(moves.search_count([]))
        self.contacts["technical"].billing_role_collection = False
        self.assertFalse(moves.search_count([]))
        self.contacts["technical"].billing_role_technical = False
        self.assertTrue(moves.search_count([]))

    def test_invariant_16_pages_by_role(self):
        payment = self.env["account.payment"].create(
            {"amount": 7.77, "partner_id": self.customer.id, "payment_type": "inbound", "partner_type": "customer",
             "memo": "Transfer of the first", "journal_id": self.company_data["default_journal_bank"].id}
        )  # fmt: skip
        payment.action_post()
        dispute = self.disputes[0]
        money = {  # page: what is on it for those who are shown bills
            "/my": "1 bill is overdue",
            "/my/invoices": self.move.name,
            f"/my/invoices/{self.move.id}": self.move.name,
            f"/my/invoices/{self.move.id}/dispute": self.move.name,
            f"/my/contracts/{self.contract.id}/bills": self.move.name,
            f"/my/contracts/{self.contract.id}": self.move.name,
            "/my/payments": "Transfer of the first",
            "/my/spending": "Seat",
            "/my/disputes": dispute.name,
            f"/my/disputes/{dispute.id}": dispute.name,
            f"/my/price-changes/{self.notice.id}": "103.00",
            f"/my/billing/profile/{self.profile.id}": "Bank Account",
        }
        service = {
            "/my/contracts": self.contract.name,
            f"/my/contracts/{self.contract.id}": "Seat of the first",
            "/my/usage": self.usage.contract_line_id.contract_id.name,
            f"/my/contracts/{self.usage.contract_line_id.contract_id.id}/usage": "Water",
        }
        for login, shown, hidden in (("role_collection", money, {}), ("role_technical", service, money)):
            self.authenticate(login, login)
            for url in shown | hidden:
                text = self.url_open(url, headers={"Accept-Language": "en-US"}).text
                with self.subTest(login=login, url=url):
                    if url in shown:
                        self.assertIn(shown[url], text)
                    if url in hidden:
                        self.assertNotIn(hidden[url], text)
        response = self.get(f"/my/invoices/{self.move.id}?report_type=pdf&download=true", "role_technical")
        self.assertNotEqual(response.headers["Content-Type"], "application/pdf")
        for url in ("/my/invoices/xlsx", "/my/spending/xlsx"):
            sheet = openpyxl.load_workbook(io.BytesIO(self.get(url, "role_technical").content)).active
            self.assertEqual(sheet.max_row, 1, "the headings alone")
        page = self.get("/my", "role_technical").text
        for text in ("Balance", "Next bill", "Please confirm your details", "Prices change on"):
            self.assertNotIn(text, page)
        self.assertNotIn("contract_next_bill", self.get(f"/my/contracts/{self.contract.id}", "role_technical").text)

    def test_invariant_16_prices_of_contracts_are_money(self):
        line = self.contract.line_ids[0]
        usage = self.usage.with_user(self.technical)
        self.assertEqual(usage.quantity, 3)
        for name, user in self.logins.items():
            own, contract = line.with_user(user), self.contract.with_user(user)
            self.assertEqual(own.read(["name", "quantity", "date_start"])[0]["quantity"], line.quantity)
            reads = [
                *((own.read, [field]) for field in line._billing_money),
                *((own.search, [(field, "!=", False)]) for field in ("price_unit", "discount")),
                (usage.with_user(user).search, [("contract_line_id.price_unit", ">", 0)]),
                (own.formatted_read_group, [], [], ["price_unit:sum"]),
                (contract.read, ["access_token"]),
            ]
            for method, *arguments in reads:
                with self.subTest(login=name, arguments=arguments):
                    if name == "technical":
                        self.assertRaises(AccessError, method, *arguments)
                    else:
                        method(*arguments)
        for record in (line, self.contract, self.usage):
            readable = record.with_user(self.technical).fields_get()
            names = [name for name, field in record._fields.items() if name in readable and not field.relational]
            names = [name for name in names if record._fields[name].store]
            values = record.with_user(self.technical).read(names)[0]
            kinds = {record._fields[name].type for name in values}
            self.assertFalse(kinds & {"monetary", "json"})
            self.assertNotIn("100.0", str(values))
        with self.assertRaises(AccessError):
            self.contract.with_user(self.technical).simulate("2060-01-01")
        self.assertTrue(self.contract._portal_ensure_token())
        self.assertEqual(self.contract.with_user(self.technical)._portal_ensure_token(), "")
        self.assertNotIn(self.contract.access_token, self.contract.with_user(self.technical).get_portal_url())
        self.assertIn(self.contract.access_token, self.contract.with_user(self.user).get_portal_url())

    def test_invariant_16_pages_of_contracts_without_money(self):
        token = self.contract._portal_ensure_token()
        metered = self.usage.contract_line_id.contract_id
        pages = {
            f"/my/contracts/{self.contract.id}": ("100.00", "What you pay for", token, self.move.name),
            f"/my/contracts/{metered.id}": ("3.00", "1.00"),
            "/my/usage": ("3.00",),
            f"/my/contracts/{metered.id}/usage": ("3.00",),
        }
        for login in ("role_collection", "role_technical"):
            self.authenticate(login, login)
            for url, texts in pages.items():
                page = self.url_open(url, headers={"Accept-Language": "en-US"}).text
                for text in texts:
                    with self.subTest(login=login, url=url, text=text):
                        (self.assertIn if login == "role_collection" else self.assertNotIn)(text, page)
                if login == "role_technical":
                    self.assertNotIn("$", page.split("<main>")[1])
        self.assertIn("Seat of the first", self.get(f"/my/contracts/{self.contract.id}", "role_technical").text)
        self.assertEqual(urlparse(self.get("/my/prices", "role_technical").url).path, "/my")

    def test_invariant_16_contract_as_pdf_without_money(self):
        for name, shown in (("technical", False), ("collection", True)):
            text = self.get(f"/my/contracts/{self.contract.id}?report_type=pdf", f"role_{name}").text  # HTML in tests
            self.assertIn("Partial periods", text)
            self.assertIn("Seat of the first", text)
            (self.assertIn if shown else self.assertNotIn)("100.00", text)
        self.authenticate("role_technical", "role_technical")
        text = self.url_open(f"/report/html/customer_billing.report_contract/{self.contract.id}").text
        self.assertNotIn("100.00", text)

    def test_invariant_16_changes_without_money(self):
        plan = self.contract.plan_id
        plan.write({"self_quantity": "direct", "self_switch": "direct", "self_close": "direct", "self_pause": "direct"})
        contract = self.new_contract("2026-01-01", [{"name": "Seats", "quantity": 2, "price_unit": 111.0}])
        requests = self.env["billing.request"]
        kinds = requests.with_user(self.technical).sudo()._get_kinds(contract)
        self.assertEqual(set(kinds.values()), {"request"})
        self.assertNotIn("switch", kinds)
        self.assertIn("direct", requests.with_user(self.user).sudo()._get_kinds(contract).values())
        url = f"/my/contracts/{contract.id}/change/quantity"
        self.authenticate("role_technical", "role_technical")
        form = {"line_id": str(contract.line_ids.id), "quantity": "5", "csrf_token": Request.csrf_token(self)}
        form["date"] = str(requests.sudo()._get_first_date(contract, "quantity"))
        page = self.url_open(url, data=form).text
        self.assertIn("Send the request", page)
        for text in ("111", "222", "555", "What you will be billed", "$"):
            self.assertNotIn(text, page.split("<main>")[1])
        answer = self.url_open(url, data={**form, "confirm": "1", "shown": "unseen"})
        made = requests.search([("contract_id", "=", contract.id)])
        self.assertEqual((made.state, made.requester_id), ("requested", self.technical.partner_id))
        self.assertIn("Seats: 2 → 5", answer.text)
        self.assertNotIn("$", answer.text.split("<main>")[1])
        self.assertGreater(made.amount_after, made.amount_before)
        own = made.with_user(self.technical)
        self.assertEqual(own.read(["summary", "state"])[0]["state"], "requested")
        for name in made._billing_money:
            self.assertRaises(AccessError, own.read, [name])
        self.assertTrue(made.with_user(self.user).read(list(made._billing_money)))
        made.sudo().requester_id = self.customer
        self.assertFalse(own.search([]), "those of others may speak of money")

    def test_messages_without_a_key(self):
        page = self.get(f"/my/contracts/{self.contract.id}", "role_technical").text
        found = re.search(r'data-hash="(\w+)"', page) or re.search(r'"hash": ?"(\w+)"', page)
        self.assertTrue(found)
        self.make_jsonrpc_request(
            "/mail/message/post",
            {"thread_model": "billing.contract", "thread_id": self.contract.id,
             "post_data": {"body": "The meter is broken"}, "hash": found.group(1),
             "pid": self.technical.partner_id.id},
        )  # fmt: skip
        message = self.contract.message_ids[0]
        self.assertEqual((message.author_id, "broken" in message.body), (self.technical.partner_id, True))

    def test_a_link_with_a_token_opens_its_bill(self):
        link = f"/my/invoices/{self.move.id}?access_token={self.move._portal_ensure_token()}"
        self.assertIn(self.move.name, self.get(link, "role_technical").text)

    def test_invariant_10_the_rule_costs_no_statement(self):
        def count(login):
            moves = self.env["account.move"].with_user(self.logins[login])
            moves.search([])
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            moves.search([])
            return self.env.cr.sql_log_count - before

        self.assertLessEqual(count("technical"), count("none"))
        self.assertEqual(count("billing"), count("none"))
