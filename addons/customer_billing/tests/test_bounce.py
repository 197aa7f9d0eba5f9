from email.message import EmailMessage
from email.utils import make_msgid

from odoo import fields
from odoo.tests import tagged

from .common import BillingCommon


@tagged("post_install", "-at_install")
class TestBounce(BillingCommon):
    """Mails that come back, as the mail gateway gets them."""

    def come_back(self, message, address):
        """Process what a mail server answers to ``message``."""
        self.assertTrue(message.message_id)
        report = (
            f"Return-Path: <>\nFrom: MAILER-DAEMON@mx.example\nTo: bounce@ours.example\nSubject: Undelivered\n"
            f"Message-Id: {make_msgid()}\nMIME-Version: 1.0\n"
            'Content-Type: multipart/report; report-type=delivery-status; boundary="XX"\n\n'
            "--XX\nContent-Type: text/plain\n\nNo such user.\n"
            "--XX\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\n\n"
            f"Final-Recipient: rfc822; {address}\nAction: failed\nStatus: 5.1.1\n"
            "Diagnostic-Code: smtp; 550 No such user\n\n"
            f"--XX\nContent-Type: message/rfc822\n\n{self.original(message, address)}\n--XX--\n"
        )
        self.env["mail.thread"].with_user(self.env.ref("base.user_root")).message_process(None, report)

    def original(self, message, address):
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = "us@ours.example", address, message.subject or "Bill"
        mail["Message-Id"] = message.message_id
        mail.set_content("Hello")
        return mail.as_string()

    def latest_message(self, record):
        return self.env["mail.message"].sudo().search(
            [("model", "=", record._name), ("res_id", "=", record.id), ("message_type", "=", "email_outgoing")]
        )  # fmt: skip

    def test_a_bill_that_comes_back_is_a_task(self):
        officer = self.new_staff("officer", login="bounce_officer")
        run = self.bill("2026-01-01", self.new_contract("2026-01-01", officer_id=officer.id))
        run.action_send()
        move = run.move_ids
        self.assertEqual(move.billing_delivery_state, "sent")
        message = move.message_ids.filtered("notification_ids")
        self.come_back(message, "one@customer.example")
        with self.in_job():
            self.env["account.move"]._cron_deliver()
            self.env["account.move"]._cron_deliver()
        self.assertEqual(move.billing_delivery_state, "failed")
        self.assertIn("one@customer.example", move.billing_delivery_error)
        self.assertEqual(move.activity_ids.user_id, officer)
        self.assertEqual(run.undelivered_count, 1)

    def test_the_task_is_not_for_somebody_who_left(self):
        officer = self.new_staff("officer", login="bounce_left")
        run = self.bill("2026-01-01", self.new_contract("2026-01-01", officer_id=officer.id))
        run.action_send()
        officer.active = False
        self.come_back(run.move_ids.message_ids.filtered("notification_ids"), "one@customer.example")
        with self.in_job():
            self.env["account.move"]._cron_deliver()
        self.assertEqual(run.move_ids.activity_ids.user_id, run.prepared_by_id)

    def test_mails_are_kept_until_they_may_have_come_back(self):
        for name in ("mail_template_price_notice", "mail_template_profile"):
            self.assertFalse(self.env.ref(f"customer_billing.{name}").auto_delete, name)

    def test_a_letter_about_prices_that_comes_back_is_not_given(self):
        contract = self.new_contract("2026-01-01")
        today = self.company._get_billing_today()
        revision = self.env["billing.price.revision"].create(
            {"name": "More", "percent": 3.0, "date": fields.Date.add(today, months=6)}
        )
        revision.action_compute()
        revision.action_notify()
        with self.in_job():
            self.env["billing.price.revision"]._cron_work()
        notice = revision.notice_ids.filtered(lambda notice: notice.partner_id == self.customer)
        line = notice.line_ids
        self.assertEqual((notice.state, line.contract_id, line.outcome), ("sent", contract, "applied"))
        self.come_back(self.latest_message(notice), "one@customer.example")
        self.assertEqual((notice.state, line.outcome), ("failed", "proposed"))
        self.assertTrue(notice.activity_ids)

    def test_a_request_to_confirm_the_profile_that_comes_back_is_a_task(self):
        record = self.env["billing.profile.confirmation"]._ask(self.customer, self.company)
        self.env["mail.mail"].sudo().search([("model", "=", record._name)]).send()
        message = self.latest_message(record)
        for _again in range(2):
            self.come_back(message, "one@customer.example")
            self.assertIn("one@customer.example came back", record.sudo().error)
            self.assertEqual(len(record.activity_ids), 1)
        record.action_confirm("Ann")
        self.assertFalse(record.activity_ids)
        self.come_back(message, "one@customer.example")
        self.assertFalse(record.activity_ids, "it is answered")
