"""What goes wrong in real life: failures half way, collisions, odd currencies, changed minds."""

from unittest.mock import patch

from freezegun import freeze_time
from psycopg2.errors import SerializationFailure

from odoo import Command
from odoo.exceptions import ConcurrencyError, UserError
from odoo.tests import tagged
from odoo.tools import mute_logger

from odoo.addons.account.models.account_move import AccountMove
from odoo.addons.base.models.ir_cron import IrCron

from .common import BillingCommon

LOGGER = "odoo.addons.customer_billing.models.billing_run"
JOB_LOGGER = "odoo.addons.customer_billing.models.billing_job_mixin"


@tagged("post_install", "-at_install")
class TestFailures(BillingCommon):
    def total(self, contract):
        charges = contract.charge_ids.filtered(lambda charge: charge.state != "void")
        return round(sum(charges.mapped("amount")), 2)

    @mute_logger(LOGGER)
    def test_invariant_1_one_of_several_bills_fails_and_stays_due(self):
        self.plan.catch_up = "separate"
        contract = self.new_contract("2026-01-01")
        run = self.new_run("2026-03-01", contract)
        run.action_propose()
        create = AccountMove.create

        def refuse(moves, vals_list):
            for vals in vals_list:
                for command in vals.get("invoice_line_ids", []):
                    if str(command[2].get("billing_period_start")) == "2026-02-01":
                        raise UserError("Not February.")
            return create(moves, vals_list)

        with patch.object(AccountMove, "create", refuse):
            run.action_generate()
        self.assertEqual(len(run.move_ids), 2)
        self.assertEqual((run.line_ids.outcome, run.line_ids.reason), ("failed", "Not February."))
        self.assertEqual(str(contract.next_bill_date), "2026-02-01")
        self.assertEqual(self.bill("2026-03-01", contract).move_ids.amount_untaxed, 100.0)
        self.assertEqual(self.total(contract), 300.0)

    @mute_logger(LOGGER)
    def test_invariant_8_one_bad_contract_does_not_stop_a_proposal(self):
        good, bad = self.new_contract("2026-01-01"), self.new_contract(
            "2026-01-01", partner_id=self.other_customer.id
        )
        engine = type(self.env["billing.engine"])
        preview = engine._preview_amounts

        def refuse(model, groups, run):
            if any(due.contract == bad for group in groups for due in group.dues):
                raise ZeroDivisionError("a tax of nothing")
            return preview(model, groups, run)

        run = self.new_run("2026-01-01", good | bad)
        with patch.object(engine, "_preview_amounts", refuse):
            run.action_propose()
        outcomes = {line.contract_id: (line.outcome, line.reason) for line in run.line_ids}
        self.assertEqual(outcomes[good], ("proposed", False))
        self.assertEqual(outcomes[bad], ("failed", "a tax of nothing"))

    def test_invariant_8_collisions_are_never_recorded_as_bad_data(self):
        contract = self.new_contract("2026-01-01")
        for error in (SerializationFailure, ConcurrencyError):
            run = self.new_run("2026-01-01", contract)
            run.action_propose()
            with (
                patch.object(AccountMove, "create", side_effect=error("collision")),
                self.assertRaises(error),
            ):
                run.action_generate()
            self.assertEqual(run.line_ids.outcome, "proposed")
        run = self.bill("2026-01-01", contract, post=False)
        run.action_approve()
        for error in (SerializationFailure, ConcurrencyError):
            with patch.object(AccountMove, "_post", side_effect=error("collision")), self.assertRaises(error):
                run.action_post()
            self.assertFalse(run.line_ids.reason)

    def test_invariant_8_a_line_that_is_billed_keeps_its_outcome(self):
        contract = self.new_contract("2026-01-01")
        run = self.bill("2026-01-01", contract, post=False)
        run._generate_chunk(run.line_ids)
        self.assertEqual(run.line_ids.outcome, "billed")


