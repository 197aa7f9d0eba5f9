from freezegun import freeze_time

from odoo import Command
from odoo.tests import tagged

from .common import BillingCommon


class CreditCommon(BillingCommon):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        tax = cls.company_data["default_tax_sale"]
        cls.old_tax = tax.copy({"name": "Old rate", "amount": 20.0})
        cls.new_tax = tax.copy({"name": "New rate", "amount": 10.0})
        cls.product.taxes_id = cls.old_tax
        cls.old_account = cls.product.property_account_income_id or cls.company_data[
            "default_account_revenue"
        ]
        cls.new_account = cls.old_account.copy({"code": "400999", "name": "New income"})

    def change_product(self):
        """From now on the item has another tax rate and another income account."""
        self.product.write(
            {"taxes_id": [Command.set(self.new_tax.ids)], "property_account_income_id": self.new_account.id}
        )
        self.old_tax.active = False

    def assert_as(self, lines, tax, account):
        for line in lines:
            self.assertEqual((line.tax_ids, line.account_id), (tax, account), line.name)

    def run_and_compare(self, date, contracts):
        """Propose, generate, post; what was shown is what is booked, bill by bill (invariant 7)."""
        run = self.new_run(date, contracts)
        run.action_propose()
        shown = (
            run.bill_count, run.amount_untaxed, run.amount_total,
            {line.contract_id: (line.amount, line.amount_tax) for line in run.line_ids},
        )  # fmt: skip
        run.action_generate()
        signed = {}
        for contract in run.line_ids.contract_id:
            lines = run.move_ids.invoice_line_ids.filtered(
                lambda line, c=contract: line.billing_charge_ids.contract_id == c
            )
            untaxed = -sum(lines.mapped("balance"))
            signed[contract] = untaxed
        for contract, untaxed in signed.items():
            self.assertAlmostEqual(shown[3][contract][0], untaxed)
        self.assertEqual(run.bill_count, shown[0])
        self.assertAlmostEqual(run.amount_untaxed, shown[1])
        self.assertAlmostEqual(run.amount_total, shown[2])
        charges = run.move_ids.invoice_line_ids.billing_charge_ids
        self.assertAlmostEqual(
            sum(charges.mapped("amount")), sum(run.move_ids.mapped("amount_untaxed_signed"))
        )
        run.action_check()
        run.action_approve()
        run.action_post()
        self.assertEqual(run.state, "posted")
        self.assertFalse(self.bill(date, contracts).move_ids)
        return run


