from freezegun import freeze_time
from lxml import etree

from odoo import Command, fields
from odoo.tests import tagged

from .common import CollectionCommon


@tagged("post_install", "-at_install")
class TestRecheck(CollectionCommon):
    """What came in between the proposal and the sending, each with the records that people make."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.startClassPatcher(freeze_time("2026-03-14"))
        cls.bill = cls.invoice("2026-03-10", 100.0)

    def setUp(self):
        super().setUp()
        self.night(send=False)
        self.notice = self.case().notice_ids
        self.assertEqual(self.notice.state, "queued")

    def assert_left_out(self, reason):
        self.send()
        self.assertEqual((self.notice.state, self.notice.reason_code), ("skipped", reason))
        self.assertFalse(self.notice.mail_message_id)

    def test_invariant_14_promised_since_the_proposal(self):
        promise = self.env["billing.promise"].with_user(self.collector).create(
            {"case_id": self.case().id, "amount": 100.0, "date": "2026-03-16"}
        )
        self.assert_left_out("promise")
        self.assertEqual(self.case().state, "promised")
        with freeze_time("2026-03-19"):  # a day after the grace
            self.night()
        self.assertEqual((promise.state, self.sent(), self.case().state), ("broken", ["Friendly"], "open"))

    def test_invariant_14_agreed_since_the_proposal(self):
        agreement = self.env["billing.instalment"].with_user(self.collector).create({"case_id": self.case().id})
        agreement.action_make_schedule(3, "2026-03-20")
        agreement.action_offer()
        agreement.action_confirm("Mr Smith", "by telephone")
        self.assertEqual(agreement.line_ids.mapped("amount"), [33.33, 33.33, 33.34])
        self.assert_left_out("instalment")
        self.assertEqual(self.case().state, "instalment")
        with freeze_time("2026-03-24"):  # a day after the grace of the first part
            self.night()
        self.assertEqual((agreement.state, self.sent(), self.case().state), ("broken", ["Call"], "open"))

    def test_invariant_14_a_payment_that_the_bank_has_not_booked(self):
        payment = self.env["account.payment"].create(
            {
                "payment_type": "inbound", "partner_type": "customer", "partner_id": self.customer.id, "amount": 100.0,
                "journal_id": self.company_data["default_journal_bank"].id, "date": "2026-03-14",
                "invoice_ids": [Command.set(self.bill.ids)],
            }
        )  # fmt: skip
        payment.outstanding_account_id = False
        payment.action_post()
        self.assertEqual((payment.state, payment.move_id.id, self.bill.amount_residual), ("in_process", False, 100.0))
        self.assert_left_out("transit")
        payment.action_cancel()
        self.night()
        self.assertEqual(self.sent(), ["Friendly"])

    def test_invariant_14_handed_over_since_the_proposal(self):
        self.case().sudo().date_legal = fields.Date.today()
        self.assert_left_out("legal")

    def test_two_companies_and_a_branch_with_the_same_customer(self):
        other = self.setup_other_company()["company"]
        branch = self.env["res.company"].create({"name": "Branch", "parent_id": self.company.id})
        self.env.user.company_ids |= branch
        self.cr.precommit.run()
        policy = self.new_policy({"name": "Theirs", "days": 1}, company_id=other.id)
        other.billing_dunning_policy_id = policy
        bills = {}
        for company, amount in ((other, 500.0), (branch, 70.0)):
            env = self.env(context={**self.env.context, "allowed_company_ids": company.ids})
            bills[company] = env["account.move"].create(
                {
                    "move_type": "out_invoice", "company_id": company.id, "partner_id": self.customer.id,
                    "invoice_date": "2026-01-01", "invoice_date_due": "2026-03-10", "invoice_payment_term_id": False,
                    "invoice_line_ids": [Command.create({"name": "X", "price_unit": amount, "tax_ids": []})],
                }
            )  # fmt: skip
            bills[company].action_post()
        self.night()
        with self.in_job():
            cases = self.env["billing.case"].with_context(allowed_company_ids=other.ids)
            cases._work_night(other)
            cases.env["billing.dunning.notice"]._cron_send()
        self.assertEqual((self.notice.state, self.notice.amount), ("sent", 170.0))
        self.assertEqual(self.notice.line_ids.move_id, self.bill | bills[branch])
        theirs = cases.search([("partner_id", "=", self.customer.id), ("company_id", "=", other.id)])
        self.assertEqual((theirs.policy_id, theirs.notice_ids.state), (policy, "sent"))
        self.assertEqual(theirs.notice_ids.line_ids.move_id, bills[other])
        self.assertEqual(theirs.notice_ids.amount, 500.0)
        domain = [("partner_id", "=", self.customer.id)]
        mine = self.env["billing.case"].with_user(self.collector).search(domain)
        self.assertEqual(mine, self.case(), "a collector of one company sees nothing of the other one")


@tagged("post_install", "-at_install")
class TestLeftOut(CollectionCommon):
    @freeze_time("2026-03-14")
    def test_why_overdue_customers_have_no_case(self):
        names = ("dispute", "credits", "policy", "night", "case")
        partners = self.env["res.partner"].create([{"name": name} for name in names])
        bills = {partner.name: self.invoice("2026-03-10", 100.0, partner=partner) for partner in partners}
        self.invoice("2026-05-10", 100.0, partner=self.customer)  # not due
        self.env["billing.dispute"].create({"name": "Why", "move_id": bills["dispute"].id})
        self.pay("2026-03-12", 120.0, partner=partners[1])
        self.env["billing.case"]._refresh_customers(self.company, partners[4].ids)
        self.company.billing_dunning_policy_id = False
        (partners - partners[2]).billing_dunning_policy_id = self.policy
        found = self.env["billing.case"]._get_left_out(self.company)
        self.assertEqual(found, {partner.name: {partner.id} for partner in partners[:4]})
        health = self.env["billing.health"].with_user(self.new_staff("officer", login="left_out_officer"))
        [item] = health._get_left_out_items()
        self.assertEqual((item["value"], item["severity"]), (4, "warning"))
        self.assertIn("No dunning policy applies: 1", item["hint"])
        self.assertIn("In dispute: 1", item["hint"])
        self.night(send=False)
        self.assertEqual(set(self.env["billing.case"]._get_left_out(self.company)), {"dispute", "credits", "policy"})

    @freeze_time("2026-03-14")
    def test_invariant_10_queries_do_not_grow_with_customers(self):
        def count(number):
            partners = self.env["res.partner"].create([{"name": "Left out"} for _number in range(number)])
            for partner in partners:
                self.invoice("2026-03-10", 100.0, partner=partner)
            self.env.flush_all()
            self.env.invalidate_all()
            start = self.env.cr.sql_log_count
            self.env["billing.case"]._get_left_out(self.company)
            return self.env.cr.sql_log_count - start

        count(1)
        few = count(2)
        self.assertEqual(count(8), few)

    @freeze_time("2026-03-14")
    def test_invariant_10_lists_do_not_grow_with_cases(self):
        def show(model, field, cases, kind):
            view = self.env[model].get_view(view_type=kind)
            names = [node.get("name") for node in etree.fromstring(view["arch"]).iter("field")]
            return {
                name: {"fields": {"display_name": {}}} if self.env[model]._fields[name].relational else {}
                for name in names
            }, [(field, "in", cases.ids)]

        def count(number):
            partners = self.env["res.partner"].create([{"name": "Shown"} for _number in range(number)])
            for partner in partners:
                self.invoice("2026-03-10", 100.0, partner=partner)
            self.env["billing.case"]._attempt_chunk(self.company, partners.ids)
            cases = self.env["billing.case"].search([("partner_id", "in", partners.ids)])
            self.assertEqual((len(cases), len(cases.notice_ids)), (number, number))
            found = []
            for model, field, kind in (
                ("billing.case", "id", "list"), ("billing.case", "id", "kanban"), ("billing.case", "id", "calendar"),
                ("billing.dunning.notice", "case_id", "list"),
            ):  # fmt: skip
                specification, domain = show(model, field, cases, kind)
                self.env.flush_all()
                self.env.invalidate_all()
                start = self.env.cr.sql_log_count
                self.assertEqual(self.env[model].web_search_read(domain, specification)["length"], number)
                found.append(self.env.cr.sql_log_count - start)
            return found

        count(1)
        self.assertEqual(count(2), count(8))
