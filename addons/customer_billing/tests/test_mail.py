from freezegun import freeze_time

from odoo import Command
from odoo.tests import tagged

from odoo.addons.mail.tests.common import MockEmail

from .test_price_revision import RevisionCommon
from .test_profile import ProfileCommon


@tagged("post_install", "-at_install")
@freeze_time("2026-10-10 12:00:00")
class TestMailLimit(ProfileCommon, RevisionCommon, MockEmail):
    """One limit for all mails of a company."""

    def mails(self, model):
        return self.env["mail.mail"].sudo().search([("model", "=", model)], order="id")

    def test_letters_wait_and_leave_once(self):
        self.company.billing_mails_per_hour = 1
        record = self.new_revision()
        record.action_notify()
        with self.mock_mail_gateway():
            self.work()
            self.work()
            self.assertEqual(sorted(record.notice_ids.mapped("state")), ["queued", "sent"])
            self.assertEqual(len(self._mails), 1)
            with freeze_time("2026-10-10 13:00:01"):
                self.work()
                self.work()
            self.assertEqual(set(record.notice_ids.mapped("state")), {"sent"})
            self.assertEqual(
                sorted(mail["email_to"] for mail in self._mails),
                [['"Customer One" <one@customer.example>'], ['"Customer Two" <two@customer.example>']],
            )

    def test_profile_mails_share_the_limit(self):
        self.company.billing_mails_per_hour = 1
        self.assertTrue(self.company._has_billing_mail_room())
        first, second = self.ask(), self.ask(self.other_customer)
        mails = self.mails(first._name)
        self.assertEqual([str(mail.scheduled_date or "") for mail in mails], ["", "2026-10-10 13:00:00"])
        self.assertEqual(mails.mapped("record_company_id"), self.company)
        self.assertEqual((first | second).mapped("state"), ["asked", "asked"])
        self.assertEqual(str(self.company._get_billing_mail_time()), "2026-10-10 14:00:00", "what is held back counts")
        with self.mock_mail_gateway():
            self.env["mail.mail"].process_email_queue(mails.ids)
            self.assertEqual(mails.mapped("state"), ["sent", "outgoing"])

    def test_the_job_asks_the_others_later(self):
        self.company.billing_mails_per_hour = 1
        for partner in (self.customer, self.other_customer):
            self.new_contract("2026-01-01", partner_id=partner.id)
        model = self.env["billing.profile.confirmation"]
        calls = self.env["ir.cron.trigger"].search_count([])
        with self.in_job():
            model._cron_ask()
            model._cron_ask()
        self.assertEqual(len(model.search([("company_id", "=", self.company.id)])), 1)
        self.assertGreater(self.env["ir.cron.trigger"].search_count([]), calls, "called again when there is room")
        with freeze_time("2026-10-10 13:00:01"), self.in_job():
            model._cron_ask()
        self.assertEqual(model.search([("company_id", "=", self.company.id)]).partner_id,
                         self.customer | self.other_customer)  # fmt: skip

    def test_mails_of_another_company_do_not_count(self):
        other = self.setup_other_company()["company"]
        (self.company | other).billing_mails_per_hour = 1
        self.ask()
        self.assertEqual(self.env["res.company"]._get_full_mail_companies(), self.company)
        self.assertTrue(other._has_billing_mail_room())

    def test_notes_and_talk_among_staff_are_no_mails(self):
        self.company.billing_mails_per_hour = 1
        move = self.bill("2026-01-01", self.new_contract("2026-01-01")).move_ids
        move.message_post(body="A note")
        self.assertTrue(self.company._has_billing_mail_room())
        move.message_post(body="Dear customer", partner_ids=self.customer.ids)
        self.assertFalse(self.company._has_billing_mail_room())


