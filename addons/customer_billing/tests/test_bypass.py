"""What a caller over RPC tries, to get around approval, checks, and the ledger."""

from lxml import etree

from odoo import Command
from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged

from odoo.addons.mail.tests.common import MailCase

from .common import BillingCommon
from .test_price_revision import RevisionCommon


@tagged("post_install", "-at_install")
class TestBypass(BillingCommon, MailCase):
    """Each call is one that the API takes from a billing officer."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.company.write({"billing_approval": True, "billing_approval_amount": 50.0})
        cls.officer = cls.new_staff("officer", login="bypass_officer")
        cls.manager = cls.new_staff("manager", login="bypass_manager")
        cls.contract = cls.new_contract("2026-01-01")

    def new_draft(self):
        run = self.new_run("2026-01-01", self.contract)
        run.action_propose()
        run.action_generate()
        return run.move_ids

    def test_invariant_18_a_total_that_is_written(self):
        bill = self.new_draft().with_user(self.officer)
        for name in ("amount_total_signed", "amount_total", "amount_untaxed_signed"):
            with self.subTest(field=name), self.assertRaises(UserError), self.env.cr.savepoint():
                bill.write({name: 1.0})
                bill.action_post()
            self.assertEqual(bill.state, "draft")

    def test_invariant_18_posted_by_a_written_state(self):
        bill = self.new_draft()
        self.company.billing_approval_amount = 1e9
        self.env["billing.check"].search([("code", "=", "missing_email")]).severity = "blocking"
        self.customer.email = False
        with self.assertRaises(UserError), self.env.cr.savepoint():
            bill.with_user(self.officer).write({"state": "posted"})
        self.assertEqual(bill.state, "draft")

    def test_invariant_18_switching_a_check_off_is_on_record(self):
        check = self.env["billing.check"].search([("code", "=", "deviation")])
        check = check.with_user(self.manager).with_context(tracking_disable=True, mail_notrack=True)
        check.write({"severity": "off", "parameter": 1000.0})
        self.flush_tracking()
        values = check.message_ids.sudo().tracking_value_ids
        self.assertEqual(set(values.field_id.mapped("name")), {"severity", "parameter"})
        self.assertEqual(values.create_uid, self.manager)

    def test_context_of_a_run_does_not_book_wrong_residuals(self):
        account = self.env["account.account"].create(
            {"name": "Deposits", "code": "DEP1", "account_type": "liability_current", "reconcile": True}
        )
        moves = self.env["account.move"].with_user(self.officer).with_context(billing_booking=True)
        move = moves.create(
            {
                "move_type": "out_invoice",
                "partner_id": self.customer.id,
                "invoice_date": "2026-01-01",
                "invoice_line_ids": [
                    Command.create(
                        {
                            "name": "x", "account_id": account.id, "display_type": "product",
                            "quantity": 1, "price_unit": 100.0, "tax_ids": [Command.clear()],
                            "balance": -100.0, "amount_currency": -100.0,
                        }
                    )
                ],
            }
        )  # fmt: skip
        line = move.invoice_line_ids
        self.assertEqual(line.amount_residual, -100.0)

    def test_invariant_18_amounts_of_a_line_that_are_written(self):
        bill = self.new_draft()
        for name in ("price_subtotal", "price_total", "balance"):
            with self.subTest(field=name), self.assertRaises(UserError), self.env.cr.savepoint():
                bill.invoice_line_ids.with_user(self.officer).write({name: 1.0})

    def test_invariant_1_bills_are_not_repeated_by_core(self):
        bill = self.new_draft().with_user(self.officer)
        with self.assertRaisesRegex(UserError, "cannot be repeated"):
            bill.write({"auto_post": "monthly"})
        bill.auto_post = "at_date"

    def test_invariant_16_what_follows_from_other_fields_is_not_set(self):
        meter = self.env["billing.meter"].create({"name": "Calls", "code": "calls"})
        metered = self.new_contract(
            "2026-01-01", [{"charge_type": "usage", "meter_id": meter.id, "price_unit": 1.0}]
        )
        usage_vals = {
            "contract_line_id": metered.line_ids.id, "timestamp": "2026-01-05 10:00:00", "quantity": 1,
        }  # fmt: skip
        usage = self.env["billing.usage"].create({**usage_vals, "external_id": "one"})
        self.company.billing_approval = False
        bill = self.bill("2026-01-01", self.contract).move_ids
        dispute = self.env["billing.dispute"].create({"name": "Why?", "move_id": bill.id})
        for record, vals in (
            (usage, {"date": "2026-03-01"}),
            (self.contract.line_ids, {"currency_id": self.env.ref("base.JPY").id}),
            (self.contract.line_ids, {"company_id": False}),
            (self.contract, {"mrr": 1.0}),
            (dispute, {"partner_id": self.other_customer.id}),
        ):
            with self.subTest(model=record._name), self.assertRaises(AccessError):
                record.with_user(self.officer).write(vals)
        usages = self.env["billing.usage"].with_user(self.officer)
        with self.assertRaises(AccessError):
            usages.create({**usage_vals, "external_id": "two", "date": "2026-03-01"})
        usage = usages.with_context(default_date="2026-03-01").create({**usage_vals, "external_id": "two"})
        self.assertEqual(str(usage.date), "2026-01-05")
        self.assertEqual(usage.env.context.get("default_date"), "2026-03-01")

    def test_company_of_values_with_the_context_of_a_run(self):
        other = self.setup_other_company()
        moves = self.env["account.move"].with_context(billing_booking=True)
        with self.assertRaises(UserError), self.env.cr.savepoint():
            moves.create(
                {
                    "move_type": "out_invoice",
                    "partner_id": self.customer.id,
                    "invoice_date": "2026-01-01",
                    "invoice_line_ids": [
                        Command.create(
                            {
                                "name": "x", "quantity": 1, "price_unit": 100.0,
                                "account_id": other["default_account_revenue"].id,
                            }
                        )
                    ],
                }
            )  # fmt: skip

    def test_lists_in_the_context_are_no_formats(self):
        self.company.billing_approval_amount = 1e9
        bill = self.new_draft()
        bill.with_user(self.officer).with_context(
            billing_number_formats={}, billing_checked=True, billing_import_skipped=[]
        ).action_post()
        self.assertEqual(bill.state, "posted")

    def test_invariant_18_who_added_a_line_does_not_waive(self):
        bill = self.new_draft()
        check = self.env["billing.check"].search([("code", "=", "missing_tax")])
        check.severity = "warning"
        self.company.billing_approval_amount = 1e9
        bill.with_user(self.manager).write(
            {"invoice_line_ids": [Command.create({"name": "more", "price_unit": 900.0, "tax_ids": [Command.clear()],
                                                  "product_id": self.product.id})]}
        )
        bill.invoice_line_ids.filtered(lambda l: not l.billing_charge_ids).tax_ids = False
        bill.billing_run_id.action_check()
        exception = bill.billing_exception_ids.filtered(lambda e: e.check_id == check)
        self.assertTrue(exception)
        with self.assertRaises(UserError), self.env.cr.savepoint():
            exception.with_user(self.manager).action_waive("mine")


@tagged("post_install", "-at_install")
class TestRevisionBypass(RevisionCommon):
    def setUp(self):
        super().setUp()
        today = self.company._get_billing_today()
        self.day = today.replace(year=today.year + 1, month=6, day=1)

    def test_invariant_16_objections_are_text(self):
        record = self.new_revision(date=self.day)
        self.notify(record)
        notice = self.line_of(record, self.contract).notice_id
        text = 'See <a href="https://evil.example">our bill</a>\nnow'
        notice._object(text, "<b>Mr X</b>", "1.2.3.4")
        self.assertNotIn("<a ", notice.activity_ids.note)
        self.assertIn("&lt;a", notice.activity_ids.note)
        self.assertIn("&lt;b&gt;Mr X", notice.message_ids[:1].body)
        self.assertNotIn("<a ", notice.message_ids[:1].body)
        notice._object(text, "<b>Mr X</b>", "1.2.3.4")
        self.assertEqual((len(notice.activity_ids), notice.objection.count("our bill")), (1, 1))

    def test_retry_needs_the_letter(self):
        record = self.new_revision(date=self.day)
        self.notify(record)
        line = self.line_of(record, self.contract)
        notice = line.notice_id
        line._take_back("x", "failed")
        notice._message_receive_bounce("one@customer.example", self.customer)
        self.assertEqual(notice.state, "failed")
        line.action_retry()
        self.assertNotEqual(line.outcome, "applied")

    def test_withdraw_what_failed_to_be_taken_back(self):
        record = self.new_revision(date=self.day)
        self.notify(record)
        line = self.line_of(record, self.contract)
        line.sudo().outcome = "failed"  # as when taking back failed
        line.action_withdraw("agreed")
        self.assertEqual(line.outcome, "withdrawn")
        last = self.contract.line_ids.filtered(lambda l: not l.date_end)
        self.assertEqual(last.price_unit, 100.0)

    def test_included_again_has_the_price_of_the_rule(self):
        record = self.new_revision(date=self.day)
        record.action_compute()
        line = self.line_of(record, self.contract)
        line.action_exclude()
        record.percent = 5.0
        record.action_compute()
        line.action_include()
        self.assertAlmostEqual(line.new_price_unit, 105.0)

    def test_invariant_16_derived_values_are_not_written(self):
        record = self.new_revision(date=self.day)
        record.action_compute()
        line = self.line_of(record, self.contract)
        officer = self.new_staff("officer", login="bypass_derived")
        for name, value in (
            ("contract_id", self.other.id), ("change_percent", 0.0), ("currency_id", self.env.ref("base.JPY").id),
        ):  # fmt: skip
            with self.subTest(field=name), self.assertRaises(UserError), self.env.cr.savepoint():
                line.with_user(officer).write({name: value})


@tagged("post_install", "-at_install")
class TestUsageRows(BillingCommon):
    def test_rows_of_any_kind_lose_no_other(self):
        meter = self.env["billing.meter"].create({"name": "Calls", "code": "calls"})
        contract = self.new_contract(
            "2026-01-01", [{"charge_type": "usage", "meter_id": meter.id, "price_unit": 1.0}],
        )
        good = {
            "meter": "calls", "contract": contract.name, "timestamp": "2026-01-05 10:00:00", "quantity": 1,
        }  # fmt: skip
        bad = [
            {"timestamp": "9999-12-31T23:59:59-05:00"},
            {"timestamp": "0001-01-01T00:00:00+05:00"},
            {"timestamp": "9999-12-31 23:59:59"},
            {"timestamp": []},
            {"quantity": 10**400},
            {"quantity": "1e400"},
            {"quantity": {}},
            {"line_id": [1]},
            {"line_id": {"a": 1}},
            {"line_id": 10**30},
            {"contract_id": [1]},
            {"contract": "A\x00B"},
            {"meter": "A\x00B"},
            {"contract": ["x"]},
        ]
        rows = [{**good, "external_id": f"row {index}", **values} for index, values in enumerate(bad)]
        rows += [{**good, "external_id": "A\x00B", "key": "k\x00"}, {**good, "external_id": "good"}]
        for zone in ("Asia/Shanghai", "America/New_York"):
            self.company.partner_id.tz = zone
            results = self.env["billing.usage"].record_batch(rows)
            self.assertEqual(results[-1]["status"], "created" if zone.startswith("Asia") else "duplicate")
            self.assertEqual([r["row"] for r in results[: len(bad)] if r["status"] != "error"], [])


@tagged("post_install", "-at_install")
class TestLists(RevisionCommon):
    """The columns of every list, read for 20 records and for 40."""

    def get_columns(self, model):
        """The fields of the lists of a model; of core's models ours only."""
        views = self.env["ir.ui.view"].search(
            [("model", "=", model), ("type", "=", "list"), ("inherit_id", "=", False)]
        )
        arches = [self.env[model].get_view(view.id, "list")["arch"] for view in views]
        names = {node.get("name") for arch in arches for node in etree.fromstring(arch).iter("field")}
        return {name for name in names if model.startswith("billing.") or name.startswith("billing_")}

    def count_queries(self, records, names):
        self.env.flush_all()
        self.env.invalidate_all()
        before = self.env.cr.sql_log_count
        records = records.browse(records.ids)
        records.web_read(
            {
                name: {"fields": {"display_name": {}}} if records._fields[name].relational else {}
                for name in names
            }
        )
        return self.env.cr.sql_log_count - before

    def test_invariant_10_lists_read_with_few_queries(self):
        self.env["billing.check"].search([("code", "=", "many_lines")]).write(
            {"count": 0, "severity": "warning"}
        )
        contracts = self.contract | self.other
        for number in range(38):
            partner = self.customer.copy({"name": f"Customer {number}"})
            contracts |= self.new_contract("2026-01-01", partner_id=partner.id)
        run = self.bill("2026-01-01", contracts)
        today = self.company._get_billing_today()
        record = self.new_revision(date=today.replace(year=today.year + 1, month=6, day=1))
        self.notify(record)
        disputes = self.env["billing.dispute"].create(
            [{"name": "Why?", "move_id": move.id} for move in run.move_ids]
        )
        exceptions = self.env["billing.exception"].search([("run_id", "=", run.id)])
        for records in (
            record.line_ids, record.notice_ids, run.line_ids, disputes, contracts,
            contracts.line_ids, contracts.charge_ids, exceptions, run.move_ids,
        ):  # fmt: skip
            with self.subTest(model=records._name):
                self.assertGreaterEqual(len(records), 40)
                names = self.get_columns(records._name)
                self.assertTrue(names)
                self.count_queries(records, names)  # what is cached for all time
                half = self.count_queries(records[:20], names)
                self.assertLessEqual(self.count_queries(records[:40], names), half + 1)
