import base64

from odoo import Command
from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged
from odoo.tools import SQL

from odoo.addons.customer_billing.tests.test_security import read_by_portal

from .common import StatementCommon

OPERATIONS = ("read", "write", "create", "unlink")
ROLES = ("nobody", "sales", "collector", "auditor", "officer", "manager", "portal")
NONE, READ, FULL = "", "r", "rwcu"

# What each role may do with each model: r(ead), w(rite), c(reate), u(nlink).
ACCESS = {
    #                              nobody sales collector auditor officer manager portal
    "billing.statement":           (NONE, READ, READ, READ, FULL, FULL, READ),
    "billing.statement.line":      (NONE, READ, READ, READ, READ, READ, READ),
    "billing.statement.run":       (NONE, NONE, NONE, READ, FULL, FULL, NONE),
    "billing.statement.run.line":  (NONE, NONE, NONE, READ, READ, READ, NONE),
    "billing.statement.archive":   (NONE, NONE, NONE, FULL, FULL, FULL, NONE),
    "billing.statement.confirmation": (NONE, NONE, NONE, NONE, FULL, FULL, NONE),
    "billing.statement.verification": (NONE, FULL, FULL, FULL, FULL, FULL, NONE),
    "billing.statement.match":     (NONE, READ, "rwc", READ, FULL, FULL, READ),
    "billing.statement.match.column": (NONE, READ, "rw", READ, "rw", "rw", READ),
    "billing.statement.match.line": (NONE, READ, READ, READ, READ, READ, READ),
}  # fmt: skip

WATCHED = (
    "billing.statement", "billing.statement.line", "billing.statement.run", "billing.statement.run.line",
    "billing.statement.match", "billing.statement.match.column", "billing.statement.match.line",
    "billing.dispute", "billing.exception", "mail.mail", "mail.message", "ir.cron.trigger",
)  # fmt: skip

# What public methods are called with; the others take nothing.
ARGUMENTS = {
    "action_confirm": ("Ann Lee", False, "By phone"),
    "action_dispute": ({"name": "Why", "claimed_amount": 1.0},),
}
READING = {"action_verify", "action_download_xlsx"}


class SecurityCommon(StatementCommon):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.users = {
            role: cls.new_staff(role, login=f"ssec_{role}")
            for role in ROLES
            if role not in ("nobody", "portal")
        }
        cls.users["nobody"] = cls.new_staff(login="ssec_nobody")
        cls.users["portal"] = cls.new_portal(cls.customer, "ssec_portal")
        cls.customer.user_id = cls.users["sales"]
        cls.invoice("2026-01-05", 100.0)
        cls.invoice("2026-01-06", 50.0, partner=cls.other_customer)
        cls.statement_run = cls.new_statement_run()
        cls.statement_run.action_prepare()
        cls.statement_run.action_send()
        cls.own = cls.statement_run.statement_ids.filtered(lambda s: s.partner_id == cls.customer)
        cls.other = cls.statement_run.statement_ids - cls.own
        cls.draft = cls.statement("2026-02-01", "2026-02-28")
        cls.ledger = cls.env["billing.statement.match"].create(
            {
                "statement_id": cls.own.id,
                "file_name": "ledger.csv",
                "file": base64.b64encode(b"Date,Invoice,Amount\n2026-01-05,X,7"),
            }
        )
        cls.ledger.action_match()
        cls.records = {
            "billing.statement": cls.own,
            "billing.statement.line": cls.own.line_ids,
            "billing.statement.run": cls.statement_run,
            "billing.statement.run.line": cls.statement_run.line_ids,
            "billing.statement.archive": None,
            "billing.statement.confirmation": None,
            "billing.statement.verification": None,
            "billing.statement.match": cls.ledger,
            "billing.statement.match.column": cls.ledger.column_ids,
            "billing.statement.match.line": cls.ledger.line_ids,
        }
        cls.env.flush_all()

    def new_transient(self, model):
        if model == "billing.statement.archive":
            return self.env[model].create({})
        values = {"billing.statement.confirmation": {"name": "Ann", "note": "By phone"}}.get(model, {})
        return self.env[model].create({"statement_id": self.own.id, **values})


