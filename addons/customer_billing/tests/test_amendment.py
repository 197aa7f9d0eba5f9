from freezegun import freeze_time

from odoo import Command
from odoo.exceptions import AccessError, UserError
from odoo.tests import Form, tagged

from .common import BillingCommon


@tagged("post_install", "-at_install")
@freeze_time("2026-11-10 12:00:00")
class TestAmendment(BillingCommon):
    """A contract of 3 × 100 a month in advance, billed for November, changed on the 10th."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.contract = cls.new_contract(
            "2026-09-01", [{"quantity": 3}], plan_id=cls.plan_month_end.id
        )
        cls.line = cls.contract.line_ids

    def setUp(self):
        super().setUp()
        self.bill("2026-11-01", self.contract)
        self.assertEqual(str(self.contract.next_bill_date), "2026-12-01")

    def pending(self):
        charges = self.contract.charge_ids.filtered(lambda charge: charge.state == "pending")
        return sorted(charges.mapped("amount"))

    def billed(self):
        charges = self.contract.charge_ids.filtered(lambda charge: charge.state == "billed")
        return round(sum(charges.mapped("amount")), 2)

    def amend(self, date="2026-11-10", **values):
        line = values.pop("line", None) or self.contract.line_ids.filtered("is_current")[:1]
        return self.contract.action_amend({"lines": [{"line_id": line.id, **values}]}, date)

    def test_more_seats_wait_for_the_next_regular_bill(self):
        self.amend(quantity=5)
        self.assertEqual(self.pending(), [-210.0, 350.0])  # 21 of 30 days of 300 and of 500
        self.assertEqual(str(self.contract.next_bill_date), "2026-12-01")
        self.assertFalse(self.bill("2026-11-20", self.contract).move_ids)
        move = self.bill("2026-12-01", self.contract).move_ids
        self.assertEqual(move.amount_untaxed, 640.0)
        self.assertFalse(self.pending())
        self.assertEqual(self.billed(), 900.0 + 140.0 + 500.0)

    def test_ten_changes_are_one_bill(self):
        for quantity in range(4, 14):
            self.amend(quantity=quantity)
        self.assertEqual(self.pending(), [-210.0, 910.0])
        run = self.bill("2026-12-01", self.contract)
        self.assertEqual(len(run.move_ids), 1)
        self.assertEqual(run.move_ids.amount_untaxed, 700.0 + 1300.0)

    def test_invariant_6_a_change_undone_on_the_same_day_nets_to_zero(self):
        self.amend(quantity=7, discount=5)
        self.amend(quantity=3, discount=0)
        self.assertEqual(round(sum(self.pending()), 2), 0.0)
        self.assertEqual(self.bill("2026-12-01", self.contract).move_ids.amount_untaxed, 300.0)

    def test_bill_without_waiting(self):
        self.contract.action_amend(
            {"lines": [{"line_id": self.line.id, "quantity": 5}], "bill_now": True}, "2026-11-10"
        )
        self.assertEqual(str(self.contract.next_bill_date), "2026-11-10")
        self.assertEqual(self.bill("2026-11-10", self.contract).move_ids.amount_untaxed, 140.0)
        self.assertEqual(str(self.contract.next_bill_date), "2026-12-01")

    def test_future_change_costs_nothing_now(self):
        self.amend("2027-01-01", price_unit=120.0)
        self.assertFalse(self.pending())
        self.assertEqual(self.bill("2026-12-01", self.contract).move_ids.amount_untaxed, 300.0)
        self.assertEqual(self.bill("2027-01-01", self.contract).move_ids.amount_untaxed, 360.0)

    def test_back_dated_change_corrects_every_period(self):
        self.amend("2026-10-01", quantity=2)
        self.assertEqual(round(sum(self.pending()), 2), -200.0)
        self.assertEqual(self.bill("2026-12-01", self.contract).move_ids.amount_untaxed, 0.0)
        self.assertEqual(self.billed(), 900.0 - 200.0 + 200.0)

    def test_add_and_end_lines(self):
        self.contract.action_amend(
            {
                "lines": [
                    {"line_id": self.line.id, "end": True},
                    {"product_id": self.product.id, "quantity": 1, "price_unit": 60.0},
                    {"product_id": self.product.id, "charge_type": "one_time", "price_unit": 9.0},
                ]
            },
            "2026-11-16",
        )
        self.assertEqual(self.pending(), [-150.0, 9.0, 30.0])
        self.assertEqual(self.bill("2026-12-01", self.contract).move_ids.amount_untaxed_signed, -51.0)

    def test_history_of_a_line(self):
        self.amend(quantity=5)
        new = self.contract.line_ids - self.line
        self.assertEqual(new.previous_line_id, self.line)
        self.assertEqual((str(self.line.date_end), str(new.date_start)), ("2026-11-09", "2026-11-10"))
        self.assertEqual(new.price_unit, 100.0)
        self.assertIn("3 ×", self.contract.message_ids[0].body)

    def test_invariant_3_a_change_leaves_no_gap_and_no_overlap(self):
        self.amend("2026-11-10", quantity=5)
        self.amend("2026-11-20", quantity=4)
        self.bill("2026-12-01", self.contract)
        charges = self.contract.charge_ids.filtered(
            lambda charge: charge.state == "billed" and charge.amount > 0
        )
        november = charges.filtered(lambda charge: str(charge.slot_start) >= "2026-11-10")
        spans = sorted((str(c.period_start), str(c.period_end), c.quantity) for c in november)
        self.assertEqual(
            spans,
            [
                ("2026-11-10", "2026-11-19", 5.0),
                ("2026-11-20", "2026-11-30", 4.0),
                ("2026-12-01", "2026-12-31", 4.0),
            ],
        )

    def test_arrears_come_on_the_regular_bill(self):
        contract = self.new_contract("2026-11-01", plan_id=self.plan_arrears.id)
        contract.action_amend(
            {"lines": [{"line_id": contract.line_ids.id, "price_unit": 200.0}]}, "2026-11-16"
        )
        self.assertEqual(str(contract.next_bill_date), "2026-12-01")
        self.assertEqual(self.bill("2026-12-01", contract).move_ids.amount_untaxed, 150.0)

    def test_without_proration_a_change_begins_with_the_next_period(self):
        plan = self.env["billing.plan"].create({"name": "Full", "proration": "none"})
        contract = self.new_contract("2026-11-01", plan_id=plan.id)
        self.bill("2026-11-01", contract)
        contract.action_amend(
            {"lines": [{"line_id": contract.line_ids.id, "price_unit": 200.0}]}, "2026-11-16"
        )
        self.assertEqual(self.bill("2026-12-01", contract).move_ids.amount_untaxed, 200.0)

    def test_change_of_plan(self):
        yearly = self.env["billing.plan"].create(
            {"name": "Yearly", "interval_unit": "year", "anchor": "start"}
        )
        self.contract.action_amend({"plan_id": yearly.id}, "2026-12-01")
        self.assertEqual(self.contract.plan_id, self.plan_month_end, "from December on")
        # the year from 1 September; 274 of 365 days are left on 1 December
        self.assertEqual(
            self.bill("2026-12-01", self.contract).move_ids.amount_untaxed,
            round(300.0 * 274 / 365, 2),
        )
        with freeze_time("2026-12-01 12:00:00"):
            self.env["billing.contract"]._cron_refresh_states()
        self.assertEqual(self.contract.plan_id, yearly)

    def test_pause_waits_too_and_taken_back_leaves_nothing(self):
        self.contract.action_pause("2026-11-16")
        self.assertEqual(self.pending(), [-150.0])
        self.contract.action_resume("2026-11-16")
        self.assertEqual(self.pending(), [])
        self.assertEqual(self.bill("2026-12-01", self.contract).move_ids.amount_untaxed, 300.0)

    def test_invariant_1_a_run_after_a_change_books_nothing_twice(self):
        self.amend(quantity=5)
        self.bill("2026-12-01", self.contract)
        before = self.billed()
        self.assertFalse(self.bill("2026-12-01", self.contract).move_ids)
        self.contract._touch(self.contract.date_start)
        self.assertFalse(self.bill("2026-12-01", self.contract).move_ids)
        self.assertEqual(self.billed(), before)

    def test_invariant_7_simulation_is_the_run(self):
        self.amend("2026-11-20", quantity=5, discount=10)
        rows = self.contract.simulate("2027-03-01")
        total = round(sum(row["amount"] for row in rows), 2)
        before = self.billed()
        self.bill("2027-03-01", self.contract)
        self.assertEqual(round(self.billed() - before, 2), total)
        self.assertEqual(self.contract.simulate("2027-03-01"), [])

    def test_what_cannot_be_amended_says_why(self):
        for message, values, date in (
            ("Nothing is changed", {}, "2026-11-10"),
            ("cannot change: colour", {"lines": [{"line_id": self.line.id, "colour": 1}]}, None),
            ("outside of", {"lines": [{"line_id": self.line.id, "quantity": 1}]}, "2026-08-01"),
            ("not one of the current", {"lines": [{"line_id": self.new_contract("2026-11-01").line_ids.id}]}, None),
            ("needs a product", {"lines": [{"quantity": 1}]}, None),
        ):  # fmt: skip
            with self.subTest(message=message), self.assertRaisesRegex(UserError, message):
                self.contract.action_amend(values, date)
        with self.assertRaises(AccessError):
            self.contract.with_user(self.new_staff("auditor")).action_amend(
                {"lines": [{"line_id": self.line.id, "quantity": 1}]}
            )

    def test_wizard_preview_changes_nothing_and_confirm_does_it(self):
        officer = self.new_staff("officer")
        action = self.contract.with_user(officer).with_context(billing_change="amend").action_open_change()
        form = Form(self.env["billing.contract.change"].with_user(officer).with_context(action["context"]))
        with form.line_ids.edit(0) as row:
            row.quantity = 5
        wizard = form.save()
        self.assertEqual(wizard.line_ids.line_id, self.line)
        wizard.action_preview()
        self.assertEqual((wizard.amount_before, wizard.amount_after), (300.0, 640.0))
        self.assertEqual(sorted(wizard.preview_ids.mapped("amount")), [-210.0, 350.0, 500.0])
        self.assertEqual(self.contract.line_ids, self.line)
        self.assertFalse(self.pending())
        wizard.action_confirm()
        self.assertEqual(self.pending(), [-210.0, 350.0])
        action = self.contract.action_view_simulation()
        rows = self.env["billing.contract.simulation"].search(action["domain"])
        november = rows.filtered(lambda row: str(row.bill_date) == "2026-12-01")
        self.assertEqual(sum(november.mapped("amount")), 640.0)

    def test_wizard_closes_several_contracts(self):
        contracts = self.contract | self.new_contract("2026-11-01")
        wizard = self.env["billing.contract.change"].create(
            {
                "contract_ids": [Command.set(contracts.ids)],
                "change": "close",
                "date": "2026-11-15",
                "close_reason_id": self.env.ref("customer_billing.billing_close_reason_moved").id,
            }
        )
        wizard.action_preview()
        self.assertFalse(any(contracts.mapped("date_end")))
        wizard.action_confirm()
        self.assertEqual({str(day) for day in contracts.mapped("date_end")}, {"2026-11-15"})
