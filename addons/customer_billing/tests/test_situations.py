"""What happens in real life, each to the cent."""

from freezegun import freeze_time

from odoo import Command
from odoo.exceptions import UserError
from odoo.tests import tagged

from .common import BillingCommon


class SituationCommon(BillingCommon):
    def billed(self, contract):
        """(first day, last day, amount) of what is charged, in order."""
        charges = contract.charge_ids.filtered(lambda charge: charge.state != "void")
        return [
            (str(charge.period_start), str(charge.period_end), charge.amount)
            for charge in charges.sorted(lambda c: (c.period_start, c.revision, c.id))
        ]

    def total(self, contract):
        return round(sum(amount for *_days, amount in self.billed(contract)), 2)


@tagged("post_install", "-at_install")
class TestTaxChange(SituationCommon):
    def test_bills_use_the_taxes_of_their_date(self):
        old = self.company_data["default_tax_sale"].copy({"name": "19 %", "amount": 19.0})
        new = old.copy({"name": "21 %", "amount": 21.0})
        self.product.taxes_id = old
        contract = self.new_contract("2026-01-01")
        fixed = self.new_contract("2026-01-01", [{"tax_ids": [Command.set(old.ids)]}])
        run = self.bill("2026-01-01", contract | fixed)
        self.assertEqual(set(run.move_ids.mapped("amount_total")), {119.0})
        self.product.taxes_id = new
        self.bill("2026-02-01", contract | fixed)
        self.assertEqual(contract.move_ids.sorted("id").mapped("amount_total"), [119.0, 121.0])
        self.assertEqual(fixed.move_ids.sorted("id").mapped("amount_total"), [119.0, 119.0])
        # The past at its rate, the future at the new one, in one bill.
        contract.action_close("2026-01-20")
        credit = self.bill("2026-02-01", contract).move_ids.filtered(lambda m: m.state == "posted")
        taxes = {
            (str(line.billing_period_start), line.tax_ids.name, line.price_subtotal)
            for line in credit.invoice_line_ids
        }
        self.assertEqual(
            taxes, {("2026-01-21", "19 %", 35.48), ("2026-02-01", "21 %", 100.0)}
        )
        self.assertEqual(self.total(contract), 64.52)


@tagged("post_install", "-at_install")
class TestLockDates(SituationCommon):
    def test_every_lock_is_named_at_the_proposal(self):
        contract = self.new_contract("2026-01-01")
        for field, name in (
            ("sale_lock_date", "Sales Lock"),
            ("tax_lock_date", "Tax Return Lock"),
            ("fiscalyear_lock_date", "Global Lock"),
            ("hard_lock_date", "Hard Lock"),
        ):
            with self.subTest(lock=field), self.env.cr.savepoint() as savepoint:
                self.company[field] = "2026-01-31"
                with self.assertRaisesRegex(UserError, f"2026 is locked by the {name}"):
                    self.new_run("2026-01-31", contract).action_propose()
                savepoint.rollback()
                self.env.invalidate_all()
        self.company.purchase_lock_date = "2026-01-31"
        self.new_run("2026-01-31", contract).action_propose()

    def test_catch_up_over_a_locked_period(self):
        contract = self.new_contract("2026-01-01")
        self.company.fiscalyear_lock_date = "2026-02-28"
        run = self.new_run("2026-02-01", contract, invoice_date="2026-03-01")
        run.action_propose()
        run.action_generate()
        run.action_approve()
        run.action_post()
        [move] = run.move_ids
        self.assertEqual((str(move.invoice_date), str(move.date)), ("2026-03-01", "2026-03-01"))
        self.assertEqual(
            self.billed(contract),
            [("2026-01-01", "2026-01-31", 100.0), ("2026-02-01", "2026-02-28", 100.0)],
        )

    def test_locked_between_generation_and_posting(self):
        contract = self.new_contract("2026-01-01")
        run = self.bill("2026-01-31", contract, post=False)
        self.company.sale_lock_date = "2026-01-31"
        run.action_approve()
        with self.assertRaisesRegex(UserError, "locked by the Sales Lock.*Cancel this run"):
            run.action_post()
        self.assertEqual((run.state, run.move_ids.state), ("approved", "draft"))
        run.action_cancel()
        self.assertFalse(run.move_ids)
        move = self.bill("2026-02-01", contract).move_ids
        self.assertEqual(move.amount_untaxed, 200.0)
        self.assertEqual(self.total(contract), 200.0)

    def test_locked_between_proposal_and_generation(self):
        contract = self.new_contract("2026-01-01")
        run = self.new_run("2026-01-31", contract)
        run.action_propose()
        self.company.tax_lock_date = "2026-01-31"
        with self.assertRaisesRegex(UserError, "Choose a later"):
            run.action_generate()
        self.assertFalse(contract.charge_ids)
        run.invoice_date = "2026-02-01"
        run.action_propose()
        run.action_generate()
        self.assertEqual(run.move_ids.amount_untaxed, 100.0)


