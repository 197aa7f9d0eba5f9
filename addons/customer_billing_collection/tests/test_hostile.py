"""What a careful attacker, a bad week and a bad network would try."""

from unittest.mock import patch

from freezegun import freeze_time
from psycopg2.errors import CheckViolation, SerializationFailure

from odoo import SUPERUSER_ID, Command, models
from odoo.exceptions import UserError, ValidationError
from odoo.tests import tagged
from odoo.tools import mute_logger

from .common import CollectionCommon
from .common_interest import InterestCommon

ACCRUAL = "odoo.addons.customer_billing_collection.models.billing_interest_accrual"
NIGHT = "odoo.addons.customer_billing_collection.models.billing_case_night"


@tagged("post_install", "-at_install")
@freeze_time("2026-03-13")
class TestHostileNight(CollectionCommon):
    """Nights that are interrupted by weekends, people and other jobs."""

    def weekdays_only(self):
        self.policy.calendar_id = self.env["resource.calendar"].create({"name": "Week", "tz": "UTC"})

    def test_a_weekend_drops_no_proposal(self):
        self.weekdays_only()
        self.policy.review = True
        self.invoice("2026-03-10", 100.0)
        self.night()  # a Friday
        notice = self.case().notice_ids
        self.assertEqual(notice.state, "proposed")
        with freeze_time("2026-03-14"):
            self.night()
        self.assertEqual(notice.exists().state, "proposed")

    def test_a_weekend_drops_no_letter_and_no_failure(self):
        self.weekdays_only()
        self.invoice("2026-02-11", 100.0)
        self.invoice("2026-03-10", 100.0, partner=self.other_customer)
        self.night(send=False)
        letter, failed = self.case().notice_ids, self.case(self.other_customer).notice_ids
        self.assertEqual((letter.channel, letter.state), ("letter", "queued"))
        failed.sudo().write({"state": "failed", "error": "No", "tries": 3})
        for day in ("2026-03-14", "2026-03-15", "2026-03-16"):
            with freeze_time(day):
                self.night(send=False)
        self.assertEqual((letter.exists().state, failed.exists().state, failed.tries), ("queued", "failed", 3))

    def test_the_queue_rests_on_days_off(self):
        """A job that reports work that it does not do is called again and again."""
        self.weekdays_only()
        self.invoice("2026-03-10", 100.0)
        self.night(send=False)
        seen = []
        with freeze_time("2026-03-14"), self.in_job():
            cron = type(self.env["ir.cron"])
            progress = lambda _cron, done=0, *, remaining=None: seen.append(remaining) or 9  # noqa: E731
            with patch.object(cron, "_commit_progress", progress):
                self.env["billing.dunning.notice"]._cron_send()
        self.assertEqual([rest for rest in seen if rest], [])

    def test_an_approval_is_for_one_proposal(self):
        self.step("Friendly").approval = True
        bill = self.invoice("2026-03-10", 100.0)
        self.night()
        notice = self.case().notice_ids
        manager = self.new_staff("manager", login="host_manager")
        self.assertTrue(notice.needs_approval)
        dispute = self.env["billing.dispute"].create({"name": "No", "move_id": bill.id})
        notice.with_user(manager).action_approve()
        self.assertEqual(notice.state, "skipped")
        dispute.sudo().write({"state": "rejected", "resolution": "Right"})
        self.invoice("2026-03-09", 900.0)
        self.night()
        notices = self.case().notice_ids.filtered(lambda notice: notice.state != "cancelled")
        self.assertEqual(notices.mapped("needs_approval"), [True])

    @mute_logger(NIGHT)
    def test_a_collision_does_not_end_the_night(self):
        self.invoice("2026-03-10", 100.0)
        model = self.registry["billing.case"]
        calls, original = [], model._refresh_customers

        def collide(records, company, partner_ids):
            calls.append(1)
            if len(calls) == 1:
                raise SerializationFailure("could not serialize access")
            return original(records, company, partner_ids)

        self.patch(model, "_refresh_customers", collide)
        with patch.object(self.env.cr, "rollback", lambda: None):
            self.night()
        self.assertEqual(self.sent(), ["Friendly"])

    @mute_logger("odoo.addons.customer_billing_collection.models.billing_dunning_notice_delivery")
    def test_one_letter_that_fails_stops_no_other(self):
        self.invoice("2026-02-11", 100.0)
        self.invoice("2026-02-11", 100.0, partner=self.other_customer)
        self.night()
        letters = (self.case() | self.case(self.other_customer)).notice_ids
        self.assertEqual(letters.mapped("state"), ["queued", "queued"])
        bad = letters[0]
        model = self.registry["billing.dunning.notice"]
        original = model._render_letter

        def render(record):
            if record == bad:
                raise UserError("Template")
            return original(record)

        self.patch(model, "_render_letter", render)
        letters.with_user(self.collector).action_print()
        self.assertEqual((letters - bad).state, "sent")
        self.assertEqual(bad.state, "queued")
        self.assertTrue(bad.error)

    def test_a_promise_ends_with_its_case(self):
        bill = self.invoice("2026-03-10", 100.0)
        self.night()
        promise = self.env["billing.promise"].create({"case_id": self.case().id, "amount": 100, "date": "2026-03-20"})
        self.match(bill, self.invoice("2026-03-13", -100.0, date="2026-03-13"))
        self.env.cr.precommit.run()
        self.assertEqual(self.case().state, "closed")
        self.assertNotEqual(promise.state, "open")

    def test_a_dispute_shows_on_the_case_at_once(self):
        bill = self.invoice("2026-03-10", 100.0)
        self.night()
        self.env["billing.dispute"].create({"name": "No", "move_id": bill.id})
        self.env.cr.precommit.run()
        self.assertEqual(self.case().state, "disputed")

    def test_replies_reach_the_collector(self):
        self.invoice("2026-03-10", 100.0)
        self.night()
        case = self.case()
        self.assertIn(self.collector.partner_id, case.message_partner_ids)
        second = self.new_staff("collector", login="host_second")
        case.with_context(tracking_disable=False).collector_id = second
        self.assertIn(second.partner_id, case.message_partner_ids)

    def test_the_timeline_tells_everything(self):
        bill = self.invoice("2026-03-10", 100.0)
        self.invoice("2026-03-09", 50.0)
        self.night()
        case = self.case()
        promise = self.env["billing.promise"].create({"case_id": case.id, "amount": 100, "date": "2026-03-20"})
        self.pay("2026-03-13", 100.0, invoices=bill)
        self.env.cr.precommit.run()
        dispute = self.env["billing.dispute"].create({"name": "Wrong price", "move_id": bill.id})
        dispute.write({"state": "rejected", "resolution": "Right"})
        agreement = self.env["billing.instalment"].create({"case_id": case.id})
        agreement.action_cancel()
        told = " | ".join(case.message_ids.mapped("body"))
        self.assertEqual(promise.state, "kept")
        for text in ("Promised: $", "Kept", "150.00 → $", "Wrong price", f"{agreement.name}: Cancelled"):
            self.assertIn(text, told.replace("\xa0", ""))

    def test_a_reminder_in_advance_says_nothing_is_late(self):
        self.invoice("2026-03-15", 100.0)
        self.night()
        notice = self.case().notice_ids
        self.assertEqual((notice.state, notice.step_id.name), ("sent", "Before"))
        self.assertIn("due soon", notice.mail_message_id.subject)

    def test_the_lawyer_is_told_of_a_payment(self):
        bill = self.invoice("2026-03-10", 100.0)
        self.night()
        case = self.case()
        lawyer = self.env["res.partner"].create({"name": "Law"})
        case.sudo().write({"date_legal": "2026-03-13", "handover_partner_id": lawyer.id})
        self.pay("2026-03-13", 100.0, invoices=bill)
        self.env.cr.precommit.run()
        self.assertEqual(case.state, "closed")
        [summary] = case.activity_ids.mapped("summary")
        self.assertIn("after the hand-over: tell Law", summary)
        self.assertEqual(case.activity_ids.user_id, self.collector)

    def test_a_policy_of_a_branch_is_refused(self):
        branch = self.env["res.company"].create({"name": "Branch", "parent_id": self.company.id})
        with self.assertRaises(ValidationError):
            self.policy.company_id = branch
        self.env.user.company_ids |= branch
        policy_model = self.env["billing.dunning.policy"].with_context(allowed_company_ids=(branch | self.company).ids)
        policy = policy_model.create({"name": "X", "calendar_id": False})
        self.assertEqual(policy.company_id, self.company)

    def test_two_steps_on_one_day_are_refused(self):
        with self.assertRaises(ValidationError):
            self.policy.write({"step_ids": [Command.create({"name": "Also", "days": 10, "channel": "email"})]})

    def test_policy_terms_are_checked(self):
        for values in ({"promise_threshold": 95.0}, {"promise_grace_days": -1}, {"promise_max_days": -1}):
            with self.subTest(values), self.assertRaises(ValidationError):
                self.policy.write(values)
                self.env.flush_all()

    def test_merge_keeps_the_hand_over(self):
        self.invoice("2026-03-10", 100.0)
        self.invoice("2026-03-10", 100.0, partner=self.other_customer)
        self.night()
        source, kept = self.case(), self.case(self.other_customer)
        lawyer = self.env["res.partner"].create({"name": "Law"})
        source.sudo().write({"date_legal": "2026-03-13", "handover_partner_id": lawyer.id, "handover_sha256": "x"})
        source.sudo()._merge_into(kept.sudo())
        self.assertEqual((kept.handover_partner_id, kept.handover_sha256), (lawyer, "x"))


