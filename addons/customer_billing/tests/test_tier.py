from datetime import date, timedelta

from dateutil.relativedelta import relativedelta
from freezegun import freeze_time

from odoo import Command
from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged

from .common import BillingCommon

TODAY = date(2026, 6, 15)


class TierCommon(BillingCommon):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.startClassPatcher(freeze_time(f"{TODAY} 12:00:00"))
        cls.env.user.tz = "UTC"
        cls.env["billing.tier"].search([("company_id", "=", False)]).active = False  # of demo data
        cls.pricelist = cls.env["product.pricelist"].create({"name": "Gold prices", "company_id": cls.company.id})
        cls.gold, cls.silver, cls.basic = cls.env["billing.tier"].create(
            [
                {"name": "Gold", "sequence": 1, "revenue_min": 1000.0, "tenure_min": 6, "limit_days_late": True,
                 "days_late_max": 5, "discount": 10.0, "company_id": cls.company.id,
                 "pricelist_id": cls.pricelist.id},
                {"name": "Silver", "sequence": 2, "revenue_min": 500.0},
                {"name": "Basic", "sequence": 3},
            ]
        )  # fmt: skip
        cls.manager = cls.new_staff("manager")
        cls.tiers = cls.env["billing.tier"]

    @classmethod
    def invoice(cls, amount, day, due=None, partner=None, paid=None, company=None):
        """A posted invoice (credit note below zero) of ``day``; paid in full on the day ``paid``."""
        company = company or cls.company
        move = cls.env["account.move"].with_company(company).create(
            {
                "move_type": "out_invoice" if amount >= 0 else "out_refund",
                "partner_id": (partner or cls.customer).id,
                "invoice_date": day,
                "invoice_date_due": due or day,
                "invoice_line_ids": [
                    Command.create({"name": "Service", "price_unit": abs(amount), "tax_ids": []})
                ],
            }
        )  # fmt: skip
        move.action_post()
        if paid:
            cls.env["account.payment.register"].with_context(
                active_model="account.move", active_ids=move.ids
            ).create({"payment_date": paid})._create_payments()
        return move

    def grade(self, *partners):
        self.tiers._grade(self.company, [partner.id for partner in partners or (self.customer,)])
        return self.proposals()

    def proposals(self, partner=None, state="open"):
        return self.env["billing.tier.proposal"].search(
            [("partner_id", "=", (partner or self.customer).id), ("state", "=", state)]
        )

    def figures(self, partner=None):
        partner = partner or self.customer
        return self.tiers._get_figures(self.company, [partner.id], TODAY)[partner.id]