@tagged("post_install", "-at_install")
class TestAccess(SecurityCommon):
    def test_invariant_16_the_table_is_complete(self):
        ours = {
            name
            for name, model in self.env.registry.items()
            if model._original_module == "customer_billing_statement" and not model._abstract
        }
        self.assertEqual(set(ACCESS), ours)
        self.assertEqual(set(ACCESS), set(self.records))

    def test_invariant_16_role_by_model_by_operation(self):
        for model, rights in ACCESS.items():
            records = self.records[model] or self.new_transient(model)
            for role, allowed in zip(ROLES, rights, strict=True):
                user = self.users[role]
                for operation in OPERATIONS:
                    with self.subTest(model=model, role=role, operation=operation):
                        expected = operation[0] in allowed
                        found = self.env[model].with_user(user).has_access(operation)
                        self.assertEqual(found, expected, "access to the model")
                        if operation != "create" and not self.env[model]._transient:
                            found = records.with_user(user).has_access(operation)
                            self.assertEqual(found, expected, "access to the record")

    def test_invariant_16_every_model_has_a_company_rule(self):
        ruled = set(
            self.env["ir.rule"].search([("groups", "=", False), ("model_id.model", "in", list(ACCESS))])
            .model_id.mapped("model")
        )  # fmt: skip
        self.assertEqual(ruled, {model for model in ACCESS if not self.env[model]._transient})

    def test_invariant_16_other_companies_are_invisible(self):
        other = self.setup_other_company()["company"]
        env = self.env(context={**self.env.context, "allowed_company_ids": (other | self.company).ids})
        statement = env["billing.statement"].create(
            {
                "partner_id": self.customer.id, "company_id": other.id,
                "currency_id": other.currency_id.id, "date_from": "2026-01-01", "date_to": "2026-01-31",
            }
        )  # fmt: skip
        run = env["billing.statement.run"].create(
            {"company_id": other.id, "date_from": "2026-01-01", "date_to": "2026-01-31",
             "partner_ids": [Command.set(self.customer.ids)]}
        )  # fmt: skip
        run.action_prepare()
        for records in (statement, run, run.line_ids):
            self.assertTrue(records)
            for role in set(ROLES) - {"portal", "nobody"}:
                found = records.with_user(self.users[role]).with_context(
                    allowed_company_ids=self.company.ids
                )
                with self.subTest(model=records._name, role=role):
                    self.assertFalse(found.has_access("read"))

    def test_sales_sees_own_customers_only(self):
        sales = self.users["sales"]
        for own, others in ((self.own, self.other), (self.own.line_ids, self.other.line_ids)):
            self.assertTrue(own and others)
            self.assertEqual((own | others).with_user(sales)._filtered_access("read"), own)

    def test_invariant_16_fields_of_the_own_profile_that_customers_read(self):
        found = read_by_portal(self.users["portal"], "customer_billing_statement")
        self.assertEqual(found, {"billing_statement_frequency", "billing_statement_kind", "billing_statement_template"})

    def test_invariant_16_portal_sees_issued_ones_of_its_company(self):
        colleague = self.env["res.partner"].create({"name": "Colleague", "parent_id": self.customer.id})
        stranger = self.new_portal(self.other_customer, "ssec_stranger")
        everything = self.own | self.other | self.draft
        for user in (self.users["portal"], self.new_portal(colleague, "ssec_colleague")):
            self.assertEqual(everything.with_user(user)._filtered_access("read"), self.own)
            lines = everything.line_ids.with_user(user)._filtered_access("read")
            self.assertEqual(lines, self.own.line_ids)
        self.assertEqual(everything.with_user(stranger)._filtered_access("read"), self.other)
        self.own.action_cancel()
        self.assertFalse(self.own.with_user(self.users["portal"]).has_access("read"))

    def test_invariant_16_portal_does_not_read_what_staff_notes(self):
        own = self.own.with_user(self.users["portal"])
        for name in ("confirm_note", "delivery_error"):
            with self.subTest(name=name):
                with self.assertRaises(AccessError):
                    own.read([name])
                self.own.with_user(self.users["sales"]).read([name])
        self.assertTrue(own.read(["confirm_name", "balance_close"]))

    def test_methods_change_nothing_for_those_who_may_only_read(self):
        for role in ("nobody", "sales", "collector", "auditor", "portal"):
            for model in ("billing.statement", "billing.statement.run"):
                records = self.records[model].with_user(self.users[role])
                for name in self.our_methods(records):
                    if (role, name) == ("collector", "action_dispute"):
                        continue  # collectors note disputes
                    before = self.snapshot()
                    with self.subTest(role=role, model=model, method=name):
                        if name in READING and role not in ("nobody",):
                            getattr(records, name)()
                        else:
                            with self.assertRaises(UserError):
                                getattr(records, name)(*ARGUMENTS.get(name, ()))
                        self.assertEqual(self.snapshot(), before)

    def our_methods(self, records):
        """The public methods of this module that do something."""
        shows = {"action_open_verification", "action_open_confirmation", "action_compare_ledger"}
        names = [
            name
            for name in dir(type(records))
            if name.startswith("action_")
            and not name.startswith("action_view_")
            and "customer_billing_statement" in getattr(type(records), name).__module__
        ]
        self.assertIn("action_send", names)
        return sorted(set(names) - shows)

    def snapshot(self):
        self.env.flush_all()
        rows = []
        for model in WATCHED:
            table = SQL.identifier(self.env[model]._table)
            rows += self.env.execute_query(
                SQL("SELECT %s, COUNT(*), MAX(id), MAX(write_date)::text FROM %s", model, table)
            )
        return rows

    def test_protected_fields_are_refused(self):
        for model in (
            "billing.statement", "billing.statement.run", "billing.statement.line",
            "billing.statement.match", "billing.statement.match.column", "billing.statement.match.line",
        ):  # fmt: skip
            record = {"billing.statement": self.draft}.get(model, self.records[model])
            for name in sorted(self.env[model]._billing_protected):
                field = self.env[model]._fields[name]
                value = {
                    "one2many": [Command.clear()], "selection": "sent", "date": "2031-01-01",
                    "datetime": "2031-01-01 00:00:00", "json": [1], "char": "X", "text": "X",
                    "binary": b"eA==", "image": b"eA==", "boolean": True,
                }.get(field.type, 7)  # fmt: skip
                for role in ("officer", "manager"):
                    with self.subTest(model=model, field=name, role=role), self.assertRaises(UserError):
                        record.with_user(self.users[role]).write({name: value})

    def test_a_state_is_not_set_on_creation(self):
        officer = self.users["officer"]
        with self.assertRaises(AccessError):
            self.env["billing.statement"].with_user(officer).create(
                {"partner_id": self.customer.id, "date_from": "2026-03-01", "date_to": "2026-03-31",
                 "state": "sent"}
            )  # fmt: skip
        statement = (
            self.env["billing.statement"].with_user(officer)
            .with_context(default_state="sent", default_balance_close=5.0, billing_statement_lines=True)
            .create({"partner_id": self.customer.id, "date_from": "2026-03-01", "date_to": "2026-03-31"})
        )  # fmt: skip
        self.assertEqual((statement.state, statement.balance_close), ("draft", 100.0))

    def test_officers_do_the_whole_work(self):
        officer = self.users["officer"]
        self.invoice("2026-03-05", 5.0)
        statement = self.env["billing.statement"].with_user(officer).create(
            {"partner_id": self.other_customer.id, "date_from": "2026-02-01", "date_to": "2026-03-31"}
        )  # fmt: skip
        statement.action_check()
        statement.action_send()
        self.assertEqual(statement.state, "sent")
        statement.action_confirm("Bob", note="By phone")
        self.draft.with_user(officer).unlink()
        run = self.env["billing.statement.run"].with_user(officer).create(
            {"frequency": "monthly", "date_from": "2026-03-01", "date_to": "2026-03-31"}
        )  # fmt: skip
        run.action_prepare()
        run.action_send()
        self.assertEqual(run.state, "sent")
        self.own.with_user(officer).action_reissue()

    def test_collectors_note_disputes(self):
        collector = self.users["collector"]
        self.own.with_user(collector).action_dispute({"name": "Why", "claimed_amount": 3.0})
        self.assertEqual(self.own.state, "disputed")

    def test_a_verification_shows_no_statement_of_others(self):
        user = self.users["sales"]
        self.own.partner_id.user_id = False
        wizard = self.env["billing.statement.verification"].with_user(user).create(
            {"statement_id": self.own.id}
        )  # fmt: skip
        self.env.invalidate_all()
        with self.assertRaises(AccessError):
            wizard.read(["balance_close"])
