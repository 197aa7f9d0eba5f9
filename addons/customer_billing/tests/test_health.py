from datetime import timedelta

from odoo import fields
from odoo.exceptions import AccessError
from odoo.tests import tagged
from odoo.tools import mute_logger

from .common import BillingCommon


@tagged("post_install", "-at_install")
class TestHealth(BillingCommon):
    def drift(self, contract):
        return self.env["billing.exception"]._get_open_events("drift", contract)

    def sweep(self, contracts):
        self.env.flush_all()
        with mute_logger("odoo.addons.customer_billing.models.billing_contract"):
            contracts._sweep()
        self.env.flush_all()
        self.env.invalidate_all()

    def items(self, user=None):
        model = self.env["billing.health"].with_company(self.company)
        model = model.with_user(user or self.env.user).with_context(
            allowed_company_ids=self.company.ids
        )
        return {item["label"]: item for item in model._get_health_items()}

    # Sweep

    def test_sweep_finds_nothing_where_nothing_is_wrong(self):
        today = self.env.company._get_billing_today()
        start = fields.Date.add(today, months=-4)
        billed, due = self.new_contract(start), self.new_contract(start)
        paused, arrears = self.new_contract(start), self.new_contract(start, plan_id=self.plan_arrears.id)
        ended, seats = self.new_contract(start), self.new_contract(start)
        self.bill(today, billed | paused | arrears | ended | seats)
        paused.action_pause(fields.Date.add(today, days=-10))
        ended.action_close(fields.Date.add(today, days=-5))
        seats.action_amend({"lines": [{"line_id": seats.line_ids.id, "quantity": 3}]})
        contracts = billed | due | paused | arrears | ended | seats
        before = contracts.mapped(lambda c: (c.next_bill_date, c.line_ids.mapped("recompute_from")))
        self.sweep(contracts)
        self.assertFalse(self.drift(contracts).mapped("message"))
        self.assertEqual(set(contracts.mapped("last_sweep_date")), {today})
        after = contracts.mapped(lambda c: (c.next_bill_date, c.line_ids.mapped("recompute_from")))
        self.assertEqual(before, after)

    def test_drift_is_told_and_billed_by_the_next_run(self):
        contract = self.new_contract("2026-01-01")
        self.bill("2026-03-01", contract)
        charge = contract.charge_ids.filtered(lambda c: str(c.slot_start) == "2026-02-01")
        charge.sudo().state = "void"  # a hand in the ledger
        self.assertEqual(self.bill("2026-03-15", contract).move_ids.amount_untaxed, 0)
        self.sweep(contract)
        exception = self.drift(contract)
        self.assertIn("No run would have billed", exception.message)
        self.assertEqual(str(contract.next_bill_date), "2026-02-01")
        self.sweep(contract)
        self.assertEqual(self.drift(contract), exception)
        self.assertEqual(self.bill("2026-03-15", contract).move_ids.amount_untaxed, 100.0)
        self.sweep(contract)
        self.assertEqual(exception.state, "open", "a person finds out how it came about")
        exception.resolution = "A script of ours; deleted."
        exception.action_resolve()
        self.assertEqual(exception.state, "resolved")

    def test_a_lost_next_bill_date_is_drift(self):
        contract = self.new_contract("2026-01-01")
        contract.sudo().next_bill_date = False
        self.sweep(contract)
        self.assertTrue(self.drift(contract))
        self.assertEqual(str(contract.next_bill_date), "2026-01-01")

    def test_the_night_takes_those_compared_longest_ago(self):
        contracts = self.new_contract("2026-01-01") | self.new_contract("2026-01-01")
        draft = self.new_contract("2026-01-01", activate=False)
        contracts[0].sudo().last_sweep_date = "2026-01-01"
        with self.in_job() as commits:
            self.env["billing.contract"]._cron_sweep()
        self.assertTrue(all(contracts.mapped("last_sweep_date")))
        self.assertFalse(draft.last_sweep_date)
        self.assertEqual(sum(commits), self.env["billing.contract"].search_count([("state", "!=", "draft")]))

    def test_invariant_1_a_part_that_binary_numbers_cannot_hold_is_booked_once(self):
        contract = self.new_contract("2026-01-01")
        self.bill("2026-02-01", contract)
        self.env["billing.contract.pause"].create(
            {"contract_id": contract.id, "date_from": "2026-01-22", "date_to": "2026-01-31"}
        )
        self.bill("2026-02-02", contract)  # 67.74 is left of January
        contract._touch(contract.date_start)
        self.assertFalse(self.bill("2026-02-03", contract).move_ids)

    def test_invariant_10_queries_of_the_sweep_do_not_grow_with_contracts(self):
        def queries(count):
            contracts = self.env["billing.contract"].union(
                *(self.new_contract("2026-01-01") for _i in range(count))
            )
            self.bill("2026-11-01", contracts)
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            contracts.browse(contracts.ids)._sweep()
            self.env.flush_all()
            return self.env.cr.sql_log_count - before

        queries(1)
        self.assertEqual(queries(3), queries(6), "twice the contracts, as many statements")

    # Health

    def test_health_of_a_quiet_company(self):
        self.env.ref("customer_billing.ir_cron_nightly").lastcall = fields.Datetime.now()
        self.bill("2026-01-01", self.new_contract("2999-01-01"))
        self.assertLessEqual({item["severity"] for item in self.items().values()}, {"ok", "info"})

    def test_health_shows_what_is_wrong_and_leads_there(self):
        cron = self.env.ref("customer_billing.ir_cron_nightly")
        cron.lastcall = fields.Datetime.now() - timedelta(days=3)
        self.env["billing.check"].search([("code", "=", "missing_email")]).severity = "blocking"
        self.customer.email = False
        run = self.bill("2026-01-01", self.new_contract("2026-01-01"))
        run.exception_ids.date_due = "2026-01-02"
        self.new_contract("2026-01-01", partner_id=self.other_customer.id)
        stuck = self.new_run("2026-01-01", partner_ids=[(6, 0, self.other_customer.ids)])
        stuck.sudo().job = "propose"
        self.env.flush_all()
        old = fields.Datetime.now() - timedelta(days=9)
        self.env.cr.execute("UPDATE billing_run SET write_date = %s WHERE id = %s", [old, stuck.id])
        self.env.cr.execute(
            "UPDATE account_move SET create_date = %s WHERE id = %s", [old, run.move_ids.id]
        )
        self.env.invalidate_all()
        items = self.items(self.new_staff("auditor"))
        expected = {
            "Runs whose background job does not go on": (1, "danger"),
            "Draft bills that wait for more than 3 days": (1, "warning"),
            "Contracts due for more than 7 days": (2, "warning"),
            "Open blocking exceptions": (1, "danger"),
            "Exceptions past their due date": (1, "warning"),
            "Bills that could not be delivered": (0, "ok"),
            "Drift: amounts that no run would have billed": (0, "ok"),
        }
        self.assertEqual(
            {label: (items[label]["value"], items[label]["severity"]) for label in expected}, expected
        )
        self.assertEqual(items["Nightly job last worked"]["severity"], "danger")

    def test_health_page_opens_for_the_roles_that_read_it(self):
        self.bill("2026-01-01", self.new_contract("2026-01-01"))
        server_action = self.env.ref("customer_billing.billing_health_action_open")
        for role in ("officer", "manager", "auditor"):
            user = self.new_staff(role)
            action = server_action.with_user(user).run()
            self.assertEqual(action["res_model"], "billing.health")
            rows = self.env["billing.health"].with_user(user).search([])
            self.assertGreater(len(rows), 8)
            server_action.with_user(user).run()
            self.assertEqual(len(self.env["billing.health"].with_user(user).search([])), len(rows.ids))
            for row in self.env["billing.health"].with_user(user).search([]):
                if row.action:
                    target = row.action_drill_down()
                    self.env[target["res_model"]].with_user(user).search(target["domain"])
        with self.assertRaises(AccessError):
            server_action.with_user(self.new_staff("sales")).run()
        with self.assertRaises(AccessError):
            self.env["billing.health"].with_user(self.new_staff("collector")).action_open_health()
