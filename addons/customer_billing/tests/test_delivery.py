from unittest.mock import patch

from freezegun import freeze_time

from odoo.exceptions import UserError
from odoo.tests import tagged

from odoo.addons.account.models.account_move_send import AccountMoveSend
from odoo.addons.base.models.ir_cron import IrCron

from ..models.account_move import AccountMove
from .common import BillingCommon


@tagged("post_install", "-at_install")
class TestDelivery(BillingCommon):
    def setUp(self):
        super().setUp()
        self.mailed = []

        def send(_model, moves, **settings):
            self.mailed.append(moves.id)
            moves.message_post(body="Your bill", partner_ids=moves.partner_id.ids)

        self.startPatcher(patch.object(AccountMoveSend, "_generate_and_send_invoices", send))

    def posted(self, count=1, partner=None):
        contracts = self.env["billing.contract"].union(
            *(
                self.new_contract("2026-01-01", partner_id=(partner or self.customer).id)
                for _number in range(count)
            )
        )
        return self.bill("2026-01-01", contracts)

    def set_channel(self, channel):
        self.customer.with_company(self.company).billing_channel = channel

    def work(self):
        with self.in_job():
            self.env["account.move"]._cron_deliver()

    def test_email_is_the_usual_channel(self):
        run = self.posted()
        run.action_send()
        move = run.move_ids
        self.assertEqual((move.billing_delivery_state, move.billing_delivery_channel), ("sent", "email"))
        self.assertEqual(self.mailed, move.ids)
        self.assertEqual(run.state, "sent")

    def test_portal_only(self):
        self.set_channel("portal")
        self.customer.email = False
        run = self.posted()
        self.assertFalse(run.exception_ids, "nobody asks for an address")
        run.action_send()
        self.assertEqual(run.move_ids.billing_delivery_state, "sent")
        self.assertEqual((self.mailed, run.state), ([], "sent"))

    def test_print_and_post_waits_for_a_person(self):
        self.set_channel("post")
        run = self.posted()
        run.action_send()
        move = run.move_ids
        self.assertEqual((move.billing_delivery_state, run.state), ("print", "posted"))
        self.assertEqual((self.mailed, run.undelivered_count), ([], 1))
        items = self.env["billing.health"]._get_health_items()
        self.assertIn(1, [item["value"] for item in items if "to print" in item["label"]])
        move.action_billing_delivered()
        self.assertEqual((move.billing_delivery_state, run.state), ("manual", "sent"))

    def test_the_channel_is_that_of_the_company_and_of_ours(self):
        self.set_channel("post")
        other = self.setup_other_company()["company"]
        contact = self.env["res.partner"].create({"name": "Desk", "parent_id": self.customer.id, "type": "invoice"})
        contract = self.new_contract("2026-01-01", invoice_partner_id=contact.id)
        move = self.bill("2026-01-01", contract).move_ids
        self.assertEqual(move._get_delivery_channel(), "post")
        self.assertEqual(self.customer.with_company(other).billing_channel or "email", "email")

    def test_a_channel_of_another_module(self):
        sent = []

        def deliver(move):
            sent.append(move.id)
            return "sent"

        run = self.posted()
        with (
            patch.object(AccountMove, "_get_delivery_channel", lambda move: "post"),
            patch.object(AccountMove, "_deliver_post", deliver),
        ):
            run.action_send()
        self.assertEqual((sent, run.move_ids.billing_delivery_state), (run.move_ids.ids, "sent"))

    def test_failures_are_tried_three_times(self):
        run = self.posted()
        move = run.move_ids

        def refuse(move):
            raise UserError("Mailbox full")

        with patch.object(AccountMove, "_deliver_email", refuse):
            run.action_send()
            self.assertEqual((move.billing_delivery_state, move.billing_delivery_tries), ("queued", 1))
            self.work()
            self.work()
        self.assertEqual((move.billing_delivery_state, move.billing_delivery_error), ("failed", "Mailbox full"))
        self.assertEqual(move.state, "posted")
        move.action_billing_deliver()
        self.assertEqual((move.billing_delivery_state, move.billing_delivery_error), ("sent", False))

    def test_what_failed_waits_for_the_next_time(self):
        move = self.posted().move_ids
        move._queue_delivery()
        left = []

        def commit_progress(_cron, processed=0, *, remaining=None, deactivate=False):
            left.append(remaining)
            return float("inf")

        with (
            patch.object(AccountMove, "_deliver_email", side_effect=UserError("Mailbox full")),
            patch.object(IrCron, "_commit_progress", commit_progress),
        ):
            self.env["account.move"]._cron_deliver()
            self.env["account.move"]._cron_deliver()
        self.assertEqual([count for count in left if count is not None], [1, 0], "the job is not called again at once")
        self.assertEqual(move.billing_delivery_tries, 2)

    def test_without_an_address_nothing_is_tried_again(self):
        run = self.posted()
        self.customer.email = False
        run.action_send()
        self.assertEqual(run.move_ids.billing_delivery_state, "failed")
        self.assertIn("No e-mail address", run.move_ids.billing_delivery_error)

    def test_limit_of_mails_per_hour(self):
        self.company.billing_mails_per_hour = 3
        with freeze_time("2026-01-01 10:00:00"):
            run = self.posted(5)
            run.action_send()
            self.assertEqual(len(self.mailed), 3)
            self.assertEqual(run.move_ids.mapped("billing_delivery_state").count("queued"), 2)
            self.assertEqual(run.state, "posted")
            self.work()
            self.assertEqual(len(self.mailed), 3)
            self.set_channel("portal")
            portal = self.posted()
            portal.action_send()
            self.assertEqual(portal.state, "sent", "no mail, no limit")
            self.set_channel("email")
        with freeze_time("2026-01-01 11:00:01"):
            self.work()
            self.assertEqual(len(set(self.mailed)), 5)
            self.assertEqual(run.state, "sent")

    def test_the_limit_is_for_mails(self):
        self.company.billing_mails_per_hour = 1
        with freeze_time("2026-01-01 10:00:00"):
            run = self.posted(2)
            run.action_send()
            self.other_customer.with_company(self.company).billing_channel = "post"
            printed = self.posted(partner=self.other_customer)
            printed.move_ids._queue_delivery()
            self.work()
            self.assertEqual(printed.move_ids.billing_delivery_state, "print")
            self.assertEqual(run.move_ids.mapped("billing_delivery_state").count("queued"), 1)

    def test_limit_of_one_company_does_not_stop_another(self):
        self.company.billing_mails_per_hour = 1
        run = self.posted(2)
        run.action_send()
        self.assertEqual(self.env["res.company"]._get_full_mail_companies(), self.company)
        with self.in_job() as commits:
            self.env["account.move"]._cron_deliver()
        self.assertEqual(commits, [0, 0], "nothing to do: the job is not called again at once")
