from freezegun import freeze_time

from odoo import Command
from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged
from odoo.tools import SQL

from odoo.addons.customer_billing.tests.test_security import read_by_portal

from .common import CollectionCommon

OPERATIONS = ("read", "write", "create", "unlink")
ROLES = ("nobody", "sales", "collector", "auditor", "officer", "manager", "portal")
NONE, READ, FULL = "", "r", "rwcu"

# What each role may do with each model: r(ead), w(rite), c(reate), u(nlink).
ACCESS = {
    #                                  nobody sales collector auditor officer manager portal
    "billing.dunning.policy":          (NONE, READ, READ, READ, READ, FULL, NONE),
    "billing.dunning.step":            (NONE, READ, READ, READ, READ, FULL, NONE),
    "billing.collector.rule":          (NONE, NONE, READ, READ, READ, FULL, NONE),
    "billing.case":                    (NONE, READ, "rw", READ, "rw", "rw", NONE),
    "billing.dunning.notice":          (NONE, READ, "rw", READ, READ, "rw", NONE),
    "billing.dunning.notice.line":     (NONE, READ, READ, READ, READ, READ, NONE),
    "billing.promise":                 (NONE, READ, "rwc", READ, "rwc", "rwc", READ),
    "billing.instalment":              (NONE, READ, FULL, READ, READ, FULL, READ),
    "billing.instalment.line":         (NONE, READ, FULL, READ, READ, FULL, READ),
    "billing.interest":                (NONE, READ, READ, READ, "rw", "rw", NONE),
    "billing.writeoff":                (NONE, READ, "rwc", READ, READ, "rwc", NONE),
    # transient
    "billing.case.call":               (NONE, NONE, FULL, NONE, NONE, FULL, NONE),
    "billing.case.handover":           (NONE, NONE, FULL, NONE, FULL, FULL, NONE),
    "billing.collection.report":       (NONE, FULL, FULL, FULL, FULL, FULL, NONE),
    "billing.collection.payment":      (NONE, READ, READ, READ, READ, READ, NONE),
    "billing.collection.figure":       (NONE, READ, READ, READ, READ, READ, NONE),
    "billing.collection.move":         (NONE, READ, READ, READ, READ, READ, NONE),
    "billing.instalment.confirmation": (NONE, NONE, FULL, NONE, NONE, FULL, NONE),
    "billing.instalment.schedule":     (NONE, NONE, FULL, NONE, NONE, FULL, NONE),
    "billing.interest.preview":        (NONE, NONE, FULL, FULL, FULL, FULL, NONE),
    "billing.interest.preview.line":   (NONE, NONE, FULL, FULL, FULL, FULL, NONE),
    "billing.interest.waiver":         (NONE, NONE, NONE, NONE, FULL, FULL, NONE),
    "billing.writeoff.wizard":         (NONE, NONE, FULL, NONE, NONE, FULL, NONE),
}  # fmt: skip

WATCHED = (
    "billing.dunning.policy", "billing.dunning.step", "billing.collector.rule", "billing.case",
    "billing.dunning.notice", "billing.dunning.notice.line", "billing.promise", "billing.instalment",
    "billing.instalment.line", "billing.interest", "billing.writeoff", "billing.contract.pause", "account.move",
    "mail.mail", "mail.message", "mail.activity", "ir.attachment", "ir.cron.trigger",
)  # fmt: skip

# What public methods are called with; the others take nothing.
ARGUMENTS = {
    "action_hand_over": (1,),
    "action_take_back": ("A mistake",),
    "action_make_schedule": (3, "2026-04-01"),
    "action_confirm": ("Ann Lee", "By phone"),
    "action_waive": ("Goodwill",),
}
# They show something and change nothing.
SHOWING = {
    "action_call_next", "action_open_call", "action_open_schedule", "action_open_confirm", "action_new_promise",
    "action_new_instalment", "action_interest_preview", "action_download_package", "action_writeoff",
}  # fmt: skip
# Who may call the methods of a model that change something.
WORKERS = {
    "billing.case": {"collector", "officer", "manager"},
    "billing.interest": {"officer", "manager"},
    "billing.promise": {"collector", "officer", "manager"},
}
TRANSIENT_ONLY = {"billing.collection.payment", "billing.collection.figure", "billing.collection.move"}


