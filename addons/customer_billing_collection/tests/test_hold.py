from datetime import date, timedelta

from freezegun import freeze_time

from odoo import Command
from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged

from .facts_common import FactsCommon

NOW = "2026-11-20 10:00:00"
TODAY = date(2026, 11, 20)


@tagged("post_install", "-at_install")
class TestHold(FactsCommon):
    """It is 20 November; contracts began on the first."""

    @classmethod
    def setUpClass(cls):
        with freeze_time(NOW):
            super().setUpClass()
        cls.startClassPatcher(freeze_time(NOW))
        cls.debt = cls.invoice(500, due=-20)
        cls.case = cls.new_case()
        cls.contract = cls.new_contract("2026-11-01", lines=[{"price_unit": 300.0, "tax_ids": [Command.clear()]}])

    def pauses(self, contract=None):
        pauses = (contract or self.contract).pause_ids.sorted("date_from")
        return [(pause.date_from, pause.date_uncharged, pause.date_to) for pause in pauses]

    def charges(self, contract=None):
        charges = (contract or self.contract).charge_ids.filtered(lambda charge: charge.state != "void")
        return [(str(c.period_start), c.amount) for c in charges.sorted(lambda c: (c.period_start, c.id))]

    def test_what_is_paid_in_advance_is_served(self):
        bill = self.bill("2026-11-20", self.contract).move_ids
        self.pay(bill.amount_residual, bill)
        self.case._start_hold("No answer")
        self.assertEqual(self.pauses(), [(date(2026, 12, 1), date(2026, 12, 1), False)])
        self.assertEqual(self.contract.state, "active")
        self.assertEqual(self.case.date_hold, date(2026, 12, 1))

    def test_what_is_paid_to_its_end_is_not_held(self):
        self.contract.action_close("2026-11-30")
        bill = self.bill("2026-11-20", self.contract).move_ids
        self.pay(bill.amount_residual, bill)
        with self.assertRaisesRegex(UserError, "paid to their end"):
            self.case._start_hold()
        self.assertFalse(self.case.date_hold)
        self.assertFalse(self.contract.pause_ids)
        running = self.new_contract("2026-11-01")
        self.assertEqual(self.case._start_hold(), running)
        self.assertFalse(self.contract.pause_ids)

    def test_what_is_billed_and_unpaid_is_neither_served_nor_credited(self):
        self.bill("2026-11-20", self.contract)
        self.case._start_hold()
        self.assertEqual(self.pauses(), [(TODAY, date(2026, 12, 1), False)])
        self.assertEqual(self.contract.state, "paused")
        self.assertEqual(self.charges(), [("2026-11-01", 300.0)], "nothing is credited")
        with freeze_time("2026-12-10 10:00:00"):
            self.bill("2026-12-10", self.contract)
            self.assertEqual(self.charges(), [("2026-11-01", 300.0)], "nothing is charged while it is held")
            self.case._release_hold()
            self.assertEqual(self.contract.state, "active")
            self.bill("2026-12-10", self.contract)
            self.assertEqual(self.charges()[1:], [("2026-12-10", 212.9)], "22 of 31 days")
            self.contract._sweep()
            self.assertFalse(self.env["billing.exception"].search([("contract_id", "=", self.contract.id)]))

    def test_partly_paid_is_not_paid(self):
        bill = self.bill("2026-11-20", self.contract).move_ids
        self.pay(100, bill)
        self.case._start_hold()
        self.assertEqual(self.pauses()[0][0], TODAY)

    def test_days_in_arrears_that_are_held_are_not_charged(self):
        contract = self.new_contract(
            "2026-11-01", plan_id=self.plan_arrears.id, lines=[{"price_unit": 300.0, "tax_ids": [Command.clear()]}]
        )
        self.case._start_hold()
        self.assertEqual(self.pauses(contract), [(TODAY, TODAY, False)])
        with freeze_time("2026-11-26 10:00:00"):
            self.case._release_hold()
        self.assertEqual(self.pauses(contract), [(TODAY, TODAY, date(2026, 11, 25))])
        with freeze_time("2026-12-01 10:00:00"):
            self.bill("2026-12-01", contract)
        self.assertEqual(sum(amount for _day, amount in self.charges(contract)), 240.0, "24 of 30 days")

    def test_a_hold_that_has_not_begun_leaves_nothing(self):
        bill = self.bill("2026-11-20", self.contract).move_ids
        self.pay(bill.amount_residual, bill)
        self.case._start_hold()
        with freeze_time("2026-11-25 10:00:00"):
            self.case._release_hold()
        self.assertFalse(self.contract.pause_ids)
        self.assertFalse(self.case.date_hold)

    def test_a_hold_of_no_day_leaves_nothing(self):
        self.case._start_hold()
        self.case._release_hold()
        self.assertFalse(self.contract.pause_ids)
        self.assertEqual(self.contract.state, "active")

    def test_release_ends_that_hold_alone(self):
        self.contract.action_pause("2026-11-22", "holidays")
        other = self.new_case(currency=self.other_currency)
        self.env["billing.contract.pause"].create(
            {"contract_id": self.contract.id, "origin": "hold", "date_from": TODAY, "case_id": other.id}
        )
        self.case._start_hold()
        with freeze_time("2026-11-25 10:00:00"):
            self.case._release_hold()
        left = self.contract.pause_ids.filtered(lambda p: not p.date_to)
        self.assertEqual(set(left.mapped("origin")), {"staff", "hold"})
        self.assertEqual(left.case_id, other)

    def test_released_when_nothing_is_overdue(self):
        self.case._start_hold()
        self.pay(400, self.debt)
        self.assertTrue(self.case.date_hold)
        with freeze_time("2026-11-21 10:00:00"):
            self.pay(100, self.debt)
        self.assertFalse(self.case.date_hold)
        self.assertEqual(self.pauses(), [(TODAY, TODAY, TODAY)])

    def test_which_contracts(self):
        spared = self.new_contract("2026-11-01", hold_allowed=False)
        theirs = self.new_contract("2026-11-01", partner_id=self.other_customer.id)
        ending = self.new_contract("2026-10-01", date_end="2026-10-31")
        held = self.case._start_hold()
        self.assertEqual(held, self.contract)
        self.assertFalse((spared | theirs | ending).pause_ids)
        self.assertEqual(self.case._start_hold(), self.contract, "a second time changes nothing")
        self.assertEqual(len(self.contract.pause_ids), 1)

    def test_neither_allowed_nor_possible(self):
        self.contract.hold_allowed = False
        with self.assertRaisesRegex(UserError, "no running contract"):
            self.case._start_hold()
        self.policy.hold_allowed = False
        with self.assertRaisesRegex(UserError, "allows no service hold"):
            self.case._start_hold()

    def test_the_customer_is_told(self):
        def subjects():
            return self.env["mail.mail"].sudo().search([("model", "=", "billing.case"), ("res_id", "=", self.case.id)])

        self.case._start_hold()
        mail = subjects()
        self.assertIn("paused", mail.subject)
        self.assertIn(self.contract.name, mail.body_html)
        self.assertEqual(mail.recipient_ids, self.customer)
        self.case._release_hold()
        self.assertIn("go on", (subjects() - mail).subject)

    def test_without_an_address_somebody_tells_him(self):
        self.customer.email = False
        self.case._start_hold()
        self.assertEqual(self.case.activity_ids.user_id, self.collector)

    def test_who_holds(self):
        case = self.case.with_user(self.collector)
        case.action_start_hold("No answer")
        self.assertEqual(self.contract.pause_ids.reason, "No answer")
        case.action_release_hold()
        self.policy.step_ids = [
            Command.create({"name": "Hold", "days": 30, "channel": "hold", "approval": True})
        ]
        self.company.billing_approval = False
        case.action_start_hold()
        self.assertTrue(case.date_hold, "approval is switched off")
        case.action_release_hold()
        for role in ("sales", "auditor"):
            user = self.new_staff(role, login=f"facts_{role}")
            with self.assertRaises(AccessError):
                self.case.with_user(user).action_release_hold()

    def test_invariant_18_a_hold_with_approval_takes_two(self):
        self.policy.step_ids = [Command.create({"name": "Hold", "days": 30, "channel": "hold", "approval": True})]
        managers = [self.new_staff("manager", "collector", login=f"facts_manager_{n}") for n in range(2)]
        self.company.billing_approval = True
        self.contract.hold_allowed = False
        with self.assertRaisesRegex(UserError, "no running contract"):
            self.case.with_user(self.collector).action_start_hold()
        self.contract.hold_allowed = True
        for asker in (self.collector, managers[0]):
            case = self.case.with_user(asker)
            case.action_start_hold("No answer")
            self.assertEqual((case.hold_requester_id, case.date_hold, self.contract.state), (asker, False, "active"))
            self.assertIn("No answer", "".join(case.message_ids.mapped("body")))
            with self.assertRaises(UserError):
                case.action_start_hold()
            with self.assertRaises(AccessError):
                case.write({"hold_requester_id": self.collector.id})
            other = self.case.with_user(managers[1])
            other.action_start_hold()
            self.assertEqual((other.hold_requester_id.id, other.date_hold), (False, TODAY))
            other.action_release_hold()
        self.case.with_user(managers[0]).action_start_hold()
        with self.assertRaisesRegex(UserError, "Only a billing manager"):
            self.case.with_user(self.collector).action_start_hold()
        self.pay(500, self.debt)
        self.assertEqual((self.case.state, self.case.hold_requester_id.id), ("closed", False))

    def test_usage_of_billed_days_is_charged(self):
        pause = self.env["billing.contract.pause"].create(
            {
                "contract_id": self.contract.id, "origin": "hold", "date_from": TODAY,
                "date_uncharged": TODAY + timedelta(days=11),
            }
        )  # fmt: skip
        self.assertEqual(pause._get_uncharged_days(), [(date(2026, 12, 1), None)])
        pause.date_to = date(2026, 11, 30)
        self.assertEqual(pause._get_uncharged_days(), [])
        staff = self.env["billing.contract.pause"].create({"contract_id": self.contract.id, "date_from": TODAY})
        self.assertEqual(staff._get_uncharged_days(), [(TODAY, None)])
        staff.date_from = date(2026, 11, 10)
        self.assertEqual(staff.date_uncharged, date(2026, 11, 10))

    def test_a_step_holds_and_the_payment_releases(self):
        self.policy.step_ids = [Command.clear(), Command.create({"name": "Hold", "days": 15, "channel": "hold"})]
        self.case.action_propose()
        self.case.notice_ids._deliver()
        self.assertEqual((self.case.notice_ids.state, self.case.state), ("sent", "hold"))
        self.assertEqual(self.contract.state, "paused")
        self.pay(500, self.debt)
        self.assertEqual((self.case.state, self.case.date_hold), ("closed", False))
        self.assertEqual(self.contract.state, "active")

    def test_a_step_that_cannot_hold_says_why(self):
        self.policy.step_ids = [Command.clear(), Command.create({"name": "Hold", "days": 15, "channel": "hold"})]
        self.contract.hold_allowed = False
        self.case.action_propose()
        notice = self.case.notice_ids
        for _try in range(3):
            notice._deliver()
        self.assertEqual(notice.state, "failed")
        self.assertIn("no running contract", notice.error)

    def test_merged_customers(self):
        kept = self.new_case(self.other_customer)
        self.invoice(50, due=-20, partner=self.other_customer)
        promise = self.new_promise(500, move_line_ids=[Command.set(self.item(self.debt).ids)])
        broken = self.new_promise(10)
        broken.sudo().state = "broken"
        agreement = self.new_agreement()
        self.case._start_hold()
        self.env["base.partner.merge.automatic.wizard"]._merge(
            (self.customer | self.other_customer).ids, self.other_customer
        )
        self.assertEqual((self.case.state, self.case.date_hold), ("closed", False))
        self.assertEqual(promise.case_id | broken.case_id | agreement.case_id, kept)
        self.assertEqual(kept.date_hold, TODAY)
        self.assertEqual(self.contract.state, "paused")
        kept._release_hold()
        self.assertEqual(self.contract.state, "active")