@tagged("post_install", "-at_install")
@freeze_time("2026-03-13")
class TestHostilePeople(CollectionCommon):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with freeze_time("2026-03-13"):
            cls.bill = cls.invoice("2026-03-10", 100.0)
            cls.invoice("2026-03-10", 100.0, partner=cls.other_customer)
            cases = cls.env["billing.case"].sudo()
            items = cases._refresh_customers(cls.company, (cls.customer | cls.other_customer).ids)
            cases.browse([case.id for case in items])._propose(items)

    def new_promise(self, case):
        return self.env["billing.promise"].create({"case_id": case.id, "amount": 1, "date": "2026-03-20"})

    def test_related_fields_are_nobodys(self):
        """A stored field that follows from the case would take any value: another customer would see the record."""
        case, other = self.case(), self.case(self.other_customer)
        records = {
            "billing.dunning.notice": case.notice_ids,
            "billing.promise": self.new_promise(case),
            "billing.instalment": self.env["billing.instalment"].create({"case_id": case.id}),
            "billing.writeoff": self.env["billing.writeoff"].create({"case_id": case.id, "reason": "x"}),
        }
        euro = self.setup_other_currency("EUR")
        branch = self.env["res.company"].create({"name": "Branch", "parent_id": self.company.id})
        for model, record in records.items():
            wrong = {"partner_id": other.partner_id.id, "company_id": branch.id, "currency_id": euro.id}
            for name, value in wrong.items():
                with self.subTest(model=model, field=name), self.assertRaises(UserError), self.env.cr.savepoint():
                    record.with_user(self.collector).write({name: value})

    def test_fields_that_a_collector_may_write(self):
        """The complete list: each new stored field has to be thought of."""
        case = self.case()
        records = [
            case, case.notice_ids,
            self.new_promise(case),
            self.env["billing.instalment"].create({"case_id": case.id}),
            self.env["billing.writeoff"].create({"case_id": case.id, "reason": "x"}),
        ]
        expected = {
            "billing.case": {"collector_id", "next_action_date", "access_token"},
            "billing.dunning.notice": {"collector_id"},
            "billing.promise": {
                "case_id", "date_given", "amount", "date", "grace_days", "threshold", "move_line_ids", "user_id",
                "note",
            },
            "billing.instalment": {"case_id", "move_line_ids", "grace_days", "reminder_days", "user_id"},
            "billing.writeoff": {"case_id", "move_line_ids", "amount", "date", "reason"},
        }  # fmt: skip
        for record in records:
            free = {
                name
                for name, field in record._fields.items()
                if field.store and name not in models.MAGIC_COLUMNS and field.type != "one2many"
                and name not in record._billing_protected and not name.startswith(("message_", "activity_"))
            }  # fmt: skip
            with self.subTest(record._name):
                self.assertEqual(free, expected[record._name])

    def test_wizards_of_others_are_hidden(self):
        other = self.new_staff("collector", "auditor", login="host_other")
        manager = self.new_staff("manager", login="host_manager2")
        case = self.case()
        made = {
            "billing.case.call": {"case_id": case.id, "outcome": "no_answer", "note": "private"},
            "billing.writeoff.wizard": {"case_id": case.id, "reason": "x"},
            "billing.interest.preview": {"case_id": case.id},
        }
        for model, values in made.items():
            record = self.env[model].with_user(manager).create(values)
            with self.subTest(model):
                self.assertFalse(record.with_user(other).has_access("read"))

    def test_html_in_names_and_errors(self):
        self.customer.name = "<img src=x onerror=alert(1)> & Sons"
        notice = self.case().notice_ids
        notice._schedule_call("<b>x</b>", "<script>alert(1)</script> <me@x.com>")
        activity = self.case().activity_ids[-1]
        self.assertIn("&lt;me@x.com&gt;", activity.note)
        self.assertNotIn("<img", self.case().items_html or "")
        self.assertNotIn("<img src=x", notice._render_letter_html())

    def test_portal_promise_with_odd_terms(self):
        portal = self.new_portal(self.customer, "host_portal")
        case = self.case().with_user(portal).sudo()
        for amount, date in ((None, None), ("NaN", "2026-03-20"), ("1e400", "2026-03-20"), ("-1", "2026-03-20"),
                             ("1", "2026-02-30"), ("0.001", "2026-03-20"), ("1", "9999-12-31")):
            with self.subTest(amount=amount, date=date), self.assertRaises(UserError), self.env.cr.savepoint():
                case._promise_from_portal(amount, date)

    def test_schedules_that_make_no_sense(self):
        agreement = self.env["billing.instalment"].create({"case_id": self.case().id})
        for arguments in ((0, "2026-04-01"), (-2, "2026-04-01"), (3, "2026-04-01", 0), (3, "2026-04-01", 10**9),
                          (3, "2026-04-01", "x"), (3, "nonsense"), ("x", "2026-04-01"), (200, "2026-04-01")):
            with self.subTest(arguments), self.assertRaises(UserError), self.env.cr.savepoint():
                agreement.with_user(self.collector).action_make_schedule(*arguments)
        with self.assertRaises(CheckViolation), self.env.cr.savepoint(), mute_logger("odoo.sql_db"):
            agreement.with_user(self.collector).line_ids = [Command.create({"date": "2026-04-01", "amount": -5})]