@tagged("post_install", "-at_install")
class TestJobs(BillingCommon):
    def in_time(self, calls):
        """Time is up after that many commits; rollbacks only count, as commits do."""
        left = [calls]

        def commit_progress(_cron, processed=0, *, remaining=None, deactivate=False):
            left[0] -= 1
            return 0 if left[0] < 0 else float("inf")

        return patch.object(IrCron, "_commit_progress", commit_progress)

    def test_invariant_1_the_nightly_run_goes_on_wherever_it_was_stopped(self):
        self.plan.invoice_policy = "send"
        today = self.company._get_billing_today()
        for calls in range(6):
            contract = self.new_contract(today)
            with self.in_time(calls):
                self.env["billing.run"]._run_nightly(self.company)
            for _again in range(8):
                with self.in_time(1):
                    self.env["billing.run"]._cron_run_jobs()
                with self.in_time(1):
                    self.env["billing.run"]._run_nightly(self.company)
            with self.subTest(calls=calls):
                self.assertEqual(contract.move_ids.state, "posted")
                self.assertEqual(contract.move_ids.billing_delivery_state, "queued")
                self.assertEqual(contract.move_ids.billing_run_id.state, "posted")
        runs = self.env["billing.run"].search([("origin", "=", "nightly"), ("company_id", "=", self.company.id)])
        self.assertEqual(len(runs), 6, "a run that is not finished is continued, not doubled")
        self.assertFalse(any(runs.mapped("job")))

    def test_invariant_8_the_job_tries_collisions_again(self):
        self.plan.invoice_policy = "post"
        contract = self.new_contract(self.company._get_billing_today())
        create, failures = AccountMove.create, [SerializationFailure, ConcurrencyError]

        def collide(moves, vals_list):
            if failures and any(vals.get("billing_run_id") for vals in vals_list):
                raise failures.pop()("collision")
            return create(moves, vals_list)

        with (
            self.in_job(),
            patch.object(AccountMove, "create", collide),
            patch.object(self.env.cr, "rollback"),
            patch("odoo.addons.customer_billing.models.billing_job_mixin.time.sleep"),
            mute_logger(JOB_LOGGER),
        ):
            self.env["billing.run"]._run_nightly(self.company)
        self.assertFalse(failures)
        self.assertEqual(contract.move_ids.state, "posted")

    @mute_logger(JOB_LOGGER)
    def test_invariant_8_a_job_that_fails_stops_no_other(self):
        contracts = self.new_contract("2026-01-01") | self.new_contract("2026-01-01")
        bad, good = self.new_run("2026-01-01", contracts[0]), self.new_run("2026-01-01", contracts[1])
        model = type(bad)
        chunk = model._propose_chunk

        def fail(run, records):
            if run == bad:
                raise ZeroDivisionError("nothing to divide")
            return chunk(run, records)

        with (
            self.in_job(),
            patch.object(model, "_propose_chunk", fail),
            patch.object(self.env.cr, "rollback"),
            patch.object(model, "_job_inline_limit", 0),
        ):
            (bad | good).action_propose()
            self.env["billing.run"]._cron_run_jobs()
        self.assertFalse(bad.job or good.job)
        self.assertEqual(good.line_ids.outcome, "proposed")
        self.assertIn("nothing to divide", bad.message_ids[0].body)


@tagged("post_install", "-at_install")
class TestChangedMinds(BillingCommon):
    def total(self, contract):
        charges = contract.charge_ids.filtered(lambda charge: charge.state != "void")
        return round(sum(charges.mapped("amount")), 2)

    def test_reopened_contract_is_billed_on(self):
        contract = self.new_contract("2026-01-01")
        self.bill("2026-01-01", contract)
        contract.action_close("2026-01-10")
        self.bill("2026-01-15", contract)
        self.assertEqual((contract.state, self.total(contract)), ("ended", 32.26))
        contract.write({"date_end": False})
        self.assertEqual(contract.state, "active")
        self.bill("2026-02-01", contract)
        self.assertEqual(self.total(contract), 200.0)

    def test_state_follows_an_end_that_is_written(self):
        contract = self.new_contract("2026-01-01")
        contract.write({"date_end": "2026-01-31"})
        self.assertEqual(contract.state, "ended")

    def test_line_billed_ahead_of_an_earlier_end_is_credited(self):
        self.plan.lead_days = 20
        contract = self.new_contract("2026-01-01", [{"date_start": "2026-03-01"}])
        self.bill("2026-02-20", contract)
        self.assertEqual(self.total(contract), 100.0)
        contract.action_close("2026-02-25")
        self.assertTrue(contract.next_bill_date)
        self.bill("2026-02-26", contract)
        self.assertEqual(self.total(contract), 0.0)
        self.assertFalse(contract.next_bill_date)

    def test_lead_days_move_the_next_bill(self):
        contract = self.new_contract("2026-01-01")
        self.bill("2026-01-01", contract)
        self.plan.lead_days = 5
        self.assertEqual(str(contract.next_bill_date), "2026-01-27")

    def test_archived_contract_is_billed_to_its_end(self):
        contract = self.new_contract("2026-01-01", plan_id=self.plan_arrears.id)
        with self.assertRaisesRegex(UserError, "close it before"):
            contract.action_archive()
        contract.action_close("2026-01-15")
        contract.action_archive()
        self.bill("2026-03-01", contract)
        self.assertEqual(self.total(contract), 48.39)

    def test_every_order_of_cancel_and_credit_ends_at_what_is_due(self):
        contract = self.new_contract("2026-01-01")
        bill = self.bill("2026-01-01", contract).move_ids
        contract.action_close("2026-01-10")
        credit = self.bill("2026-01-10", contract).move_ids
        bill.with_context(billing_again=True).button_cancel()
        self.bill("2026-01-10", contract)
        self.assertEqual(self.total(contract), 32.26)
        credit.with_context(billing_again=True).button_cancel()
        self.bill("2026-01-10", contract)
        self.assertEqual(self.total(contract), 32.26)
        moves = contract.move_ids.filtered(lambda move: move.state == "posted")
        self.assertAlmostEqual(sum(moves.mapped("amount_untaxed_signed")), 32.26)

    def test_dates_as_text(self):
        contract = self.new_contract("2026-01-01")
        contract.action_pause(date="2026-02-01")
        contract.action_resume(date="2026-02-11")
        contract.action_close(date="2026-03-31", reason_id=False)
        self.assertEqual(str(contract.pause_ids.date_to), "2026-02-10")
        self.assertEqual(str(contract.date_end), "2026-03-31")

    def test_partners_are_merged(self):
        contract = self.new_contract("2026-01-01", partner_id=self.other_customer.id)
        self.bill("2026-01-01", contract)
        self.env["base.partner.merge.automatic.wizard"].sudo()._merge(
            (self.customer | self.other_customer).ids, self.customer
        )
        contract.invalidate_recordset()
        self.assertEqual(contract.partner_id, self.customer)
        self.assertEqual(contract.charge_ids.partner_id, self.customer)
        self.assertEqual(contract.line_ids.partner_id, self.customer)
        self.assertEqual(self.bill("2026-02-01", contract).move_ids.partner_id, self.customer)
        self.assertEqual(self.total(contract), 200.0)


