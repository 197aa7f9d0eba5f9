import io
import zipfile

from freezegun import freeze_time

from odoo import Command
from odoo.tests import tagged

from odoo.addons.customer_billing_statement.tests.common import StatementCommon


@tagged("post_install", "-at_install")
class TestStatementCollection(StatementCommon):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.company.billing_dunning_policy_id = cls.env["billing.dunning.policy"].create(
            {
                "name": "Test",
                "company_id": cls.company.id,
                "calendar_id": False,
                "step_ids": [Command.create({"name": "Reminder", "days": 3})],
            }
        )
        cls.classPatch(cls.registry["billing.case"], "_convert_handover", lambda _self, html: html)
        cls.classPatch(cls.registry["ir.actions.report"], "_render_qweb_pdf", lambda *_a, **_o: (b"PDF", "pdf"))

    def setUp(self):
        super().setUp()
        self.startPatcher(freeze_time("2026-02-10 08:00:00"))
        self.bill = self.invoice("2026-01-05", 100.0)
        self.other_bill = self.invoice("2026-01-06", 50.0)

    def night(self):
        with self.in_job():
            self.env["billing.case"]._work_night(self.company)
            self.env["billing.dunning.notice"]._cron_send()
        return self.env["billing.case"].search([("partner_id", "=", self.customer.id)])

    def test_invariant_14_a_disputed_line_of_a_statement_is_not_demanded(self):
        statement = self.sent()
        line = statement.line_ids.filtered(lambda line: line.move_id == self.bill)
        dispute = self.env["billing.dispute"].create(
            {"name": "Why", "statement_id": statement.id, "statement_line_id": line.id, "claimed_amount": 1.0}
        )
        notice = self.night().notice_ids
        self.assertEqual((notice.state, notice.amount, notice.line_ids.move_id), ("sent", 50.0, self.other_bill))
        excluded = {row["move_id"]: row["excluded"] for row in notice.case_id._get_items()[notice.case_id]}
        self.assertEqual(excluded, {self.bill.id: "dispute", self.other_bill.id: None})
        dispute.resolution = "As agreed"
        dispute.action_reject()
        excluded = {row["move_id"]: row["excluded"] for row in notice.case_id._get_items()[notice.case_id]}
        self.assertEqual(excluded, {self.bill.id: None, self.other_bill.id: None})

    def test_issued_statements_are_in_the_package_as_they_were_sent(self):
        self.invoice("2026-01-07", 30.0, partner=self.other_customer)
        statement = self.sent()
        self.statement("2026-02-01", "2026-02-09")  # a draft
        foreign = self.sent(partner_id=self.other_customer.id)
        case = self.night()
        case.action_hand_over(self.env["res.partner"].create({"name": "Law"}).id)
        with zipfile.ZipFile(io.BytesIO(case.handover_attachment_id.raw)) as archive:
            files = {name: archive.read(name) for name in archive.namelist() if name.startswith("statements/")}
        self.assertEqual(files, {f"statements/{statement.pdf_name}": statement._get_issued_pdf()})
        self.assertNotIn(foreign.pdf_name, str(files))
        self.other_customer.parent_id = self.customer  # now a branch of the customer
        paths = [path for path, _make in case.sudo()._get_handover_documents()]
        self.assertIn(f"statements/{foreign.pdf_name}", paths)
        self.assertIn(self.bill.name.encode(), statement._get_issued_pdf())
