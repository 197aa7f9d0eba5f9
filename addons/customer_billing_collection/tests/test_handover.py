import csv
import hashlib
import io
import zipfile

from freezegun import freeze_time

from odoo import Command
from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged

from .common import CollectionCommon


@tagged("post_install", "-at_install")
class TestHandover(CollectionCommon):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # the programs that make PDFs are not what is tested, but for one test
        cls.classPatch(cls.registry["billing.case"], "_convert_handover", lambda _self, html: html)
        cls.classPatch(
            cls.registry["ir.actions.report"],
            "_render_qweb_pdf",
            lambda _self, _ref, ids, **_options: (b"PDF of %d" % ids[0], "pdf"),
        )
        cls.lawyer = cls.env["res.partner"].create({"name": "Law & Order"})
        cls.manager = cls.new_staff("manager", "collector", login="handover_manager")

    def setUp(self):
        super().setUp()
        self.startPatcher(freeze_time("2026-01-16 08:00:00"))
        self.bill = self.invoice("2026-01-10", 100.0)
        self.paid = self.invoice("2026-01-11", 70.0)
        self.pay("2026-01-12", 70.0, invoices=self.paid)
        self.credit = self.invoice("2026-01-12", -30.0)
        self.foreign = self.invoice("2026-01-05", 11.0, partner=self.other_customer)
        self.night()
        self.file = self.case()

    def hand_over(self, user=None, case=None):
        case = (case or self.file).with_user(user or self.collector)
        case.action_hand_over(self.lawyer.id, "Be quick")
        return self.read_package(case.handover_attachment_id)

    def read_package(self, attachment):
        with zipfile.ZipFile(io.BytesIO(attachment.sudo().raw)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    def read_csv(self, files, name):
        return list(csv.DictReader(io.StringIO(files[name].decode("utf-8-sig"))))

    def test_content_equals_the_ledger(self):
        files = self.hand_over()
        items = self.read_csv(files, "items.csv")
        self.assertEqual(
            sorted((item["number"], float(item["open"])) for item in items),
            sorted([(self.bill.name, 100.0), (self.credit.name, -30.0)]),
        )
        balance = self.env["billing.receivable"]._get_balances(
            self.company, self.company._get_billing_today(), self.customer.ids
        )[self.customer.id, self.company.currency_id.id]["balance"]
        self.assertEqual(sum(float(item["open"]) for item in items), balance)
        bills = {name: content for name, content in files.items() if name.startswith("bills/")}
        self.assertEqual(set(bills.values()), {b"PDF of %d" % move.id for move in self.bill | self.credit})
        summary = files["summary.pdf"].decode()
        for text in (self.bill.name, "Law &amp; Order", "Be quick", self.company.currency_id.format(70.0)):
            self.assertIn(text, summary)
        self.assertNotIn(self.paid.name, summary)
        self.assertNotIn("MISSING.txt", files)

    def test_sums_name_every_file_and_the_package_is_reproducible(self):
        files = self.hand_over()
        sums = dict(reversed(line.split("  ")) for line in files.pop("SHA256SUMS").decode().splitlines())
        self.assertEqual(sums, {name: hashlib.sha256(content).hexdigest() for name, content in files.items()})
        package = self.file.handover_attachment_id
        self.assertEqual(self.file.handover_sha256, hashlib.sha256(package.raw).hexdigest())
        self.file.sudo()._store_package("Be quick")
        self.assertNotEqual(self.file.handover_attachment_id, package)
        self.assertEqual(self.file.handover_attachment_id.raw, package.raw)

    def test_notices_are_there_with_proof_of_sending(self):
        notice = self.file.notice_ids.filtered(lambda notice: notice.state == "sent")[:1]
        files = self.hand_over()
        page = next(content.decode() for name, content in files.items() if name.startswith("notices/"))
        self.assertTrue(notice.mail_message_id, "the step goes by mail")
        for text in (notice.name, "one@customer.example", notice.mail_message_id.message_id.strip("<>")):
            self.assertIn(text, page)
        self.assertIn(str(notice.date_sent), page)
        [proof] = self.read_csv(files, "notices.csv")
        self.assertEqual(
            [proof[name] for name in ("notice", "channel", "sent_utc", "message_id", "address")],
            [notice.name, "email", str(notice.date_sent), notice.mail_message_id.message_id, "one@customer.example"],
        )
        self.assertTrue(proof["outcome"])

    def test_correspondence_without_internal_notes(self):
        self.file.message_post(body="Internal", subtype_xmlid="mail.mt_note")
        self.file.message_post(body="We answer", subtype_xmlid="mail.mt_comment", message_type="comment")
        attachment = self.env["ir.attachment"].create({"name": "letter.txt", "raw": b"Dear all"})
        self.bill.message_post(
            body="They wrote", message_type="email", subtype_xmlid="mail.mt_comment", attachment_ids=attachment.ids
        )
        files = self.hand_over()
        self.assertIn("We answer", files["correspondence/case.html"].decode())
        self.assertNotIn("Internal", files["correspondence/case.html"].decode())
        self.assertIn("They wrote", files["correspondence/bills.html"].decode())
        self.assertEqual(files[f"correspondence/files/{attachment.id}_letter.txt"], b"Dear all")

    def test_contracts_promises_and_agreements(self):
        contract = self.new_contract("2026-01-01", client_ref="PO 7")
        self.bill_run = self.bill_contract(contract)
        self.env["billing.promise"].create({"case_id": self.file.id, "amount": 5, "date": "2099-01-01", "note": "=1+1"})
        files = self.hand_over()
        self.assertEqual(files[f"contracts/{contract.name.replace('/', '-')}.pdf"], b"PDF of %d" % contract.id)
        [promise] = self.read_csv(files, "promises.csv")
        self.assertEqual((promise["amount"], promise["state"], promise["note"]), ("5.00", "open", "'=1+1"))

    def bill_contract(self, contract):
        run = self.new_run("2026-01-01", contract)
        run.action_propose()
        run.action_generate()
        run.action_approve()
        run.action_post()
        return run

    def test_invariant_16_other_customers_and_companies_are_never_inside(self):
        other = self.setup_other_company()
        self.env["account.move"].with_company(other["company"]).create(
            {
                "move_type": "out_invoice", "partner_id": self.customer.id, "invoice_date": "2026-01-01",
                "invoice_line_ids": [Command.create({"name": "Elsewhere", "price_unit": 98765.43, "tax_ids": []})],
            }
        ).action_post()  # fmt: skip
        euro = self.setup_other_currency("EUR")
        in_euro = self.invoice("2026-01-05", 55.0, currency=euro)
        files = self.hand_over()
        numbers = {item["number"] for item in self.read_csv(files, "items.csv")}
        self.assertEqual(numbers, {self.bill.name, self.credit.name})
        everything = b"".join(content for name, content in files.items() if not name.startswith("bills/"))
        everything = everything.decode(errors="replace")
        for text in ("98,765", "Elsewhere", in_euro.name, self.foreign.name, self.other_customer.name):
            self.assertNotIn(text, everything)
        foreign_user = self.new_staff("collector", "manager", login="handover_foreign")
        foreign_user.write(
            {"company_ids": [Command.set(other["company"].ids)], "company_id": other["company"].id}
        )
        case = self.case(self.other_customer)
        with self.assertRaises(AccessError):
            case.with_user(foreign_user).with_context(allowed_company_ids=other["company"].ids).action_hand_over(
                self.lawyer.id
            )

    def test_a_collector_without_accounting_does_it_and_readers_do_not(self):
        self.assertFalse(self.bill.with_user(self.collector).has_access("write"))
        self.assertTrue(self.hand_over(self.collector))
        self.assertEqual(self.file.handover_attachment_id.with_user(self.collector).raw[:2], b"PK")
        case = self.case(self.other_customer)
        for role in ("sales", "auditor"):
            user = self.new_staff(role, login=f"handover_{role}")
            self.other_customer.user_id = user
            with self.subTest(role=role), self.assertRaises(AccessError):
                case.with_user(user).action_hand_over(self.lawyer.id)
        with self.assertRaises(AccessError):
            case.with_user(self.collector).write({"handover_partner_id": self.lawyer.id})

    def test_dunning_stops_until_it_is_taken_back(self):
        sent = self.sent()
        self.hand_over()
        self.assertEqual((self.file.state, self.file.handover_partner_id), ("legal", self.lawyer))
        self.file.sudo().write({"step_id": False, "step_days": 0})
        self.file.notice_ids.sudo().write({"state": "cancelled", "reason_code": "superseded"})
        self.night()
        self.assertFalse(self.sent(), "nothing goes out")
        with self.assertRaisesRegex(UserError, "handed over already"):
            self.file.with_user(self.collector).action_hand_over(self.lawyer.id)
        with self.assertRaisesRegex(AccessError, "billing manager"):
            self.file.with_user(self.collector).action_take_back("They pay")
        for reason in ("", "  "):
            with self.assertRaisesRegex(UserError, "Say why"):
                self.file.with_user(self.manager).action_take_back(reason)
        self.file.with_user(self.manager).action_take_back("They pay")
        self.assertEqual((self.file.state, self.file.handover_partner_id.id), ("open", False))
        self.assertIn("They pay", "".join(self.file.message_ids.mapped("body")))
        self.night()
        self.assertEqual(self.sent(), sent[-1:], "dunning goes on with the highest step")

    def tasks(self, case=None):
        kind = self.env.ref("customer_billing_collection.mail_activity_type_tell_agency")
        return (case or self.file).activity_ids.filtered(lambda task: task.activity_type_id == kind).sorted("id")

    def test_payments_and_credit_notes_after_it_are_told_once(self):
        other = self.invoice("2026-01-12", 50.0)
        self.hand_over()
        self.assertFalse(self.tasks(), "what is in the package is known")
        self.match(self.credit, self.bill)  # so is its match
        self.env.cr.precommit.run()
        self.assertFalse(self.tasks())
        payment = self.pay("2026-01-16", 60.0, invoices=self.bill | other)
        self.env.cr.precommit.run()
        task = self.tasks()
        self.assertEqual((len(task), task.user_id), (1, self.collector))
        for text in ("Payment of", self.file.currency_id.format(60.0), "Law & Order"):
            self.assertIn(text, task.summary)
        self.assertIn("60.00 now", task.note)
        self.assertIn("after the hand-over: tell Law", "".join(self.file.message_ids.mapped("body")))
        self.item(payment).remove_move_reconcile()
        self.match(payment, other)
        self.env.cr.precommit.run()
        self.assertEqual(self.tasks(), task, "once for a payment")
        note = self.invoice("2026-01-16", -20.0, date="2026-01-16")
        self.match(note, self.bill)
        self.env.cr.precommit.run()
        self.assertEqual(len(self.tasks()), 2)
        self.assertIn("Credit note of", self.tasks()[-1].summary)

    def test_money_that_is_not_matched_is_told_at_night(self):
        self.hand_over()
        self.pay("2026-01-16", 10.0)
        for _night in range(2):
            self.night()
            self.assertEqual(len(self.tasks()), 1)
        self.assertIn(self.file.currency_id.format(10.0), self.tasks().summary)

    def test_payments_for_what_was_not_handed_over_are_no_news(self):
        self.hand_over()
        with freeze_time("2026-01-20 08:00:00"):
            later = self.invoice("2026-01-30", 40.0, date="2026-01-20")
            self.pay("2026-01-20", 40.0, invoices=later)
            self.env.cr.precommit.run()
        self.assertFalse(self.tasks())

    def news(self):
        kind = self.env.ref("customer_billing_collection.mail_activity_type_new_debt")
        return self.file.activity_ids.filtered(lambda task: task.activity_type_id == kind).sorted("id")

    def new_debt(self):
        """Two bills that are not in the package; they become overdue on the 18th and the 25th."""
        self.hand_over()
        return self.invoice("2026-01-17", 40.0, date="2026-01-16"), self.invoice("2026-01-24", 25.0, date="2026-01-16")

    def test_what_becomes_overdue_after_it_is_told_once_and_not_demanded(self):
        sent = self.sent()
        first, second = self.new_debt()
        for day, expected in (("17", 0), ("18", 1), ("19", 1), ("25", 2)):
            with freeze_time(f"2026-01-{day} 08:00:00"):
                self.night()
                self.assertEqual(len(self.news()), expected, day)
        self.assertEqual(self.sent(), sent, "nothing goes out")
        self.assertEqual(set(self.skipped()), {"legal"})
        self.assertEqual(self.news().user_id, self.collector)
        for task, bill in zip(self.news(), (first, second), strict=True):
            self.assertIn(self.file.currency_id.format(bill.amount_total), task.summary)
            self.assertIn(bill.name, task.note)
            self.assertIn("Law &amp; Order does not have it", task.note)
        self.assertFalse(self.tasks(), "it is no news for the lawyer")
        self.file.with_user(self.manager).action_take_back("They pay")
        self.assertFalse(self.news(), "it is demanded again")

    def test_what_is_disputed_is_told_when_that_is_decided(self):
        bill, _later = self.new_debt()
        dispute = self.env["billing.dispute"].create({"name": "Wrong", "move_id": bill.id})
        with freeze_time("2026-01-18 08:00:00"):
            self.night()
            self.assertFalse(self.news())
            dispute.write({"state": "rejected", "resolution": "It is right"})
            self.env.cr.precommit.run()
        self.assertIn(bill.name, self.news().note)

    def test_a_new_package_has_what_came_since(self):
        bill, later = self.new_debt()
        before = self.file.handover_attachment_id
        with freeze_time("2026-01-18 08:00:00"):
            self.night()
            with self.assertRaises(AccessError):
                self.file.with_user(self.new_staff("auditor", login="handover_reader")).action_renew_package()
            self.file.with_user(self.collector).action_renew_package("More")
            self.assertFalse(self.news(), "decided")
            files = self.read_package(self.file.handover_attachment_id)
            self.assertIn(bill.name, {item["number"] for item in self.read_csv(files, "items.csv")})
            self.assertIn("More", files["summary.pdf"].decode())
            self.assertTrue(before.exists())
            self.assertEqual((str(self.file.date_legal), self.file.handover_partner_id), ("2026-01-16", self.lawyer))
            self.pay("2026-01-18", 40.0, invoices=bill)
            self.env.cr.precommit.run()
            self.assertEqual(len(self.tasks()), 1, "now it is what they collect")
        with freeze_time("2026-01-26 08:00:00"):
            self.night()
        self.assertFalse(self.news(), "it was in the package")
        self.assertIn(later, self.file.handover_move_ids)
        with self.assertRaisesRegex(UserError, "not handed over"):
            self.case(self.other_customer).action_renew_package()

    def test_what_is_left_is_collected_from_the_start_when_they_are_done(self):
        bill, _later = self.new_debt()
        with freeze_time("2026-01-21 08:00:00"):
            self.night()
            self.match(self.credit, self.bill)
            self.pay("2026-01-21", 70.0, invoices=self.bill)
            self.env.cr.precommit.run()
            new = self.case()
            self.assertEqual((self.file.state, self.file.close_reason), ("closed", "paid"))
            self.assertEqual((new.state, new.amount_overdue, new.collector_id), ("open", 40.0, self.collector))
            self.assertFalse(new.date_legal)
            self.assertFalse(self.news())
            self.night()
        self.assertEqual(self.sent(new)[:1], ["Friendly"])
        self.assertIn(bill, new.notice_ids.line_ids.move_id)

    def test_a_credit_note_for_all_is_told_as_that(self):
        self.hand_over()
        self.file.sudo()._close("credited")
        self.assertIn("Credited or cancelled after the hand-over: tell Law", self.tasks().summary)

    def test_the_last_payment_makes_one_task(self):
        self.hand_over()
        self.match(self.credit, self.bill)
        self.pay("2026-01-16", 70.0, invoices=self.bill)
        self.env.cr.precommit.run()
        self.assertEqual((self.file.state, len(self.tasks())), ("closed", 1))
        self.assertIn("0.00 now", self.tasks().note)

    def test_disputes_after_it_are_told(self):
        self.hand_over()
        dispute = self.env["billing.dispute"].create({"name": "Wrong", "move_id": self.bill.id, "amount": 25.0})
        self.assertIn(self.file.currency_id.format(25.0), self.tasks().summary)
        dispute.write({"state": "rejected", "resolution": "It is right"})
        self.assertEqual(len(self.tasks()), 2)

    def test_what_is_missing_is_told(self):
        def fail(_self, _ref, ids, **_options):
            if ids[0] == self.bill.id:
                raise UserError("no paper")
            return b"PDF", "pdf"

        self.patch(self.registry["ir.actions.report"], "_render_qweb_pdf", fail)
        files = self.hand_over()
        self.assertIn("no paper", files["MISSING.txt"].decode())
        self.assertEqual(len([name for name in files if name.startswith("bills/")]), 1)

    def test_wizard(self):
        Wizard = self.env["billing.case.handover"].with_user(self.collector)
        Wizard = Wizard.with_context(active_model="billing.case", active_id=self.file.id)
        wizard = Wizard.create({"partner_id": self.lawyer.id})
        self.assertFalse(wizard.is_handed_over)
        wizard.action_hand_over()
        self.assertEqual(self.file.date_legal, self.company._get_billing_today())
        self.assertIn(str(self.file.handover_attachment_id.id), self.file.action_download_package()["url"])
        Wizard.with_user(self.manager).create({"reason": "Paid"}).action_take_back()
        self.assertFalse(self.file.date_legal)


@tagged("post_install", "-at_install")
class TestHandoverPdf(CollectionCommon):
    def test_the_summary_is_a_pdf(self):
        if self.env["ir.actions.report"].get_wkhtmltopdf_state() == "install":
            self.skipTest("wkhtmltopdf is not installed")
        for _number in range(3):
            self.invoice("2026-01-10", 100.0)
        self.night()
        case = self.case().sudo()
        case.write({"date_legal": self.company._get_billing_today()})
        [summary] = [make() for path, make in case._get_handover_documents() if path == "summary.pdf"]
        self.assertEqual(summary[:5], b"%PDF-")

    def test_a_contract_is_the_document_with_its_terms(self):
        contract = self.new_contract("2026-01-01")
        content = self.env["billing.case"]._get_handover_contract(contract, False)  # HTML: tests render no PDF
        self.assertIn(contract.name, content.decode())
        with self.assertRaisesRegex(UserError, "too many contracts"):
            self.env["billing.case"]._get_handover_contract(contract, True)