@tagged("post_install", "-at_install")
class TestTierFigures(TierCommon):
    def test_revenue_is_of_twelve_months_less_credits(self):
        year_ago = TODAY - relativedelta(months=12)
        self.invoice(1000, year_ago)  # one day too old
        self.invoice(700, year_ago + timedelta(days=1))
        self.invoice(-150, TODAY)
        contact = self.env["res.partner"].create({"name": "Site", "parent_id": self.customer.id})
        self.invoice(50, TODAY, partner=contact)
        self.invoice(9999, TODAY + timedelta(days=1))
        self.env["account.move"].create(
            {"move_type": "out_invoice", "partner_id": self.customer.id, "invoice_date": TODAY,
             "invoice_line_ids": [Command.create({"name": "Draft", "price_unit": 500})]}
        )  # fmt: skip
        self.assertEqual(self.figures().revenue, 600)

    def test_tenure_is_since_the_first_contract_or_bill(self):
        self.assertEqual(self.figures().tenure, 0)
        self.new_contract("2025-01-01", activate=False)
        self.assertEqual(self.figures().tenure, 0, "a draft is no contract")
        self.new_contract("2025-12-16")
        self.assertEqual(self.figures().tenure, 5)
        self.invoice(1, date(2025, 12, 15))
        self.assertEqual(self.figures().tenure, 6)

    def test_days_late_are_those_of_paid_and_of_overdue_items(self):
        self.assertIsNone(self.figures().days_late)
        self.invoice(100, date(2026, 5, 1), due=date(2026, 5, 31), paid=date(2026, 5, 11))  # early counts 0
        self.assertEqual(self.figures().days_late, 0)
        self.invoice(100, date(2026, 4, 1), due=date(2026, 4, 10), paid=date(2026, 4, 20))  # 10 days
        self.assertEqual(self.figures().days_late, 5)
        self.invoice(100, date(2026, 6, 1), due=date(2026, 6, 30))  # not due
        self.assertEqual(self.figures().days_late, 5)
        self.invoice(100, date(2026, 5, 1), due=date(2026, 5, 26))  # 20 days and still unpaid
        self.assertEqual(self.figures().days_late, 10)
        behaviour = self.env["billing.receivable"]._get_payment_behaviour(self.company, TODAY)[self.customer.id]
        self.assertEqual((behaviour["paid_count"], behaviour["overdue_count"]), (2, 1))
        self.assertAlmostEqual(behaviour["days_to_pay"], (10 + 19) / 2)

    def test_credited_invoices_and_old_payments_are_no_behaviour(self):
        move = self.invoice(100, date(2026, 4, 1))
        self.env["account.move.reversal"].with_context(active_model="account.move", active_ids=move.ids).create(
            {"journal_id": move.journal_id.id}
        ).refund_moves()
        credit = move.reversal_move_ids
        credit.action_post()
        (move | credit).line_ids.filtered(
            lambda line: line.account_id.account_type == "asset_receivable" and not line.reconciled
        ).reconcile()
        self.assertEqual(move.payment_state, "reversed")
        self.invoice(100, date(2025, 5, 1), paid=date(2025, 6, 15))
        self.assertIsNone(self.figures().days_late)

    def test_the_last_of_two_payments_counts(self):
        move = self.invoice(100, date(2026, 3, 1))
        for day, amount in ((date(2026, 3, 11), 40), (date(2026, 3, 31), 60)):
            self.env["account.payment.register"].with_context(
                active_model="account.move", active_ids=move.ids
            ).create({"payment_date": day, "amount": amount})._create_payments()
        self.assertEqual(self.figures().days_late, 30)

    def test_invariant_10_queries_do_not_grow_with_customers(self):
        def count(number):
            partners = self.env["res.partner"].create([{"name": f"P{number} {i}"} for i in range(number)])
            for partner in partners:
                self.invoice(600, date(2026, 5, 1), partner=partner, paid=date(2026, 5, 2))
                self.new_contract("2026-01-01", partner_id=partner.id)
            self.env.flush_all()
            counts = []
            for mode in ("propose", "propose", "apply"):
                self.company.billing_tier_mode = mode
                self.env.flush_all()
                self.env.invalidate_all()
                before = self.env.cr.sql_log_count
                self.tiers._grade(self.company, partners.ids)
                self.env.flush_all()
                counts.append(self.env.cr.sql_log_count - before)
            self.assertEqual(partners.mapped("billing_tier_id"), self.silver)
            return counts

        count(2)  # warms the caches
        few, many = count(6), count(12)
        for one, two in zip(few, many, strict=True):
            self.assertLessEqual(two, one + 1)


