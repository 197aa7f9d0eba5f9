from freezegun import freeze_time

from odoo import Command, fields
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import tagged

from .common import BillingCommon


class UsageCommon(BillingCommon):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.meter = cls.env["billing.meter"].create(
            {"name": "Electricity", "code": "KWH", "uom": "kWh"}
        )
        cls.usage_model = cls.env["billing.usage"]

    @classmethod
    def new_metered(cls, date_start="2026-01-01", lines=None, meter=None, **values):
        """A contract with one usage line of 0.10 per kWh, and the lines given."""
        usage_line = {"charge_type": "usage", "meter_id": (meter or cls.meter).id}
        usage_line["price_unit"] = 0.1
        return cls.new_contract(date_start, [usage_line, *(lines or [])], **values)

    @classmethod
    def use(cls, contract, timestamp, quantity, **values):
        """Record usage on the first usage line of a contract."""
        line = contract.line_ids.filtered(lambda line: line.charge_type == "usage")[:1]
        return cls.usage_model.create(
            {
                "contract_line_id": line.id,
                "timestamp": timestamp,
                "quantity": quantity,
                **values,
            }
        )

    def booked(self, contract, kind="usage"):
        """The charges of a kind that count: (slot, revision, amount), in order."""
        charges = contract.charge_ids.filtered(lambda c: c.state != "void" and c.kind == kind)
        return [
            (str(charge.slot_start), charge.revision, charge.amount)
            for charge in charges.sorted(lambda c: (c.slot_start, c.revision))
        ]