@tagged("post_install", "-at_install")
class TestOddMoney(BillingCommon):
    def test_invariant_6_coarse_currencies(self):
        for name, rounding in (("JPY", 1.0), ("CHF", 0.05), ("KWD", 0.001)):
            currency = self.setup_other_currency(name, rounding=rounding, rates=[("2026-01-01", 2.0)])
            contract = self.new_contract(
                "2026-01-10",
                [{"price_id": False, "price_unit": 99.99, "quantity": 3, "discount": 7}],
                currency_id=currency.id,
                plan_id=self.plan_month_end.id,
            )
            run = self.new_run("2026-02-01", contract)
            run.action_propose()
            preview = run.line_ids.amount
            run.action_generate()
            run.action_approve()
            run.action_post()
            with self.subTest(currency=name):
                self.assertEqual(run.state, "posted", run.line_ids.reason)
                self.assertAlmostEqual(run.move_ids.amount_untaxed, preview)
                self.assertAlmostEqual(
                    sum(contract.charge_ids.mapped("amount")), run.move_ids.amount_untaxed
                )
                contract.action_pause("2026-01-10")
                self.bill("2026-02-01", contract)
                self.assertAlmostEqual(sum(contract.charge_ids.mapped("amount")), 0.0)

    def test_negative_lines_in_a_mixed_group(self):
        self.customer.with_company(self.company).billing_consolidation = "customer"
        ended = self.new_contract("2026-01-01", [{"price_id": False, "price_unit": 300.0}])
        self.bill("2026-01-01", ended)
        ended.action_close("2026-01-01")
        started = self.new_contract("2026-01-02")
        run = self.bill("2026-01-02", ended | started)
        [move] = run.move_ids
        self.assertEqual((move.move_type, move.state), ("out_refund", "posted"))
        self.assertAlmostEqual(move.amount_untaxed_signed, -190.32)  # 100 − 30/31 of 300
        total = sum((ended | started).charge_ids.filtered(lambda c: c.run_id == run).mapped("amount"))
        self.assertAlmostEqual(total, -190.32)

    def test_one_bill_has_one_fiscal_position(self):
        self.customer.with_company(self.company).billing_consolidation = "customer"
        self.customer.country_id, other_country = self.env.ref("base.us"), self.env.ref("base.jp")
        export = self.env["account.fiscal.position"].create(
            {
                "name": "Abroad",
                "company_id": self.company.id,
                "auto_apply": True,
                "country_id": other_country.id,
            }
        )
        site = self.env["res.partner"].create(
            {"name": "Site", "parent_id": self.customer.id, "type": "delivery", "country_id": other_country.id}
        )
        home, abroad = self.new_contract("2026-01-01"), self.new_contract("2026-01-01", partner_id=site.id)
        (home | abroad).invoice_partner_id = self.customer
        again = self.new_contract("2026-01-01")
        run = self.bill("2026-01-01", home | abroad | again)
        self.assertEqual(len(run.move_ids), 2)
        self.assertEqual(abroad.move_ids.fiscal_position_id, export)
        self.assertNotEqual(home.move_ids.fiscal_position_id, export)
        self.assertEqual(home.move_ids, again.move_ids)

    def test_today_is_the_day_of_the_company(self):
        self.company.partner_id.tz = "Pacific/Auckland"
        with freeze_time("2026-01-31 12:30:00"):
            self.assertEqual(str(self.company._get_billing_today()), "2026-02-01")
            self.company.partner_id.tz = "America/New_York"
            self.assertEqual(str(self.company._get_billing_today()), "2026-01-31")

    def test_contracts_of_two_companies_are_not_mixed(self):
        other = self.setup_other_company()["company"]
        contract = self.new_contract("2026-01-01")
        both = {"allowed_company_ids": (self.company | other).ids}
        run = self.env["billing.run"].with_context(**both).with_company(other).create({"company_id": other.id})
        with self.assertRaises(UserError):
            run.contract_ids = [Command.set(contract.ids)]