@tagged("post_install", "-at_install")
class TestCorrectionsCopyTheLine(CreditCommon):
    """What is corrected is corrected at the taxes and the account that were billed."""

    def test_pause_after_a_change_of_rate_and_account(self):
        contract = self.new_contract("2026-01-01")
        self.bill("2026-01-01", contract)
        self.change_product()
        self.env["billing.contract.pause"].create(
            {"contract_id": contract.id, "date_from": "2026-01-11", "date_to": "2026-01-20"}
        )
        run = self.run_and_compare("2026-02-01", contract)
        [move] = run.move_ids
        credit = move.invoice_line_ids.filtered(lambda line: line.price_subtotal < 0)
        self.assert_as(credit, self.old_tax, self.old_account)
        self.assert_as(move.invoice_line_ids - credit, self.new_tax, self.new_account)
        self.assertAlmostEqual(move.amount_tax, 10.0 - 6.45)  # 10 % of 100, 20 % of 32.26
        # And taken back: a correction of the correction, at what was billed.
        contract.pause_ids.unlink()
        again = self.run_and_compare("2026-02-01", contract).move_ids.invoice_line_ids
        self.assert_as(again, self.old_tax, self.old_account)
        self.assertEqual(again.price_subtotal, 32.26)

    @freeze_time("2026-01-05")
    def test_amendment_that_waits(self):
        contract = self.new_contract("2026-01-01")
        self.bill("2026-01-01", contract)
        self.change_product()
        contract.action_amend(
            {"lines": [{"line_id": contract.line_ids.id, "quantity": 2}]}, "2026-01-16"
        )
        self.assertEqual(set(contract.charge_ids.mapped("state")), {"billed", "pending"})
        lines = self.run_and_compare("2026-02-01", contract).move_ids.invoice_line_ids
        credit = lines.filtered(lambda line: line.price_subtotal < 0)
        self.assertEqual(credit.price_subtotal, -51.61)
        self.assert_as(credit, self.old_tax, self.old_account)
        self.assert_as(lines - credit, self.new_tax, self.new_account)

    def test_end_after_a_change_of_fiscal_position(self):
        contract = self.new_contract("2026-01-01")
        self.bill("2026-01-01", contract)
        position = self.env["account.fiscal.position"].create(
            {"name": "Abroad", "company_id": self.company.id}
        )
        self.new_tax.write({"fiscal_position_ids": [Command.link(position.id)],
                            "original_tax_ids": [Command.link(self.old_tax.id)]})  # fmt: skip
        self.customer.with_company(self.company).property_account_position_id = position
        contract.action_close("2026-01-10")
        [move] = self.run_and_compare("2026-01-11", contract).move_ids
        self.assertEqual((move.move_type, move.fiscal_position_id), ("out_refund", position))
        self.assert_as(move.invoice_line_ids, self.old_tax, self.old_account)
        self.assertAlmostEqual(move.amount_total, 81.29)

    def test_taxes_that_a_person_put_on_the_bill(self):
        contract = self.new_contract("2026-01-01")
        draft = self.bill("2026-01-01", contract, post=False).move_ids
        draft.invoice_line_ids.tax_ids = self.new_tax
        draft.action_post()
        contract.action_close("2026-01-10")
        credit = self.bill("2026-01-11", contract).move_ids.invoice_line_ids
        self.assert_as(credit, self.new_tax, self.old_account)

    def test_late_usage_is_taxed_as_its_period(self):
        meter = self.env["billing.meter"].create({"name": "Electricity", "code": "KWH"})
        contract = self.new_contract(
            "2026-01-01", [{"charge_type": "usage", "meter_id": meter.id, "price_unit": 0.1}]
        )
        usage = {"contract_line_id": contract.line_ids.id, "quantity": 1000}
        self.env["billing.usage"].create({**usage, "timestamp": "2026-01-03 10:00:00"})
        self.bill("2026-02-01", contract)
        self.change_product()
        self.env["billing.usage"].create(
            [{**usage, "timestamp": f"2026-{month}-04 10:00:00"} for month in ("01", "02")]
        )
        lines = self.run_and_compare("2026-03-01", contract).move_ids.invoice_line_ids
        late = lines.filtered(lambda line: str(line.billing_period_start) == "2026-01-01")
        self.assert_as(late, self.old_tax, self.old_account)
        self.assert_as(lines - late, self.new_tax, self.new_account)

    def test_core_credit_note_copies_taxes_and_account(self):
        contract = self.new_contract("2026-01-01")
        move = self.bill("2026-01-01", contract).move_ids
        self.change_product()
        [credit] = move._reverse_moves([{"date": "2026-01-20"}])
        self.assert_as(credit.invoice_line_ids, self.old_tax, self.old_account)

    def test_billed_again_after_a_credit_has_the_taxes_of_its_date(self):
        contract = self.new_contract("2026-01-01")
        move = self.bill("2026-01-01", contract).move_ids
        self.change_product()
        move.with_context(billing_again=True)._reverse_moves([{"date": "2026-01-20"}]).action_post()
        again = self.run_and_compare("2026-01-25", contract).move_ids.invoice_line_ids
        self.assert_as(again, self.new_tax, self.new_account)
        contract.action_close("2026-01-30")
        last = self.bill("2026-01-30", contract).move_ids.invoice_line_ids
        self.assert_as(last, self.new_tax, self.new_account)


