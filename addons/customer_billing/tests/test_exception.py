from unittest.mock import patch

from freezegun import freeze_time

from odoo import Command, fields
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import tagged
from odoo.tools import format_date, mute_logger

from ..models.billing_check import BillingCheck
from .common import BillingCommon


@tagged("post_install", "-at_install")
class TestException(BillingCommon):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.company.partner_id.lang = "en_US"  # of what is found
        cls.meter = cls.env["billing.meter"].create({"name": "Electricity", "code": "KWH"})

    def check(self, code):
        return self.env.ref(f"customer_billing.billing_check_{code}")

    def found(self, moves):
        """{code: message} of the open exceptions of bills."""
        exceptions = moves.billing_exception_ids.filtered(lambda e: e.state == "open")
        return {exception.check_id.code: exception.message for exception in exceptions}

    # Checks

    def test_a_normal_bill_has_no_exception(self):
        run = self.bill("2026-01-01", self.new_contract("2026-01-01"))
        self.assertEqual(run.state, "posted")
        self.assertFalse(run.exception_ids)

    def test_credit_note(self):
        contract = self.new_contract("2026-01-01")
        self.bill("2026-02-01", contract)
        contract.action_close("2026-01-31")
        move = self.bill("2026-02-01", contract, post=False).move_ids
        self.assertIn("credit note of", self.found(move)["zero_negative"])

    def test_unusual_amount(self):
        contract = self.new_contract("2026-01-01")
        for month in ("01", "02", "03"):
            move = self.bill(f"2026-{month}-01", contract).move_ids
            self.assertFalse(self.found(move))
        move = self.bill("2026-06-01", contract, post=False).move_ids
        self.assertIn("+200 %", self.found(move)["deviation"])
        self.check("deviation").parameter = 250
        move.billing_run_id.action_check()
        self.assertFalse(self.found(move))

    def test_billed_twice(self):
        contract = self.new_contract("2026-01-01")
        draft = self.bill("2026-01-01", contract, post=False).move_ids
        copy = draft.copy({"invoice_date": "2026-01-01"})
        copy.action_post()
        draft.billing_run_id.action_check()
        self.assertIn(copy.name, self.found(draft)["duplicate"])
        self.assertEqual(draft.billing_run_id.line_ids.outcome, "held")
        with self.assertRaisesRegex(UserError, "is held by “Billed twice”"):
            draft.action_post()

    def test_checked_again_by_whichever_button_posts(self):
        draft = self.bill("2026-01-01", self.new_contract("2026-01-01"), post=False).move_ids
        self.assertFalse(self.found(draft))
        draft.copy({"invoice_date": "2026-01-01"}).action_post()
        with self.assertRaisesRegex(UserError, "is held by “Billed twice”"):
            draft.action_post()

    def test_no_tax(self):
        contract = self.new_contract("2026-01-01")
        self.product.taxes_id = False
        self.assertIn("Seat", self.found(self.bill("2026-01-01", contract, post=False).move_ids)["missing_tax"])

    def test_no_email_and_no_tax_number(self):
        self.customer.write({"email": False, "is_company": True})
        self.check("missing_vat").severity = "warning"
        run = self.bill("2026-01-01", self.new_contract("2026-01-01"), post=False)
        self.assertEqual(set(self.found(run.move_ids)), {"missing_email", "missing_vat"})
        self.customer.write({"email": "one@customer.example", "vat": "BE0477472701"})
        run.action_check()
        self.assertFalse(self.found(run.move_ids))
        self.assertEqual(set(run.exception_ids.mapped("state")), {"resolved"})
        self.assertFalse(run.exception_ids.closed_by_id)

    def test_archived_charge_item(self):
        contract = self.new_contract("2026-01-01")
        self.product.active = False
        run = self.bill("2026-01-01", contract, post=False)
        self.assertIn("Seat", self.found(run.move_ids)["archived_product"])

    def test_price_off_list_is_asked_once(self):
        self.env["billing.price"].create(
            {"product_id": self.product.id, "unit_amount": 100.0, "date_from": "2025-01-01"}
        )
        near = self.new_contract("2026-01-01", [{"price_unit": 80.0}])
        far = self.new_contract("2026-01-01", [{"price_unit": 60.0}])
        self.bill("2026-01-01", near | far)
        self.assertFalse(self.found(near.move_ids))
        self.assertIn("-40 %", self.found(far.move_ids)["price_off_list"])
        again = self.bill("2026-02-01", far)
        self.assertFalse(self.found(again.move_ids))

    def test_old_currency_rate(self):
        currency = self.setup_other_currency("EUR", rates=[("2026-01-01", 0.5)])
        contract = self.new_contract("2026-01-01", [{"price_unit": 10.0}], currency_id=currency.id)
        self.assertFalse(self.found(self.bill("2026-01-01", contract).move_ids))
        found = self.found(self.bill("2026-03-01", contract).move_ids)
        self.assertIn(format_date(self.env, "2026-01-01"), found["stale_rate"])

    def test_days_left_out(self):
        contract = self.new_contract("2026-01-01")
        self.env["billing.contract.pause"].create(
            {"contract_id": contract.id, "date_from": "2026-01-01", "date_to": "2026-01-31"}
        )
        self.assertFalse(self.found(self.bill("2026-02-01", contract).move_ids), "paused days")
        self.bill("2026-03-01", contract)
        charge = contract.charge_ids.filtered(lambda c: str(c.slot_start) == "2026-03-01")
        charge.sudo().state = "void"  # a hand in the ledger
        contract.line_ids.sudo().recompute_from = "2026-04-01"
        contract.sudo().next_bill_date = "2026-04-01"
        found = self.found(self.bill("2026-04-01", contract).move_ids)
        days = f"{format_date(self.env, '2026-03-01')} – {format_date(self.env, '2026-03-31')}"
        self.assertIn(days, found["gap"])

    def test_days_before_a_migration_are_no_gap(self):
        contract = self.new_contract("2019-01-01", billed_through="2026-01-31")
        self.assertFalse(self.found(self.bill("2026-02-01", contract).move_ids))

    def test_posting_a_bill_by_hand_checks_again(self):
        draft = self.bill("2026-01-01", self.new_contract("2026-01-01"), post=False).move_ids
        draft.copy({"invoice_date": "2026-01-01"}).action_post()
        with self.assertRaisesRegex(UserError, "is held by “Billed twice”"):
            draft.action_post()

    def test_too_many_lines(self):
        self.check("many_lines").count = 2
        contract = self.new_contract("2026-01-01", [{}, {}, {}])
        self.assertIn("3 lines", self.found(self.bill("2026-01-01", contract, post=False).move_ids)["many_lines"])

    def metered(self, lines=None, **values):
        usage_line = {"charge_type": "usage", "meter_id": self.meter.id, "price_unit": 0.1}
        return self.new_contract("2026-01-01", [usage_line, *(lines or [])], **values)

    def use(self, contract, timestamp, quantity):
        line = contract.line_ids.filtered("meter_id")[:1]
        return self.env["billing.usage"].create(
            {"contract_line_id": line.id, "timestamp": timestamp, "quantity": quantity}
        )

    def test_usage_missing(self):
        contract = self.metered([{}])
        self.bill("2026-01-01", contract)
        move = self.bill("2026-02-01", contract, post=False).move_ids
        self.assertIn("No usage recorded: Seat, 01/01/2026", self.found(move)["usage_missing"])
        self.use(contract, "2026-01-31 12:00:00", 5)  # late: an adjustment of its own
        move.billing_run_id.action_check()
        self.assertFalse(self.found(move))

    def test_usage_of_zero_is_not_missing(self):
        contract = self.metered([{}])
        self.use(contract, "2026-01-10 12:00:00", 0)
        self.assertFalse(self.found(self.bill("2026-02-01", contract).move_ids))

    @freeze_time("2026-01-20")
    def test_usage_of_a_period_that_an_amendment_cut(self):
        contract = self.metered([{}])
        line = contract.line_ids[0]
        contract.action_amend({"lines": [{"line_id": line.id, "price_unit": 0.2}]}, "2026-01-16")
        self.use(contract, "2026-01-31 12:00:00", 5)
        self.assertFalse(self.found(self.bill("2026-02-01", contract).move_ids))

    def test_usage_missing_without_a_bill_is_about_the_contract(self):
        contract = self.metered()
        run = self.bill("2026-02-01", contract)
        self.assertFalse(run.move_ids)
        [exception] = run.exception_ids
        self.assertEqual(exception.check_id, self.check("usage_missing"))
        self.assertEqual((exception.contract_id, exception.state), (contract, "open"))
        self.assertIn("01/01/2026", exception.message)
        # Told once: not again when the next bill shows it.
        self.use(contract, "2026-02-10 12:00:00", 10)
        move = self.bill("2026-03-01", contract).move_ids
        self.assertEqual(len(move.invoice_line_ids), 2)
        self.assertFalse(self.found(move))

    def test_severity_of_usage_missing(self):
        for severity, count, state in (("off", 0, "posted"), ("warning", 1, "posted"), ("blocking", 1, "draft")):
            with self.subTest(severity=severity):
                self.check("usage_missing").severity = severity
                contract = self.metered([{}])
                self.bill("2026-01-01", contract)
                move = self.bill("2026-02-01", contract).move_ids
                self.assertEqual((move.billing_exception_count, move.state), (count, state))

    def test_severity_of_every_check(self):
        """Off: not asked. Warning: told. Blocking: held; for each check by its own case."""
        checks = self.env["billing.check"].search([("source", "=", "bill")])
        self.assertEqual(
            set(checks.mapped("code")),
            {
                "zero_negative", "deviation", "duplicate", "missing_tax", "missing_email",
                "missing_vat", "archived_product", "price_off_list", "usage_missing", "stale_rate",
                "gap", "many_lines",
            },
        )  # fmt: skip
        run = self.bill("2026-01-01", self.new_contract("2026-01-01"), post=False)

        def finds(check, moves, params):
            return dict.fromkeys(moves, check.code)

        for check in checks:
            checks.severity = "off"
            with patch.object(BillingCheck, f"_check_{check.code}", finds):
                for severity in ("off", "warning", "blocking"):
                    with self.subTest(check=check.code, severity=severity):
                        check.severity = severity
                        run.action_check()
                        expected = {} if severity == "off" else {check.code: check.code}
                        self.assertEqual(self.found(run.move_ids), expected)
                        self.assertEqual(run.line_ids.outcome, "held" if severity == "blocking" else "billed")

    def test_a_check_of_another_module(self):
        def found(check, moves, params):
            return {m: f"above {params['parameter']:.0f}" for m in moves if m.amount_untaxed > params["parameter"]}

        with patch.object(BillingCheck, "_check_round_number", found, create=True):
            self.env["billing.check"].create(
                {"name": "Round number", "code": "round_number", "severity": "blocking", "parameter": 90}
            )
            move = self.bill("2026-01-01", self.new_contract("2026-01-01")).move_ids
            self.assertEqual(self.found(move), {"round_number": "above 90"})
            self.assertEqual(move.state, "draft")

    def test_a_bill_is_checked_whichever_button_posts_it(self):
        self.check("missing_email").severity = "blocking"
        move = self.bill("2026-01-01", self.new_contract("2026-01-01"), post=False).move_ids
        self.customer.email = False
        with self.assertRaisesRegex(UserError, "is held by “No e-mail address”"):
            move.action_post()
        self.customer.email = "one@customer.example"
        move.action_post()
        self.assertEqual(move.state, "posted")

    def test_a_check_of_a_company_takes_the_place_of_the_one_for_all(self):
        own = self.check("missing_email").copy()
        self.assertEqual(own.company_id, self.company)
        own.severity = "off"
        self.customer.email = False
        self.assertFalse(self.bill("2026-01-01", self.new_contract("2026-01-01")).exception_ids)

    def test_a_check_needs_a_method(self):
        for code in ("nothing_like_it", "company"):
            with self.assertRaisesRegex(ValidationError, "knows how to check"):
                self.env["billing.check"].create({"name": "X", "code": code})

    @mute_logger("odoo.addons.customer_billing.models.billing_check")
    def test_invariant_8_a_broken_check_stops_nobody_and_is_not_passed(self):
        def broken(self, moves, params):
            raise ZeroDivisionError("oops")

        with patch.object(BillingCheck, "_check_missing_tax", broken):
            run = self.bill("2026-01-01", self.new_contract("2026-01-01"), post=False)
        self.assertEqual(run.state, "generated")
        self.assertIn("could not be done", self.found(run.move_ids)["missing_tax"])

    def test_invariant_10_queries_of_checks_do_not_grow_with_bills(self):
        self.env["billing.check"].search([("source", "=", "bill")]).severity = "warning"
        self.env["billing.price"].create(
            {"product_id": self.product.id, "unit_amount": 100.0, "date_from": "2025-01-01"}
        )
        currency = self.setup_other_currency("EUR", rates=[("2026-01-01", 0.5)])

        def queries(count):
            contracts = self.env["billing.contract"].union(
                *(self.new_contract("2026-01-01", [{"price_unit": 120}, {}]) for _i in range(count)),
                *(self.new_contract("2026-01-01", currency_id=currency.id) for _i in range(count)),
            )
            self.bill("2026-04-01", contracts)
            moves = self.bill("2026-05-01", contracts, post=False).move_ids
            self.env["billing.check"]._run_checks(moves)  # what is cached for all time
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            self.env["billing.check"]._run_checks(moves)
            return self.env.cr.sql_log_count - before

        few = queries(3)
        self.assertEqual(few, queries(6), "twice the bills, as many statements")

    # Exceptions and what they hold

    def test_blocking_holds_its_bill_and_no_other(self):
        self.check("missing_email").severity = "blocking"
        self.other_customer.email = False
        officer = self.new_staff("officer")
        good = self.new_contract("2026-01-01")
        bad = self.new_contract("2026-01-01", partner_id=self.other_customer.id, officer_id=officer.id)
        run = self.bill("2026-01-01", good | bad)
        line = run.line_ids.filtered(lambda line: line.contract_id == bad)
        self.assertEqual((line.outcome, line.reason), ("held", "Held by: No e-mail address."))
        self.assertEqual((run.state, run.draft_count, run.posted_count), ("approved", 1, 1))
        exception = run.exception_ids
        self.assertEqual(exception.user_id, officer)
        self.assertEqual(exception.activity_ids.user_id, officer)
        self.assertEqual(exception.date_due, fields.Date.add(bad._get_today(), days=3))
        run.action_post()
        self.assertEqual(bad.move_ids.state, "draft")
        self.other_customer.email = "two@customer.example"
        run.action_post()  # checks again by itself
        self.assertEqual(run.state, "posted")
        self.assertEqual((line.outcome, line.reason), ("billed", False))
        self.assertEqual(exception.state, "resolved")
        self.assertFalse(exception.activity_ids)

    def test_waiving_lets_the_bill_go(self):
        self.check("missing_email").severity = "blocking"
        self.customer.email = False
        run = self.bill("2026-01-01", self.new_contract("2026-01-01"))
        exception = run.exception_ids
        with self.assertRaisesRegex(UserError, "write under Resolution"):
            exception.action_waive()
        with self.assertRaisesRegex(UserError, "is still there"):
            exception.action_resolve()
        exception.action_waive("Comes to the counter")
        self.assertEqual((exception.state, exception.closed_by_id), ("waived", self.env.user))
        self.assertEqual(run.line_ids.outcome, "billed")
        run.action_post()
        self.assertEqual(run.state, "posted")
        self.assertEqual(exception.state, "waived")

    def test_waived_about_something_else_is_opened_again(self):
        self.customer.email = False
        run = self.bill("2026-01-01", self.new_contract("2026-01-01"), post=False)
        run.exception_ids.action_waive("By post")
        run.action_check()
        self.assertEqual(run.exception_ids.state, "waived")
        self.customer.name = "Renamed"
        run.action_check()
        self.assertEqual(run.exception_ids.state, "open")
        self.assertEqual(len(run.exception_ids), 1)

    def test_invariant_18_any_exception_needs_a_second_person(self):
        self.company.write({"billing_approval": True, "billing_approval_amount": 5000.0})
        officer, manager = self.new_staff("officer"), self.new_staff("manager")
        self.other_customer.email = False
        good = self.new_contract("2026-01-01")
        odd = self.new_contract("2026-01-01", partner_id=self.other_customer.id)
        run = self.new_run("2026-01-01", good | odd).with_user(officer)
        run.action_propose()
        run.action_generate()
        self.assertTrue(run.approval_needed)
        with self.assertRaisesRegex(UserError, "approval of a billing manager"):
            run.action_approve()
        with self.assertRaisesRegex(UserError, "You prepared run"):
            run.exception_ids.action_waive("Never mind")
        with self.assertRaisesRegex(UserError, "needs the approval"):
            odd.move_ids.with_user(officer).action_post()
        with self.assertRaises(AccessError):
            run.exception_ids.write({"state": "waived"})
        run.with_user(manager).action_approve()
        exception = run.exception_ids
        self.assertEqual((exception.state, exception.closed_by_id), ("waived", manager))
        run.action_post()
        self.assertEqual(run.state, "posted")

    def test_invariant_18_what_is_found_after_the_approval_is_approved_again(self):
        self.company.write({"billing_approval": True, "billing_approval_amount": 5000.0})
        officer, manager = self.new_staff("officer"), self.new_staff("manager")
        run = self.new_run("2026-01-01", self.new_contract("2026-01-01")).with_user(officer)
        run.action_propose()
        run.action_generate()
        run.action_approve()
        self.customer.email = False
        run.action_post()
        self.assertEqual((run.state, run.move_ids.state), ("approved", "draft"))
        self.assertIn("approval", run.line_ids.reason)
        run.with_user(manager).action_approve()
        run.action_post()
        self.assertEqual(run.state, "posted")

    def test_invariant_18_a_blocking_one_is_for_a_manager_who_did_not_prepare(self):
        self.company.write({"billing_approval": True, "billing_approval_amount": 5000.0})
        self.check("missing_email").severity = "blocking"
        self.customer.email = False
        preparer, officer = self.new_staff("manager"), self.new_staff("officer")
        second = self.new_staff("manager", login="second")
        run = self.new_run("2026-01-01", self.new_contract("2026-01-01")).with_user(preparer)
        run.action_propose()
        run.action_generate()
        exception = run.exception_ids
        with self.assertRaisesRegex(UserError, "You prepared"):
            exception.action_waive("I say so")
        with self.assertRaisesRegex(UserError, "only a billing manager"):
            exception.with_user(officer).action_waive("I say so")
        run.action_approve()
        run.action_post()
        self.assertEqual(run.move_ids.state, "draft")
        exception.with_user(second).action_waive("Comes to the counter")
        run.action_post()
        self.assertEqual(run.state, "posted")

    def test_nightly_job_posts_the_others(self):
        self.check("missing_email").severity = "blocking"
        self.plan.invoice_policy = "post"
        self.other_customer.email = False
        today = self.company._get_billing_today()
        good = self.new_contract(today)
        bad = self.new_contract(today, partner_id=self.other_customer.id)
        with self.in_job():
            self.env["billing.run"]._run_nightly(self.company)
        self.assertEqual((good.move_ids.state, bad.move_ids.state), ("posted", "draft"))
        run = bad.move_ids.billing_run_id
        self.assertEqual(run.state, "generated")
        self.assertIn("Held by", run.line_ids.filtered(lambda line: line.contract_id == bad).reason)
        self.other_customer.email = "two@customer.example"
        run.action_check()
        run.action_approve()
        run.action_post()
        self.assertEqual(run.state, "posted")

    def test_failure_is_an_exception_until_a_run_bills_the_contract(self):
        contract = self.new_contract("2026-01-01")
        line_model = type(self.env["billing.contract.line"])

        def broken(line):
            raise ValueError("No such cycle")

        with patch.object(line_model, "_get_terms", broken):
            run = self.bill("2026-01-01", contract)
            second = self.bill("2026-01-01", contract)
        [exception] = (run | second).exception_ids
        self.assertEqual(exception.check_id.code, "failed")
        self.assertEqual(exception.run_id, second)
        self.assertIn("No such cycle", exception.message)
        self.bill("2026-01-01", contract)
        self.assertEqual(exception.state, "resolved")

    def test_deleted_bill_has_no_open_exception(self):
        self.customer.email = False
        self.plan.catch_up = "separate"
        run = self.bill("2026-02-01", self.new_contract("2026-01-01"), post=False)
        self.assertEqual(len(run.exception_ids), 2)
        run.action_cancel()
        self.assertEqual(set(run.exception_ids.mapped("state")), {"resolved"})

    def test_roles(self):
        self.customer.email = False
        self.check("missing_email").severity = "blocking"
        exception = self.bill("2026-01-01", self.new_contract("2026-01-01"), post=False).exception_ids
        own = self.new_staff("sales", login="own")
        self.customer.user_id = own
        for role in ("officer", "manager", "auditor", "collector"):
            self.assertTrue(exception.with_user(self.new_staff(role)).message)
        self.assertTrue(exception.with_user(own).message)
        other = self.new_staff("sales", login="other")
        self.assertFalse(self.env["billing.exception"].with_user(other).search([("id", "=", exception.id)]))
        with self.assertRaises(AccessError):
            exception.with_user(own).action_waive("No")
        cause = self.env.ref("customer_billing.billing_cause_master_data")
        officer = self.env["res.users"].search([("login", "=", "test_officer")])
        exception.with_user(officer).write({"cause_id": cause.id, "user_id": officer.id})
        with self.assertRaises(AccessError):
            exception.with_user(officer).write({"message": "Other"})
        outsider = self.new_staff("officer", login="outsider")
        company = self.env["res.company"].create({"name": "Elsewhere"})
        outsider.write({"company_ids": [Command.set(company.ids)], "company_id": company.id})
        self.assertFalse(
            self.env["billing.exception"].with_user(outsider).search([("id", "=", exception.id)])
        )

    def test_views_open_for_every_role(self):
        for role in ("officer", "manager", "auditor", "collector", "sales"):
            model = self.env["billing.exception"].with_user(self.new_staff(role, login=f"view_{role}"))
            views = [(False, name) for name in ("list", "kanban", "form", "pivot", "graph", "search")]
            self.assertEqual(len(model.get_views(views)["views"]), 6)
