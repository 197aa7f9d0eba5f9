from freezegun import freeze_time

from odoo import Command
from odoo.tests import tagged

from .common import CollectionCommon


@tagged("post_install", "-at_install")
class TestCase(CollectionCommon):
    @freeze_time("2026-03-11")
    def test_a_case_opens_and_closes_by_itself(self):
        bill = self.invoice("2026-03-10", 100.0)
        self.invoice("2026-04-30", 50.0)
        self.night()
        case = self.case()
        self.assertEqual(
            (case.state, case.amount_overdue, case.amount_open, case.days_overdue, case.policy_id, case.collector_id),
            ("open", 100.0, 150.0, 1, self.policy, self.collector),
        )
        self.assertEqual((case.next_step_id, str(case.next_step_date)), (self.step("Friendly"), "2026-03-13"))
        self.assertEqual(str(case.next_action_date), "2026-03-13")
        self.assertEqual(self.customer.billing_last_case_ids, case, "on the screen of the customer")
        self.assertEqual(case.action_view_customer()["res_id"], self.customer.id)
        self.pay("2026-03-11", 100.0, invoices=bill)
        self.env.cr.precommit.run()
        self.assertEqual((case.state, case.close_reason, str(case.date_closed)), ("closed", "paid", "2026-03-11"))

    def closed_by(self, settle, partner=None):
        """Why a case closes that was opened on 11 March for a bill of 100.00; ``settle`` is called with the bill."""
        with freeze_time("2026-03-11"):
            bill = self.invoice("2026-03-10", 100.0, partner=partner)
            self.night(send=False)
        case = self.case(partner)
        self.assertEqual(case.state, "open")
        with freeze_time("2026-03-12"):
            settle(bill)
            self.env.cr.precommit.run()
            case.filtered(lambda own: own.state == "open")._refresh()
        self.assertEqual(case.state, "closed")
        return case.close_reason

    def test_credited_or_cancelled_is_not_paid(self):
        self.pay("2026-01-05", 20.0, invoices=self.invoice("2026-01-10", 20.0))  # before the case was opened
        self.env.cr.precommit.run()

        def credit(bill):
            self.match(self.invoice("2026-03-12", -100.0, date="2026-03-12"), bill)

        def note_only(bill):
            self.invoice("2026-03-12", -100.0, date="2026-03-12")

        def cancel(bill):
            bill.button_draft()
            bill.button_cancel()

        for settle in (credit, note_only, cancel):
            with self.subTest(settle.__name__):
                self.assertEqual(self.closed_by(settle), "credited")
        notices = self.env["billing.dunning.notice"].search([("reason_code", "=", "credited")])
        self.assertEqual(set(notices.mapped("state")) - {"skipped"}, set())
        self.assertEqual(self.env["billing.dunning.notice"]._get_reason_texts()["credited"],
                         "It was credited or cancelled.")  # fmt: skip

    def test_any_money_makes_it_paid(self):
        def part(bill):
            self.pay("2026-03-12", 10.0, invoices=bill)
            self.match(self.invoice("2026-03-12", -90.0, date="2026-03-12"), bill)

        def waiting(bill):
            self.pay("2026-03-12", 100.0)

        def by_cash(bill):
            entry = self.env["account.move"].create(
                {
                    "date": "2026-03-12",
                    "journal_id": self.company_data["default_journal_cash"].id,
                    "line_ids": [
                        Command.create({"account_id": account.id, "partner_id": self.customer.id, "balance": balance})
                        for account, balance in (
                            (self.receivable, -100.0), (self.company_data["default_account_expense"], 100.0)
                        )
                    ],
                }
            )  # fmt: skip
            entry.action_post()
            self.match(entry, bill)

        for settle in (part, by_cash, waiting):
            with self.subTest(settle.__name__):
                self.assertEqual(self.closed_by(settle), "paid")

    def test_invariant_10_one_query_tells_what_was_paid(self):
        partners = self.env["res.partner"].create([{"name": f"Customer {n}"} for n in range(6)])
        with freeze_time("2026-03-11"):
            bills = [self.invoice("2026-03-10", 10.0, partner=partner) for partner in partners]
            self.night(send=False)
        with freeze_time("2026-03-12"):
            self.pay("2026-03-12", 10.0, partner=partners[0], invoices=bills[0])
            cases = self.env["billing.case"].sudo().search([("partner_id", "in", partners.ids)])
            self.env.flush_all()
            before = self.env.cr.sql_log_count
            paid = self.env["billing.promise"]._filter_paid(cases)
            self.assertEqual(self.env.cr.sql_log_count - before, 1)
        self.assertEqual(paid.partner_id, partners[0])

    @freeze_time("2026-03-11")
    def test_the_first_note_says_why_it_opened(self):
        bill = self.invoice("2026-03-08", 100.0)
        self.invoice("2026-03-10", 40.0)
        soon = self.invoice("2026-03-12", 50.0, partner=self.other_customer)
        self.env["billing.collector.rule"].create(
            {"name": "<All>", "company_id": self.company.id, "collector_ids": [Command.set(self.collector.ids)]}
        )
        self.other_customer.with_company(self.company).billing_collector_id = self.collector
        self.night(send=False)
        debt = ("$\xa0100.00", "3 days overdue", "overdue $\xa0140.00")
        for case, texts in (
            (self.case(), (bill.name, *debt, "rule “&lt;All&gt;”")),
            (self.case(self.other_customer), (soon.name, "overdue $\xa00.00", "collects from this customer")),
        ):
            body = case.message_ids.sorted("id")[0].body.replace("&nbsp;", "\xa0")
            for text in ("Opened because of", "Policy: Test", self.collector.name, *texts):
                self.assertIn(text, body)
        self.env["billing.collector.rule"].search([]).active = False
        notes = (self.case() | self.case(self.other_customer)).message_ids.filtered("body")
        self.assertEqual(len(set(notes.mapped("message_id"))), len(notes), "each is a message of its own")
        self.assertEqual(notes.mapped("author_id"), notes[0].author_id)
        self.assertEqual((set(notes.mapped("message_type")), len(notes.subtype_id)), ({"notification"}, 1))
        none = self.env["billing.collector.rule"]
        self.assertIn("no rule fits", self.case()._describe_collector(none, self.customer.sudo(), 0.0))

    @freeze_time("2026-03-20")
    def test_no_case_for_what_is_in_dispute(self):
        bill = self.invoice("2026-03-01", 100.0)
        self.env["billing.dispute"].create({"name": "Why", "move_id": bill.id})
        self.night()
        self.assertFalse(self.case())

    def test_steps_follow_each_other(self):
        self.env["res.lang"]._activate_lang("fr_FR")
        self.collector.lang = "fr_FR"
        self.step("Call").with_context(lang="fr_FR").name = "Appel"
        bill = self.invoice("2026-03-10", 100.0)
        for day, steps in (
            ("2026-03-06", []),
            ("2026-03-07", ["Before"]),
            ("2026-03-10", ["Before"]),
            ("2026-03-13", ["Before", "Friendly"]),
            ("2026-03-14", ["Before", "Friendly"]),
            ("2026-03-20", ["Before", "Friendly", "Call"]),
            ("2026-03-31", ["Before", "Friendly", "Call", "Second"]),
        ):
            with freeze_time(day):
                self.night()
                self.assertEqual(self.sent(), steps, day)
        case = self.case()
        self.assertEqual(case.step_id, self.step("Second"))
        self.assertEqual(case.activity_ids.user_id, self.collector)
        self.assertEqual(case.activity_ids.summary, "Appel", "in the collector's language")
        with freeze_time("2026-04-12"):
            self.night()
            letter = case.notice_ids.filtered(lambda n: n.step_id == self.step("Final"))
            self.assertEqual(letter.state, "queued")
            letter.with_user(self.collector).action_print()
            self.assertEqual(letter.state, "sent")
            self.pay("2026-04-12", 100.0, invoices=bill)
            self.env.cr.precommit.run()
            self.assertEqual(case.state, "closed")

    @freeze_time("2026-03-20")
    def test_a_dispute_shows_at_once(self):
        bill = self.invoice("2026-03-15", 100.0)
        self.night()
        dispute = self.env["billing.dispute"].create({"name": "Why", "move_id": bill.id})
        self.env.cr.precommit.run()
        self.assertEqual(self.case().state, "disputed")
        dispute.write({"state": "rejected", "resolution": "All right"})
        self.env.cr.precommit.run()
        self.assertEqual(self.case().state, "open")