@tagged("post_install", "-at_install")
class TestTierProposal(TierCommon):
    def test_proposed_with_its_figures_and_accepted(self):
        self.invoice(600, date(2026, 1, 1), paid=date(2026, 1, 8))
        proposal = self.grade()
        self.assertEqual((proposal.tier_from_id, proposal.tier_id), (self.tiers, self.silver))
        self.assertEqual((proposal.revenue, proposal.tenure, proposal.days_late), (600, 5, 7))
        self.assertEqual(proposal.change, "up")
        lines = proposal.explanation.split("\n")
        self.assertTrue(lines[0].startswith("Gold: ✗ revenue"), lines)
        self.assertIn("✗ 5 months, at least 6; ✗ 7.0 days late, at most 5", lines[0])
        self.assertTrue(lines[1].startswith("Silver: ✓ revenue"), lines)
        self.assertFalse(self.customer.billing_tier_id)
        proposal.with_user(self.manager).action_accept()
        self.assertEqual(self.customer.billing_tier_id, self.silver)
        self.assertEqual((proposal.state, proposal.closed_by_id), ("accepted", self.manager))
        body = self.customer.message_ids[0].body
        self.assertIn("no tier → Silver", body)
        self.assertIn("✓ revenue", body)
        self.assertFalse(self.grade())
        with self.assertRaisesRegex(UserError, "not open any more"):
            proposal.with_user(self.manager).action_refuse()

    def test_what_was_refused_is_not_proposed_again(self):
        self.invoice(600, TODAY)
        self.grade().with_user(self.manager).action_refuse("Leaves in March")
        self.assertEqual(self.proposals(state="refused").reason, "Leaves in March")
        self.assertFalse(self.grade())
        self.assertFalse(self.customer.billing_tier_id)
        self.invoice(-200, TODAY)
        self.assertEqual(self.grade().tier_id, self.basic, "something else is found")
        self.invoice(200, TODAY)
        self.assertFalse(self.grade(), "the refusal is the last decision")

    def test_open_proposals_follow_the_figures(self):
        self.invoice(600, TODAY)
        first = self.grade()
        self.invoice(100, TODAY)
        self.assertEqual(self.grade(), first)
        self.assertEqual(first.revenue, 700)
        self.invoice(-500, TODAY)
        second = self.grade()
        self.assertEqual((first.state, second.tier_id), ("superseded", self.basic))

    def test_no_rule_holds_means_no_tier(self):
        self.basic.active = False
        self.customer.sudo().billing_tier_id = self.silver
        proposal = self.grade()
        self.assertEqual((proposal.tier_from_id, proposal.tier_id, proposal.change), (self.silver, self.tiers, "down"))
        proposal.with_user(self.manager).action_accept()
        self.assertFalse(self.customer.billing_tier_id)

    def test_archived_tiers_are_taken_from_their_customers(self):
        self.new_contract("2026-01-01")
        self.customer.sudo().billing_tier_id = self.silver
        self.tiers.search([]).active = False
        with self.in_job():
            self.tiers._cron_grade()
        self.assertEqual((self.proposals().tier_from_id, self.proposals().tier_id), (self.silver, self.tiers.browse()))

    def test_applied_by_itself_when_the_company_says_so(self):
        self.company.billing_tier_mode = "apply"
        self.new_contract("2025-01-01")
        for month in range(1, 6):
            self.invoice(300, date(2026, month, 1), paid=date(2026, month, 3))
        with self.in_job() as commits:
            self.tiers._cron_grade()
        self.assertTrue(commits)
        self.assertEqual(self.customer.billing_tier_id, self.gold)
        self.assertFalse(self.proposals(state="accepted").closed_by_id)
        self.assertEqual(self.company.billing_tier_cursor, 0)

    def test_the_job_goes_on_where_it_was_stopped(self):
        self.company.billing_tier_mode = "apply"
        self.new_contract("2026-01-01")
        self.new_contract("2026-01-01", partner_id=self.other_customer.id)
        self.company.billing_tier_cursor = min(self.customer.id, self.other_customer.id)
        with self.in_job():
            self.tiers._cron_grade()
        done = [bool(p.billing_tier_id) for p in (self.customer | self.other_customer).sorted("id")]
        self.assertEqual(done, [False, True])

    def test_only_managers_decide(self):
        self.invoice(600, TODAY)
        self.customer.user_id = self.new_staff("sales")
        proposal = self.grade()
        for role in ("officer", "collector", "auditor"):
            user = self.new_staff(role)
            self.assertEqual(proposal.with_user(user).revenue, 600)
            for call in (
                proposal.with_user(user).action_accept,
                proposal.with_user(user).action_refuse,
                lambda user=user: self.customer.with_user(user).action_set_billing_tier(self.gold.id, "I want"),
                lambda user=user: self.customer.with_user(user).action_release_billing_tier("I want"),
                lambda user=user: self.customer.with_user(user).write({"billing_tier_id": self.gold.id}),
                lambda user=user: self.tiers.with_user(user).action_grade(),
                lambda user=user: self.gold.with_user(user).write({"discount": 50}),
                lambda user=user: proposal.with_user(user).write({"tier_id": self.gold.id}),
            ):
                with self.subTest(role=role), self.assertRaises(AccessError):
                    call()
        sales = self.customer.user_id
        self.assertTrue(proposal.with_user(sales).explanation)
        theirs = proposal.sudo().copy({"partner_id": self.other_customer.id})
        self.assertFalse(theirs.with_user(sales).has_access("read"))

    def test_managers_write_tiers_by_methods_only(self):
        with self.assertRaisesRegex(AccessError, "cannot be set directly"):
            self.customer.with_user(self.manager).write({"billing_tier_id": self.gold.id})
        with self.assertRaisesRegex(AccessError, "cannot be set directly"):
            self.env["res.partner"].with_user(self.manager).create({"name": "X", "billing_tier_id": self.gold.id})
        self.assertTrue(self.env["res.partner"].with_user(self.manager).create({"name": "X"}))