@tagged("post_install", "-at_install")
class TestMigration(SituationCommon):
    """Contracts that were billed elsewhere up to a day."""

    def test_end_of_a_slot_in_advance(self):
        contract = self.new_contract("2019-01-01", billed_through="2025-12-31")
        self.assertEqual(str(contract.next_bill_date), "2026-01-01")
        self.bill("2026-01-01", contract)
        self.assertEqual(self.billed(contract), [("2026-01-01", "2026-01-31", 100.0)])
        self.assertEqual(str(contract.next_bill_date), "2026-02-01")

    def test_middle_of_a_slot_in_advance(self):
        contract = self.new_contract("2019-01-01", billed_through="2026-01-10")
        self.bill("2026-01-11", contract)
        self.assertEqual(self.billed(contract), [("2026-01-11", "2026-01-31", 67.74)])
        self.bill("2026-02-01", contract)
        self.assertEqual(self.total(contract), 167.74)

    def test_arrears(self):
        for through, expected in (
            ("2025-12-31", [("2026-01-01", "2026-01-31", 100.0)]),
            ("2026-01-10", [("2026-01-11", "2026-01-31", 67.74)]),
        ):
            with self.subTest(through=through):
                contract = self.new_contract(
                    "2019-01-01", billed_through=through, plan_id=self.plan_arrears.id
                )
                self.assertFalse(self.bill("2026-01-31", contract).move_ids)
                self.bill("2026-02-01", contract)
                self.assertEqual(self.billed(contract), expected)

    def test_usage(self):
        meter = self.env["billing.meter"].create({"name": "Electricity", "code": "KWH"})
        contract = self.new_contract(
            "2019-01-01",
            [{"charge_type": "usage", "meter_id": meter.id, "price_unit": 0.1}],
            billed_through="2026-01-10",
        )
        before, after = self.env["billing.usage"].create(
            [
                {"contract_line_id": contract.line_ids.id, "timestamp": f"2026-01-{day} 12:00:00", "quantity": 100}
                for day in ("10", "11")
            ]
        )
        self.bill("2026-02-01", contract)
        self.assertEqual(self.billed(contract), [("2026-01-11", "2026-01-31", 10.0)])
        self.assertEqual((before.state, after.state), ("uncharged", "charged"))
        self.assertEqual(before.uncharged_reason, "Charged in another system, up to 01/10/2026.")
        self.assertFalse(after.uncharged_reason)

    def test_set_up_fees_of_before_are_not_billed(self):
        contract = self.new_contract(
            "2019-01-01", [{}, {"charge_type": "one_time", "price_unit": 50.0}],
            billed_through="2025-12-31",
        )  # fmt: skip
        self.bill("2026-01-01", contract)
        self.assertEqual(self.total(contract), 100.0)


@tagged("post_install", "-at_install")
class TestPricesByCustomer(SituationCommon):
    def test_trial_set_up_fee_coupon_and_ramp(self):
        contract = self.new_contract(
            "2026-01-01",
            [
                {"name": "Trial", "price_unit": 0.0, "date_end": "2026-01-31"},
                {"name": "Ramp 1", "price_unit": 50.0, "date_start": "2026-02-01", "date_end": "2026-04-15"},
                {"name": "Ramp 2", "price_unit": 99.99, "date_start": "2026-04-16"},
                {"name": "Set-up", "charge_type": "one_time", "price_unit": 25.0},
                {"name": "Coupon", "price_unit": -10.0, "max_slots": 3, "date_start": "2026-02-01"},
            ],
        )
        totals = []
        for month in range(1, 7):
            moves = self.bill(f"2026-{month:02}-01", contract).move_ids
            totals.append(sum(moves.mapped("amount_untaxed_signed")))
        # April: 15 of 30 days of 50; the rest of it at 99.99 starts on the 16th and comes in May.
        expected = [25.0, 40.0, 40.0, 25.0 - 10.0, 49.99 + 99.99, 99.99]
        for found, should in zip(totals, expected, strict=True):
            self.assertAlmostEqual(found, should)
        self.assertAlmostEqual(self.total(contract), sum(expected))

    def test_the_set_up_fee_is_charged_once(self):
        contract = self.new_contract(
            "2026-01-15", [{}, {"charge_type": "one_time", "price_unit": 25.0, "quantity": 2}]
        )
        self.bill("2026-03-15", contract)
        self.assertEqual(self.total(contract), 350.0)
        contract._touch(contract.date_start)
        self.assertFalse(self.bill("2026-03-15", contract).move_ids)

    @freeze_time("2026-03-10")
    def test_minimum_commitment_with_true_up_late_usage_and_two_currencies(self):
        currency = self.setup_other_currency("EUR", rates=[("2026-01-01", 0.5), ("2026-02-01", 0.4)])
        meter = self.env["billing.meter"].create({"name": "Electricity", "code": "KWH"})
        contract = self.new_contract(
            "2026-01-01",
            [
                {"charge_type": "usage", "meter_id": meter.id, "price_unit": 0.1},
                {"charge_type": "minimum", "price_unit": 50.0},
            ],
            currency_id=currency.id,
        )
        line = contract.line_ids[0]
        use = self.env["billing.usage"].create
        use({"contract_line_id": line.id, "timestamp": "2026-01-05 10:00:00", "quantity": 333})
        move = self.bill("2026-02-01", contract).move_ids
        self.assertEqual(move.invoice_line_ids.mapped("price_subtotal"), [33.3, 16.7])
        self.assertEqual((move.currency_id, move.amount_untaxed_signed), (currency, 125.0))
        use({"contract_line_id": line.id, "timestamp": "2026-01-06 10:00:00", "quantity": 100})
        use({"contract_line_id": line.id, "timestamp": "2026-02-06 10:00:00", "quantity": 600})
        move = self.bill("2026-03-01", contract).move_ids
        self.assertEqual(
            sorted(move.invoice_line_ids.mapped("price_subtotal")), [-10.0, 0.0, 10.0, 60.0]
        )
        self.assertEqual(self.total(contract), 110.0)


