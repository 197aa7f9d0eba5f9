import json
from datetime import timedelta

from odoo import fields
from odoo.exceptions import AccessError
from odoo.tests import HttpCase, tagged
from odoo.tools import file_open, mute_logger

from .test_usage import UsageCommon

USAGE_FIELDS = ["external_id", "contract_id", "meter_id", "timestamp", "quantity"]


@tagged("post_install", "-at_install")
class TestUsageBatch(UsageCommon):
    def row(self, to_contract, number, **values):
        return {
            "external_id": f"R{number}",
            "contract": to_contract.name,
            "meter": "KWH",
            "timestamp": "2026-01-05 10:00:00",
            "quantity": 1,
            **values,
        }

    def test_the_same_rows_again_add_nothing(self):
        contract = self.new_metered()
        rows = [self.row(contract, number) for number in range(3)]
        model = self.usage_model.with_user(self.new_staff("officer"))
        first = model.record_batch(rows)
        self.assertEqual([result["status"] for result in first], ["created"] * 3)
        again = model.record_batch([*rows, self.row(contract, 1, quantity=2)])
        self.assertEqual([result["status"] for result in again], ["duplicate"] * 4)
        self.assertEqual([r["id"] for r in again[:3]], [r["id"] for r in first])
        self.assertIn("taken before with 1.0", again[3]["message"])
        self.assertEqual(contract.usage_count, 3)
        twice = model.record_batch([self.row(contract, 7), self.row(contract, 7)])
        self.assertEqual([result["status"] for result in twice], ["created", "duplicate"])

    def test_bad_rows_are_named_and_lose_no_other(self):
        contract = self.new_metered()
        line = contract.line_ids
        bad = {
            "external_id": {"external_id": ""},
            "meter": {"meter": "NONE"},
            "contract": {"contract": "NONE"},
            "line_id": {"line_id": 2**40},
            "timestamp": {"timestamp": "yesterday"},
            "quantity": {"quantity": "many"},
            "colour": {"colour": "red"},
        }
        rows = [self.row(contract, number, **values) for number, values in enumerate(bad.values())]
        rows.insert(3, self.row(contract, 100))
        rows.append(self.row(contract, 101, contract=None, line_id=line.id))
        rows.append(self.row(contract, 102, timestamp="2025-01-05 10:00:00"))
        rows.append(self.row(contract, 103, timestamp="2025-01-05", contract=None, line_id=line.id))
        rows.append("nonsense")
        with mute_logger("odoo.sql_db"):
            results = self.usage_model.record_batch(rows)
        errors = [result for result in results if result["status"] == "error"]
        self.assertEqual(
            [result["column"] for result in errors],
            [*bad, "contract", "timestamp", "external_id"],
        )
        self.assertTrue(all(result["message"] for result in errors))
        self.assertEqual(
            [result["row"] for result in results if result["status"] == "created"], [4, 9]
        )
        self.assertEqual(contract.usage_count, 2)

    def test_times_with_an_offset_are_stored_in_utc(self):
        contract = self.new_metered()
        rows = [
            self.row(contract, 1, timestamp="2026-01-31T23:30:00-02:00"),
            self.row(contract, 2, timestamp="2026-01-31T23:30:00Z"),
        ]
        records = self.usage_model.browse(r["id"] for r in self.usage_model.record_batch(rows))
        self.assertEqual(
            [str(record.timestamp) for record in records],
            ["2026-02-01 01:30:00", "2026-01-31 23:30:00"],
        )

    def test_invariant_10_a_thousand_rows_need_few_queries(self):
        contracts = [self.new_metered() for _number in range(4)]

        def queries(count, prefix):
            rows = [
                self.row(contracts[number % 4], f"{prefix}{number}") for number in range(count)
            ]
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            self.usage_model.record_batch(rows)
            return self.env.cr.sql_log_count - before

        few = queries(50, "a")
        self.assertLess(queries(1000, "b"), few + 15)

    def test_late_rows_are_adjustments_and_one_pass_for_all(self):
        today = fields.Date.context_today(self.usage_model)
        start = today.replace(day=1) - timedelta(days=1)
        start = start.replace(day=1)
        contracts = self.env["billing.contract"].union(
            *(self.new_metered(start) for _number in range(3))
        )
        self.bill(today.replace(day=1), contracts)
        for contract in contracts:
            self.use(contract, f"{start} 12:00:00", 10)
        if not contracts.charge_ids:  # nothing was used: the run finds the period later
            self.bill(today.replace(day=1), contracts)
        rows = [
            self.row(contract, f"{contract.id}-{number}", timestamp=f"{start} 10:00:00")
            for contract in contracts
            for number in range(5)
        ]
        self.usage_model.record_batch(rows)
        self.bill(today, contracts)
        for contract in contracts:
            self.assertEqual(sum(a for *_k, a in self.booked(contract)), 1.5)

    def test_invariant_16_only_those_who_may_record(self):
        with self.assertRaises(AccessError):
            self.usage_model.with_user(self.new_staff("auditor")).record_batch([])


