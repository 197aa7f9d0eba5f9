from datetime import timedelta
from unittest.mock import patch

from psycopg2.errors import UniqueViolation

from odoo import Command, fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged
from odoo.tools import format_date, mute_logger

from odoo.addons.account.models.account_move import AccountMove

from .common import BillingCommon


@tagged("post_install", "-at_install")
class TestRun(BillingCommon):
    def amounts(self, contract):
        """The charges of a contract that count, by slot."""
        charges = contract.charge_ids.filtered(lambda charge: charge.state != "void")
        sums = {}
        for charge in charges:
            key = str(charge.slot_start)
            sums[key] = round(sums.get(key, 0) + charge.amount, 2)
        return sums

    def test_main_job(self):
        contract = self.new_contract("2026-01-31")
        run = self.bill("2026-04-30", contract)
        self.assertEqual(run.state, "posted")
        [move] = run.move_ids
        self.assertEqual(move.state, "posted")
        self.assertEqual(move.billing_contract_ids, contract)
        self.assertEqual(
            [(str(line.billing_period_start), str(line.billing_period_end), line.price_subtotal)
             for line in move.invoice_line_ids.sorted("billing_period_start")],
            [
                ("2026-01-31", "2026-02-27", 100.0),
                ("2026-02-28", "2026-03-30", 100.0),
                ("2026-03-31", "2026-04-29", 100.0),
                ("2026-04-30", "2026-05-30", 100.0),
            ],
        )  # fmt: skip
        receivable = move.line_ids.filtered(lambda l: l.account_type == "asset_receivable")
        self.assertEqual(sum(receivable.mapped("debit")), move.amount_total)
        self.assertEqual(move.amount_tax, 60.0)
        self.assertEqual(move.invoice_date_due, run.invoice_date)
        self.assertEqual(str(contract.next_bill_date), "2026-05-31")
        run.action_send()
        self.assertEqual(run.state, "sent")
        self.assertEqual(move.billing_delivery_state, "sent")
        mail = self.env["mail.mail"].search([("model", "=", "account.move"), ("res_id", "=", move.id)])
        self.assertEqual(mail.recipient_ids or mail.notification_ids.res_partner_id, self.customer)

    def test_lines_begin_with_what_needs_a_person(self):
        outcomes = ("nothing", "billed", "excluded", "held", "proposed", "failed")
        run = self.new_run("2026-03-01")
        lines = self.env["billing.run.line"].sudo()  # protected fields
        contracts = [self.new_contract("2026-01-01") for _outcome in outcomes]
        for contract, outcome in zip(contracts, outcomes, strict=True):
            lines.create({"run_id": run.id, "contract_id": contract.id, "outcome": outcome})
        order = ["failed", "held", "proposed", "billed", "excluded", "nothing"]
        domain = [("run_id", "=", run.id)]
        self.assertEqual(lines.search(domain).mapped("outcome"), order)
        self.assertEqual(lines.search(domain, order="outcome desc").mapped("outcome"), order[::-1])

    def test_invariant_1_running_again_books_nothing(self):
        contract = self.new_contract("2026-01-01")
        self.bill("2026-03-01", contract)
        before = self.amounts(contract)
        again = self.new_run("2026-03-01", contract)
        again.action_propose()
        self.assertEqual(again.line_ids.outcome, "nothing")
        self.assertIn("Nothing due until", again.line_ids.reason)
        again.action_generate()
        self.assertFalse(again.move_ids)
        self.assertEqual(self.amounts(contract), before)

    def test_invariant_1_two_proposals_of_the_same_period_bill_it_once(self):
        contract = self.new_contract("2026-01-01")
        first, second = self.new_run("2026-01-01", contract), self.new_run("2026-01-01", contract)
        (first | second).action_propose()
        (first | second).action_generate()
        self.assertEqual(len((first | second).move_ids), 1)
        self.assertEqual(second.line_ids.outcome, "nothing")

    @mute_logger("odoo.sql_db")
    def test_invariant_1_the_database_refuses_a_second_charge(self):
        contract = self.new_contract("2026-01-01")
        self.bill("2026-01-01", contract)
        charge = contract.charge_ids
        values = charge.sudo().copy_data()[0]
        with self.assertRaises(UniqueViolation), self.env.cr.savepoint():
            self.env["billing.charge"].sudo().create(values)

    def test_invariant_2_deleted_draft_bill_is_billed_again(self):
        contract = self.new_contract("2026-01-01")
        run = self.bill("2026-01-01", contract, post=False)
        self.assertEqual(contract.charge_ids.mapped("state"), ["billed"])
        run.move_ids.unlink()
        self.assertEqual(contract.charge_ids.mapped("state"), ["void"])
        self.assertEqual(str(contract.next_bill_date), "2026-01-01")
        again = self.bill("2026-01-01", contract)
        self.assertEqual(again.move_ids.amount_untaxed, 100.0)
        self.assertEqual(self.amounts(contract), {"2026-01-01": 100.0})

    def test_invariant_2_deleted_line_is_billed_again(self):
        contract = self.new_contract("2026-01-01", [{}, {"price_unit": 7.0}])
        move = self.bill("2026-01-01", contract, post=False).move_ids
        move.invoice_line_ids.filtered(lambda line: line.price_unit == 7.0).unlink()
        self.assertEqual(move.amount_untaxed, 100.0)
        self.assertEqual(self.bill("2026-01-01", contract).move_ids.amount_untaxed, 7.0)

    def test_invariant_2_cancelled_bill_does_not_come_back(self):
        contract = self.new_contract("2026-01-01")
        move = self.bill("2026-01-01", contract).move_ids
        move.with_context(billing_again=True).button_cancel()
        self.assertEqual(contract.charge_ids.state, "void")
        with self.assertRaisesRegex(UserError, "cannot come back"):
            move.button_draft()
        self.assertEqual(self.bill("2026-01-01", contract).move_ids.amount_untaxed, 100.0)

    def test_invariant_2_failed_delivery_never_bills_again(self):
        self.customer.email = False
        contract = self.new_contract("2026-01-01")
        run = self.bill("2026-01-01", contract)
        run.action_send()
        self.assertEqual(run.move_ids.billing_delivery_state, "failed")
        self.assertIn("No e-mail address", run.move_ids.billing_delivery_error)
        self.assertEqual(run.undelivered_count, 1)
        self.assertFalse(self.bill("2026-01-01", contract).move_ids)
        run.move_ids.action_billing_delivered()
        run.invalidate_recordset()
        self.assertEqual(run.undelivered_count, 0)

    def test_invariant_2_a_mail_that_comes_back_is_a_task(self):
        contract = self.new_contract("2026-01-01")
        run = self.bill("2026-01-01", contract)
        run.action_send()
        move = run.move_ids
        notification = move.message_ids.notification_ids.filtered(
            lambda n: n.res_partner_id == self.customer
        )
        notification.sudo().write({"notification_status": "bounce", "failure_reason": "mailbox full"})
        self.env["account.move"]._note_delivery_failures()
        self.assertEqual(move.billing_delivery_state, "failed")
        self.assertIn("mailbox full", move.billing_delivery_error)
        self.assertEqual(move.activity_ids.user_id, run.prepared_by_id)
        self.env["account.move"]._note_delivery_failures()
        self.assertEqual(len(move.activity_ids), 1)

    def test_a_mail_server_that_is_away_is_asked_again_for_a_day(self):
        run = self.bill("2026-01-01", self.new_contract("2026-01-01"))
        move, moves = run.move_ids, self.env["account.move"]
        for failure_type, reason, tried in (
            ("mail_smtp", "", True),
            ("unknown", "SMTPRecipientsRefused: {'a@b': (450, b'4.2.0 Greylisted')}", True),
            ("unknown", "SMTPRecipientsRefused: {'a@b': (550, b'no such user')}", False),
        ):
            with self.subTest(failure_type=failure_type, reason=reason):
                move.action_billing_deliver()
                notification = move.message_ids.notification_ids.sudo().sorted("id")[-1:]
                mail = notification.mail_mail_id
                mail.write({"state": "exception"})
                notification.write(
                    {"notification_status": "exception", "failure_type": failure_type, "failure_reason": reason}
                )
                moves._note_delivery_failures()
                self.assertEqual((mail.state, move.billing_delivery_state),
                                 ("outgoing", "sent") if tried else ("exception", "failed"))  # fmt: skip
                notification.mail_message_id.date -= timedelta(days=2)
                move.sudo().billing_delivery_date -= timedelta(days=3)
                moves._note_delivery_failures()
                self.assertEqual(move.billing_delivery_state, "failed", "a day is over")

    def test_invariant_5_catch_up_is_one_run(self):
        late, regular = self.new_contract("2025-01-31"), self.new_contract("2025-01-31")
        for month in range(1, 13):
            self.bill(f"2025-{month:02}-28", regular)
        self.bill("2025-12-28", regular)
        run = self.bill("2025-12-28", late)
        self.assertEqual(self.amounts(late), self.amounts(regular))
        self.assertEqual(len(run.move_ids), 1)
        self.assertEqual(set(run.move_ids.mapped("invoice_date")), {run.invoice_date})

    def test_catch_up_on_a_bill_each(self):
        self.plan.catch_up = "separate"
        contract = self.new_contract("2026-01-01")
        run = self.bill("2026-03-01", contract)
        self.assertEqual(run.move_ids.mapped("amount_untaxed"), [100.0, 100.0, 100.0])

    def test_invariant_6_invoice_date_never_enters_an_amount(self):
        one, two = self.new_contract("2026-01-10", plan_id=self.plan_month_end.id), self.new_contract(
            "2026-01-10", plan_id=self.plan_month_end.id
        )
        self.bill("2026-01-10", one)
        self.bill("2026-02-20", two)
        self.assertEqual(self.amounts(one)["2026-01-10"], self.amounts(two)["2026-01-10"])
        self.assertEqual(self.amounts(one), {"2026-01-10": 70.97})  # 22 of 31 days

    def test_invariant_7_preview_equals_result(self):
        included = self.company_data["default_tax_sale"].copy(
            {"name": "Included", "price_include_override": "tax_included", "amount": 13}
        )
        contracts = (
            self.new_contract("2026-01-10", [{"quantity": 3}, {"price_unit": 33.33, "discount": 7}],
                              plan_id=self.plan_month_end.id)
            | self.new_contract("2026-01-13", [{"price_unit": 99.99, "tax_ids": [Command.set(included.ids)]}])
            | self.new_contract("2025-12-29", [{"quantity": 0.7, "price_unit": 12.345}],
                                plan_id=self.plan_arrears.id)
        )  # fmt: skip
        run = self.new_run("2026-04-15", contracts)
        run.action_propose()
        preview = {line.contract_id: (line.amount, line.amount_tax) for line in run.line_ids}
        total, count = run.amount_total, run.bill_count
        run.action_generate()
        for contract, (untaxed, tax) in preview.items():
            self.assertAlmostEqual(untaxed, contract.move_ids.amount_untaxed, places=6)
            self.assertAlmostEqual(tax, contract.move_ids.amount_tax, places=6)
        self.assertAlmostEqual(run.amount_total, total, places=6)
        self.assertEqual(run.bill_count, count)
        for line in run.move_ids.invoice_line_ids:
            amount = line.billing_charge_ids.amount
            basis = line.price_total if included in line.tax_ids else line.price_subtotal
            self.assertAlmostEqual(basis, amount, places=6)

    def test_invariant_7_proposal_books_nothing(self):
        contract = self.new_contract("2026-01-01")
        run = self.new_run("2026-06-01", contract)
        run.action_propose()
        run.action_propose()
        self.assertEqual(run.line_ids.amount, 600.0)
        self.assertFalse(contract.charge_ids)
        self.assertFalse(run.move_ids)
        self.assertEqual(str(contract.next_bill_date), "2026-01-01")

    def test_invariant_8_one_bad_contract_stops_nobody(self):
        good, bad = self.new_contract("2026-01-01"), self.new_contract("2026-01-01")
        journal = self.company_data["default_journal_sale"].copy({"name": "Gone"})
        bad.sudo().journal_id = journal
        run = self.new_run("2026-01-01", good | bad)
        run.action_propose()
        create = AccountMove.create

        def refuse(moves, vals_list):
            if any(vals.get("journal_id") == journal.id for vals in vals_list):
                raise UserError("This journal is closed.")
            return create(moves, vals_list)

        with patch.object(AccountMove, "create", refuse), mute_logger("odoo.addons.customer_billing"):
            run.action_generate()
        outcomes = {line.contract_id: (line.outcome, line.reason) for line in run.line_ids}
        self.assertEqual(outcomes[good], ("billed", False))
        self.assertEqual(outcomes[bad], ("failed", "This journal is closed."))
        self.assertFalse(bad.charge_ids)
        self.assertEqual(self.bill("2026-01-01", bad).move_ids.amount_untaxed, 100.0)

    def test_invariant_9_what_was_not_posted_says_why(self):
        good, bad = self.new_contract("2026-01-01"), self.new_contract("2026-01-01")
        run = self.bill("2026-01-01", good | bad, post=False)
        run.action_approve()
        post = AccountMove._post

        def refuse(moves, soft=True):
            if bad.move_ids in moves:
                raise UserError("No such account.")
            return post(moves, soft=soft)

        with patch.object(AccountMove, "_post", refuse):
            run.action_post()
        self.assertEqual(run.state, "approved")
        self.assertEqual((run.draft_count, run.posted_count), (1, 1))
        self.assertIn("No such account.", bad.charge_ids.run_id.line_ids.filtered(
            lambda line: line.contract_id == bad).reason)
        run.action_post()
        self.assertEqual(run.state, "posted")
        self.assertFalse(any(run.line_ids.mapped("reason")))

    def test_invariant_10_queries_do_not_grow_with_contracts_or_history(self):
        def queries(count, start):
            contracts = self.env["billing.contract"].union(
                *(self.new_contract(start, [{}, {"quantity": 2}]) for _i in range(count))
            )
            self.bill("2026-05-15", contracts)
            self.env.flush_all()
            self.env.invalidate_all()
            self.env["billing.engine"]._compute_due(contracts, contracts._get_today())  # what is cached for all time
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            dues = self.env["billing.engine"]._compute_due(contracts, contracts._get_today())
            self.assertEqual(len(dues), count)
            return self.env.cr.sql_log_count - before

        few, many = queries(5, "2026-01-01"), queries(10, "2026-01-01")
        self.assertEqual(few, many, "twice the contracts, as many statements")
        self.assertEqual(few, queries(5, "2021-01-01"), "five years more, as many statements")

    def test_invariant_18_preparer_is_not_approver(self):
        self.company.write({"billing_approval": True, "billing_approval_amount": 50.0})
        manager, second = self.new_staff("manager"), self.new_staff("manager", login="second")
        officer = self.new_staff("officer")
        contract = self.new_contract("2026-01-01")
        run = self.new_run("2026-01-01", contract).with_user(manager)
        run.action_propose()
        run.action_generate()
        self.assertTrue(run.approval_needed)
        with self.assertRaisesRegex(UserError, "You prepared this run"):
            run.action_approve()
        with self.assertRaisesRegex(UserError, "approval of a billing manager"):
            run.with_user(officer).action_approve()
        with self.assertRaises(AccessError):
            run.write({"state": "approved"})
        run.with_user(second).action_approve()
        self.assertEqual(run.approved_by_id, second)
        run.action_post()
        self.assertEqual(run.state, "posted")

    def test_invariant_18_below_the_limit_nobody_else_is_needed(self):
        self.company.write({"billing_approval": True, "billing_approval_amount": 5000.0})
        officer = self.new_staff("officer")
        run = self.new_run("2026-01-01", self.new_contract("2026-01-01")).with_user(officer)
        run.action_propose()
        run.action_generate()
        run.action_approve()
        run.action_post()
        self.assertEqual(run.state, "posted")

    def test_invariant_18_nightly_job_prepares_and_never_approves(self):
        self.company.write({"billing_approval": True, "billing_approval_amount": 150.0})
        self.plan.invoice_policy = "post"
        today = self.company._get_billing_today()
        small = self.new_contract(today)
        large = self.new_contract(today, [{"quantity": 5}])
        with self.in_job():
            self.env["billing.run"]._run_nightly(self.company)
        self.assertEqual(small.move_ids.state, "posted")
        self.assertEqual(large.move_ids.state, "draft")
        run = large.move_ids.billing_run_id
        self.assertEqual(run.state, "generated")
        self.assertEqual(run.line_ids.filtered(lambda l: l.contract_id == large).outcome, "held")
        with self.in_job():
            self.env["billing.run"]._run_nightly(self.company)
        self.assertEqual(len(large.move_ids), 1)

    def test_the_switch_of_the_approval_is_logged(self):
        self.company.billing_approval = True
        self.assertIn("switched on", self.company.partner_id.message_ids[0].body)

    def test_consolidation(self):
        contracts = self.new_contract("2026-01-01") | self.new_contract("2026-01-15", [{"quantity": 2}])
        self.customer.with_company(self.company).billing_consolidation = "customer"
        run = self.bill("2026-01-15", contracts)
        self.assertEqual(len(run.move_ids), 1)
        self.assertEqual(run.move_ids.amount_untaxed, 300.0)
        self.assertEqual(run.move_ids.billing_contract_ids, contracts)

    def test_negative_total_becomes_a_credit_note(self):
        contract = self.new_contract("2026-01-01")
        self.bill("2026-02-01", contract)
        contract.action_close("2026-01-31")
        run = self.bill("2026-02-01", contract)
        self.assertEqual(run.move_ids.move_type, "out_refund")
        self.assertEqual(run.move_ids.amount_untaxed, 100.0)
        self.assertEqual(self.amounts(contract), {"2026-01-01": 100.0, "2026-02-01": 0.0})
        self.assertFalse(contract.next_bill_date)

    def test_taxes_can_turn_a_bill_into_a_credit_note(self):
        high = self.company_data["default_tax_sale"].copy({"name": "High", "amount": 50})
        none = self.company_data["default_tax_sale"].copy({"name": "None", "amount": 0})
        contract = self.new_contract(
            "2026-01-01",
            [
                {"price_unit": 100.0, "tax_ids": [Command.set(none.ids)]},
                {"price_unit": -90.0, "tax_ids": [Command.set(high.ids)]},
            ],
        )
        run = self.new_run("2026-01-01", contract)
        run.action_propose()
        self.assertEqual((run.line_ids.amount, run.line_ids.amount_tax), (10.0, -45.0))
        run.action_generate()
        move = run.move_ids
        self.assertEqual((move.move_type, move.amount_total), ("out_refund", 35.0))
        self.assertEqual(move.invoice_line_ids.billing_charge_ids.mapped("amount"), [100.0, -90.0])
        run.action_approve()
        run.action_post()
        self.assertEqual(run.state, "posted")

    def test_pause_credits_what_was_billed_ahead(self):
        contract = self.new_contract("2026-01-01")
        self.bill("2026-01-01", contract)
        self.env["billing.contract.pause"].create(
            {"contract_id": contract.id, "date_from": "2026-01-11", "date_to": "2026-01-20"}
        )
        run = self.bill("2026-01-15", contract)
        line = run.move_ids.invoice_line_ids
        self.assertEqual(line.price_subtotal, 32.26)  # 10 of 31 days
        self.assertEqual(
            (str(line.billing_period_start), str(line.billing_period_end)),
            ("2026-01-11", "2026-01-20"),
        )
        contract.pause_ids.unlink()
        self.assertEqual(self.bill("2026-01-16", contract).move_ids.amount_untaxed, 32.26)
        self.assertEqual(self.amounts(contract), {"2026-01-01": 100.0})

    def test_ended_contract_in_arrears_is_billed_to_its_end(self):
        contract = self.new_contract("2026-01-05", plan_id=self.plan_arrears.id)
        contract.action_close("2026-03-15")
        self.assertEqual(contract.state, "ended")
        self.bill("2026-12-31", contract)
        self.assertEqual(
            self.amounts(contract),
            {"2026-01-05": 100.0, "2026-02-05": 100.0, "2026-03-05": 35.48},
        )

    def test_billed_through_starts_after_the_migration(self):
        contract = self.new_contract("2019-01-01", billed_through="2026-01-31")
        run = self.bill("2026-02-01", contract)
        self.assertEqual(run.move_ids.amount_untaxed, 100.0)
        self.assertEqual(self.amounts(contract), {"2026-02-01": 100.0})

    def test_every_contract_not_billed_has_a_reason(self):
        due = self.new_contract("2026-01-01")
        later = self.new_contract("2026-03-01")
        paused = self.new_contract("2026-01-01")
        paused.action_pause("2026-01-01")
        draft = self.new_contract("2026-01-01", activate=False)
        run = self.new_run("2026-01-15", due | later | paused | draft)
        run.action_propose()
        lines = {line.contract_id: line for line in run.line_ids}
        self.assertEqual(lines[due].outcome, "proposed")
        self.assertIn("Nothing due until", lines[later].reason)
        self.assertIn("Paused", lines[paused].reason)
        self.assertNotIn(draft, lines)

    def test_reasons_are_read_in_the_language_of_the_reader(self):
        self.env["res.lang"]._activate_lang("zh_CN")
        self.env.ref("customer_billing.billing_check_missing_email").severity = "blocking"
        self.customer.email = False
        later, held = self.new_contract("2026-03-01"), self.new_contract("2026-01-01")
        run = self.bill("2026-01-15", later | held)
        lines = {line.contract_id: line for line in run.line_ids}
        self.assertEqual(lines[later].reason, "Nothing due until 03/01/2026.")
        self.assertEqual(lines[held].reason, "Held by: No e-mail address.")
        chinese = run.line_ids.with_context(lang="zh_CN")
        reasons = {line.contract_id: line.reason for line in chinese}
        day = format_date(chinese.env, "2026-03-01")
        self.assertNotEqual(day, "03/01/2026")
        self.assertIn(day, reasons[later])
        self.assertIn("没有", reasons[held])

    def test_a_run_without_bills_says_so(self):
        run = self.bill("2026-01-01", self.new_contract("2026-03-01"))
        self.assertEqual((run.state, run.bill_count), ("sent", 0))
        arch = run.get_view(view_type="form")["arch"]
        self.assertIn("Nothing to Bill", arch)

    def test_zeros_are_noted_and_shown_with_the_next_bill(self):
        contract = self.new_contract(
            "2026-01-01",
            [{"price_unit": 0.0, "date_end": "2026-02-28"}, {"date_start": "2026-03-01"}],
        )
        run = self.bill("2026-01-01", contract)
        self.assertFalse(run.move_ids)
        self.assertEqual((run.state, run.line_ids.reason_code), ("sent", "zero_booked"))
        self.assertEqual(str(contract.next_bill_date), "2026-02-01", "is due no more")
        charge = contract.charge_ids
        self.assertEqual((charge.amount, charge.state, charge.run_id), (0.0, "pending", run))
        with self.assertRaisesRegex(UserError, "kept as part of the books"):
            run.unlink()
        self.assertFalse(self.bill("2026-01-01", contract).move_ids)
        self.assertEqual(len(contract.charge_ids), 1)
        move = self.bill("2026-03-01", contract).move_ids
        self.assertEqual(move.invoice_line_ids.mapped("price_subtotal"), [0.0, 0.0, 100.0])
        self.assertEqual(set(contract.charge_ids.mapped("state")), {"billed"})

    def test_zeros_of_a_cancelled_run_are_due_again(self):
        contract = self.new_contract("2026-01-01", [{"price_unit": 0.0}])
        run = self.new_run("2026-01-01", contract)
        run.action_propose()
        self.assertEqual(run.line_ids.reason, "Only amounts of zero: shown with the next bill.")
        run.action_generate()
        run.action_cancel()
        self.assertEqual(contract.charge_ids.state, "void")
        self.assertEqual(str(contract.next_bill_date), "2026-01-01")

    def test_zeros_print_no_bill_of_their_own(self):
        self.plan.catch_up = "separate"
        contract = self.new_contract(
            "2026-01-01",
            [{"price_unit": 0.0, "date_end": "2026-02-28"}, {"date_start": "2026-03-01"}],
        )
        self.bill("2026-01-01", contract)
        moves = self.bill("2026-04-01", contract).move_ids
        self.assertEqual(moves.mapped("amount_untaxed"), [100.0, 100.0])
        self.assertEqual(len(moves.invoice_line_ids), 4)

    def test_excluded_contract_is_billed_by_the_next_run(self):
        contract, other = self.new_contract("2026-01-01"), self.new_contract("2026-01-01")
        run = self.new_run("2026-01-01", contract | other)
        run.action_propose()
        line = run.line_ids.filtered(lambda l: l.contract_id == contract)
        line.action_exclude()
        self.assertEqual(run.bill_count, 1)
        run.action_generate()
        self.assertFalse(contract.move_ids)
        self.assertTrue(other.move_ids)
        self.assertTrue(self.bill("2026-01-01", contract).move_ids)

    def test_locked_date_is_refused_at_proposal(self):
        self.company.sale_lock_date = "2026-01-31"
        with self.assertRaisesRegex(UserError, "Sales Lock"):
            self.new_run("2026-01-15", self.new_contract("2026-01-01")).action_propose()

    def test_amounts_of_billing_lines_are_not_edited(self):
        contract = self.new_contract("2026-01-01")
        line = self.bill("2026-01-01", contract, post=False).move_ids.invoice_line_ids
        with self.assertRaisesRegex(UserError, "comes from a contract"):
            line.price_unit = 1.0
        with self.assertRaisesRegex(UserError, "comes from a contract"):
            line.move_id.write({"invoice_line_ids": [Command.update(line.id, {"quantity": 9})]})
        line.name = "Seat, January"

    def test_cancelled_run_is_undone(self):
        contract = self.new_contract("2026-01-01")
        run = self.bill("2026-01-01", contract, post=False)
        run.action_cancel()
        self.assertFalse(run.move_ids)
        self.assertEqual(contract.charge_ids.state, "void")
        posted = self.bill("2026-01-01", contract)
        with self.assertRaisesRegex(UserError, "are posted"):
            posted.action_cancel()

    def test_foreign_currency(self):
        currency = self.setup_other_currency("EUR", rates=[("2026-01-01", 0.5)])
        contract = self.new_contract("2026-01-01", [{"price_unit": 10.0}], currency_id=currency.id)
        run = self.bill("2026-01-01", contract)
        self.assertEqual(run.move_ids.currency_id, currency)
        self.assertEqual(run.move_ids.amount_untaxed, 10.0)
        self.assertEqual(run.amount_untaxed, 20.0)

    def test_large_runs_go_to_the_background_job(self):
        contract = self.new_contract("2026-01-01")
        run = self.new_run("2026-01-01", contract)
        with (
            patch.object(type(run), "_job_inline_limit", 0),
            self.in_job(),
        ):
            run.action_propose()
            self.assertEqual((run.job, run.state), ("propose", "proposed"))
            with self.assertRaisesRegex(UserError, "at work"):
                run.action_generate()
            self.env["billing.run"]._cron_run_jobs()
            self.assertFalse(run.job)
            run.action_generate()
            self.env["billing.run"]._cron_run_jobs()
            run.action_approve()
            run.action_post()
            self.env["billing.run"]._cron_run_jobs()
        self.assertEqual(run.state, "posted")
        self.assertEqual(run.move_ids.amount_untaxed, 100.0)

    def test_job_leaves_a_run_that_another_transaction_holds(self):
        run = self.new_run("2026-01-01", self.new_contract("2026-01-01"))
        cron = self.env.ref("customer_billing.ir_cron_run_jobs")
        triggers = self.env["ir.cron.trigger"].search_count([("cron_id", "=", cron.id)])
        with patch.object(type(run), "_job_inline_limit", 0), self.in_job():
            run.action_propose()
            with patch.object(type(run), "_attempt", return_value=False) as attempt:
                self.env["billing.run"]._cron_run_jobs()
            self.assertEqual(attempt.call_count, 1)
            self.assertEqual(run.job, "propose")
            later = self.env["ir.cron.trigger"].search([("cron_id", "=", cron.id)], order="id desc", limit=1)
            self.assertGreater(later.call_at, fields.Datetime.now())
            self.assertEqual(self.env["ir.cron.trigger"].search_count([("cron_id", "=", cron.id)]), triggers + 2)
            self.env["billing.run"]._cron_run_jobs()
        self.assertFalse(run.job)

    def test_customer_reference_and_text_are_on_the_bill(self):
        self.env["res.lang"]._activate_lang("fr_FR")
        self.customer.lang = "fr_FR"
        contract = self.new_contract("2026-01-15", client_ref="PO 4711")
        move = self.bill("2026-01-15", contract).move_ids
        self.assertEqual(move.ref, "PO 4711")
        self.assertEqual(move.invoice_origin, contract.name)
        self.assertIn("15/01/2026", move.invoice_line_ids.name)