@tagged("post_install", "-at_install")
class TestTierOverride(TierCommon):
    def setUp(self):
        super().setUp()
        self.company.billing_tier_mode = "apply"
        self.mine = self.customer.with_user(self.manager)

    def test_an_override_needs_a_reason_and_is_kept(self):
        for reason in ("", "  ", None):
            with self.assertRaisesRegex(UserError, "Say why"):
                self.mine.action_set_billing_tier(self.gold.id, reason)
        self.mine.action_set_billing_tier(self.gold.id, "Key account")
        self.assertEqual(self.customer.billing_tier_id, self.gold)
        self.assertIn("Key account", self.customer.message_ids[0].body)
        self.grade()
        self.assertEqual(self.customer.billing_tier_id, self.gold, "the job leaves it alone")
        self.mine.action_release_billing_tier("Not any more")
        self.assertIn("Not any more", self.customer.message_ids[0].body)
        self.assertEqual(self.customer.billing_tier_id, self.gold)
        self.grade()
        self.assertEqual(self.customer.billing_tier_id, self.basic)

    def test_an_override_holds_on_its_last_day(self):
        with self.assertRaisesRegex(UserError, "today or later"):
            self.mine.action_set_billing_tier(self.gold.id, "Trial", "2026-06-14")
        self.mine.action_set_billing_tier(self.gold.id, "Trial", "2026-06-15")
        self.grade()
        self.assertEqual(self.customer.billing_tier_id, self.gold)
        with freeze_time("2026-06-16 12:00:00"):
            self.grade()
        self.assertEqual(self.customer.billing_tier_id, self.basic)
        self.assertFalse(self.customer.billing_tier_manual or self.customer.billing_tier_reason)

    def test_an_override_settles_the_open_proposal(self):
        self.company.billing_tier_mode = "propose"
        proposal = self.grade()
        self.mine.action_set_billing_tier(False, "Nothing for now")
        self.assertEqual(proposal.state, "superseded")
        self.assertFalse(self.grade() or self.customer.billing_tier_id)

    def test_contacts_stand_for_their_company(self):
        contact = self.env["res.partner"].create({"name": "Jo", "parent_id": self.customer.id})
        wizard = self.env["billing.tier.change"].with_user(self.manager).create(
            {"partner_ids": [Command.set(contact.ids)], "tier_id": self.gold.id, "reason": "Asked"}
        )
        wizard.action_confirm()
        self.assertEqual(self.customer.billing_tier_id, self.gold)
        self.assertFalse(contact.billing_tier_id)
        wizard.write({"change": "release"})
        wizard.action_confirm()
        self.assertFalse(self.customer.billing_tier_manual)

    def test_companies_grade_for_themselves(self):
        other = self.setup_other_company()["company"]
        self.assertNotEqual(other.billing_tier_mode, "apply")
        self.invoice(600, TODAY)
        self.grade()
        self.assertEqual(self.customer.billing_tier_id, self.silver)
        theirs = self.customer.with_company(other)
        self.assertFalse(theirs.billing_tier_id)
        self.tiers._grade(other, self.customer.ids)
        proposal = self.proposals()
        self.assertEqual((proposal.company_id, proposal.tier_id, proposal.revenue), (other, self.basic, 0))
        self.assertNotIn(self.gold, self.tiers._get_tiers(other), "a tier of this company")
        with self.assertRaisesRegex(UserError, "another company"):
            theirs.action_set_billing_tier(self.gold, "No")

    def test_a_tier_in_use_stays(self):
        self.mine.action_set_billing_tier(self.gold.id, "Key account")
        with self.assertRaises(UserError):
            self.gold.unlink()


