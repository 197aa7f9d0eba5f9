from unittest.mock import patch

from freezegun import freeze_time

from odoo import Command
from odoo.exceptions import UserError
from odoo.tests import tagged
from odoo.tools import mute_logger

from odoo.addons.base.models.ir_cron import IrCron

from .common import StatementCommon

RUN_MODULE = "odoo.addons.customer_billing_statement.models.billing_statement_run"


@tagged("post_install", "-at_install")
class TestRun(StatementCommon):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.invoice("2026-01-05", 100.0)
        cls.invoice("2026-01-06", 50.0, partner=cls.other_customer)
        cls.idle = cls.env["res.partner"].create({"name": "Idle", "email": "idle@customer.example"})
        paid = cls.invoice("2025-06-01", 10.0, partner=cls.idle)
        cls.pay("2025-06-02", 10.0, partner=cls.idle, invoices=paid)

    def outcomes(self, run):
        return {line.partner_id.name: line.outcome for line in run.line_ids}

    def reasons(self, run):
        return {line.partner_id.name: line.reason for line in run.line_ids}

    def test_a_new_statement_takes_its_place_in_the_run(self):
        run = self.new_statement_run()
        run.action_prepare()
        run.action_send()
        line = run.line_ids.filtered(lambda line: line.partner_id == self.customer)
        old = line.statement_id
        for drop in ("action_cancel", "unlink"):
            old.action_reissue()
            getattr(old.superseded_by_id, drop)()
            self.assertEqual((line.statement_id, line.outcome), (old, "sent"))
        old.action_reissue()
        new = old.superseded_by_id
        self.assertEqual((new.run_id, line.statement_id, line.outcome), (run, new, "made"))
        new.action_check()
        run.action_send()
        self.assertEqual((new.state, line.statement_id, line.outcome), ("sent", new, "sent"))
        self.assertEqual(run.state, "sent")

    def test_every_customer_has_an_outcome(self):
        never = self.env["res.partner"].create({"name": "Never"})
        self.invoice("2026-01-07", 5.0, partner=never)
        never.billing_statement_frequency = "none"
        weekly = self.env["res.partner"].create({"name": "Weekly"})
        self.invoice("2026-01-07", 5.0, partner=weekly)
        weekly.billing_statement_frequency = "weekly"
        run = self.new_statement_run()
        run.action_prepare()
        self.assertEqual(
            self.outcomes(run),
            {
                "Customer One": "made", "Customer Two": "made", "Idle": "nothing", "Never": "nothing",
                "Weekly": "nothing",
            },
        )  # fmt: skip
        self.assertEqual(self.reasons(run)["Idle"], "Nothing moved, and the balance is zero.")
        self.assertIn("Weekly", self.reasons(run)["Weekly"])
        self.assertEqual(set(run.statement_ids.mapped("state")), {"checked"})
        self.assertEqual(len(run.statement_ids.mapped("name")), 2)
        run.action_send()
        self.assertEqual((run.state, run.sent_count, run.progress), ("sent", 2, 0.0))
        self.assertEqual(self.outcomes(run)["Customer One"], "sent")
        run.statement_ids[0].action_confirm("Ann Lee", note="By phone")
        self.assertEqual((run.confirmed_count, run.progress), (1, 50.0))

    def test_statements_without_movement_when_wanted(self):
        self.company.billing_statement_zero = True
        fresh = self.env["res.partner"].create({"name": "Fresh"})
        run = self.new_statement_run(partner_ids=[Command.set((self.idle | fresh).ids)])
        run.action_prepare()
        self.assertEqual(self.outcomes(run), {"Idle": "made", "Fresh": "made"})
        self.assertEqual(run.statement_ids.mapped("balance_close"), [0.0, 0.0])

    def test_settings_of_the_customer_are_kept(self):
        user = self.new_staff("officer", login="run_officer")
        self.customer.write(
            {
                "billing_statement_kind": "open_item",
                "billing_statement_template": "contract",
                "billing_statement_user_id": user.id,
            }
        )
        run = self.new_statement_run()
        run.action_prepare()
        statement = run.statement_ids.filtered(lambda s: s.partner_id == self.customer)
        self.assertEqual(
            (statement.kind, statement.template, statement.user_id), ("open_item", "contract", user)
        )
        self.assertEqual((run.statement_ids - statement).kind, "activity")

    def test_one_per_currency(self):
        euro = self.setup_other_currency("EUR")
        self.invoice("2026-01-08", 20.0, currency=euro)
        run = self.new_statement_run(partner_ids=[Command.set(self.customer.ids)])
        run.action_prepare()
        self.assertEqual(
            {s.currency_id.name: s.balance_close for s in run.statement_ids}, {"USD": 100.0, "EUR": 20.0}
        )

    def test_again_makes_nothing_twice(self):
        run = self.new_statement_run()
        run.action_prepare()
        first = run.statement_ids
        run.action_prepare()
        self.assertEqual(run.statement_ids, first)
        other = self.new_statement_run()
        other.action_prepare()
        self.assertFalse(other.statement_ids)
        self.assertIn(first[0].name, " ".join(filter(None, other.line_ids.mapped("reason"))))
        self.assertEqual(other.state, "sent")

    def test_the_next_one_begins_where_the_last_one_ended(self):
        self.new_statement_run().action_prepare()
        run = self.new_statement_run("2026-03-01", "2026-03-31")
        run.action_prepare()
        for statement in run.statement_ids:
            self.assertEqual(statement.date_from, self.day("2026-02-01"))
            self.assertEqual(statement.balance_open, statement.previous_id.balance_close)

    def test_held_until_solved(self):
        self.new_statement_run().action_prepare()
        self.invoice("2026-01-20", 33.0)
        run = self.new_statement_run("2026-02-01", "2026-02-28")
        run.action_prepare()
        self.assertEqual(self.outcomes(run)["Customer One"], "held")
        self.assertEqual(run.held_count, 1)
        run.action_send()
        self.assertEqual(run.state, "prepared")
        self.assertEqual(self.outcomes(run)["Customer Two"], "sent")
        run.statement_ids.exception_ids.action_waive("The customer knows.")
        run.action_prepare()
        self.assertEqual(self.outcomes(run)["Customer One"], "made")
        run.action_send()
        self.assertEqual(run.state, "sent")

    def test_one_bad_customer_stops_nobody(self):
        Statement = type(self.env["billing.statement"])
        original = Statement._prepare_lines

        def broken(statement, *args):
            if statement.partner_id == self.customer:
                raise ValueError("no good")
            return original(statement, *args)

        run = self.new_statement_run()
        with patch.object(Statement, "_prepare_lines", broken), mute_logger(RUN_MODULE):
            run.action_prepare()
        self.assertEqual(self.outcomes(run)["Customer One"], "failed")
        self.assertEqual(self.reasons(run)["Customer One"], "no good")
        self.assertEqual(self.outcomes(run)["Customer Two"], "made")
        run.action_prepare()
        self.assertEqual(self.outcomes(run)["Customer One"], "made")

    def test_large_runs_are_done_by_the_job_wherever_it_was_stopped(self):
        run = self.new_statement_run()
        with patch.object(type(run), "_job_inline_limit", 1), patch(f"{RUN_MODULE}.CHUNK_SIZE", 1):
            run.action_prepare()
            self.assertEqual((run.job, len(run.statement_ids)), ("prepare", 0))
            with self.assertRaisesRegex(UserError, "background job"):
                run.action_send()
            calls = []

            def stop_after_one(_cron, processed=0, *, remaining=None, deactivate=False):
                calls.append(processed)
                return 0.0 if processed else 100.0

            with patch.object(IrCron, "_commit_progress", stop_after_one):
                self.env["billing.statement.run"]._cron_run_jobs()
            self.assertEqual((run.job, len(run.line_ids.filtered(lambda l: l.outcome == "waiting"))), ("prepare", 2))
            with self.in_job():
                self.env["billing.statement.run"]._cron_run_jobs()
        run.invalidate_recordset()
        self.assertFalse(run.job)
        self.assertEqual(len(run.statement_ids), 2)

    def test_cancelling_a_run(self):
        run = self.new_statement_run()
        run.action_prepare()
        run.action_cancel()
        self.assertEqual(set(run.statement_ids.mapped("state")), {"cancelled"})
        run = self.new_statement_run()
        run.action_prepare()
        run.action_send()
        with self.assertRaisesRegex(UserError, "issued"):
            run.action_cancel()
        with self.assertRaises(UserError):
            run.unlink()
        with self.assertRaises(UserError):
            run.date_to = "2026-03-01"

    def test_queries_do_not_grow_with_customers(self):
        partners = self.env["res.partner"].create(
            [{"name": f"N{i}", "email": f"n{i}@customer.example"} for i in range(12)]
        )
        for partner in partners:
            self.invoice("2026-01-05", 10.0, partner=partner)
        counts = []
        for scope in (partners[:1], partners[1:4], partners[4:12]):
            run = self.new_statement_run(partner_ids=[Command.set(scope.ids)])
            self.env.flush_all()
            self.env.invalidate_all()
            start = self.env.cr.sql_log_count
            run.action_prepare()
            self.env.flush_all()
            counts.append(self.env.cr.sql_log_count - start)
            self.assertEqual(len(run.statement_ids), len(scope))
        self.assertLessEqual(counts[2], counts[1] + 2, counts)


