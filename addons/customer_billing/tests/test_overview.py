from datetime import date, timedelta

from freezegun import freeze_time
from lxml import etree

from odoo.exceptions import AccessError
from odoo.tests import Form, tagged

from .test_tier import TODAY, TierCommon

SECTIONS = (
    "billing_last_contract_ids", "billing_last_move_ids", "billing_last_payment_ids", "billing_last_dispute_ids",
    "billing_open_exception_ids", "billing_last_message_ids",
)  # fmt: skip
FIGURES = (
    "billing_balance_amount", "billing_overdue_amount", "billing_days_to_pay", "billing_days_late",
    "billing_revenue_year", "billing_mrr", "billing_next_date", "billing_next_amount", "billing_ageing",
)  # fmt: skip


@tagged("post_install", "-at_install")
class TestOverview(TierCommon):
    """The screen of one customer."""

    def live(self, partner, months=1):
        """A contract that was billed for some months of 2026; the first bill is paid after ten days and disputed."""
        contract = self.new_contract("2026-01-01", [{"price_id": False, "price_unit": 100.0}], partner_id=partner.id)
        for month in range(1, months + 1):
            day = date(2026, month, 1)
            with freeze_time(day):
                run = self.bill(str(day), contract)
            if month == 1:
                self.env["account.payment.register"].with_context(
                    active_model="account.move", active_ids=run.move_ids.ids
                ).create({"payment_date": day + timedelta(days=10)})._create_payments()
                self.env["billing.dispute"].create({"name": "Why", "move_id": run.move_ids.id})
            run.move_ids.message_post(body="Here it is", partner_ids=partner.ids, message_type="comment")
        return contract

    def test_figures_and_sections(self):
        contract = self.live(self.customer, 3)
        self.env["billing.exception"].sudo().create(
            {"check_id": self.env.ref("customer_billing.billing_check_missing_tax").id, "company_id": self.company.id,
             "contract_id": contract.id, "partner_id": self.customer.id, "severity": "warning", "message": "No tax"}
        )  # fmt: skip
        partner = self.customer
        total = contract.move_ids[0].amount_total
        self.assertEqual(partner.billing_balance_amount, 2 * total)
        self.assertEqual((partner.billing_days_to_pay, partner.billing_paid_count), (10, 1))
        self.assertEqual(partner.billing_revenue_year, 300)
        self.assertEqual(partner.billing_mrr, self.company.currency_id.format(100))
        self.assertEqual(partner.billing_next_date, date(2026, 4, 1))
        self.assertEqual(partner.billing_next_amount, self.company.currency_id.format(100))
        self.assertIn(self.company.currency_id.format(2 * total), str(partner.billing_ageing))
        self.assertEqual(partner.billing_last_contract_ids, contract)
        self.assertEqual(partner.billing_last_move_ids, contract.move_ids)
        self.assertEqual(partner.billing_last_payment_ids.mapped("billing_paid_amount"), [total])
        self.assertEqual(partner.billing_last_dispute_ids.move_id, contract.move_ids.sorted("id")[:1])
        self.assertEqual(partner.billing_open_exception_ids.mapped("message"), ["No tax"])
        self.assertEqual(len(partner.billing_last_message_ids), 3)

    def test_a_contact_shows_its_company(self):
        contract = self.live(self.customer)
        contact = self.env["res.partner"].create({"name": "Desk", "parent_id": self.customer.id})
        self.assertEqual(contact.billing_last_contract_ids, contract)
        self.assertEqual(contact.billing_days_to_pay, 10)
        self.assertEqual(contact.action_open_billing_360()["res_id"], self.customer.id)

    def test_nothing_is_shown_of_a_new_customer(self):
        partner = self.env["res.partner"].create({"name": "New"})
        for name in (*SECTIONS, "billing_next_date", "billing_mrr", "billing_revenue_year", "billing_days_to_pay"):
            self.assertFalse(partner[name], name)
        self.assertIn("Nothing is open", str(partner.billing_ageing))

    def test_roles_see_what_their_rules_say(self):
        contract = self.live(self.customer, 2)
        sales = self.new_staff("sales")
        contract.user_id = self.customer.user_id = sales
        other = self.live(self.other_customer)
        for role in ("officer", "collector", "auditor", "manager"):
            user = self.manager if role == "manager" else self.new_staff(role)
            seen = self.customer.with_user(user)
            with self.subTest(role=role):
                self.assertEqual(len(seen.billing_last_move_ids), 2)
                self.assertEqual(len(seen.billing_last_payment_ids), 1)
                self.assertTrue(seen.billing_balance_amount and seen.billing_next_amount)
                seen.read([*SECTIONS, *FIGURES])
        seen = self.customer.with_user(sales)
        self.assertEqual((len(seen.billing_last_move_ids), len(seen.billing_last_payment_ids)), (2, 1))
        self.assertTrue(seen.billing_last_dispute_ids and seen.billing_last_message_ids)
        theirs = self.other_customer.with_user(sales)
        other.user_id = self.manager
        self.other_customer.user_id = False
        for name in (*SECTIONS, "billing_balance_amount", "billing_next_amount", "billing_revenue_year"):
            self.assertFalse(theirs[name], name)
        for user in (self.new_staff(login="k_nobody"), self.new_portal(self.customer, "k_portal")):
            with self.assertRaises(AccessError):
                self.customer.with_user(user).read(["billing_ageing"])

    def test_companies_have_figures_of_their_own(self):
        self.live(self.customer)
        other = self.setup_other_company()["company"]
        theirs = self.customer.with_company(other)
        for name in ("billing_last_contract_ids", "billing_last_move_ids", "billing_revenue_year"):
            self.assertFalse(theirs[name], name)

    def test_invariant_10_queries_do_not_grow_with_the_history(self):
        def count(partner):
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            partner.read([*SECTIONS, *FIGURES])
            for name in SECTIONS:
                partner[name].mapped("display_name")
            return self.env.cr.sql_log_count - before

        few, many = self.customer, self.other_customer
        self.live(few, 2)
        for _number in range(3):
            self.live(many, 5)
        count(few)
        self.assertLessEqual(count(many), count(few) + 2)

    def test_the_list_of_customers_needs_as_many_queries_for_all(self):
        partners = self.env["res.partner"].create([{"name": f"P {number}"} for number in range(8)])
        for partner in partners:
            self.invoice(100, TODAY - timedelta(days=30), partner=partner, paid=TODAY - timedelta(days=9))
        names = ["billing_balance_amount", "billing_overdue_amount", "billing_days_to_pay", "billing_contract_count"]

        def count(chosen):
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            self.assertEqual({row["billing_days_to_pay"] for row in chosen.read(names)}, {21})
            return self.env.cr.sql_log_count - before

        count(partners[:1])
        self.assertLessEqual(count(partners), count(partners[:2]) + 1)

    def test_each_link_opens_records_of_this_customer(self):
        self.live(self.customer)
        self.live(self.other_customer)
        for method in (
            "action_view_billing_contracts", "action_view_billing_moves", "action_view_billing_payments",
            "action_view_billing_disputes",
        ):  # fmt: skip
            action = getattr(self.customer, method)()
            found = self.env[action["res_model"]].search(action["domain"])
            with self.subTest(method=method):
                self.assertTrue(found)
                self.assertEqual(found.partner_id.commercial_partner_id, self.customer)
        self.assertFalse(self.env["billing.exception"].search(self.customer.action_view_billing_exceptions()["domain"]))

    def test_the_screen_opens_for_each_role(self):
        self.live(self.customer)
        view = "customer_billing.res_partner_view_form_billing"
        for role in ("sales", "collector", "auditor", "officer", "manager"):
            user = self.manager if role == "manager" else self.new_staff(role)
            self.customer.user_id = user
            with self.subTest(role=role):
                seen = self.customer.with_user(user)
                self.assertEqual(Form(seen, view=view).billing_days_to_pay, 10)
                self.read_form(seen.billing_last_move_ids)

    def read_form(self, move):
        """Read what the form of a bill shows to the user, as the browser does."""
        arch = etree.fromstring(move.get_view(view_type="form")["arch"])
        move.read(arch.xpath("//field[not(ancestor::field)]/@name"))
        move.invoice_line_ids.read(arch.xpath("//field[@name='invoice_line_ids']//list/field/@name"))

    def test_who_has_no_accounting_right_reads_payments_in_a_list_alone(self):
        for role, kinds in (("collector", ["list"]), ("officer", ["list", "form"])):
            action = self.customer.with_user(self.new_staff(role)).action_view_billing_payments()
            self.assertEqual([kind for _view, kind in action["views"]], kinds)