@tagged("post_install", "-at_install")
class TestTierEffects(TierCommon):
    def test_new_contracts_and_lines_only(self):
        before = self.new_contract("2026-01-01")
        draft = self.new_contract("2026-01-01", activate=False)
        self.assertEqual((before.line_ids.discount, before.pricelist_id.id), (0, False))
        self.customer.with_user(self.manager).action_set_billing_tier(self.gold.id, "Key account")
        self.assertEqual((before.tier_id, before.line_ids.discount, draft.line_ids.discount), (self.gold, 0, 0))
        self.assertFalse(before.pricelist_id or draft.pricelist_id)
        contract = self.new_contract("2026-01-01")
        self.assertEqual((contract.pricelist_id, contract.line_ids.discount), (self.pricelist, 10))
        self.bill("2026-01-01", contract | before)
        self.assertEqual((contract.charge_ids.amount, before.charge_ids.amount), (90, 100))
        self.customer.with_user(self.manager).action_set_billing_tier(self.basic.id, "Fell back")
        self.gold.discount = 50
        self.assertEqual((contract.tier_id, contract.line_ids.discount), (self.basic, 10))
        self.assertFalse((contract | before).simulate("2026-01-31"), "nothing that was billed opens again")

    def test_a_discount_of_its_own_goes_first(self):
        self.customer.with_user(self.manager).action_set_billing_tier(self.gold.id, "Key account")
        lines = [
            {"discount": 0},
            {"discount": 25},
            {"price_id": False, "price_unit": -20},
            {"charge_type": "minimum", "price_id": False, "price_unit": 50},
        ]
        contract = self.new_contract("2026-01-01", lines)
        self.assertEqual(contract.line_ids.mapped("discount"), [0, 25, 0, 0])

    def test_amendments_keep_the_discount_and_new_items_get_it(self):
        contract = self.new_contract("2026-06-01")
        self.customer.with_user(self.manager).action_set_billing_tier(self.gold.id, "Key account")
        contract.action_amend({"lines": [{"line_id": contract.line_ids.id, "quantity": 2}]}, "2026-07-01")
        self.assertEqual(contract.line_ids.mapped("discount"), [0, 0])
        contract.action_amend({"lines": [{"product_id": self.product.id}]}, "2026-07-01")
        self.assertEqual(contract.line_ids.sorted("id")[-1].discount, 10)

    def test_the_customers_own_price_list_goes_first(self):
        self.customer.with_user(self.manager).action_set_billing_tier(self.gold.id, "Key account")
        feature = self.env.ref("product.group_product_pricelist")
        self.env.ref("base.group_user").implied_ids = [Command.link(feature.id)]
        own = self.env["product.pricelist"].create({"name": "Own"})
        self.customer.specific_property_product_pricelist = own
        self.assertEqual(self.new_contract("2026-01-01").pricelist_id, own)

    def test_groups_and_filters_by_tier(self):
        self.new_contract("2026-01-01")
        self.customer.with_user(self.manager).action_set_billing_tier(self.gold.id, "Key account")
        groups = self.env["billing.contract"]._read_group([("tier_id", "=", self.gold.id)], ["tier_id"], ["__count"])
        self.assertEqual(groups, [(self.gold, 1)])
        partners = self.env["res.partner"]
        self.assertEqual(partners.search([("billing_tier_id", "=", self.gold.id)]), self.customer)
        self.assertIn((self.gold, 1), partners._read_group([], ["billing_tier_id"], ["__count"]))
        self.assertEqual((self.gold.customer_count, self.silver.customer_count), (1, 0))
