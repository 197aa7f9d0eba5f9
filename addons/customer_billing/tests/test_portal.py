from urllib.parse import urlparse

from lxml import html

from odoo.exceptions import AccessError
from odoo.tests import HttpCase, tagged
from odoo.tests.common import JsonRpcException
from odoo.tools import mute_logger

from .common import BillingCommon

BILLING_MODELS = (
    "billing.contract",
    "billing.contract.line",
    "billing.contract.pause",
    "billing.charge",
    "billing.dispute",
)
STAFF_MODELS = ("billing.run", "billing.run.line", "billing.price", "billing.price.bracket")


class BillingPortalCommon(BillingCommon):
    """Two customers, each with a portal user, a contract and a posted bill."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        (cls.customer | cls.other_customer).lang = "en_US"
        cls.user = cls.new_portal(cls.customer, "portal_one")
        cls.other_user = cls.new_portal(cls.other_customer, "portal_two")
        cls.officer = cls.new_staff("officer", login="officer_of_contracts")
        cls.contract = cls.new_contract(
            "2026-01-15",
            lines=[
                {"quantity": 3, "name": "Seat of the first"},
                {"name": "Seat from February", "date_start": "2026-02-01", "discount": 10.0},
            ],
            client_ref="PO-4711",
            officer_id=cls.officer.id,
        )
        cls.other_contract = cls.new_contract(
            "2026-01-15",
            lines=[{"name": "Seat of the second"}],
            partner_id=cls.other_customer.id,
        )
        cls.contracts = cls.contract | cls.other_contract
        for contract in cls.contracts:
            contract.pause_ids = [(0, 0, {"date_from": "2026-02-20", "date_to": "2099-02-28", "reason": "unpaid"})]
        cls.bill("2026-02-15", cls.contracts)
        cls.move = cls.contract.move_ids
        cls.other_move = cls.other_contract.move_ids
        cls.disputes = cls.env["billing.dispute"].create(
            [
                {"name": "Too much", "move_id": move.id, "resolution": "Discount agreed"}
                for move in cls.move | cls.other_move
            ]
        )


@tagged("post_install", "-at_install")
class TestPortalAccess(BillingPortalCommon):
    """What a portal user gets over RPC: his own documents, to read."""

    def _records(self, model, contract):
        if model == "billing.contract":
            return contract
        if model == "billing.dispute":
            return self.disputes.filtered(lambda d: d.move_id in contract.move_ids)
        return self.env[model].search([("contract_id", "=", contract.id)])

    def test_own_records_are_readable(self):
        for model in BILLING_MODELS:
            with self.subTest(model=model):
                found = self.env[model].with_user(self.user).search([])
                self.assertTrue(found)
                self.assertEqual(found.sudo(), self._records(model, self.contract).sudo())
                self.assertTrue(found.read(["display_name"]))
        self.assertEqual(self.env["account.move"].with_user(self.user).search([]), self.move)

    def test_a_customer_of_two_companies_sees_both(self):
        other = self.setup_other_company()["company"]
        colleague = self.env["res.partner"].create({"name": "Colleague", "parent_id": self.customer.id})
        self.assertNotIn(other, self.user.company_ids)
        plan = self.plan.copy({"company_id": False})
        contract = self.new_contract("2026-01-01", company_id=other.id, plan_id=plan.id)
        self.assertIn(other, self.user.company_ids)
        self.assertNotIn(other, self.other_user.company_ids)
        found = self.env["billing.contract"].with_user(self.user).search([])
        self.assertEqual(found.sudo(False), (self.contract | contract).with_user(self.user))
        colleague.email = "colleague@example.com"
        wizard = self.env["portal.wizard"].create({"partner_ids": colleague.ids})
        wizard.user_ids.action_grant_access()
        self.assertEqual(colleague.user_ids.company_ids, self.company | other)

    def test_logins_that_were_there_before_see_all_companies(self):
        other = self.setup_other_company()["company"]
        branch = self.env["res.partner"].create({"name": "Branch", "is_company": True, "parent_id": self.customer.id})
        plan = self.plan.copy({"company_id": False})
        contract = self.new_contract("2026-01-01", company_id=other.id, plan_id=plan.id, partner_id=branch.id)
        (self.user | self.other_user).company_ids = self.company  # as before contracts opened companies
        self.env["res.partner"]._open_all_billing_companies()
        self.assertEqual(self.user.company_ids, self.company | other)
        self.assertEqual(self.other_user.company_ids, self.company)
        self.assertTrue(contract.with_user(self.user).has_access("read"))
        self.user.company_ids = self.company
        with self.in_job():
            self.env["billing.contract"]._cron_refresh_states()  # every night
        self.assertIn(other, self.user.company_ids)
        officer = self.new_staff("officer", login="companies_officer")
        officer.partner_id.parent_id = self.customer
        with self.assertQueryCount(1):
            self.env["res.partner"]._open_all_billing_companies()
        self.assertEqual(officer.company_ids, self.company, "staff are given companies by hand")

    def test_invariant_16_settings_are_for_staff(self):
        names = [name for name in self.env["res.company"]._fields if name.startswith("billing_")]
        self.assertGreater(len(names), 10)
        company = self.company.with_user(self.user)
        self.assertFalse(set(names) & company.fields_get().keys())
        for name in names:
            with self.subTest(name=name):
                self.assertRaises(AccessError, company.read, [name])
                value = self.company[name] if company._fields[name].type == "selection" else False
                self.assertRaises(AccessError, company.search, [(name, "=", value)])
        self.assertTrue(self.company.with_user(self.new_staff(login="settings_staff")).read(names))

    def test_records_of_another_customer_are_not(self):
        for model in BILLING_MODELS:
            records = self._records(model, self.contract).with_user(self.other_user)
            self.assertTrue(records)
            with self.subTest(model=model):
                self.assertFalse(records.search([("id", "in", records.ids)]))
                self.assertFalse(records.search_count([("id", "in", records.ids)]))
                with self.assertRaises(AccessError):
                    records.read(["display_name"])
        moves = self.move.with_user(self.other_user)
        self.assertFalse(moves.search([("id", "in", moves.ids)]))
        self.assertFalse(
            moves.search([("billing_contract_ids", "in", self.contract.ids)]),
        )
        with self.assertRaises(AccessError):
            moves.read(["amount_total"])
        with self.assertRaises(AccessError):
            moves.invoice_line_ids.read(["name"])

    def test_nothing_can_be_changed(self):
        for user in (self.user, self.other_user):
            for model in BILLING_MODELS:
                records = self._records(model, self.contract).with_user(user)
                with self.subTest(model=model, user=user.login):
                    with self.assertRaises(AccessError):
                        records.write({"write_date": "2026-01-01"})
                    with self.assertRaises(AccessError):
                        records.unlink()
                    with self.assertRaises(AccessError):
                        records.create({})
            with self.assertRaises(AccessError):
                self.move.with_user(user).write({"ref": "mine"})

    def test_staff_records_are_closed(self):
        for model in STAFF_MODELS:
            records = self.env[model].with_user(self.user)
            with self.subTest(model=model), self.assertRaises(AccessError):
                records.search([])

    def test_buttons_are_closed(self):
        contract = self.contract.with_user(self.user)
        for method, arguments in (
            ("action_pause", ("2026-03-01",)),
            ("action_resume", ("2026-03-01",)),
            ("action_close", ("2026-03-01",)),
            ("action_bill_now", ()),
        ):
            with self.subTest(method=method), self.assertRaises(AccessError):
                getattr(contract, method)(*arguments)
        with self.assertRaises(AccessError):
            self.move.with_user(self.user).action_billing_deliver()
        with self.assertRaises(AccessError):
            self.disputes[0].with_user(self.user).action_accept()

    def test_drafts_and_internal_fields_are_hidden(self):
        self.new_contract("2026-01-01", activate=False)
        draft_run = self.bill("2026-03-20", self.new_contract("2026-03-01"), post=False)
        self.assertTrue(draft_run.move_ids)
        found = self.env["billing.contract"].with_user(self.user).search([])
        self.assertNotIn("draft", found.sudo().mapped("state"))
        charges = self.env["billing.charge"].with_user(self.user).search([])
        self.assertEqual(charges.sudo().move_id, self.move)
        contract = self.contract.with_user(self.user)
        for name in ("mrr", "officer_id", "journal_id", "pricelist_id", "move_ids"):
            with self.subTest(field=name), self.assertRaises(AccessError):
                contract.read([name])


@tagged("post_install", "-at_install")
class TestPortalPages(BillingPortalCommon, HttpCase):
    """The pages of the portal, with a login and with a link."""

    def _get(self, url, login="portal_one"):
        self.authenticate(login, login)
        return self.url_open(url, headers={"Accept-Language": "en-US"})

    def _assert_no_access(self, url, login):
        """The reader ends on his own start page, or has to log in first."""
        response = self._get(url, login)
        self.assertEqual(response.status_code, 200)
        path = urlparse(response.url).path
        self.assertTrue(path.endswith("/my" if login else "/web/login"), f"{url}: {response.url}")
        self.assertNotIn(self.contract.name, response.text)
        self.assertNotIn(self.move.name, response.text)

    def test_titles_and_language_for_screen_readers(self):
        self.authenticate("portal_one", "portal_one")
        contract = f"/my/contracts/{self.contract.id}"
        urls = [
            "/my/contracts", contract, f"{contract}/usage", f"{contract}/bills", f"{contract}/change/close",
            "/my/usage", "/my/spending", "/my/prices", "/my/invoices", "/my/payments", "/my/requests", "/my/disputes",
            f"/my/invoices/{self.move.id}/dispute", "/my/billing/profile",
        ]  # fmt: skip
        for url in urls:
            with self.subTest(url=url):
                response = self.url_open(url, headers={"Accept-Language": "en-US"})
                self.assertEqual(response.history, [])
                page = html.fromstring(response.text)
                self.assertEqual(page.get("lang"), "en-US")
                levels = [int(heading.tag[1]) for heading in page.xpath("//main//*[re:test(local-name(), '^h[1-6]$')]",
                          namespaces={"re": "http://exslt.org/regular-expressions"})]  # fmt: skip
                self.assertEqual(levels.count(1), 1)
                levels = levels[levels.index(1):]
                self.assertFalse([pair for pair in zip(levels, levels[1:], strict=False) if pair[1] > pair[0] + 1])
        home = html.fromstring(self.url_open("/my").text)
        pictures = home.xpath("//div[contains(@class, 'o_portal_icon')]/img")
        self.assertEqual({picture.get("alt") for picture in pictures}, {""})

    def test_invariant_16_settings_over_rpc(self):
        self.authenticate("portal_one", "portal_one")
        call = {"model": "res.company", "method": "read", "args": [self.company.ids, ["billing_mails_per_hour"]]}
        with mute_logger("odoo.http"), self.assertRaises(JsonRpcException):
            self.make_jsonrpc_request("/web/dataset/call_kw", {**call, "kwargs": {}})

    def test_home_counts_contracts(self):
        response = self._get("/my")
        self.assertEqual(response.status_code, 200)
        self.assertIn("/my/contracts", response.text)
        for login in ("portal_one", "portal_two"):
            self.authenticate(login, login)
            counters = self.make_jsonrpc_request("/my/counters", {"counters": ["contract_count"]})
            self.assertEqual(counters["contract_count"], 1)

    def test_list(self):
        for sortby in ("date", "name", "next", "state", "nonsense"):
            response = self._get(f"/my/contracts?sortby={sortby}")
            self.assertEqual(response.status_code, 200)
            self.assertIn(self.contract.name, response.text)
            self.assertIn("Seat of the first", response.text)
            self.assertIn("Every month, in advance", response.text)
            self.assertNotIn(self.other_contract.name, response.text)

    def test_list_is_empty_without_contracts(self):
        partner = self.env["res.partner"].create({"name": "Nobody", "lang": "en_US"})
        self.new_portal(partner, "portal_nobody")
        response = self._get("/my/contracts", "portal_nobody")
        self.assertEqual(response.status_code, 200)
        self.assertIn("You have no contracts", response.text)

    def test_contract_page(self):
        response = self._get(f"/my/contracts/{self.contract.id}")
        self.assertEqual(response.status_code, 200)
        for text in (
            self.contract.name,
            "Every month, in advance",
            "Seat of the first",
            "PO-4711",
            "Not charged from",
            self.move.name,
            self.contract.user_id.name,
        ):
            self.assertIn(text, response.text)
        for text in ("unpaid", "officer_of_contracts", "Seat of the second"):
            self.assertNotIn(text, response.text)

    def test_contract_page_of_staff(self):
        self.officer.write({"password": "officer_of_contracts", "lang": "en_US"})
        response = self._get(f"/my/contracts/{self.contract.id}", "officer_of_contracts")
        self.assertEqual(response.status_code, 200)
        self.assertIn("Back to edit mode", response.text)

    def test_bills_of_a_contract(self):
        response = self._get(f"/my/contracts/{self.contract.id}/bills")
        self.assertEqual(response.status_code, 200)
        self.assertIn(self.move.name, response.text)
        self.assertNotIn(f"/my/invoices/{self.other_move.id}", response.text)
        self._assert_no_access(f"/my/contracts/{self.contract.id}/bills", "portal_two")

    def test_pages_of_another_customer_redirect(self):
        urls = (f"/my/contracts/{self.contract.id}", f"/my/invoices/{self.move.id}")
        token = self.other_contract._portal_ensure_token()
        self.contract._portal_ensure_token()
        self.move._portal_ensure_token()
        for url in urls:
            for query in ("", "?access_token=wrong", f"?access_token={token}", "?access_token="):
                self._assert_no_access(url + query, "portal_two")
                self._assert_no_access(url + query, None)
            for report_type in ("html", "pdf"):
                self._assert_no_access(f"{url}?report_type={report_type}", "portal_two")
        self._assert_no_access("/my/contracts/999999999", "portal_one")

    def test_rpc_of_another_customer(self):
        self.authenticate("portal_two", "portal_two")
        for model in BILLING_MODELS:
            rows = self.make_jsonrpc_request(
                f"/web/dataset/call_kw/{model}/search_read",
                {
                    "model": model,
                    "method": "search_read",
                    "args": [[("company_id", "=", self.company.id)], ["display_name"]],
                    "kwargs": {},
                },
            )
            own = self.env[model].with_user(self.other_user).search([])
            self.assertEqual({row["id"] for row in rows}, set(own.ids), model)
            mine = self.env[model].with_user(self.user).search([])
            self.assertFalse(set(mine.ids) & {row["id"] for row in rows}, model)

    def test_link_opens_the_contract_alone(self):
        response = self._get(self.contract.get_portal_url(), None)
        self.assertEqual(response.status_code, 200)
        self.assertIn("Seat of the first", response.text)
        self.assertNotIn(self.move.name, response.text)
        response = self._get(self.contract.get_portal_url(), "portal_two")
        self.assertEqual(response.status_code, 200)
        self.assertNotIn(self.move.name, response.text)

    def test_link_opens_the_bill(self):
        response = self._get(self.move.get_portal_url(), None)
        self.assertEqual(response.status_code, 200)
        self.assertIn("Why this amount", response.text)

    def test_bill_page(self):
        response = self._get(f"/my/invoices/{self.move.id}")
        self.assertEqual(response.status_code, 200)
        for text in (
            "Why this amount",
            "Seat of the first",
            "01/15/2026",
            "02/14/2026",
            "14 of 31 days",
            self.contract.name,
        ):
            self.assertIn(text, response.text)
        for line in self.move.invoice_line_ids.tax_ids:
            self.assertIn(line.tax_label, response.text)

    def test_prices_keep_their_decimals(self):
        contract = self.new_contract(
            "2026-01-15",
            lines=[{"name": "Message", "quantity": 1000, "price_unit": 0.0125}],
        )
        move = self.bill("2026-01-15", contract).move_ids
        for url in (f"/my/contracts/{contract.id}", f"/my/invoices/{move.id}"):
            response = self._get(url)
            self.assertIn("0.0125", response.text)
            self.assertIn("12.50", response.text)

    def test_bill_without_run_has_no_explanation(self):
        move = self.init_invoice("out_invoice", partner=self.customer, amounts=[10.0], taxes=[], post=True)
        response = self._get(f"/my/invoices/{move.id}")
        self.assertEqual(response.status_code, 200)
        self.assertNotIn("Why this amount", response.text)

    def test_message(self):
        """Who may see the page may write to us there; others may not."""

        def post(login, **parameters):
            self.authenticate(login, login)
            return self.make_jsonrpc_request(
                "/mail/message/post",
                {
                    "thread_model": "billing.contract",
                    "thread_id": self.contract.id,
                    "post_data": {"body": "A question", "message_type": "comment"},
                    **parameters,
                },
            )

        page = self._get(f"/my/contracts/{self.contract.id}").text
        self.assertIn(f'data-token="{self.contract.access_token}"', page)
        post("portal_one", token=self.contract.access_token)
        message = self.contract.message_ids[0]
        self.assertEqual(message.author_id, self.customer)
        with self.assertRaises(Exception), mute_logger("odoo.http"):  # noqa: B017
            post("portal_two")


@tagged("post_install", "-at_install")
class TestPlanInWords(BillingPortalCommon, HttpCase):
    """The terms of a plan as the customer reads them."""

    def test_sentences(self):
        self.authenticate("portal_one", "portal_one")
        for values, expected in (
            ({"interval": 3, "timing": "arrears"}, ["Every 3 months, in arrears"]),
            ({"interval_unit": "year"}, ["Every year, in advance"]),
            ({"interval": 2, "interval_unit": "week"}, ["Every 2 weeks, in advance"]),
            ({"interval_unit": "day"}, ["Every day, in advance"]),
            ({"anchor": "month_end"}, ["To the end of a calendar month"]),
            ({"anchor": "day", "anchor_day": 30}, ["From day 30 of a month"]),
            (
                {"renewal": "auto", "notice_days": 45, "description": "Service from 8 to 18."},
                ["1 year, renewed by itself unless ended 45 days before", "Service from 8 to 18."],
            ),
            ({"renewal": "manual", "term_interval": 6, "term_unit": "month"}, ["6 months, not"]),
        ):
            plan = self.env["billing.plan"].create({"name": "Words", **values})
            contract = self.new_contract("2026-01-01", plan_id=plan.id)
            response = self.url_open(f"/my/contracts/{contract.id}")
            for text in expected:
                self.assertIn(text, response.text)
