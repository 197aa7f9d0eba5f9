from unittest.mock import patch

from freezegun import freeze_time
from lxml import etree

from odoo import Command
from odoo.exceptions import UserError
from odoo.tests import tagged

from .common import BillingCommon


@tagged("post_install", "-at_install")
class TestCorrection(BillingCommon):
    """Whatever button corrects a bill, ledger and bills tell the same story."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.contract = cls.new_contract("2026-01-01")
        cls.move = cls.bill("2026-01-01", cls.contract).move_ids

    def ledger(self, waived=None):
        charges = self.contract.charge_ids.filtered(lambda charge: charge.state != "void")
        if waived is not None:
            charges = charges.filtered(lambda charge: charge.waived == waived)
        return round(sum(charges.mapped("amount")), 2)

    def assert_ledger_is_bills(self):
        """Σ of the charges on bills = Σ of the bills' untaxed amounts."""
        charges = self.contract.charge_ids.filtered(lambda charge: charge.state == "billed")
        moves = charges.move_id.filtered(lambda move: move.state != "cancel")
        signed = sum(
            -move.amount_untaxed if move.move_type == "out_refund" else move.amount_untaxed
            for move in moves
        )
        self.assertEqual(round(signed, 2), round(sum(charges.mapped("amount")), 2))

    def reverse(self, again=False, modify=False, move=None):
        wizard = (
            self.env["account.move.reversal"]
            .with_context(active_model="account.move", active_ids=(move or self.move).ids)
            .create({"journal_id": self.move.journal_id.id, "date": "2026-01-20",
                     "billing_again": again})
        )  # fmt: skip
        (wizard.modify_moves if modify else wizard.refund_moves)()
        return wizard.new_move_ids

    def test_credit_note_is_for_good_unless_asked(self):
        credit = self.reverse()
        credit.action_post()
        self.assertEqual((self.ledger(), self.ledger(waived=True)), (0.0, -100.0))
        self.assertFalse(self.bill("2026-01-25", self.contract).move_ids)
        self.assertEqual(credit.billing_contract_ids, self.contract)
        self.assert_ledger_is_bills()

    def test_partial_credit_by_hand(self):
        credit = self.reverse()
        credit.invoice_line_ids.price_unit = 30.0
        credit.action_post()
        self.assertEqual((self.ledger(), self.ledger(waived=True)), (70.0, -30.0))
        self.assertFalse(self.bill("2026-01-25", self.contract).move_ids)
        credit.button_draft()
        credit.invoice_line_ids.price_unit = 45.0
        credit.action_post()
        self.assertEqual(self.ledger(), 55.0)
        self.assert_ledger_is_bills()

    def test_credit_note_and_bill_again(self):
        self.reverse(again=True).action_post()
        self.assertEqual((self.ledger(), self.ledger(waived=True)), (0.0, 0.0))
        self.assertEqual(str(self.contract.next_bill_date), "2026-01-01")
        again = self.bill("2026-01-25", self.contract).move_ids
        self.assertEqual(again.amount_untaxed, 100.0)
        self.assertEqual(str(again.invoice_line_ids.billing_period_end), "2026-01-31")
        self.assertEqual(self.ledger(), 100.0)
        self.assertFalse(self.bill("2026-01-25", self.contract).move_ids)
        self.assert_ledger_is_bills()

    def test_deleted_credit_note_leaves_the_bill(self):
        for again in (False, True):
            with self.subTest(again=again):
                self.reverse(again=again).unlink()
                self.assertEqual(self.ledger(), 100.0)
                self.assertFalse(self.bill("2026-01-25", self.contract).move_ids)

    def test_credit_and_modify(self):
        copy = self.reverse(modify=True)
        self.assertEqual(copy.state, "draft")
        self.assertEqual(self.ledger(), 100.0)
        self.assertFalse(self.bill("2026-01-25", self.contract).move_ids)
        copy.invoice_line_ids.price_unit = 90.0
        copy.action_post()
        self.assertEqual((self.ledger(), self.ledger(waived=True)), (90.0, -10.0))
        self.assertFalse(self.bill("2026-01-25", self.contract).move_ids)
        self.assert_ledger_is_bills()

    def test_credit_after_a_partial_credit_takes_what_is_left(self):
        credit = self.reverse()
        credit.invoice_line_ids.price_unit = 60.0
        credit.action_post()
        rest = self.reverse()
        self.assertEqual((rest.amount_untaxed, rest.amount_total), (40.0, 46.0))
        rest.action_post()
        self.assertEqual((self.ledger(), self.ledger(waived=True)), (0.0, -100.0))
        with self.assertRaisesRegex(UserError, "credited or adjusted before"):
            self.reverse()
        self.assertFalse(self.bill("2026-01-25", self.contract).move_ids)
        self.assert_ledger_is_bills()

    @freeze_time("2026-01-25")
    def test_credit_after_an_adjustment_takes_what_is_left(self):
        pause = {"contract_id": self.contract.id, "date_from": "2026-01-11", "date_to": "2026-01-20"}
        self.env["billing.contract.pause"].create(pause)  # - 32.26, which waits for the next bill
        credit = self.reverse()
        self.assertEqual(credit.amount_untaxed, 67.74)
        credit.action_post()
        february = self.bill("2026-02-01", self.contract).move_ids
        self.assertEqual(february.amount_untaxed, 67.74)
        self.assertEqual(self.ledger(), 100.0)
        self.reverse(move=february).action_post()
        self.assertEqual(self.ledger(), 32.26, "the credit of January was taken back with its bill")
        self.assert_ledger_is_bills()

    def test_amending_a_period_credited_for_good_costs_the_difference_and_credits_nothing_twice(self):
        for quantity, charged in ((3, 0.0), (5, 200.0), (1, 0.0)):
            with self.subTest(quantity=quantity):
                contract = self.new_contract("2026-01-01", [{"quantity": 3}])
                self.reverse(move=self.bill("2026-01-01", contract).move_ids).action_post()
                change = {"line_id": contract.line_ids.id, "quantity": quantity}
                contract.action_amend({"lines": [change]}, "2026-01-17")  # 15 of 31 days
                self.bill("2026-01-20", contract)
                total = sum(contract.charge_ids.filtered(lambda c: c.state != "void").mapped("amount"))
                self.assertAlmostEqual(total, charged * 15 / 31, delta=0.01)  # each part is rounded
                contract._touch(contract.date_start)
                self.assertFalse(self.bill("2026-01-25", contract).move_ids)

    def test_credit_and_bill_again_after_a_partial_credit(self):
        credit = self.reverse()
        credit.invoice_line_ids.price_unit = 60.0
        credit.action_post()
        self.reverse(again=True).action_post()
        again = self.bill("2026-01-25", self.contract).move_ids
        self.assertEqual((again.amount_untaxed, self.ledger()), (40.0, 40.0), "60 are credited for good")
        self.assert_ledger_is_bills()

    def test_a_bill_made_again_has_its_own_rest(self):
        self.reverse(again=True).action_post()
        again = self.bill("2026-01-25", self.contract).move_ids
        with self.assertRaisesRegex(UserError, "credited or adjusted before"):
            self.reverse()
        self.reverse(move=again).action_post()
        self.assertEqual(self.ledger(), 0.0)
        self.assert_ledger_is_bills()

    def test_lines_are_reduced_one_by_one(self):
        contract = self.new_contract("2026-01-01", [{"quantity": 3}, {"price_unit": 50.0, "discount": 10.0}, {}])
        draft = self.bill("2026-01-01", contract, post=False).move_ids
        draft.write({"invoice_line_ids": [Command.create({"name": "Parcel", "price_unit": 7.0, "tax_ids": []})]})
        draft.action_post()
        credit = self.reverse(move=draft)
        three, discounted, whole, parcel = credit.invoice_line_ids.sorted("sequence")
        three.quantity = 1
        discounted.price_unit = 10.01
        parcel.price_unit = 2.0
        whole.unlink()
        credit.action_post()
        rest = self.reverse(move=draft)
        self.assertEqual(sorted(rest.invoice_line_ids.mapped("price_subtotal")), [5.0, 35.99, 100.0, 200.0])
        self.assertEqual(rest.invoice_line_ids.filtered(lambda line: line.price_subtotal == 200.0).quantity, 3)
        rest.action_post()
        self.assertEqual(credit.amount_untaxed + rest.amount_untaxed, draft.amount_untaxed)
        self.assertEqual(sum(contract.charge_ids.filtered(lambda c: c.state != "void").mapped("amount")), 0.0)
        again = self.env["account.move.reversal"].with_context(active_model="account.move", active_ids=draft.ids)
        with self.assertRaisesRegex(UserError, credit.name):
            again.create({"journal_id": draft.journal_id.id}).refund_moves()

    def test_what_was_credited_in_part_is_not_replaced_or_cancelled_as_a_whole(self):
        credit = self.reverse()
        credit.invoice_line_ids.price_unit = 60.0
        credit.action_post()
        for call in (
            lambda: self.reverse(modify=True),
            lambda: self.move._reverse_moves(cancel=True),
            lambda: self.move.with_context(billing_again=False).button_cancel(),
        ):
            with self.assertRaisesRegex(UserError, "make a credit note"), self.env.cr.savepoint():
                call()
            self.env.invalidate_all()
        self.assertEqual((self.move.state, self.ledger()), ("posted", 40.0))
        self.move.with_context(billing_again=True).button_cancel()
        self.assertEqual(self.bill("2026-01-25", self.contract).move_ids.filtered(
            lambda move: move.state == "posted").amount_untaxed, 100.0)
        self.assertEqual(self.ledger(), 40.0)

    def test_credit_of_a_credit(self):
        credit = self.reverse()
        credit.action_post()
        back = self.reverse(move=credit)
        back.action_post()
        self.assertEqual(self.ledger(), 100.0)
        self.assertFalse(self.bill("2026-01-25", self.contract).move_ids)
        self.assert_ledger_is_bills()

    def test_reset_to_draft_changes_nothing(self):
        self.move.button_draft()
        self.assertEqual(self.contract.charge_ids.state, "billed")
        self.assertFalse(self.bill("2026-01-25", self.contract).move_ids)
        self.move.action_post()
        self.assert_ledger_is_bills()

    def test_a_later_change_counts_from_what_was_credited(self):
        self.reverse(again=True).action_post()
        self.contract.action_close("2026-01-10")
        move = self.bill("2026-01-25", self.contract).move_ids
        self.assertEqual(move.amount_untaxed, 32.26)  # 10 of 31 days
        self.assertEqual(str(move.invoice_line_ids.billing_period_start), "2026-01-01")
        self.assert_ledger_is_bills()

    def test_added_line_of_a_correction_is_no_charge(self):
        copy = self.reverse(modify=True)
        copy.write({"invoice_line_ids": [Command.create({"name": "Gift", "price_unit": 5.0})]})
        copy.action_post()
        self.assertEqual(self.ledger(), 100.0)

    def test_cancelling_an_issued_bill_asks(self):
        for state in ("posted", "draft"):
            with self.subTest(state=state):
                if state == "draft":
                    self.move.button_draft()
                for call in (
                    self.move.button_cancel,
                    lambda: self.move.write({"state": "cancel"}),
                    self.move.unlink,
                ):
                    with self.assertRaisesRegex(UserError, "Cancel for Good"), self.env.cr.savepoint():
                        call()
                    self.env.invalidate_all()
                    self.assertEqual(self.move.state, state)
                self.assertEqual(self.ledger(), 100.0)
        draft = self.bill("2026-02-01", self.contract, post=False).move_ids
        draft.button_cancel()  # nobody has seen it
        self.assertEqual(draft.state, "cancel")

    def test_cancelled_and_billed_again(self):
        self.move.with_context(billing_again=True).button_cancel()
        self.assertEqual(self.ledger(), 0.0)
        again = self.bill("2026-01-25", self.contract).move_ids.filtered(lambda m: m.state == "posted")
        self.assertEqual((again.amount_untaxed, self.ledger()), (100.0, 100.0))
        self.assert_ledger_is_bills()

    def test_cancelled_for_good(self):
        self.move.with_context(billing_again=False).button_cancel()
        self.assertEqual((self.ledger(), self.ledger(waived=True)), (0.0, -100.0))
        self.assertFalse(self.bill("2026-01-25", self.contract).move_ids)
        self.contract._sweep()
        self.assertFalse(self.contract.env["billing.exception"].search([("check_id.code", "=", "drift")]))
        self.assert_ledger_is_bills()
        with self.assertRaisesRegex(UserError, "cannot come back"):
            self.move.button_draft()
        self.bill("2026-02-01", self.contract)
        self.assertEqual(self.ledger(), 100.0)

    def test_what_became_of_a_cancelled_bill_is_told(self):
        other = self.bill("2026-02-01", self.contract).move_ids
        for move, again, told in ((self.move, True, "bills its periods again"), (other, False, "not billed again")):
            with self.subTest(again=again):
                move.with_context(billing_again=again).button_cancel()
                self.assertEqual(move.billing_cancellation, "again" if again else "good")
                for record in (move, self.contract):
                    self.assertIn(told, record.message_ids[0].body)
                    self.assertIn(move.name, record.message_ids[0].body)

    def test_cancellation_by_an_authority_is_billed_again_and_told(self):
        with patch.object(self.registry["account.move"], "_need_cancel_request", lambda move: True):
            self.move.invalidate_recordset(["need_cancel_request"])
            self.move.button_request_cancel()
        self.move.invalidate_recordset(["need_cancel_request"])
        self.assertEqual((self.move.state, self.move.billing_cancellation), ("posted", "requested"))
        self.move.button_cancel()  # as the localisation does when the authority agrees
        self.assertEqual((self.move.billing_cancellation, self.ledger()), ("again", 0.0))
        self.assertIn("bills its periods again", self.contract.message_ids[0].body)
        self.bill("2026-01-25", self.contract)
        self.assertEqual(self.ledger(), 100.0)

    def test_a_replaced_bill_is_cancelled_by_the_same_rules(self):
        copy = self.reverse(modify=True)
        copy.action_post()
        with self.assertRaisesRegex(UserError, "Cancel for Good"), self.env.cr.savepoint():
            copy.button_cancel()
        self.env.invalidate_all()
        copy.with_context(billing_again=False).button_cancel()
        self.assertEqual(self.ledger(), 0.0)
        with self.assertRaisesRegex(UserError, "cannot come back"):
            copy.button_draft()
        self.assertFalse(self.bill("2026-01-25", self.contract).move_ids)

    def test_a_cancelled_credit_note_does_not_come_back(self):
        credit = self.reverse()
        credit.action_post()
        credit.button_draft()
        credit.button_cancel()
        self.assertEqual(self.ledger(), 100.0)
        with self.assertRaisesRegex(UserError, "cannot come back"):
            credit.button_draft()

    def test_buttons_of_an_issued_bill_ask(self):
        arch = self.env["account.move"].get_view(
            self.env.ref("account.view_move_form").id, "form"
        )["arch"]
        buttons = etree.fromstring(arch).xpath("//header/button[@name='button_cancel']")
        answers = [button.get("context") for button in buttons if button.get("context")]
        self.assertEqual(answers, ["{'billing_again': True}", "{'billing_again': False}"])
        [plain] = [
            button
            for button in buttons
            if not button.get("context") and "move_type == 'entry'" in button.get("invisible")
        ]
        self.assertIn("billing_contract_ids and posted_before", plain.get("invisible"))