@tagged("post_install", "-at_install")
class TestUsageApi(UsageCommon, HttpCase):
    def test_record_batch_over_json2(self):
        contract = self.new_metered()
        officer = self.new_staff("officer", login="api_officer")
        key = self.env["res.users.apikeys"].with_user(officer)._generate(
            "rpc", "test", fields.Datetime.now() + timedelta(days=1)
        )
        row = {"external_id": "A1", "contract": contract.name, "meter": "KWH", "quantity": 2}
        row["timestamp"] = "2026-01-05T10:00:00Z"
        for status in ("created", "duplicate"):
            response = self.url_open(
                "/json/2/billing.usage/record_batch",
                data=json.dumps({"rows": [row]}),
                headers={"Authorization": f"bearer {key}", "Content-Type": "application/json"},
            )
            self.assertEqual(response.status_code, 200, response.text)
            self.assertEqual(response.json()[0]["status"], status)


@tagged("post_install", "-at_install")
class TestImport(UsageCommon):
    def import_template(self, model, dryrun=False):
        """Import the template of a model as the import screen does; returns the result."""
        template = self.env[model].get_import_templates()[0]["template"]
        with file_open(template.lstrip("/"), "rb") as file:
            content = file.read()
        wizard = self.env["base_import.import"].create(
            {
                "res_model": model,
                "file": content,
                "file_name": "template.xlsx",
                "file_type": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            }
        )
        options = {"has_headers": True, "quoting": '"', "separator": ",", "encoding": "utf-8"}
        preview = wizard.parse_preview(options)
        self.assertFalse(preview.get("error"), preview.get("error"))
        headers = preview["headers"]
        matched = {int(column): "/".join(path) for column, path in preview["matches"].items()}
        columns = [matched.get(number) for number in range(len(headers))]
        self.assertEqual(columns, headers, "every column of the template is recognised")
        return wizard.execute_import(columns, headers, preview["options"], dryrun=dryrun)

    def make_named_records(self):
        self.customer.name = "Example Customer"
        self.product.name = "Support"
        self.env["product.product"].create({"name": "Electricity", "type": "service"})

    def test_template_of_contracts(self):
        self.make_named_records()
        result = self.import_template("billing.contract")
        self.assertEqual(result["messages"], [])
        contracts = self.env["billing.contract"].browse(result["ids"])
        self.assertEqual(contracts.mapped("state"), ["draft"] * 2)
        support, electricity = contracts[0].line_ids
        self.assertEqual((support.quantity, support.price_unit, support.discount), (5, 20, 10))
        self.assertEqual((electricity.charge_type, electricity.meter_id), ("usage", self.meter))
        contracts.action_activate()
        again = self.import_template("billing.contract")
        self.assertIn("2 records were imported before (or", again["messages"][0]["message"])
        self.assertEqual(set(again["ids"]), set(contracts.ids))
        self.assertEqual(contracts.line_ids, support + electricity + contracts[1].line_ids)
        self.assertEqual(
            self.env["billing.contract"].search_count([("partner_id", "=", self.customer.id)]), 2
        )

    def test_template_of_usage(self):
        contract = self.new_metered()
        contract.name = "CTR-EXAMPLE"
        result = self.import_template("billing.usage")
        self.assertEqual(result["messages"], [])
        self.assertEqual(contract.usage_count, 2)
        again = self.import_template("billing.usage")
        self.assertIn("2 records were imported before (or", again["messages"][0]["message"])
        self.assertEqual(contract.usage_count, 2)

    def test_bad_rows_are_named_and_lose_no_other(self):
        contract = self.new_metered()
        rows = [
            ["A", contract.name, "KWH", "2026-01-05 10:00:00", "1"],
            ["B", contract.name, "NONE", "2026-01-05 10:00:00", "1"],
            ["C", contract.name, "KWH", "2025-01-05 10:00:00", "1"],
            ["D", contract.name, "KWH", "2026-01-05 10:00:00", "many"],
            ["E", contract.name, "KWH", "2026-01-05 10:00:00", "5"],
            ["E", contract.name, "KWH", "2026-01-05 10:00:00", "5"],
        ]
        result = self.usage_model.load(USAGE_FIELDS, rows)
        errors = {m["rows"]["from"]: m for m in result["messages"] if m["type"] == "error"}
        self.assertEqual(sorted(errors), [1, 2, 3])
        self.assertEqual((errors[1]["field"], errors[3]["field"]), ("meter_id", "quantity"))
        self.assertIn("has no usage line", errors[2]["message"])
        self.assertEqual(
            sorted(self.usage_model.browse(result["ids"]).mapped("external_id")), ["A", "E"]
        )
        self.assertIn("2 new records are good", result["messages"][-1]["message"])
        rows[1][2], rows[2][3], rows[3][4] = "KWH", "2026-01-06 10:00:00", "3"
        self.assertTrue(self.usage_model.load(USAGE_FIELDS, rows)["ids"])
        records = self.usage_model.search([("contract_id", "=", contract.id)])
        self.assertEqual(sorted(records.mapped("external_id")), ["A", "B", "C", "D", "E"])
        self.assertFalse(
            [m for m in self.usage_model.load(USAGE_FIELDS, rows)["messages"] if m["type"] == "error"]
        )
        self.assertEqual(contract.usage_count, 5)

    def test_bad_contract_keeps_the_good_ones(self):
        names = ["id", "partner_id", "plan_id", "date_start", "line_ids/product_id"]
        rows = [
            ["c1", self.customer.name, "Monthly", "2026-01-01", self.product.name],
            ["", "", "", "", self.product.name],
            ["c2", "Nobody At All", "Monthly", "2026-01-01", self.product.name],
            ["", "", "", "", self.product.name],
            ["c3", self.customer.name, "Monthly", "2026-01-01", self.product.name],
        ]
        result = self.env["billing.contract"].load(names, rows)
        [error] = [m for m in result["messages"] if m["type"] == "error"]
        self.assertEqual((error["rows"], error["field"]), ({"from": 2, "to": 3}, "partner_id"))
        contracts = self.env["billing.contract"].browse(result["ids"])
        self.assertEqual([len(contract.line_ids) for contract in contracts], [2, 1])

    def test_the_same_contracts_without_an_id_again_add_nothing(self):
        names = ["partner_id", "plan_id", "date_start", "client_ref", "line_ids/product_id", "line_ids/quantity"]
        rows = [
            [self.customer.name, "Monthly", "2026-01-01", "PO 1", self.product.name, "1"],
            [self.customer.name, "Monthly", "2026-01-01", "PO 1", self.product.name, "2"],
            [self.customer.name, "Monthly", "2026-01-01", "PO 1", self.product.name, "1"],
        ]
        contracts = self.env["billing.contract"]
        first = contracts.load(names, rows)
        self.assertEqual(first["messages"], [])
        self.assertEqual(len(set(first["ids"])), 3, "equal rows are as many contracts")
        again = contracts.load(names, rows)
        self.assertEqual(again["ids"], first["ids"])
        self.assertIn("3 records were imported before", again["messages"][0]["message"])
        rows.append([self.customer.name, "Monthly", "2026-02-01", "PO 1", self.product.name, "1"])
        more = contracts.load(names, rows)
        self.assertLess(set(first["ids"]), set(more["ids"]))
        self.assertEqual(contracts.search_count([("partner_id", "=", self.customer.id)]), 4)
        contracts.browse(first["ids"][0]).unlink()
        self.assertEqual(len(contracts.load(names, rows)["ids"]), 4, "what was deleted comes again")

    def test_contracts_are_known_by_their_number(self):
        names = ["name", "partner_id", "plan_id", "date_start", "line_ids/product_id"]
        rows = [["OLD-7", self.customer.name, "Monthly", "2026-01-01", self.product.name]]
        contracts = self.env["billing.contract"]
        [known] = contracts.load(names, rows)["ids"]
        contracts.browse(known).action_activate()
        rows.append(["OLD-8", self.customer.name, "Monthly", "2026-01-01", self.product.name])
        result = contracts.load(names, rows)
        self.assertIn(known, result["ids"])
        found = contracts.search([("name", "in", ("OLD-7", "OLD-8"))])
        self.assertEqual(set(found.ids), set(result["ids"]))
