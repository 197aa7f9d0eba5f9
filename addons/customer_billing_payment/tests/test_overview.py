from odoo.exceptions import AccessError
from odoo.tests import Form, tagged

from .common import PaymentBillingCommon

SECTIONS = ("billing_last_mandate_ids", "billing_failed_attempt_ids")


@tagged("post_install", "-at_install")
class TestOverview(PaymentBillingCommon):
    """What the screen of one customer says about its payments."""

    def fail(self, customer, token, user, bills):
        """So many declined charges of a customer, by the mandate that is returned."""
        mandate = self.mandate(token, user=user)
        for _number in range(bills):
            self.contract_bill(partner_id=customer.id)
        self.answers = dict.fromkeys(range(1, 99), lambda tx: tx._set_error("expired_card"))
        self.charge()
        return mandate

    def test_methods_failed_charges_and_balance(self):
        old, paid = self.mandate(), self.contract_bill()
        self.charge()
        mandate = self.fail(self.customer, self.token, self.user_one, 2)
        self.assertEqual(paid.billing_charge_state, "done")
        self.assertEqual(old.state, "revoked")
        self.assertEqual(self.customer.billing_last_mandate_ids, mandate)
        failed = self.customer.billing_failed_attempt_ids
        self.assertEqual(failed.mapped("state"), ["declined"] * 2)
        self.assertNotIn(paid, failed.move_id)
        action = self.customer.action_view_billing_failed_attempts()
        self.assertEqual(self.env[action["res_model"]].search(action["domain"]), failed)
        for name in SECTIONS:
            self.assertFalse(self.other_customer[name], name)

        view = "customer_billing.res_partner_view_form_billing"
        self.assertTrue(Form(self.customer, view)._get_modifier("billing_credit_amount", "invisible"))
        self.customer.billing_prepaid = True
        self.pay_in(1000)
        form = Form(self.customer, view)
        self.assertFalse(form._get_modifier("billing_credit_amount", "invisible"))
        self.assertEqual(form.billing_credit_amount, 1000)

    def test_roles_see_what_their_rules_say(self):
        mandate = self.fail(self.customer, self.token, self.user_one, 1)
        for role in ("officer", "collector", "auditor", "manager"):
            seen = self.customer.with_user(self.new_staff(role, login=f"po_{role}"))
            with self.subTest(role=role):
                self.assertEqual(seen.billing_last_mandate_ids, mandate)
                self.assertEqual(len(seen.billing_failed_attempt_ids), 1)
                seen.read([*SECTIONS, "billing_credit_amount"])
        sales = self.new_staff("sales", login="po_sales")
        for name in SECTIONS:
            self.assertFalse(self.customer.with_user(sales)[name], name)
        self.customer.user_id = sales
        self.customer.invalidate_recordset()
        for name in SECTIONS:
            self.assertTrue(self.customer.with_user(sales)[name], name)
        for user in (self.new_staff(login="po_nobody"), self.user_one):
            for name in SECTIONS:
                with self.assertRaises(AccessError):
                    self.customer.with_user(user).read([name])

    def test_companies_show_their_own(self):
        self.fail(self.customer, self.token, self.user_one, 1)
        theirs = self.customer.with_company(self.setup_other_company()["company"])
        for name in SECTIONS:
            self.assertFalse(theirs[name], name)

    def test_invariant_10_queries_do_not_grow_with_the_history(self):
        def count(partner):
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            partner.read([*SECTIONS, "billing_credit_amount"])
            for name in SECTIONS:
                partner[name].mapped("display_name")
            partner.billing_last_mandate_ids.mapped("token_name")
            return self.env.cr.sql_log_count - before

        self.fail(self.customer, self.token, self.user_one, 1)
        self.fail(self.other_customer, self.new_token(self.other_customer), self.user_two, 5)
        count(self.customer)
        self.assertLessEqual(count(self.other_customer), count(self.customer) + 1)