@tagged("post_install", "-at_install")
@freeze_time("2026-10-10 12:00:00")
class TestMailLanguage(ProfileCommon, RevisionCommon, MockEmail):
    """Each recipient gets the mail in the own language."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for code in ("zh_CN", "fr_FR"):
            cls.env["res.lang"]._activate_lang(code)
        cls.contacts = cls.env["res.partner"].create(
            [
                {"name": name, "parent_id": cls.customer.id, "email": f"{name}@customer.example", "lang": lang,
                 "billing_role_billing": True}
                for name, lang in (("ann", "en_US"), ("bo", "zh_CN"), ("cy", "zh_CN"))
            ]
        )  # fmt: skip

    def translate(self, xmlid):
        template = self.env.ref(f"customer_billing.{xmlid}")
        template.with_context(lang="en_US").subject = "In English"
        template.with_context(lang="zh_CN").subject = "中文"
        return template

    def expected(self):
        return {("In English", self.contacts[0]), ("中文", self.contacts[1:])}

    def test_recipients_by_language(self):
        groups = self.contacts._group_by_billing_lang("fr_FR")
        self.assertEqual(groups, {"en_US": self.contacts[0], "zh_CN": self.contacts[1:]})
        self.contacts[0].lang = False
        self.assertEqual(list(self.contacts._group_by_billing_lang("fr_FR")), ["fr_FR", "zh_CN"])
        self.assertEqual(self.contacts.browse()._group_by_billing_lang("fr_FR"), {})

    def test_bill(self):
        self.translate("mail_template_bill")
        move = self.bill("2026-01-01", self.new_contract("2026-01-01")).move_ids
        with self.mock_mail_gateway():
            move.action_billing_deliver()
        messages = move.message_ids.filtered("notification_ids")
        self.assertEqual({(message.subject, message.partner_ids) for message in messages}, self.expected())
        self.assertEqual(messages.mapped("attachment_ids.name"), [move.invoice_pdf_report_id.name] * 2)
        self.assertEqual(move.billing_delivery_state, "sent")

    def test_a_text_that_a_person_wrote_is_for_all(self):
        template = self.translate("mail_template_bill")
        move = self.bill("2026-01-01", self.new_contract("2026-01-01")).move_ids
        data = {
            "mail_template": template, "mail_lang": "en_US", "mail_subject": "By hand", "mail_body": "By hand",
            "mail_partner_ids": self.contacts.ids,
        }  # fmt: skip
        sender = self.env["account.move.send"]
        self.assertEqual(sender._split_by_billing_lang(move, data), [])
        subject, body = sender._get_billing_texts(move, template, "en_US")
        parts = sender._split_by_billing_lang(move, data | {"mail_subject": subject, "mail_body": body})
        self.assertEqual([part["mail_subject"] for part in parts], ["In English", "中文"])

    def test_letter_about_prices(self):
        self.translate("mail_template_price_notice")
        record = self.new_revision(contract_ids=[Command.set(self.contract.ids)])
        record.action_notify()
        with self.mock_mail_gateway():
            self.work()
        self.assertEqual(record.notice_ids.state, "sent")
        mails = self.env["mail.mail"].sudo().search([("model", "=", "billing.price.notice")])
        self.assertEqual({(mail.subject, mail.recipient_ids) for mail in mails}, self.expected())
        self.assertEqual(len(self._mails), 3)

    def test_who_has_got_the_letter_does_not_get_it_again(self):
        record = self.new_revision(contract_ids=[Command.set(self.contract.ids)])
        record.action_notify()
        self.contacts[1:].email = "at the counter"
        with self.mock_mail_gateway():
            self.work()
            self.work()
        self.assertEqual(record.notice_ids.state, "sent")
        self.assertEqual([mail["email_to"] for mail in self._mails].count(['"ann" <ann@customer.example>']), 1)
        self.assertIn("failed", record.notice_ids.message_ids[0].body)

    def test_profile(self):
        self.translate("mail_template_profile")
        record = self.ask()
        mails = self.env["mail.mail"].sudo().search([("model", "=", record._name), ("res_id", "=", record.id)])
        self.assertEqual({(mail.subject, mail.recipient_ids) for mail in mails}, self.expected())