@tagged("post_install", "-at_install")
class TestUsage(UsageCommon):
    def test_main_job_usage_is_charged_after_the_period(self):
        contract = self.new_metered()
        records = self.use(contract, "2026-01-03 10:00:00", 1000)
        records |= self.use(contract, "2026-01-31 22:00:00", 250)
        self.use(contract, "2026-02-01 00:00:00", 7)
        self.assertEqual(str(contract.next_bill_date), "2026-02-01")
        self.assertFalse(self.bill("2026-01-31", contract).move_ids)
        [line] = self.bill("2026-02-01", contract).move_ids.invoice_line_ids
        self.assertEqual((line.quantity, line.price_unit, line.price_subtotal), (1250, 0.1, 125))
        self.assertIn("1,250 kWh", line.name)
        [charge] = contract.charge_ids
        self.assertEqual(charge.kind, "usage")
        self.assertIn("Electricity: 1,250 kWh from 2 records", charge.explanation)
        self.assertEqual(records.mapped("state"), ["charged"] * 2)
        self.assertEqual(contract.usage_count, 3)

    def test_the_day_of_use_is_that_of_the_company(self):
        self.company.partner_id.tz = "Asia/Shanghai"
        contract = self.new_metered()
        record = self.use(contract, "2026-01-31 16:00:00", 10)
        self.assertEqual(str(record.date), "2026-02-01")

    def test_invariant_1_running_again_books_nothing(self):
        contract = self.new_metered(lines=[{"charge_type": "minimum", "price_unit": 50}])
        self.use(contract, "2026-01-03 10:00:00", 100)
        self.bill("2026-03-01", contract)
        before = self.booked(contract), self.booked(contract, "minimum")
        contract._touch(contract.date_start)
        self.assertFalse(self.bill("2026-03-01", contract).move_ids)
        self.assertEqual((self.booked(contract), self.booked(contract, "minimum")), before)

    @freeze_time("2026-02-10")
    def test_invariant_5_late_usage_is_an_adjustment_of_its_period(self):
        contract = self.new_metered()
        self.use(contract, "2026-01-03 10:00:00", 100)
        self.bill("2026-02-01", contract)
        late = self.use(contract, "2026-01-20 10:00:00", 50)
        self.assertEqual(
            self.booked(contract), [("2026-01-01", 0, 10.0), ("2026-01-01", 1, 5.0)]
        )
        self.assertEqual(late.charge_id.state, "pending")
        lines = self.bill("2026-03-01", contract).move_ids.invoice_line_ids
        adjustment = lines.filtered("price_subtotal")
        self.assertEqual((adjustment.quantity, adjustment.price_unit), (50, 0.1))
        self.assertEqual(str(adjustment.billing_period_start), "2026-01-01")
        self.assertIn("Adjustment of an earlier bill", adjustment.name)

    @freeze_time("2026-02-10")
    def test_invariant_5_late_usage_of_a_period_of_zero_is_an_adjustment(self):
        contract = self.new_metered()
        self.assertFalse(self.bill("2026-02-01", contract).move_ids)
        self.assertEqual(self.booked(contract), [("2026-01-01", 0, 0.0)])
        self.use(contract, "2026-01-20 10:00:00", 50)
        self.assertEqual(self.booked(contract), [("2026-01-01", 0, 0.0), ("2026-01-01", 1, 5.0)])
        self.bill("2026-03-01", contract)
        self.assertEqual(sum(amount for *_k, amount in self.booked(contract)), 5.0)

    @freeze_time("2026-02-10")
    def test_invariant_6_reversal_nets_to_zero(self):
        for aggregation in ("sum", "max", "last", "unique"):
            with self.subTest(aggregation):
                meter = self.meter.copy({"code": aggregation, "aggregation": aggregation})
                contract = self.new_metered(meter=meter)
                record = self.use(contract, "2026-01-03 10:00:00", 100, key="ann")
                self.bill("2026-02-01", contract)
                record.action_reverse()
                self.assertEqual(sum(amount for *_k, amount in self.booked(contract)), 0)
                self.assertTrue(record.reversal_ids)

    def test_charged_usage_is_immutable(self):
        contract = self.new_metered()
        record = self.use(contract, "2026-01-03 10:00:00", 100)
        record.quantity = 120
        run = self.bill("2026-02-01", contract, post=False)
        with self.assertRaisesRegex(UserError, "stays as it is"):
            record.with_user(self.new_staff("officer")).quantity = 5
        with self.assertRaisesRegex(UserError, "stays as it is"):
            record.unlink()
        record.with_user(self.new_staff("officer", login="o2")).quantity = 120.0  # no change
        run.move_ids.unlink()
        self.assertEqual(record.state, "open", "the bill is gone: it may be corrected again")
        record.quantity = 50
        self.assertEqual(self.bill("2026-02-01", contract).move_ids.amount_untaxed, 5.0)
        self.assertEqual(record.state, "charged")

    def test_aggregations(self):
        quantities = [("2026-01-05 08:00:00", 5, "ann"), ("2026-01-05 09:00:00", 3, "bob"),
                      ("2026-01-20 08:00:00", 4, "ann")]  # fmt: skip
        for aggregation, expected in (("sum", 12), ("max", 5), ("last", 4), ("unique", 2)):
            meter = self.meter.copy({"code": aggregation, "aggregation": aggregation})
            contract = self.new_metered(meter=meter)
            for timestamp, quantity, key in quantities:
                self.use(contract, timestamp, quantity, key=key)
            self.bill("2026-02-01", contract)
            self.assertEqual(contract.charge_ids.quantity, expected, aggregation)

    def test_minimum_commitment_trues_up(self):
        contract = self.new_metered(lines=[{"charge_type": "minimum", "price_unit": 50}])
        self.use(contract, "2026-01-03 10:00:00", 200)
        self.use(contract, "2026-02-03 10:00:00", 700)
        move = self.bill("2026-02-01", contract).move_ids
        self.assertEqual(move.invoice_line_ids.mapped("price_subtotal"), [20.0, 30.0])
        charge = contract.charge_ids.filtered(lambda c: c.kind == "minimum")
        self.assertIn("Usage of the period counts for", charge.explanation)
        self.assertEqual(self.bill("2026-03-01", contract).move_ids.amount_untaxed, 70.0)

    @freeze_time("2026-02-10")
    def test_late_usage_credits_the_shortfall(self):
        contract = self.new_metered(lines=[{"charge_type": "minimum", "price_unit": 50}])
        self.use(contract, "2026-01-03 10:00:00", 200)
        self.bill("2026-02-01", contract)
        self.use(contract, "2026-01-04 10:00:00", 400)
        self.assertEqual(
            self.booked(contract, "minimum"),
            [("2026-01-01", 0, 30.0), ("2026-01-01", 1, -30.0)],
        )
        self.assertEqual(self.booked(contract)[1], ("2026-01-01", 1, 40.0))

    @freeze_time("2026-01-20")
    def test_minimum_counts_lines_that_an_amendment_ended(self):
        contract = self.new_metered(lines=[{"charge_type": "minimum", "price_unit": 50}])
        line = contract.line_ids[0]
        early = self.use(contract, "2026-01-03 10:00:00", 100)
        moved = self.use(contract, "2026-01-18 10:00:00", 100)
        contract.action_amend({"lines": [{"line_id": line.id, "price_unit": 0.2}]}, "2026-01-16")
        self.assertEqual(early.contract_line_id, line)
        self.assertEqual(moved.contract_line_id.previous_line_id, line)
        later = self.use(contract, "2026-01-19 10:00:00", 1)
        self.assertEqual(later.contract_line_id, moved.contract_line_id, "follows the amendment")
        move = self.bill("2026-02-01", contract).move_ids
        self.assertEqual(sorted(move.invoice_line_ids.mapped("price_subtotal")), [10, 19.8, 20.2])
        with freeze_time("2026-02-10"):
            self.use(contract, "2026-01-19 10:00:00", 99)
        self.assertEqual(self.booked(contract, "minimum")[1], ("2026-01-01", 1, -19.8))

    @freeze_time("2026-02-10")
    def test_invariant_6_amending_charged_usage_bills_the_difference_of_price(self):
        contract = self.new_metered()
        self.use(contract, "2026-01-03 10:00:00", 100)
        record = self.use(contract, "2026-01-18 10:00:00", 100)
        self.bill("2026-02-01", contract)
        line = contract.line_ids
        contract.action_amend({"lines": [{"line_id": line.id, "price_unit": 0.2}]}, "2026-01-16")
        pending = contract.charge_ids.filtered(lambda charge: charge.state == "pending")
        self.assertEqual(sorted(pending.mapped("amount")), [-10.0, 20.0])
        self.assertEqual(record.charge_id, pending.filtered(lambda charge: charge.amount > 0))

    @freeze_time("2026-02-10")
    def test_invariant_6_brackets_count_the_period_when_an_amendment_keeps_the_price(self):
        price = self.env["billing.price"].create(
            {
                "code": "KWH", "product_id": self.product.id, "currency_id": self.company.currency_id.id,
                "date_from": "2026-01-01", "pricing_model": "graduated", "minimum_amount": 30.0,
                "bracket_ids": [
                    Command.create({"up_to": 100.0, "unit_amount": 0.5}),
                    Command.create({"up_to": 0.0, "unit_amount": 0.4}),
                ],
            }
        )  # fmt: skip
        contract = self.new_contract(
            "2026-01-01", [{"charge_type": "usage", "meter_id": self.meter.id, "price_id": price.id}]
        )
        first = contract.line_ids
        for day, quantity in (("05", 90), ("20", 90)):
            self.use(contract, f"2026-01-{day} 10:00:00", quantity)
        with freeze_time("2026-01-16"):
            contract.action_amend({"lines": [{"line_id": first.id, "name": "KWH, house 2"}]}, "2026-01-15")
            second = contract.line_ids - first
            # Once more on its first day: a line without a day is passed over.
            contract.action_amend({"lines": [{"line_id": second.id, "name": "KWH, house 3"}]}, "2026-01-15")
        third = contract.line_ids - first - second
        rows = contract.simulate("2026-02-01")
        self.bill("2026-02-01", contract)
        self.assertEqual([row["amount"] for row in rows], [45.0, 37.0])
        charges = contract.charge_ids.grouped("contract_line_id")
        self.assertEqual((charges[first].amount, charges[third].amount), (45.0, 37.0))
        self.assertIn(
            "for 180 in the whole period, less $\xa045.00 for 90 before the change", charges[third].explanation
        )
        # Late for the line before: what comes after moves up into the second bracket.
        self.use(contract, "2026-01-06 10:00:00", 10)
        self.assertEqual(sum(amount for *_k, amount in self.booked(contract)), 86.0)
        self.assertEqual(charges[first].amount + charges[third].amount, 82.0)
        self.assertEqual(sorted(c.amount for c in contract.charge_ids.filtered("revision")), [-1.0, 5.0])
        self.bill("2026-03-01", contract)
        self.assertEqual(
            sum(c.amount for c in contract.charge_ids if str(c.slot_start) < "2026-02-01"), 0.5 * 100 + 0.4 * 90
        )
        # Another price begins anew.
        other = price.copy({"code": "OTHER", "minimum_amount": 0.0})
        with freeze_time("2026-03-20"):
            contract.action_amend({"lines": [{"line_id": third.id, "price_id": other.id}]}, "2026-03-15")
        for day in ("05", "20"):
            self.use(contract, f"2026-03-{day} 10:00:00", 90)
        self.bill("2026-04-01", contract)
        self.assertEqual([amount for start, _r, amount in self.booked(contract) if start > "2026-03"], [45.0, 45.0])
        contract._touch(contract.date_start)
        self.assertFalse(self.bill("2026-04-01", contract).move_ids)
        contract._sweep()
        self.assertFalse(self.env["billing.exception"].search([("check_id.code", "=", "drift")]))

    @freeze_time("2026-01-20")
    def test_usage_so_far_in_the_portal_counts_on_after_an_amendment(self):
        contract = self.new_metered(meter=self.meter.copy({"code": "peak", "aggregation": "max"}))
        self.use(contract, "2026-01-03 10:00:00", 100)
        contract.action_amend({"lines": [{"line_id": contract.line_ids.id, "discount": 50.0}]}, "2026-01-15")
        self.usage_model.create({"contract_line_id": contract.line_ids[-1:].id, "timestamp": "2026-01-18 10:00:00",
                                 "quantity": 120})  # fmt: skip
        [row] = contract._get_usage_to_date(fields.Date.to_date("2026-01-20"))
        self.assertEqual(row["amount"], 1.0, "20 more than the peak before, at half the price")
        self.bill("2026-02-01", contract)
        self.assertEqual([amount for *_k, amount in self.booked(contract)], [10.0, 1.0])

    def test_closing_prorates_the_minimum(self):
        contract = self.new_metered(lines=[{"charge_type": "minimum", "price_unit": 62}])
        self.use(contract, "2026-01-03 10:00:00", 100)
        contract.action_close("2026-01-15")
        move = self.bill("2026-01-16", contract).move_ids
        self.assertEqual(move.invoice_line_ids.mapped("price_subtotal"), [10.0, 20.0])

    def test_coupon_counts_slots(self):
        contract = self.new_contract("2026-01-01", [{}, {"price_unit": -20, "max_slots": 2}])
        self.bill("2026-04-01", contract)
        self.assertEqual(sum(contract.charge_ids.mapped("amount")), 400 - 40)
        self.assertEqual(str(contract.line_ids[1]._get_last_day()), "2026-02-28")

    def test_coupon_survives_a_pause(self):
        contract = self.new_contract("2026-01-01", [{}, {"price_unit": -20, "max_slots": 2}])
        self.bill("2026-01-01", contract)
        contract.action_pause("2026-02-01")
        contract.action_resume("2026-03-01")
        self.bill("2026-04-01", contract)
        self.assertEqual(sum(contract.charge_ids.filtered(lambda c: c.state == "billed").mapped("amount")), 260)

    def test_usage_line_needs_its_meter(self):
        with self.assertRaisesRegex(ValidationError, "needs a meter"):
            self.new_contract("2026-01-01", [{"charge_type": "usage"}])
        contract = self.new_metered()
        with self.assertRaisesRegex(ValidationError, "not a day of"):
            self.use(contract, "2025-12-31 10:00:00", 1)
        draft = self.new_metered(activate=False)
        self.use(draft, "2026-01-03 10:00:00", 1).action_reverse()
        draft.line_ids.charge_type = "recurring"
        self.assertFalse(draft.line_ids.meter_id)
        draft.unlink()
        with self.assertRaisesRegex(UserError, "counts for contract"):
            self.meter.aggregation = "max"

    def test_invariant_7_preview_is_the_run(self):
        contract = self.new_metered(lines=[{"charge_type": "minimum", "price_unit": 50}])
        self.use(contract, "2026-01-03 10:00:00", 123.456789)
        rows = contract.simulate("2026-02-01")
        self.bill("2026-02-01", contract)
        self.assertEqual(
            [row["amount"] for row in rows],
            contract.charge_ids.sorted("contract_line_id").mapped("amount"),
        )
        self.assertEqual(rows[0]["amount"], 12.35)

    def test_invariant_10_queries_do_not_grow_with_contracts_or_usage(self):
        def queries(count, records):
            contracts = self.env["billing.contract"]
            for _number in range(count):
                contract = self.new_metered(lines=[{"charge_type": "minimum", "price_unit": 50}])
                contracts |= contract
                self.usage_model.create(
                    [
                        {
                            "contract_line_id": contract.line_ids[0].id,
                            "timestamp": f"2026-01-{1 + number % 28:02} 12:00:00",
                        }
                        for number in range(records)
                    ]
                )
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            self.env["billing.engine"]._compute_due(contracts, contracts[0].next_bill_date)
            return self.env.cr.sql_log_count - before

        queries(1, 1)  # fills caches
        few = queries(3, 2)
        self.assertEqual(queries(6, 2), few)
        self.assertEqual(queries(3, 60), few)

    def test_invariant_16_access(self):
        contract = self.new_metered()
        record = self.use(contract, "2026-01-03 10:00:00", 1)
        mine = self.new_portal(self.customer, "portal_one")
        other = self.new_portal(self.other_customer, "portal_two")
        self.assertEqual(record.with_user(mine).read(["quantity", "state"])[0]["quantity"], 1)
        with self.assertRaises(AccessError):
            record.with_user(other).read(["quantity"])
        for group in ("sales", "collector", "auditor"):
            user = self.new_staff(group)
            with self.assertRaises(AccessError):
                self.usage_model.with_user(user).create(
                    {"contract_line_id": contract.line_ids.id, "quantity": 1}
                )
        officer = self.new_staff("officer")
        with self.assertRaises(AccessError):
            self.meter.with_user(officer).name = "Other"
        with self.assertRaises(AccessError):
            record.with_user(officer).charge_id = 1
        self.use(contract.with_user(officer), "2026-01-03 10:00:00", 1)

    @freeze_time("2026-01-25")
    def test_usage_on_paused_days_is_shown_as_never_charged(self):
        contract = self.new_metered()
        self.env["billing.contract.pause"].create(
            {"contract_id": contract.id, "date_from": "2026-01-10", "date_to": "2026-01-12"}
        )
        paused = self.use(contract, "2026-01-11 10:00:00", 40)
        served = self.use(contract, "2026-01-13 10:00:00", 10)
        later = self.use(contract, "2026-02-13 10:00:00", 10)
        self.bill("2026-02-01", contract)
        records = paused | served | later
        self.assertEqual(records.mapped("state"), ["uncharged", "charged", "open"])
        self.assertFalse(paused.charge_id)
        self.assertIn("paused on this day", paused.uncharged_reason)
        for state, expected in (("uncharged", paused), ("charged", served), ("open", later)):
            domain = [("contract_id", "=", contract.id), ("state", "=", state)]
            self.assertEqual(self.usage_model.search(domain), expected)
            domain = [("contract_id", "=", contract.id), ("state", "!=", state)]
            self.assertEqual(self.usage_model.search(domain), (records - expected).sorted())
        [item] = [
            item
            for item in self.env["billing.health"]._get_health_items()
            if "never charged" in item["label"]
        ]
        self.assertEqual((item["value"], item["severity"]), (1, "warning"))
        # The pause is taken back: its usage is charged.
        contract.pause_ids.unlink()
        self.assertEqual(self.booked(contract), [("2026-01-01", 0, 1.0), ("2026-01-01", 1, 4.0)])
        self.assertEqual(paused.state, "charged")