@tagged("post_install", "-at_install")
class TestConsolidation(SituationCommon):
    def test_advance_and_arrears_of_one_customer_on_one_bill(self):
        self.customer.with_company(self.company).billing_consolidation = "customer"
        advance = self.new_contract("2026-01-01")
        arrears = self.new_contract("2026-01-01", plan_id=self.plan_arrears.id)
        self.bill("2026-01-01", advance | arrears)
        [move] = self.bill("2026-02-01", advance | arrears).move_ids
        self.assertEqual(
            sorted(str(line.billing_period_start) for line in move.invoice_line_ids),
            ["2026-01-01", "2026-02-01"],
        )
        self.assertEqual((move.amount_untaxed, move.billing_contract_ids), (200.0, advance | arrears))

    def test_what_keeps_bills_apart(self):
        self.customer.with_company(self.company).billing_consolidation = "customer"
        currency = self.setup_other_currency("EUR", rates=[("2026-01-01", 0.5)])
        term = self.env.ref("account.account_payment_term_30days")
        contracts = (
            self.new_contract("2026-01-01")
            | self.new_contract("2026-01-01", client_ref="PO 1")
            | self.new_contract("2026-01-01", payment_term_id=term.id)
            | self.new_contract("2026-01-01", [{"price_unit": 10.0}], currency_id=currency.id)
        )
        self.assertEqual(len(self.bill("2026-01-01", contracts).move_ids), 4)


@tagged("post_install", "-at_install")
class TestCompanies(SituationCommon):
    def test_each_company_bills_its_own_with_its_own_terms(self):
        other_data = self.setup_other_company(name="Company Two")
        other = other_data["company"]
        other.write({"billing_approval": False, "billing_credit_mode": "note"})
        self.product.taxes_id += other_data["default_tax_sale"]
        self.customer.with_company(self.company).billing_consolidation = "customer"
        self.customer.with_company(other).billing_consolidation = "contract"
        here = self.new_contract("2026-01-01") | self.new_contract("2026-01-01")
        both = self.env(context={**self.env.context, "allowed_company_ids": (self.company | other).ids})
        there = both["billing.contract"]
        for _number in range(2):
            there |= there.with_company(other).create(
                {
                    "partner_id": self.customer.id,
                    "company_id": other.id,
                    "plan_id": self.plan.id,
                    "date_start": "2026-01-01",
                    "line_ids": [Command.create({"product_id": self.product.id, "price_unit": 70.0})],
                }
            )
        there.action_activate()
        mine = self.bill("2026-02-01", here)
        self.assertEqual(len(mine.move_ids), 1)
        self.assertFalse(there.charge_ids)
        theirs = both["billing.run"].with_company(other).create(
            {"company_id": other.id, "date": "2026-02-01", "invoice_date": "2026-02-01"}
        )
        theirs.action_propose()
        self.assertEqual(theirs.line_ids.contract_id, there)
        theirs.action_generate()
        theirs.action_approve()
        theirs.action_post()
        self.assertEqual(len(theirs.move_ids), 2)
        self.assertEqual(theirs.move_ids.company_id, other)
        self.assertEqual(theirs.move_ids.journal_id.company_id, other)
        self.assertEqual(theirs.move_ids.invoice_line_ids.tax_ids, other_data["default_tax_sale"])
        self.assertEqual(set(theirs.move_ids.mapped("amount_untaxed")), {140.0})
        self.assertEqual(sum(mine.move_ids.mapped("amount_untaxed")), 400.0)
        self.assertEqual(mine.move_ids.invoice_line_ids.tax_ids.company_id, self.company)


@tagged("post_install", "-at_install")
class TestNothingToCharge(SituationCommon):
    def test_a_paused_contract_is_not_due_for_ever(self):
        contract = self.new_contract("2026-01-01")
        self.bill("2026-01-01", contract)
        contract.action_pause("2026-02-01")
        run = self.bill("2026-03-01", contract)
        self.assertEqual((run.state, run.line_ids.outcome), ("sent", "nothing"))
        self.assertEqual(str(contract.next_bill_date), "2026-04-01")
        contract.action_resume("2026-02-11")
        self.bill("2026-03-01", contract)
        self.assertEqual(self.total(contract), 100.0 + 64.29 + 100.0)