@tagged("post_install", "-at_install")
class TestCreditMode(CreditCommon):
    """Credits are negative lines, or credit notes of their own."""

    def paused(self):
        contract = self.new_contract("2026-01-01")
        self.bill("2026-01-01", contract)
        self.env["billing.contract.pause"].create(
            {"contract_id": contract.id, "date_from": "2026-01-11", "date_to": "2026-01-20"}
        )
        return contract

    def test_invariant_7_lines(self):
        [move] = self.run_and_compare("2026-02-01", self.paused()).move_ids
        self.assertEqual(move.move_type, "out_invoice")
        self.assertEqual(sorted(move.invoice_line_ids.mapped("price_subtotal")), [-32.26, 100.0])

    def test_invariant_7_notes(self):
        self.company.billing_credit_mode = "note"
        contract = self.paused()
        self.change_product()
        run = self.run_and_compare("2026-02-01", contract)
        bill, note = run.move_ids.sorted("move_type")
        self.assertEqual((bill.move_type, bill.amount_untaxed, bill.amount_total), ("out_invoice", 100.0, 110.0))
        self.assertEqual((note.move_type, note.amount_untaxed), ("out_refund", 32.26))
        self.assertAlmostEqual(note.amount_total, 32.26 * 1.2, 2)
        self.assert_as(note.invoice_line_ids, self.old_tax, self.old_account)
        self.assertEqual(note.invoice_line_ids.billing_charge_ids.amount, -32.26)
        self.assertEqual(note.billing_contract_ids, contract)

    @freeze_time("2026-01-05")
    def test_invariant_7_notes_of_waiting_charges_and_consolidated_bills(self):
        self.company.billing_credit_mode = "note"
        self.customer.with_company(self.company).billing_consolidation = "customer"
        contracts = self.new_contract("2026-01-01") | self.new_contract("2026-01-01")
        self.bill("2026-01-01", contracts)
        for contract in contracts:
            contract.action_amend(
                {"lines": [{"line_id": contract.line_ids.id, "quantity": 3}]}, "2026-01-16"
            )
        run = self.run_and_compare("2026-02-01", contracts)
        bill, note = run.move_ids.sorted("move_type")
        self.assertEqual((note.move_type, note.amount_untaxed), ("out_refund", 103.22))
        self.assertAlmostEqual(bill.amount_untaxed, 2 * (300 + 154.84))
        self.assertEqual(bill.billing_contract_ids, contracts)

    def test_coupons_are_no_credits(self):
        self.company.billing_credit_mode = "note"
        contract = self.new_contract("2026-01-01", [{}, {"price_unit": -20.0, "max_slots": 2}])
        [move] = self.run_and_compare("2026-01-01", contract).move_ids
        self.assertEqual(move.amount_untaxed, 80.0)

    def test_a_negative_total_is_a_credit_note_in_any_case(self):
        for mode in ("line", "note"):
            with self.subTest(mode=mode):
                self.company.billing_credit_mode = mode
                contract = self.new_contract("2026-01-01")
                self.bill("2026-01-01", contract)
                contract.action_close("2026-01-10")
                [move] = self.run_and_compare("2026-01-11", contract).move_ids
                self.assertEqual((move.move_type, move.amount_untaxed), ("out_refund", 67.74))
                negative = self.new_contract("2026-01-01", [{"price_unit": -5.0}])
                [move] = self.run_and_compare("2026-01-01", negative).move_ids
                self.assertEqual((move.move_type, move.amount_untaxed), ("out_refund", 5.0))

    def test_zeros_come_with_the_charges(self):
        self.company.billing_credit_mode = "note"
        contract = self.paused()
        free = self.new_contract("2026-01-01", [{}, {"price_unit": 0.0}])
        self.bill("2026-01-01", free)
        self.assertEqual(len(self.run_and_compare("2026-02-01", free | contract).move_ids), 3)
