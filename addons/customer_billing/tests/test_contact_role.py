from odoo import Command
from odoo.tests import tagged

from .common import BillingCommon


class ProfileCommon(BillingCommon):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.firm = cls.env["res.partner"].create(
            {"name": "Firm", "is_company": True, "email": "firm@customer.example"}
        )
        cls.desk = cls.new_contact("Desk", type="invoice", email="desk@customer.example")
        cls.jane = cls.new_contact("Jane", email="jane@customer.example")
        cls.tech = cls.new_contact("Tech", email="tech@customer.example", billing_role_technical=True)

    @classmethod
    def new_contact(cls, name, parent=None, **values):
        return cls.env["res.partner"].create({"name": name, "parent_id": (parent or cls.firm).id, **values})


@tagged("post_install", "-at_install")
class TestRecipients(ProfileCommon):
    def get(self, partner, role="billing"):
        return partner._get_billing_recipients(role)

    def test_the_contact_itself_then_the_customer(self):
        self.assertEqual(self.get(self.desk), self.desk)
        self.desk.email = False
        self.assertEqual(self.get(self.desk), self.firm)
        self.firm.email = False
        self.assertFalse(self.get(self.desk))
        self.desk.email = "desk@customer.example"
        self.desk.active = False
        self.assertFalse(self.get(self.desk), "archived contacts get no mail")

    def test_contacts_with_the_role_go_first(self):
        self.jane.billing_role_billing = True
        self.assertEqual(self.get(self.desk), self.jane)
        self.assertEqual(self.get(self.firm), self.jane)
        self.desk.billing_role_billing = True
        self.assertEqual(self.get(self.firm), self.desk | self.jane)
        self.assertEqual(self.get(self.desk), self.desk, "the nearest")
        self.jane.active = False
        self.assertEqual(self.get(self.firm), self.desk)
        self.desk.email = False
        self.assertEqual(self.get(self.firm), self.firm, "a role without an address is no recipient")

    def test_sites_have_contacts_of_their_own(self):
        site = self.new_contact("Site", email="site@customer.example")
        clerk = self.new_contact("Clerk", site, email="clerk@customer.example", billing_role_billing=True)
        self.jane.billing_role_billing = True
        self.assertEqual(self.get(site), clerk)
        self.assertEqual(self.get(self.firm), self.jane | clerk)
        self.assertEqual(self.get(self.desk), self.jane | clerk)

    def test_reminders_fall_back_to_those_who_get_bills(self):
        self.jane.billing_role_billing = True
        self.assertEqual(self.get(self.firm, "collection"), self.jane)
        self.desk.billing_role_collection = True
        self.assertEqual(self.get(self.firm, "collection"), self.desk)
        self.assertEqual(self.get(self.firm), self.jane)
        self.assertEqual(self.get(self.firm, "technical"), self.tech)

    def test_invariant_10_many_contacts_need_as_many_queries_as_one(self):
        firms = self.env["res.partner"].create(
            [
                {
                    "name": f"Firm {number}", "is_company": True, "email": "f@customer.example",
                    "child_ids": [Command.create(
                        {"name": "C", "email": "c@customer.example", "billing_role_billing": number % 2 == 0})],
                }
                for number in range(20)
            ]
        )  # fmt: skip

        def count(partners):
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            found = partners._map_billing_recipients("collection")
            for recipients in found.values():
                recipients.mapped("email")
            return self.env.cr.sql_log_count - before

        count(firms[:2])  # what is cached for all time
        self.assertLessEqual(count(firms), count(firms[:2]) + 1)

    def test_bills_are_mailed_to_those_who_get_bills(self):
        self.jane.billing_role_billing = True
        contract = self.new_contract("2026-01-01", partner_id=self.firm.id)
        self.assertEqual(contract.invoice_partner_id, self.desk)
        run = self.bill("2026-01-01", contract)
        run.action_send()
        self.assertEqual(run.move_ids.billing_delivery_state, "sent", run.move_ids.billing_delivery_error)
        notified = run.move_ids.message_ids.filtered("notified_partner_ids").notified_partner_ids
        self.assertEqual(notified, self.jane)
        self.assertFalse(run.move_ids.message_partner_ids - self.env.user.partner_id, "nobody follows by it")

    def test_a_bill_without_recipient_is_found_by_the_check(self):
        self.firm.email = self.desk.email = False
        contract = self.new_contract("2026-01-01", partner_id=self.firm.id)
        run = self.bill("2026-01-01", contract, post=False)
        self.assertIn("no e-mail address", run.exception_ids.mapped("message")[0])
        self.jane.billing_role_billing = True
        run = self.bill("2026-02-01", contract, post=False)
        self.assertFalse(run.exception_ids)


@tagged("post_install", "-at_install")
class TestClassification(ProfileCommon):
    def test_contacts_have_the_size_of_their_company(self):
        self.firm.write({"billing_size": "large", "billing_source": "event"})
        self.assertEqual((self.jane.billing_size, self.new_contact("New").billing_source), ("large", "event"))

    def test_contracts_and_open_items_are_grouped_by_it(self):
        industry = self.env["res.partner.industry"].search([], limit=1)
        tier = self.env["billing.tier"].create({"name": "Gold"})
        self.firm.write({"billing_size": "small", "industry_id": industry.id, "billing_source": "website"})
        self.firm.action_set_billing_tier(tier.id, "Because")
        contract = self.new_contract("2026-01-01", partner_id=self.firm.id)
        self.bill("2026-01-01", contract)
        for field, value in (("industry_id", industry), ("billing_size", "small"), ("billing_source", "website")):
            domain = [("id", "=", contract.id), (field, "=", value if isinstance(value, str) else value.id)]
            self.assertEqual(self.env["billing.contract"]._read_group(domain, [field], ["__count"]), [(value, 1)])
        report = self.env["billing.aged.report"].create({"partner_ids": [Command.set(self.firm.ids)]})
        report.action_show()
        for field, value in (("industry_id", industry), ("billing_size", "small"), ("tier_id", tier)):
            groups = report.line_ids._read_group([("report_id", "=", report.id)], [field], ["__count"])
            self.assertEqual(groups, [(value, 1)])
