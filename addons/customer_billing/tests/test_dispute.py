from freezegun import freeze_time

from odoo.exceptions import AccessError, UserError
from odoo.tests import HttpCase, tagged

from .common import BillingCommon


@tagged("post_install", "-at_install")
class TestDispute(BillingCommon, HttpCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.contract = cls.new_contract("2026-01-01")
        cls.move = cls.bill("2026-01-01", cls.contract).move_ids
        cls.cause = cls.env.ref("customer_billing.billing_cause_contract")

    def dispute(self, **values):
        return self.env["billing.dispute"].create({"name": "Seats", "move_id": self.move.id, **values})

    def test_credit_note_from_the_dispute(self):
        officer = self.new_staff("officer")
        dispute = self.dispute(amount=30.0).with_user(officer)
        action = dispute.action_credit()
        self.assertEqual(action["res_model"], "account.move.reversal")
        wizard = (
            self.env["account.move.reversal"]
            .with_user(officer)
            .with_context(**action["context"])
            .create({"journal_id": self.move.journal_id.id, "date": "2026-01-20"})
        )
        self.assertEqual((wizard.reason, wizard.billing_dispute_id), ("Seats", dispute))
        wizard.refund_moves()
        credit = self.move.reversal_move_ids
        self.assertEqual(dispute.credit_move_ids, credit)
        credit.invoice_line_ids.price_unit = 30.0
        credit.action_post()
        self.assertEqual(sum(self.contract.charge_ids.mapped("amount")), 70.0)
        dispute.write({"resolution": "Two seats less.", "state": "accepted", "cause_id": self.cause.id})
        self.assertEqual(dispute.action_view_credits()["domain"], [("id", "in", credit.ids)])

    def test_other_credit_notes_are_not_linked(self):
        other = self.move._reverse_moves([{"date": "2026-01-10"}])
        other.invoice_line_ids.price_unit = 60.0
        other.action_post()
        dispute = self.dispute()
        wizard = self.env["account.move.reversal"].with_context(
            **dispute.action_credit()["context"]
        ).create({"journal_id": self.move.journal_id.id, "date": "2026-01-20"})
        wizard.refund_moves()
        self.assertEqual(len(dispute.credit_move_ids), 1)
        self.assertEqual(dispute.credit_move_ids, wizard.new_move_ids)
        self.assertEqual(dispute.credit_move_ids.amount_untaxed, 40.0)

    def test_nothing_to_credit(self):
        dispute = self.dispute()
        self.move.button_draft()
        with self.assertRaisesRegex(UserError, "not about a posted bill"):
            dispute.action_credit()

    def test_days_and_report_by_cause(self):
        with freeze_time("2026-02-01"):
            dispute = self.dispute(cause_id=self.cause.id)
            other = self.dispute()
        with freeze_time("2026-02-11"):
            self.assertEqual((dispute.days_open, dispute.days_to_close), (10, 0))
            dispute.write({"resolution": "Right.", "state": "accepted"})
        with freeze_time("2026-03-01"):
            self.env.invalidate_all()
            self.assertEqual((dispute.days_open, dispute.days_to_close), (10, 10))
            self.assertEqual(other.days_open, 28)
        groups = self.env["billing.dispute"]._read_group(
            [("id", "in", (dispute | other).ids)], ["cause_id", "partner_id"], ["amount:sum", "days_to_close:avg"]
        )
        self.assertIn((self.cause, self.customer, dispute.amount, 10.0), groups)

    def test_who_closed_a_dispute_and_when_is_on_record(self):
        collector = self.new_staff("collector")
        disputes = self.env["billing.dispute"].with_user(collector).with_context(tracking_disable=True)
        closed = disputes.create(
            {"name": "By telephone", "move_id": self.move.id, "state": "rejected", "resolution": "Agreed"}
        )
        self.assertEqual((closed.date_closed, closed.days_to_close), (closed.date_opened, 0))
        for values in ({"date_opened": "2020-01-01"}, {"date_closed": "2020-01-01"},
                       {"credit_move_ids": [(4, self.move.id)]}):  # fmt: skip
            with self.subTest(**values), self.assertRaises(AccessError):
                closed.write(values)
        closed.state = "open"
        self.assertFalse(closed.date_closed)
        self.env.flush_all()
        self.cr.precommit.run()
        self.assertEqual(closed.message_ids.sudo().tracking_value_ids.mapped("new_value_char"), ["Open"])

    def test_the_customer_reads_the_resolution(self):
        self.new_portal(self.customer, "disputing")
        dispute = self.dispute(name="Two seats too many")
        self.authenticate("disputing", "disputing")
        page = self.url_open(f"/my/invoices/{self.move.id}").text
        self.assertIn("Two seats too many", page)
        self.assertIn("We are looking into it", page)
        dispute.write({"resolution": "We credit two seats.", "state": "accepted"})
        page = self.url_open(f"/my/invoices/{self.move.id}").text
        self.assertIn("We credit two seats.", page)
        self.assertNotIn("We are looking into it", page)

    def test_another_document_can_take_the_place_of_the_bill(self):
        """The seam of modules: what is disputed comes from overridable methods."""
        dispute = self.dispute()
        self.assertEqual(
            dispute._get_document_values(),
            {
                "partner_id": self.customer,
                "company_id": self.company,
                "currency_id": self.company.currency_id,
            },
        )
        self.assertEqual(dispute._get_document_name(), self.move.name)
        self.assertEqual(dispute._get_document_amounts(), (self.move.amount_residual, self.move.amount_total))
