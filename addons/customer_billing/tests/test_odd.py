"""Odd combinations, each billed and then held against the same rules: charges are what bill lines say, nothing is
left to bill, and the nightly comparison finds nothing."""

from freezegun import freeze_time

from odoo import Command
from odoo.exceptions import UserError
from odoo.tests import tagged

from .common import BillingCommon


@tagged("post_install", "-at_install")
class TestOddCombinations(BillingCommon):
    def total(self, contract):
        charges = contract.charge_ids.filtered(lambda charge: charge.state != "void")
        return round(sum(charges.mapped("amount")), 3)

    def assert_sound(self, contracts):
        """Σ charges = Σ bill lines, line by line; all bills posted; no drift."""
        moves = contracts.move_ids.filtered(lambda move: move.state != "cancel")
        self.assertEqual(set(moves.mapped("state")), {"posted"})
        for move in moves:
            sign = -1 if move.move_type == "out_refund" else 1
            for line in move.invoice_line_ids:
                included = any(line.tax_ids.mapped("price_include"))
                amount = line.price_total if included else line.price_subtotal
                self.assertAlmostEqual(sum(line.billing_charge_ids.mapped("amount")), sign * amount, 6)
        contracts._sweep()
        drift = self.env["billing.exception"].search([("contract_id", "in", contracts.ids)])
        self.assertFalse(drift.filtered(lambda found: found.check_id.code == "drift"), drift.mapped("message"))

    def test_prices_with_many_decimals(self):
        prices = [0.000123, 1.005, 2.675, 99.994999, 33.333333, 0.005, 1234567.891234]
        lines = [
            {"price_id": False, "price_unit": sign * price, "quantity": quantity, "discount": discount}
            for price in prices
            for quantity in (1, 3, 0.07, 1000)
            for discount in (0, 33.33, 100)
            for sign in (1, -1)
            if quantity != 1 or sign > 0
        ]
        for currency in (
            self.company.currency_id,
            self.setup_other_currency("JPY", rounding=1.0, rates=[("2026-01-01", 140.0)]),
            self.setup_other_currency("KWD", rounding=0.001, rates=[("2026-01-01", 0.3)]),
        ):
            contract = self.new_contract("2026-01-10", lines, currency_id=currency.id, plan_id=self.plan_month_end.id)
            self.bill("2026-02-01", contract)
            contract.action_close("2026-01-20")
            self.bill("2026-02-01", contract)
            self.assert_sound(contract)

    def test_only_a_negative_line(self):
        contract = self.new_contract("2026-01-01", [{"price_id": False, "price_unit": -20.0}])
        move = self.bill("2026-02-01", contract).move_ids
        self.assertEqual((move.move_type, move.amount_untaxed), ("out_refund", 40.0))
        contract.action_close("2026-01-31")
        self.bill("2026-02-01", contract)
        self.assertEqual(self.total(contract), -20.0)
        self.assert_sound(contract)

    def test_tax_included_with_a_fiscal_position(self):
        included = self.company_data["default_tax_sale"].copy(
            {"name": "7 % included", "amount": 7.0, "price_include_override": "tax_included"}
        )
        other = included.copy({"name": "19 % included", "amount": 19.0})
        position = self.env["account.fiscal.position"].create({"name": "Abroad"})
        other.write(
            {
                "fiscal_position_ids": [Command.link(position.id)],
                "original_tax_ids": [Command.link(included.id)],
            }
        )
        self.product.taxes_id = included
        self.customer.property_account_position_id = position
        contract = self.new_contract("2026-01-10", [{"price_id": False, "price_unit": 107.01, "quantity": 3}])
        run = self.new_run("2026-01-10", contract)
        run.action_propose()
        preview = run.line_ids.amount
        run.action_generate()
        self.assertAlmostEqual(run.move_ids.amount_untaxed, preview)
        self.assertEqual(run.move_ids.invoice_line_ids.tax_ids, other)
        self.assertAlmostEqual(run.move_ids.amount_total, 321.03)

    def test_published_prices_with_taxes_included_follow_the_fiscal_position_as_invoices_do(self):
        included = self.company_data["default_tax_sale"].copy(
            {"name": "20 % included", "amount": 20.0, "price_include_override": "tax_included"}
        )
        position = self.env["account.fiscal.position"].create({"name": "Abroad"})
        abroad = {"fiscal_position_ids": [Command.link(position.id)], "original_tax_ids": [Command.link(included.id)]}
        none = included.copy({"name": "Exempt", "amount": 0.0, "price_include_override": "tax_excluded", **abroad})
        self.product.write({"taxes_id": [Command.set(included.ids)], "list_price": 120.01})
        self.customer.property_account_position_id = position
        values = {"product_id": self.product.id, "currency_id": self.company.currency_id.id, "date_from": "2026-01-01"}
        brackets = [Command.create({"up_to": up_to, "unit_amount": unit, "flat_amount": 6.0})
                    for up_to, unit in ((2.0, 120.01), (0.0, 60.0))]  # fmt: skip
        per_unit, graduated, package, rate = self.env["billing.price"].create(
            [
                {**values, "code": "U", "unit_amount": 120.01},
                {**values, "code": "G", "pricing_model": "graduated", "bracket_ids": brackets, "minimum_amount": 24.0},
                {**values, "code": "P", "pricing_model": "package", "unit_amount": 120.01, "package_size": 2.0},
                {**values, "code": "R", "pricing_model": "percentage", "unit_amount": 0.08},
            ]
        )
        contract = self.new_contract(
            "2026-01-10",
            [
                {"price_id": False, "quantity": 3},
                {"price_id": per_unit.id, "quantity": 3},
                {"price_id": graduated.id, "quantity": 3},
                {"price_id": package.id, "quantity": 3},
                {"price_id": rate.id, "quantity": 1000},
                {"price_id": False, "price_unit": 120.01, "quantity": 3},
            ],
        )
        move = self.bill("2026-01-10", contract).move_ids
        by_hand = self.env["account.move"].create(
            {
                "move_type": "out_invoice", "partner_id": self.customer.id, "invoice_date": "2026-01-10",
                "invoice_line_ids": [Command.create({"product_id": self.product.id, "quantity": 3})],
            }
        )  # fmt: skip
        self.assertEqual(by_hand.invoice_line_ids.tax_ids, none)
        listed, unit, brackets, packages, share, typed = move.invoice_line_ids.sorted("sequence")
        self.assertEqual((listed | unit).mapped("price_subtotal"), [by_hand.amount_untaxed] * 2)
        self.assertEqual(listed.price_subtotal, 300.03)  # 3 × 120.01 / 1.2, without tax
        self.assertEqual(brackets.price_subtotal, 260.02)  # (2 × 120.01 + 6 + 60 + 6) / 1.2
        self.assertEqual(packages.price_subtotal, 200.02)
        self.assertEqual(share.price_subtotal, 80.0, "a rate is no price")
        self.assertEqual(typed.price_subtotal, 360.03, "typed for this customer")
        self.assertIn("100.00", " ".join(contract.line_ids[2]._describe_price()))
        # The factor is a term of the line: an amendment and a change of the position leave it.
        self.customer.property_account_position_id = False
        contract.action_amend({"lines": [{"line_id": contract.line_ids[2].id, "quantity": 4}]}, "2026-02-10")
        self.assertEqual(contract.line_ids.filtered("previous_line_id").price_subtotal, 310.02)
        self.customer.property_account_position_id = position
        self.bill("2026-02-10", contract)
        self.assert_sound(contract)

    def test_end_before_the_first_boundary(self):
        contract = self.new_contract("2026-01-10", plan_id=self.plan_month_end.id, date_end="2026-01-20")
        self.bill("2026-05-01", contract)
        self.assertEqual(self.total(contract), 35.49)  # 20/31 less 9/31, each rounded
        self.assertFalse(contract.next_bill_date)
        self.assert_sound(contract)

    def test_daily_and_years_late(self):
        plan = self.env["billing.plan"].create({"name": "Daily", "interval_unit": "day", "proration": "none"})
        contract = self.new_contract("2024-01-01", plan_id=plan.id)
        self.bill("2024-12-31", contract)
        self.assertEqual(len(contract.charge_ids), 366)
        self.assertEqual(self.total(contract), 36600.0)

    def test_29_february_yearly_with_a_lead(self):
        plan = self.env["billing.plan"].create(
            {"name": "Yearly", "interval_unit": "year", "lead_days": 30}
        )
        contract = self.new_contract("2024-02-29", plan_id=plan.id)
        self.bill("2028-01-30", contract)
        starts = contract.charge_ids.sorted("slot_start").mapped(lambda charge: str(charge.slot_start))
        self.assertEqual(starts, ["2024-02-29", "2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29"])
        self.assertEqual(str(contract.next_bill_date), "2029-01-29")
        contract.action_close("2028-02-28")
        self.bill("2028-01-30", contract)
        self.assertEqual(self.total(contract), 400.0)
        self.assert_sound(contract)

    def test_usage_around_midnight_fourteen_hours_ahead(self):
        self.company.partner_id.tz = "Pacific/Kiritimati"
        meter = self.env["billing.meter"].create({"name": "M", "code": "midnight"})
        with freeze_time("2026-01-31 10:00:00"):
            self.assertEqual(str(self.company._get_billing_today()), "2026-02-01")
            contract = self.new_contract(
                "2026-01-01",
                [{"charge_type": "usage", "meter_id": meter.id, "price_unit": 1.0}],
            )
            for second, quantity in (("09:59:59", 1), ("10:00:00", 10)):
                self.env["billing.usage"].create(
                    {
                        "contract_line_id": contract.line_ids.id,
                        "timestamp": f"2026-01-31 {second}",
                        "quantity": quantity,
                    }
                )
            self.bill("2026-02-01", contract)
            self.assertEqual(self.total(contract), 1.0)
        self.bill("2026-03-01", contract)
        self.assertEqual(self.total(contract), 11.0)

    def test_journal_that_cannot_be_altered(self):
        journal = self.company_data["default_journal_sale"].copy({"restrict_mode_hash_table": True})
        contract = self.new_contract("2026-01-01", journal_id=journal.id)
        move = self.bill("2026-01-01", contract).move_ids
        self.assertTrue(move.inalterable_hash)
        with self.assertRaises(UserError):
            move.button_draft()
        move._queue_delivery()
        self.assertEqual(move.billing_delivery_state, "queued")
        contract.action_close("2026-01-15")
        self.bill("2026-01-16", contract)
        self.assertEqual(self.total(contract), 48.39)
        self.assert_sound(contract)

    def test_early_payment_discount(self):
        terms = self.env["account.payment.term"].create(
            {
                "name": "2 % in 7 days",
                "early_discount": True,
                "discount_percentage": 2,
                "discount_days": 7,
                "line_ids": [Command.create({"value": "percent", "value_amount": 100, "nb_days": 30})],
            }
        )
        for computation in ("included", "excluded", "mixed"):
            terms.early_pay_discount_computation = computation
            contract = self.new_contract("2026-01-01", payment_term_id=terms.id)
            run = self.new_run("2026-01-01", contract)
            run.action_propose()
            preview = run.line_ids.amount + run.line_ids.amount_tax
            run.action_generate()
            run.action_approve()
            run.action_post()
            with self.subTest(computation=computation):
                self.assertEqual(run.move_ids.state, "posted")
                if computation != "mixed":  # there core takes the discount off the base of the tax
                    self.assertAlmostEqual(run.move_ids.amount_total, preview)
                self.assert_sound(contract)

    def test_a_period_credited_for_good_is_not_credited_by_a_late_end(self):
        contract = self.new_contract("2026-01-01")
        self.bill("2026-01-01", contract)
        february = self.bill("2026-02-01", contract).move_ids
        self.bill("2026-03-01", contract)
        february._reverse_moves([{"invoice_date": "2026-03-01"}], cancel=True)
        self.assertEqual(self.total(contract), 200.0)
        contract.action_close("2026-01-10")
        self.bill("2026-03-01", contract)
        self.assertEqual(self.total(contract), 32.26)
        self.assert_sound(contract)
        contract.write({"date_end": False})
        self.bill("2026-03-01", contract)
        self.assertEqual(self.total(contract), 200.0)
        self.assert_sound(contract)

    def test_a_period_credited_for_good_and_amended_later_pays_the_difference(self):
        contract = self.new_contract("2026-01-01")
        bill = self.bill("2026-01-01", contract).move_ids
        bill._reverse_moves([{"invoice_date": "2026-01-02"}], cancel=True)
        contract.action_amend({"lines": [{"line_id": contract.line_ids.id, "quantity": 2}]}, "2026-01-01")
        self.bill("2026-02-01", contract)
        self.assertEqual(self.total(contract), 300.0)
        self.assert_sound(contract)

    def test_a_pause_over_the_end_taken_away_later(self):
        contract = self.new_contract("2026-01-01")
        self.bill("2026-03-01", contract)
        contract.action_pause("2026-02-15")
        contract.action_close("2026-03-10")
        self.bill("2026-03-20", contract)
        self.assertEqual(self.total(contract), 150.0)
        contract.pause_ids.unlink()
        self.bill("2026-03-20", contract)
        self.assertEqual(self.total(contract), 232.26)
        self.assert_sound(contract)

    def test_a_bill_reset_to_draft_after_its_credit(self):
        contract = self.new_contract("2026-01-01")
        bill = self.bill("2026-01-01", contract).move_ids
        bill._reverse_moves([{"invoice_date": "2026-01-02"}], cancel=True)
        bill.button_draft()
        bill.action_post()
        self.bill("2026-01-31", contract)
        self.assertEqual(self.total(contract), 0.0)
        self.assert_sound(contract)

    def test_one_of_three_contracts_of_a_bill_fails(self):
        self.customer.billing_consolidation = "customer"
        contracts = sum((self.new_contract("2026-01-01") for _number in range(3)), self.env["billing.contract"])
        bad = contracts[1]
        self.env.flush_all()
        self.env.cr.execute("UPDATE billing_contract_line SET quantity = 'NaN' WHERE id = %s", [bad.line_ids.id])
        self.env.invalidate_all()
        run = self.bill("2026-01-01", contracts)
        outcomes = {line.contract_id: line.outcome for line in run.line_ids}
        self.assertEqual([outcomes[contract] for contract in contracts], ["billed", "failed", "billed"])
        self.assertEqual(run.move_ids.amount_untaxed, 200.0)
        self.env.cr.execute("UPDATE billing_contract_line SET quantity = 1 WHERE id = %s", [bad.line_ids.id])
        self.env.invalidate_all()
        self.bill("2026-01-01", contracts)
        self.assert_sound(contracts)
        self.assertEqual(self.total(contracts), 300.0)
