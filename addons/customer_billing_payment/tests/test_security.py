from odoo import Command
from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged
from odoo.tools import SQL

from odoo.addons.customer_billing.tests.test_security import read_by_portal

from .common import PaymentBillingCommon

OPERATIONS = ("read", "write", "create", "unlink")
ROLES = ("nobody", "sales", "collector", "auditor", "officer", "manager", "portal")
NONE, READ, FULL = "", "r", "rwcu"

# What each role may do with each model: r(ead), w(rite), c(reate), u(nlink).
ACCESS = {
    #                          nobody sales collector auditor officer manager portal
    "billing.payment.mandate": (NONE, READ, READ, READ, "rw", "rw", READ),
    "billing.payment.attempt": (NONE, READ, READ, READ, "rw", "rw", NONE),
    "billing.credit.refund":   (NONE, NONE, NONE, READ, FULL, FULL, NONE),
}  # fmt: skip

WATCHED = (
    "billing.payment.mandate", "billing.payment.attempt", "billing.credit.refund", "payment.transaction",
    "account.payment", "account.move", "mail.mail", "mail.message", "ir.cron.trigger",
)  # fmt: skip


@tagged("post_install", "-at_install")
class TestAccess(PaymentBillingCommon):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.users = {
            role: cls.new_staff(role, login=f"psec_{role}") for role in ROLES if role not in ("nobody", "portal")
        }
        cls.users["nobody"] = cls.new_staff(login="psec_nobody")
        cls.users["portal"] = cls.user_one
        cls.customer.user_id = cls.users["sales"]
        cls.move = cls.contract_bill()
        cls.other_move = cls.contract_bill(partner_id=cls.other_customer.id)
        cls.own = cls.mandate()
        cls.other = cls.mandate(cls.new_token(cls.other_customer), user=cls.user_two)
        cls.attempt = cls.env["billing.payment.attempt"].sudo()._intend(cls.move).sudo(False)
        cls.other_attempt = cls.env["billing.payment.attempt"].sudo()._intend(cls.other_move).sudo(False)
        cls.records = {
            "billing.payment.mandate": cls.own,
            "billing.payment.attempt": cls.attempt,
            "billing.credit.refund": cls.new_refund(),
        }
        cls.env.flush_all()

    @classmethod
    def new_refund(cls):
        cls.refund = cls.env["billing.credit.refund"].create(
            {
                "partner_id": cls.customer.id, "amount": 1.0,
                "journal_id": cls.company_data["default_journal_bank"].id,
            }
        )  # fmt: skip
        return cls.refund

    def test_invariant_16_the_table_is_complete(self):
        ours = {
            name
            for name, model in self.env.registry.items()
            if model._original_module == "customer_billing_payment" and not model._abstract
        }
        self.assertEqual(set(ACCESS), ours)
        self.assertEqual(set(ACCESS), set(self.records))

    def test_invariant_16_role_by_model_by_operation(self):
        for model, rights in ACCESS.items():
            for role, allowed in zip(ROLES, rights, strict=True):
                for operation in OPERATIONS:
                    with self.subTest(model=model, role=role, operation=operation):
                        expected = operation[0] in allowed
                        user = self.users[role]
                        found = self.env[model].with_user(user).has_access(operation)
                        self.assertEqual(found, expected, "access to the model")
                        if operation != "create" and self.records[model]:
                            found = self.records[model].with_user(user).has_access(operation)
                            self.assertEqual(found, expected, "access to the record")

    def test_invariant_16_every_model_has_a_company_rule(self):
        ruled = set(
            self.env["ir.rule"].search([("groups", "=", False), ("model_id.model", "in", list(ACCESS))])
            .model_id.mapped("model")
        )  # fmt: skip
        self.assertEqual(ruled, set(ACCESS))

    def test_invariant_16_other_companies_are_invisible(self):
        other = self.setup_other_company()["company"]
        for records in (self.own, self.attempt):
            records.sudo().company_id = other
        self.refund.sudo().write({"journal_id": False, "company_id": other.id})
        self.env.flush_all()
        self.env.invalidate_all()
        for records in (self.own, self.attempt, self.refund):
            for role in set(ROLES) - {"portal", "nobody"}:
                found = records.with_user(self.users[role]).with_context(allowed_company_ids=self.company.ids)
                with self.subTest(model=records._name, role=role):
                    self.assertFalse(found.has_access("read"))

    def test_sales_sees_own_customers_only(self):
        for own, others in ((self.own, self.other), (self.attempt, self.other_attempt)):
            self.assertTrue(own and others)
            self.assertEqual((own | others).with_user(self.users["sales"])._filtered_access("read"), own)

    def test_invariant_16_fields_of_the_own_profile_that_customers_read(self):
        found = read_by_portal(self.users["portal"], "customer_billing_payment")
        self.assertEqual(found, {"billing_prepaid"})

    def test_invariant_16_portal_sees_mandates_of_its_company(self):
        colleague = self.env["res.partner"].create({"name": "Colleague", "parent_id": self.customer.id})
        everything = self.own | self.other
        for user, expected in (
            (self.user_one, self.own),
            (self.user_two, self.other),
            (self.new_portal(colleague, "psec_colleague"), self.own),
        ):
            self.assertEqual(everything.with_user(user)._filtered_access("read"), expected)

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
        methods = (
            (self.own, "action_revoke"),
            (self.attempt, "action_set_paid"),
            (self.attempt, "action_set_not_paid"),
            (self.attempt, "action_ask_provider"),
            (self.move, "action_billing_charge"),
            (self.refund, "action_refund"),
            (self.refund, "action_approve"),
            (self.refund, "action_refuse"),
        )
        for role in ("nobody", "sales", "collector", "auditor", "portal"):
            for records, name in methods:
                before = self.snapshot()
                with self.subTest(role=role, method=name), self.assertRaises(UserError):
                    getattr(records.with_user(self.users[role]), name)()
                self.assertEqual(self.snapshot(), before)

    def test_the_list_of_methods_is_complete(self):
        found = set()
        for model in (*ACCESS, "account.move", "res.partner"):
            for name in dir(type(self.env[model])):
                method = getattr(type(self.env[model]), name)
                if name.startswith("action_") and "customer_billing_payment" in getattr(method, "__module__", ""):
                    found.add(name)
        shown = {
            "action_view_transaction", "action_view_billing_attempts", "action_view_billing_mandates",
            "action_view_billing_failed_attempts", "action_refund_billing_credit",
        }  # fmt: skip
        self.assertEqual(
            found - shown,
            {
                "action_revoke", "action_set_paid", "action_set_not_paid", "action_ask_provider",
                "action_billing_charge", "action_refund", "action_approve", "action_refuse",
            },
        )  # fmt: skip

    def test_protected_fields_are_refused(self):
        for records in (self.own, self.attempt, self.refund, self.move):
            names = records._billing_protected
            if records == self.move:
                names = ("billing_charge_state", "billing_charge_date", "billing_prepaid_kind")
            for name in sorted(names):
                value = {
                    "many2many": [Command.clear()],
                    "selection": "topup" if name == "billing_prepaid_kind" else "done", "date": "2031-01-01",
                    "datetime": "2031-01-01 00:00:00", "char": "X", "text": "X",
                }.get(records._fields[name].type, 7)  # fmt: skip
                for role in ("officer", "manager"):
                    with self.subTest(field=name, role=role), self.assertRaises(AccessError):
                        records.with_user(self.users[role]).write({name: value})

    def test_officers_do_the_work(self):
        officer = self.users["officer"]
        self.attempt.with_user(officer).action_set_paid()
        self.assertEqual(self.move.amount_residual, 0)
        self.other_attempt.with_user(officer).action_set_not_paid()
        self.other_move.with_user(officer).action_billing_charge()
        self.other.with_user(officer).action_revoke()

    def test_whoever_reads_bills_reads_their_links(self):
        moves = self.open_bill() | self.open_bill()
        for role in ("sales", "collector", "auditor", "officer", "portal"):
            with self.subTest(role=role):
                readable = moves.with_user(self.users[role])
                self.assertIn("/my/billing/pay/", readable._get_payment_url())
                self.assertIn("payment=True", readable[0]._get_payment_url())
                self.assertTrue(readable[0]._get_billing_qr_code())

    def test_sums_for_those_who_see_the_customer(self):
        self.pay_in(33)
        for role in ("sales", "collector", "auditor", "officer"):
            with self.subTest(role=role):
                partner = self.customer.with_user(self.users[role])
                self.assertEqual((partner.billing_credit_amount, partner.billing_mandate_count), (33, 1))
