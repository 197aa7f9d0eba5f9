from odoo import Command
from odoo.exceptions import UserError
from odoo.tests import tagged

from .common import BillingCommon


@tagged("post_install", "-at_install")
class TestDataQuality(BillingCommon):
    """What is looked at before a contract is activated."""

    def draft(self, partner=None, **values):
        return self.new_contract("2026-01-01", activate=False, partner_id=(partner or self.customer).id, **values)

    def find(self, contracts):
        """{code: message} of what the checks find."""
        findings = self.env["billing.check"]._run_contract_checks(contracts)
        return {check.code: message for (_contract, check), message in findings.items()}

    def set_severity(self, code, severity):
        self.env.ref(f"customer_billing.billing_check_{code}").severity = severity

    def test_good_customers_are_activated_at_once(self):
        contract = self.draft()
        self.assertEqual(self.find(contract), {})
        self.assertIs(contract.with_context(billing_ask=True).action_activate(), True)
        self.assertEqual(contract.state, "active")

    def test_email(self):
        contact = self.env["res.partner"].create(
            {"name": "Desk", "parent_id": self.customer.id, "type": "invoice", "email": "desk@customer"}
        )
        found = self.find(self.draft())
        self.assertIn("“desk@customer” of Customer One, Desk is no e-mail address", found["contract_email"])
        contact.email = False
        self.customer.email = False
        self.assertIn("gets bills by e-mail and has no address", self.find(self.draft())["contract_email"])
        self.customer.with_company(self.company).billing_channel = "post"
        self.assertEqual(self.find(self.draft()), {})

    def test_phone(self):
        self.customer.phone = "ask Ann"
        self.assertIn("“ask Ann” of Customer One", self.find(self.draft())["contract_phone"])
        self.customer.phone = "+86 21 5555 0100"
        self.assertEqual(self.find(self.draft()), {})

    def test_vat_by_country(self):
        for country, number, good in (
            ("base.be", "BE0477472701", True),
            ("base.be", "0477 47 27 01", True),
            ("base.be", "BE0477472702", False),
            ("base.de", "DE123456788", True),
            ("base.de", "DE123456789", False),
            ("base.cn", "91110000600037341L", True),
            ("base.cn", "91110000600037341M", False),
            ("base.us", "anything", True),
            ("base.de", "/", True),
            ("base.de", False, True),
        ):
            self.customer.with_context(no_vat_validation=True).write(
                {"country_id": self.env.ref(country).id, "vat": number}
            )
            with self.subTest(country=country, number=number):
                self.assertEqual("contract_vat" not in self.find(self.draft()), good)

    def test_duplicates_by_tax_number_mail_and_name(self):
        twin = self.other_customer
        for mine, theirs, reason in (
            ({"vat": "DE 123.456.788"}, {"vat": "de123456788"}, "the same tax number"),
            ({"email": "One@Customer.example"}, {"email": "Ann <one@customer.example>"}, "the same e-mail address"),
            ({"name": "Blue-Sky, Inc."}, {"name": "BLUE SKY INC"}, "the same name"),
            ({"name": "上海 明远（科技）有限公司"}, {"name": "上海明远科技有限公司"}, "the same name"),
        ):
            with self.subTest(reason=reason, mine=mine), self.env.cr.savepoint() as savepoint:
                self.customer.write(mine)
                twin.write(theirs)
                message = self.find(self.draft())["contract_duplicate"]
                self.assertIn(f"{twin.name} ({reason})", message)
                self.assertIn("Merge", message)
                savepoint.rollback()
                self.env.invalidate_all()
        self.assertEqual(self.find(self.draft()), {})

    def test_what_is_no_duplicate(self):
        self.env["res.partner"].create(
            [
                {"name": "Customer One", "parent_id": self.customer.id, "email": "one@customer.example"},
                {"name": "Customer One", "active": False},
                {"name": "Customer One", "company_id": self.setup_other_company()["company"].id},
            ]
        )
        self.assertEqual(self.find(self.draft()), {})

    def test_a_warning_asks_and_is_remembered(self):
        self.customer.phone = "ask Ann"
        contract = self.draft()
        action = contract.with_context(billing_ask=True).action_activate()
        self.assertEqual((action["res_model"], contract.state), ("billing.contract.activation", "draft"))
        wizard = self.env[action["res_model"]].browse(action["res_id"])
        self.assertIn("ask Ann", wizard.message)
        wizard.with_context(billing_ask=True).action_confirm()
        self.assertEqual(contract.state, "active")
        self.assertIn("ask Ann", contract.message_ids[0].body)

    def test_over_the_api_a_warning_stops_nothing(self):
        self.customer.phone = "ask Ann"
        contract = self.draft()
        self.assertIs(contract.action_activate(), True)
        self.assertEqual(contract.state, "active")

    def test_a_blocking_check_refuses(self):
        self.customer.phone = "ask Ann"
        self.set_severity("contract_phone", "blocking")
        contracts = self.draft() | self.draft(self.other_customer)
        for context in ({}, {"billing_ask": True}):
            with self.assertRaisesRegex(UserError, "Telephone number of the customer: “ask Ann”"):
                contracts.with_context(**context).action_activate()
        self.assertEqual(set(contracts.mapped("state")), {"draft"})
        self.set_severity("contract_phone", "off")
        contracts.with_context(billing_ask=True).action_activate()
        self.assertEqual(set(contracts.mapped("state")), {"active"})

    def test_officers_activate_with_the_checks_of_their_company(self):
        self.customer.phone = "ask Ann"
        other = self.setup_other_company()["company"]
        self.env.ref("customer_billing.billing_check_contract_phone").copy(
            {"company_id": other.id, "severity": "blocking"}
        )
        contract = self.draft()
        contract.with_user(self.new_staff("officer")).action_activate()
        self.assertEqual(contract.state, "active")

    def test_invariant_10_queries_do_not_grow_with_contracts(self):
        partners = self.env["res.partner"].create(
            [{"name": f"Firm {number}", "phone": "none", "vat": "1", "email": "bad",
              "child_ids": [Command.create({"name": "C", "type": "invoice"})]} for number in range(20)]
        )  # fmt: skip
        contracts = self.env["billing.contract"].union(*(self.draft(partner) for partner in partners))

        def count(chosen):
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            self.assertEqual(len(self.env["billing.check"]._run_contract_checks(chosen)), 3 * len(chosen))
            return self.env.cr.sql_log_count - before

        count(contracts[:2])
        self.assertLessEqual(count(contracts), count(contracts[:10]) + 1)