@tagged("post_install", "-at_install")
@freeze_time("2026-03-20")
class TestAccess(CollectionCommon):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.users = {
            role: cls.new_staff(role, login=f"csec_{role}") for role in ROLES if role not in ("nobody", "portal")
        }
        cls.users["nobody"] = cls.new_staff(login="csec_nobody")
        cls.users["portal"] = cls.new_portal(cls.customer, "csec_portal")
        cls.customer.user_id = cls.users["sales"]
        with freeze_time("2026-03-20"):
            cls.bill = cls.invoice("2026-03-01", 100.0)
            cls.invoice("2026-03-01", 70.0, partner=cls.other_customer)
            partners = cls.customer | cls.other_customer
            cases_sudo = cls.env["billing.case"].sudo()
            items = cases_sudo._refresh_customers(cls.company, partners.ids)
            notices = cases_sudo.browse([case.id for case in items])._propose(items)
            cls.own, cls.other = cls.case(), cls.case(cls.other_customer)
            cls.own_notice = notices.filtered(lambda notice: notice.case_id == cls.own)
            cls.other_notice = notices - cls.own_notice
            cls.promises, cls.instalments, cls.interests, cls.writeoffs = (
                cls.env[model].sudo()
                for model in ("billing.promise", "billing.instalment", "billing.interest", "billing.writeoff")
            )
            for case in (cls.own, cls.other):
                item = cls.env["account.move.line"].search(
                    [("partner_id", "=", case.partner_id.id), ("account_type", "=", "asset_receivable")]
                )
                cls.promises |= cls.promises.create({"case_id": case.id, "amount": 10.0, "date": "2026-03-25"})
                cls.instalments |= cls.instalments.create(
                    {
                        "case_id": case.id,
                        "line_ids": [Command.create({"date": "2026-04-01", "amount": case.amount_overdue})],
                        "move_line_ids": [Command.set(item.ids)],
                    }
                )  # fmt: skip
                cls.interests |= cls.interests.create(
                    {
                        "case_id": case.id, "move_line_id": item.id, "amount": 1.0,
                        "date_from": "2026-03-02", "date_to": "2026-03-10",
                    }
                )  # fmt: skip
                cls.writeoffs |= cls.writeoffs.create(
                    {"case_id": case.id, "move_line_ids": [Command.set(item.ids)], "reason": "Gone"}
                )
        cls.instalments.state = "offered"
        cls.records = {
            "billing.dunning.policy": cls.policy,
            "billing.dunning.step": cls.policy.step_ids[0],
            "billing.collector.rule": cls.env["billing.collector.rule"].create(
                {"name": "All", "collector_ids": [Command.set(cls.collector.ids)]}
            ),
            "billing.case": cls.own,
            "billing.dunning.notice": cls.own_notice,
            "billing.dunning.notice.line": cls.own_notice.line_ids,
            "billing.promise": cls.promises[0].sudo(False),
            "billing.instalment": cls.instalments[0].sudo(False),
            "billing.instalment.line": cls.instalments[0].line_ids.sudo(False),
            "billing.interest": cls.interests[0].sudo(False),
            "billing.writeoff": cls.writeoffs[0].sudo(False),
        }
        cls.env.flush_all()

    def test_invariant_16_the_table_is_complete(self):
        ours = {
            name
            for name, model in self.env.registry.items()
            if model._original_module == "customer_billing_collection" and not model._abstract
        }
        self.assertEqual(set(ACCESS), ours)
        stored = {model for model in ACCESS if not self.env[model]._transient}
        self.assertEqual(stored, set(self.records))
        for model in stored:
            self.assertTrue(self.records[model], model)

    def test_invariant_16_role_by_model_by_operation(self):
        for model, rights in ACCESS.items():
            for role, allowed in zip(ROLES, rights, strict=True):
                user = self.users[role]
                for operation in OPERATIONS:
                    with self.subTest(model=model, role=role, operation=operation):
                        expected = operation[0] in allowed
                        found = self.env[model].with_user(user).has_access(operation)
                        self.assertEqual(found, expected, "access to the model")
                        if operation != "create" and model in self.records:
                            found = self.records[model].with_user(user).has_access(operation)
                            self.assertEqual(found, expected, "access to the record")

    def test_invariant_16_every_model_has_a_company_rule(self):
        ruled = set(
            self.env["ir.rule"].search([("groups", "=", False), ("model_id.model", "in", list(self.records))])
            .model_id.mapped("model")
        )  # fmt: skip
        self.assertEqual(ruled, set(self.records))

    def test_invariant_16_other_companies_are_invisible(self):
        other = self.setup_other_company()["company"]
        for model, records in self.records.items():
            for role in set(ROLES) - {"portal", "nobody"}:
                user = self.users[role].sudo()
                user.write({"company_ids": [Command.link(other.id)]})
                found = records.with_user(user).with_context(allowed_company_ids=other.ids)
                with self.subTest(model=model, role=role):
                    self.assertFalse(found.has_access("read"))

    def test_sales_sees_own_customers_only(self):
        sales = self.users["sales"]
        pairs = [
            (self.own, self.other), (self.own_notice, self.other_notice),
            (self.own_notice.line_ids, self.other_notice.line_ids),
            *((own, other) for own, other in (self.promises, self.instalments, self.interests, self.writeoffs)),
            (self.instalments[0].line_ids, self.instalments[1].line_ids),
        ]  # fmt: skip
        for own, others in pairs:
            with self.subTest(model=own._name):
                self.assertTrue(own and others)
                self.assertEqual((own | others).with_user(sales)._filtered_access("read"), own)

    def test_invariant_16_fields_of_the_own_profile_that_customers_read(self):
        found = read_by_portal(self.users["portal"], "customer_billing_collection")
        self.assertEqual(found, set())

    def test_invariant_16_portal_sees_its_own_company_only(self):
        stranger = self.new_portal(self.other_customer, "csec_stranger")
        colleague = self.env["res.partner"].create({"name": "Colleague", "parent_id": self.customer.id})
        users = ((self.users["portal"], 0), (self.new_portal(colleague, "csec_colleague"), 0), (stranger, 1))
        for records in (self.promises, self.instalments, self.instalments.line_ids):
            for user, index in users:
                with self.subTest(model=records._name, user=user.login):
                    self.assertEqual(records.with_user(user)._filtered_access("read"), records[index])
        self.instalments[0].state = "draft"
        self.assertFalse(self.instalments[0].with_user(self.users["portal"]).has_access("read"))

    def our_methods(self, records):
        """The public methods of this module that do something."""
        return sorted(
            name
            for name in dir(type(records))
            if name.startswith("action_")
            and not name.startswith("action_view_")
            and name not in SHOWING
            and "customer_billing_collection" in getattr(type(records), name).__module__
        )

    def snapshot(self):
        self.env.flush_all()
        rows = []
        for model in WATCHED:
            table = SQL.identifier(self.env[model]._table)
            rows += self.env.execute_query(
                SQL("SELECT %s, COUNT(*), MAX(id), MAX(write_date)::text FROM %s", model, table)
            )
        return rows

    def test_methods_change_nothing_for_those_who_may_only_read(self):
        called = set()
        for model, record in self.records.items():
            workers = WORKERS.get(model, {"collector", "manager"})
            for role in set(ROLES) - workers:
                records = record.with_user(self.users[role])
                for name in self.our_methods(records):
                    called.add((model, name))
                    before = self.snapshot()
                    with self.subTest(role=role, model=model, method=name):
                        with self.assertRaises(UserError), self.env.cr.savepoint():
                            getattr(records, name)(*ARGUMENTS.get(name, ()))
                        self.env.cr.precommit.data.pop("billing_case_partners", None)
                        self.assertEqual(self.snapshot(), before)
        self.assertGreater(len(called), 15)

    def test_protected_fields_are_refused(self):
        for model, record in self.records.items():
            for name in sorted(getattr(self.env[model], "_billing_protected", ())):
                field = self.env[model]._fields[name]
                selection = field.get_values(self.env) if field.type == "selection" else []
                value = {
                    "one2many": [Command.clear()], "date": "2031-01-01", "datetime": "2031-01-01 00:00:00",
                    "json": [1], "char": "X", "text": "X", "boolean": True,
                    "selection": selection and next(v for v in selection if v != record[name]),
                }.get(field.type, 7)  # fmt: skip
                for role in ("collector", "officer", "manager"):
                    with self.subTest(model=model, field=name, role=role), self.assertRaises(UserError):
                        record.with_user(self.users[role]).write({name: value})

    def test_states_are_not_set_on_creation(self):
        collector = self.users["collector"]
        for model, values in (
            ("billing.promise", {"amount": 5.0, "date": "2026-03-25", "state": "kept"}),
            ("billing.instalment", {"state": "running"}),
            ("billing.writeoff", {"state": "posted", "reason": "X"}),
        ):
            with self.subTest(model=model), self.assertRaises(AccessError):
                self.env[model].with_user(collector).create({"case_id": self.own.id, **values})

    def test_nobody_makes_or_deletes_cases(self):
        for role in ("collector", "officer", "manager"):
            with self.assertRaises(AccessError):
                self.own.with_user(self.users[role]).unlink()
            with self.assertRaises(AccessError):
                self.env["billing.case"].with_user(self.users[role]).create(
                    {
                        "partner_id": self.customer.id,
                        "company_id": self.company.id,
                        "currency_id": self.company.currency_id.id,
                    }
                )
        with self.assertRaises(UserError):
            self.own.sudo().unlink()

    def test_collectors_do_the_whole_work(self):
        collector = self.users["collector"]
        own = self.own.with_user(collector)
        self.assertTrue(own.items_html)
        self.assertTrue(own.priority_text)
        own.action_refresh()
        own.action_propose()
        own.write({"next_action_date": "2026-03-21", "collector_id": collector.id})
        self.assertTrue(own.action_view_items())
        self.other_notice.with_user(collector).action_send()
        self.assertEqual(self.other_notice.state, "sent")
        self.assertTrue(self.env["billing.health"].with_user(self.users["officer"])._get_collection_items())