@tagged("post_install", "-at_install")
class TestNightly(StatementCommon):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.invoice("2026-01-05", 100.0)
        cls.invoice("2026-01-06", 50.0, partner=cls.other_customer)
        cls.other_customer.billing_statement_frequency = "weekly"

    def night(self, day):
        with freeze_time(f"{day} 04:30:00"), self.in_job():
            self.env["billing.statement.run"].sudo()._run_nightly(self.company)
            if self.company.billing_statement_send:
                self.env["billing.statement"].sudo()._cron_deliver()
        return self.env["billing.statement.run"].search(
            [("company_id", "=", self.company.id), ("origin", "=", "nightly")], order="id"
        )

    def statements(self):
        return self.env["billing.statement"].search([("company_id", "=", self.company.id)], order="id")

    def test_makes_what_has_ended_and_sends_nothing_by_itself(self):
        runs = self.night("2026-02-03")
        self.assertEqual(
            {run.frequency: (str(run.date_from), str(run.date_to)) for run in runs},
            {"monthly": ("2026-01-01", "2026-01-31"), "weekly": ("2026-01-26", "2026-02-01")},
        )
        self.assertEqual(set(self.statements().mapped("state")), {"checked"})
        self.assertEqual(len(self.statements()), 2)
        self.assertEqual(self.night("2026-02-04"), runs)
        self.assertEqual(len(self.statements()), 2)

    def test_an_archived_customer_still_gets_statements_as_often(self):
        self.other_customer.active = False
        self.assertEqual(set(self.night("2026-02-03").mapped("frequency")), {"monthly", "weekly"})

    def test_sends_when_the_company_wants_it(self):
        self.company.billing_statement_send = True
        runs = self.night("2026-02-03")
        self.assertEqual(set(self.statements().mapped("state")), {"sent"})
        self.assertEqual(set(runs.mapped("state")), {"sent"})

    def test_missed_nights_are_caught_up_once(self):
        self.night("2026-02-03")
        runs = self.night("2026-04-15")  # nothing ran in between
        monthly = runs.filtered(lambda run: run.frequency == "monthly")
        self.assertEqual([str(run.date_to) for run in monthly], ["2026-01-31", "2026-03-31"])
        last = monthly[-1].statement_ids
        self.assertEqual((str(last.date_from), last.balance_open), ("2026-02-01", 100.0))
        self.assertEqual(last.state, "checked")
        self.assertEqual(self.night("2026-04-15"), runs)

    def test_no_statements_when_the_company_wants_none(self):
        self.company.billing_statement_frequency = "none"
        self.other_customer.billing_statement_frequency = False
        self.assertFalse(self.night("2026-02-03"))

    def test_frequency_of_the_customer_then_of_its_tier_then_of_the_company(self):
        tier = self.env["billing.tier"].create({"name": "Gold", "statement_frequency": "quarterly"})
        both = self.customer | self.other_customer
        both.action_set_billing_tier(tier.id, "Key accounts")
        frequencies = both._get_billing_statement_frequency(self.company)
        self.assertEqual(frequencies, {self.customer: "quarterly", self.other_customer: "weekly"})
        runs = self.night("2026-04-06")
        self.assertEqual(set(runs.mapped("frequency")), {"weekly", "monthly", "quarterly"})
        made = {run.frequency: run.statement_ids.partner_id for run in runs if run.statement_ids}
        self.assertEqual(made, {"weekly": self.other_customer, "quarterly": self.customer})
        tier.statement_frequency = False
        frequencies = both._get_billing_statement_frequency(self.company)
        self.assertEqual(frequencies, {self.customer: "monthly", self.other_customer: "weekly"})

    def test_a_cancelled_run_does_not_come_back(self):
        runs = self.night("2026-02-03")
        runs.action_cancel()
        self.assertEqual(self.night("2026-02-04"), runs)

    def test_wherever_it_is_stopped_no_customer_gets_two(self):
        class Killed(BaseException):
            pass

        for stop in range(1, 8):
            commits = []

            def kill(_cron, processed=0, *, remaining=None, deactivate=False, stop=stop, commits=commits):
                self.env.flush_all()
                commits.append(processed)
                if len(commits) == stop:
                    raise Killed
                return 100.0

            with (
                freeze_time("2026-02-03 04:30:00"),
                patch(f"{RUN_MODULE}.CHUNK_SIZE", 1),
                patch.object(IrCron, "_commit_progress", kill),
            ):
                try:
                    self.env["billing.statement.run"].sudo()._run_nightly(self.company)
                except Killed:
                    self.env.invalidate_all(flush=False)
        self.night("2026-02-03")
        statements = self.statements()
        self.assertEqual(len(statements), 2)
        self.assertEqual(len(statements.partner_id), 2)