@tagged("post_install", "-at_install")
class TestHostileInterest(InterestCommon):
    @mute_logger(ACCRUAL)
    def test_one_bad_bill_of_interest_stops_no_other(self):
        other = self.new_case(self.other_customer)
        self.invoice(1000.0)
        self.invoice(1000.0, partner=self.other_customer)
        model = self.registry["billing.interest"]
        original = model._prepare_bill

        def prepare(entries, date, lines):
            if entries.partner_id == self.customer:
                raise UserError("No account")
            return original(entries, date, lines)

        self.patch(model, "_prepare_bill", prepare)
        with freeze_time("2026-03-07"), self.in_job():
            self.interest.with_user(SUPERUSER_ID)._cron_accrue()
        self.assertEqual(other.interest_ids.state, "billed")
        self.assertEqual((self.case.interest_ids.state, self.case.error), ("pending", "No account"))

    @mute_logger(ACCRUAL)
    def test_one_bad_case_stops_no_interest(self):
        other = self.new_case(self.other_customer)
        self.invoice(1000.0)
        self.invoice(1000.0, partner=self.other_customer)
        model = self.registry["billing.interest"]
        original = model._prepare_entries

        def prepare(entries, cases, date):
            if self.case in cases:
                raise ValueError("Bad")
            return original(entries, cases, date)

        self.patch(model, "_prepare_entries", prepare)
        with freeze_time("2026-03-07"), self.in_job():
            self.interest.with_user(SUPERUSER_ID)._cron_accrue()
        self.assertTrue(other.interest_ids)
        self.assertEqual((len(self.case.interest_ids), self.case.error), (0, "Bad"))

    def test_the_job_bills_no_interest_of_debt_given_up(self):
        self.invoice(1000.0)
        self.accrue("2026-02-28")
        self.case.sudo().state = "written_off"
        with freeze_time("2026-03-07"), self.in_job():
            self.interest.with_user(SUPERUSER_ID)._cron_accrue()
        self.assertEqual(self.case.interest_ids.mapped("state"), ["pending"])
        self.assertTrue(self.charge(self.case), "by hand")

    def test_the_job_bills_no_interest_of_what_was_handed_over(self):
        self.invoice(1000.0)
        self.accrue("2026-02-28")
        self.case.sudo().date_legal = "2026-03-01"
        with freeze_time("2026-03-07"), self.in_job():
            self.interest.with_user(SUPERUSER_ID)._cron_accrue()
        self.assertEqual(set(self.case.interest_ids.mapped("state")), {"pending"})
        self.assertTrue(self.charge(self.case), "by hand")

    def write_off(self, invoice, amount):
        self.company.billing_bad_debt_account_id = self.company_data["default_account_expense"]
        self.company.billing_approval = False
        writeoff = self.env["billing.writeoff"].with_user(self.collector).create(
            {
                "case_id": self.case.id, "move_line_ids": [Command.set(self.item(invoice).ids)], "amount": amount,
                "date": "2026-03-05", "reason": "Gone",
            }
        )  # fmt: skip
        writeoff.action_request()
        self.assertEqual(writeoff.state, "posted")
        return writeoff

    @freeze_time("2026-03-05")
    def test_a_write_off_makes_no_tax_due(self):
        """Of taxes that are due on payment: the customer has not paid."""
        transition = self.company_data["default_account_tax_sale"].copy({"reconcile": True})
        tax = self.env["account.tax"].create(
            {
                "name": "On payment", "amount": 10.0, "tax_exigibility": "on_payment",
                "cash_basis_transition_account_id": transition.id,
            }
        )  # fmt: skip
        self.company.tax_exigibility = True
        invoice = self.invoice(100.0, post=False)
        invoice.invoice_line_ids.tax_ids = tax
        invoice.action_post()
        writeoff = self.write_off(invoice, 110.0)
        entries = [("tax_cash_basis_origin_move_id", "=", invoice.id)]
        self.assertFalse(self.env["account.move"].search(entries))
        self.assertTrue(self.item(invoice).reconciled)
        writeoff.action_take_back()
        self.assertFalse(self.item(invoice).reconciled)
        self.pay(110.0, "2026-03-05", invoice)
        self.assertEqual(self.env["account.move"].search(entries).mapped("state"), ["posted"])

    @freeze_time("2026-03-05")
    def test_a_write_off_twice(self):
        invoice = self.invoice(100.0)
        self.write_off(invoice, 60.0)
        with self.assertRaises(UserError):
            self.write_off(invoice, 60.0)
        self.write_off(invoice, 40.0)
        with self.assertRaises(UserError):
            self.write_off(invoice, 1.0)

    @freeze_time("2026-03-05")
    def test_the_entry_of_a_write_off_goes_with_it(self):
        writeoff = self.write_off(self.invoice(100.0), 100.0)
        for method in ("button_draft", "button_cancel"):
            with self.subTest(method), self.assertRaises(UserError), self.env.cr.savepoint():
                getattr(writeoff.move_id, method)()
        writeoff.action_take_back()
        self.assertEqual(writeoff.state, "reversed")
