from freezegun import freeze_time

from odoo import Command, fields
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import tagged

from .common import BillingCommon


@tagged("post_install", "-at_install")
class TestContract(BillingCommon):
    def test_activation_numbers_freezes_and_schedules(self):
        contract = self.new_contract("2026-01-31", activate=False)
        self.assertFalse(contract.next_bill_date)
        contract.action_activate()
        self.assertEqual(contract.state, "active")
        self.assertEqual(contract.line_ids.plan_id, self.plan)
        self.assertEqual(str(contract.next_bill_date), "2026-01-31")

    def test_activation_needs_a_line(self):
        contract = self.env["billing.contract"].create(
            {"partner_id": self.customer.id, "plan_id": self.plan.id}
        )
        with self.assertRaisesRegex(UserError, "at least one line"):
            contract.action_activate()

    def test_prices_come_from_the_published_price_of_the_day(self):
        for amount, first, last in ((80.0, "2025-01-01", "2025-12-31"), (90.0, "2026-01-01", False)):
            self.env["billing.price"].create(
                {
                    "product_id": self.product.id,
                    "currency_id": self.company.currency_id.id,
                    "unit_amount": amount,
                    "date_from": first,
                    "date_to": last,
                }
            )
        self.assertEqual(self.new_contract("2025-06-01").line_ids.price_unit, 80.0)
        self.assertEqual(self.new_contract("2026-06-01").line_ids.price_unit, 90.0)
        negotiated = self.new_contract("2026-06-01", [{"price_unit": 70.0}])
        self.assertEqual(negotiated.line_ids.price_unit, 70.0)

    def test_versions_of_a_price_do_not_overlap(self):
        values = {
            "product_id": self.product.id,
            "currency_id": self.company.currency_id.id,
            "unit_amount": 1.0,
            "date_from": "2026-01-01",
        }
        self.env["billing.price"].create(values)
        with self.assertRaisesRegex(ValidationError, "already valid"):
            self.env["billing.price"].create({**values, "date_from": "2026-06-01"})

    def test_a_price_in_use_does_not_change(self):
        price = self.env["billing.price"].create(
            {
                "product_id": self.product.id,
                "currency_id": self.company.currency_id.id,
                "unit_amount": 60.0,
                "date_from": "2026-01-01",
            }
        )
        self.new_contract("2026-02-01")
        with self.assertRaisesRegex(UserError, "create a new version"):
            price.unit_amount = 61.0
        price.date_to = "2026-12-31"

    def test_bracket_prices(self):
        price = self.env["billing.price"].create(
            {
                "product_id": self.product.id,
                "currency_id": self.company.currency_id.id,
                "pricing_model": "graduated",
                "date_from": "2026-01-01",
                "bracket_ids": [
                    Command.create({"up_to": 0, "unit_amount": 0.4}),
                    Command.create({"up_to": 100, "unit_amount": 0.5}),
                ],
            }
        )
        contract = self.new_contract("2026-02-01", [{"quantity": 150, "price_id": price.id}])
        self.assertEqual(contract.line_ids.price_subtotal, 70.0)
        run = self.bill("2026-02-01", contract)
        self.assertEqual(run.move_ids.amount_untaxed, 70.0)
        charge = run.move_ids.invoice_line_ids.billing_charge_ids
        self.assertIn("first 100 ×", charge.explanation)
        self.assertIn("next 50 ×", charge.explanation)

    def test_an_active_contract_keeps_what_was_agreed(self):
        contract = self.new_contract("2026-01-01")
        for values in (
            {"date_start": "2026-02-01"},
            {"plan_id": self.plan_arrears.id},
            {"partner_id": self.other_customer.id},
            {"line_ids": [Command.create({"product_id": self.product.id})]},
            {"line_ids": [Command.update(contract.line_ids.id, {"price_unit": 1.0})]},
            {"line_ids": [Command.delete(contract.line_ids.id)]},
        ):
            with self.subTest(values=values), self.assertRaises(UserError):
                contract.write(values)
        contract.write({"date_start": "2026-01-01", "client_ref": "PO 7"})  # no change: allowed

    def test_a_plan_in_use_keeps_its_cycle(self):
        self.new_contract("2026-01-01")
        with self.assertRaisesRegex(UserError, "Duplicate the plan"):
            self.plan.interval = 3
        self.plan.write({"interval": 1, "lead_days": 5, "name": "Every month"})

    def test_plan_cycle_is_checked(self):
        for values in (
            {"interval_unit": "week", "anchor": "month_end"},
            {"interval_unit": "day", "proration": "thirty_360"},
            {"anchor": "day", "anchor_day": 32},
        ):
            with self.subTest(values=values), self.assertRaises(ValidationError):
                self.env["billing.plan"].create({"name": "X", **values})

    def test_protected_fields_are_for_the_engine(self):
        officer = self.new_staff("officer")
        contract = self.new_contract("2026-01-01").with_user(officer)
        for values in ({"state": "ended"}, {"next_bill_date": "2030-01-01"}):
            with self.assertRaises(AccessError):
                contract.write(values)
        with self.assertRaises(AccessError):
            contract.create(
                {"partner_id": self.customer.id, "plan_id": self.plan.id, "state": "active"}
            )

    def test_pause_resume_and_close_move_the_state(self):
        contract = self.new_contract("2026-01-01")
        today = contract._get_today()
        contract.action_pause(today)
        self.assertEqual(contract.state, "paused")
        contract.action_resume(today)
        self.assertEqual(contract.state, "active")
        self.assertFalse(contract.pause_ids, "a pause of no day is none")
        reason = self.env.ref("customer_billing.billing_close_reason_other")
        contract.action_close("2026-02-15", reason.id)
        self.assertEqual(contract.state, "ended")
        self.assertEqual(contract.close_reason_id, reason)

    def test_a_contract_that_was_active_is_kept(self):
        contract = self.new_contract("2026-01-01")
        with self.assertRaisesRegex(UserError, "stays as part of the books"):
            contract.unlink()
        self.new_contract("2026-01-01", activate=False).unlink()

    def test_monthly_revenue(self):
        yearly = self.env["billing.plan"].create({"name": "Yearly", "interval_unit": "year"})
        contract = self.new_contract(
            "2026-01-01",
            [{"price_unit": 1200.0, "discount": 50}, {"charge_type": "one_time", "price_unit": 99}],
            plan_id=yearly.id,
        )
        self.assertEqual(contract.mrr, 50.0)

    def test_bill_goes_to_the_invoice_address(self):
        accounting = self.env["res.partner"].create(
            {"name": "Accounting", "parent_id": self.customer.id, "type": "invoice", "email": "a@c.example"}
        )
        contract = self.new_contract("2026-01-01")
        self.assertEqual(contract.invoice_partner_id, accounting)
        self.assertEqual(self.bill("2026-01-01", contract).move_ids.partner_id, accounting)

    @freeze_time("2026-11-10 12:00:00")
    def test_fixed_terms_renew_from_the_start_date(self):
        plan = self.env["billing.plan"].create(
            {"name": "Term", "renewal": "auto", "term_interval": 1, "term_unit": "month", "notice_days": 3}
        )
        contract = self.new_contract("2027-01-31", plan_id=plan.id)
        self.assertEqual(str(contract.date_end), "2027-02-27")
        renew = self.env["billing.contract"]._renew_due
        renew(self.company, fields.Date.to_date("2027-02-23"))
        self.assertEqual(str(contract.date_end), "2027-02-27", "not before the notice days")
        renew(self.company, fields.Date.to_date("2027-02-24"))
        self.assertEqual(str(contract.date_end), "2027-03-30", "counted from the 31st")
        self.bill("2027-03-01", contract)
        self.assertEqual(contract.charge_ids.mapped("amount"), [100.0, 100.0])

    def test_a_closed_contract_does_not_renew(self):
        plan = self.env["billing.plan"].create(
            {"name": "Term", "renewal": "auto", "term_interval": 1, "term_unit": "year"}
        )
        today = self.company._get_billing_today()
        contract = self.new_contract(today, plan_id=plan.id)
        contract.action_close(fields.Date.add(today, days=10))
        self.env["billing.contract"]._renew_due(self.company, today)
        self.assertEqual(contract.date_end, fields.Date.add(today, days=10))
        with self.assertRaisesRegex(UserError, "closed"):
            contract.action_renew()

    def test_renewal_by_hand_asks_a_person(self):
        plan = self.env["billing.plan"].create(
            {"name": "Term", "renewal": "manual", "term_interval": 1, "term_unit": "month"}
        )
        today = self.company._get_billing_today()
        contract = self.new_contract(today, plan_id=plan.id)
        end = contract.date_end
        self.env["billing.contract"]._renew_due(self.company, fields.Date.subtract(end, days=30))
        self.assertIn("Renew or close", contract.activity_ids.summary)
        contract.action_renew()
        self.assertGreater(contract.date_end, end)

    def test_a_price_is_described_in_words(self):
        def describe(**vals):
            price = self.env["billing.price"].create(
                {
                    "product_id": self.product.id,
                    "currency_id": self.company.currency_id.id,
                    "code": f"T{vals['pricing_model']}",
                    **vals,
                }
            )
            return price.tariff.replace("\N{NO-BREAK SPACE}", " ").split("\n")

        def brackets(field="unit_amount"):
            return [
                Command.create({"up_to": 1000, field: 0.5}),
                Command.create({"up_to": 5000, field: 0.425}),
                Command.create({field: 0.25}),
            ]

        self.assertEqual(describe(pricing_model="flat", unit_amount=12), ["$ 12.00 per period"])
        self.assertEqual(
            describe(pricing_model="per_unit", unit_amount=0.125, minimum_amount=5),
            ["$ 0.125 per unit", "at least $ 5.00"],
        )
        self.assertEqual(
            describe(pricing_model="package", unit_amount=8, package_size=500),
            ["$ 8.00 per started package of 500"],
        )
        self.assertEqual(
            describe(pricing_model="percentage", unit_amount=0.025), ["2.5% of the amount"]
        )
        self.assertEqual(
            describe(pricing_model="graduated", bracket_ids=brackets()),
            ["first 1,000: $ 0.50 each", "next 4,000: $ 0.425 each", "above 5,000: $ 0.25 each"],
        )
        self.assertEqual(
            describe(pricing_model="volume", bracket_ids=brackets())[:2],
            ["up to 1,000: $ 0.50 each", "up to 5,000: $ 0.425 each"],
        )
        self.assertEqual(
            describe(pricing_model="stairstep", bracket_ids=brackets("flat_amount")),
            ["up to 1,000: $ 0.50", "up to 5,000: $ 0.43", "above 5,000: $ 0.25"],
        )