@tagged("post_install", "-at_install")
class TestCompanies(StatementCommon):
    def test_each_company_has_its_own(self):
        other = self.setup_other_company()
        self.invoice("2026-01-05", 100.0)
        env = self.env(context={**self.env.context, "allowed_company_ids": other["company"].ids})
        move = env["account.move"].create(
            {
                "move_type": "out_invoice", "partner_id": self.customer.id, "invoice_date": "2026-01-09",
                "company_id": other["company"].id, "journal_id": other["default_journal_sale"].id,
                "invoice_line_ids": [Command.create({"name": "S", "price_unit": 7.0, "tax_ids": []})],
            }
        )  # fmt: skip
        move.action_post()
        self.assertEqual(self.statement().balance_close, 100.0)
        theirs = self.statement(company_id=other["company"].id, currency_id=move.currency_id.id)
        self.assertEqual(theirs.balance_close, 7.0)
        self.assertFalse(
            theirs.with_user(self.new_staff("officer", login="c_officer")).has_access("read")
        )

    def test_customers_of_a_branch_are_on_the_statements_of_its_company(self):
        branch = self.env["res.company"].create({"name": "Branch", "parent_id": self.company.id})
        self.env.user.company_ids |= branch
        self.env["account.chart.template"].try_loading("generic_coa", branch, install_demo=False)
        env = self.env(context={**self.env.context, "allowed_company_ids": [branch.id, self.company.id]})
        customer = env["res.partner"].create(
            {"name": "Of the branch", "email": "b@example.com", "company_id": branch.id}
        )
        move = env["account.move"].create(
            {
                "move_type": "out_invoice", "partner_id": customer.id, "invoice_date": "2026-01-09",
                "company_id": branch.id,
                "invoice_line_ids": [Command.create({"name": "S", "price_unit": 7.0, "tax_ids": []})],
            }
        )  # fmt: skip
        move.action_post()
        run = self.new_statement_run()
        run.action_prepare()
        line = run.line_ids.filtered(lambda line: line.partner_id == customer)
        self.assertEqual((line.outcome, line.balance_close), ("made", 7.0), line.reason)
