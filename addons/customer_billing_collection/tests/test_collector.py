from freezegun import freeze_time

from odoo import Command
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import tagged

from .common import CollectionCommon


@tagged("post_install", "-at_install")
@freeze_time("2026-03-14")
class TestCollector(CollectionCommon):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.north, cls.south, cls.large = (
            cls.new_staff("collector", login=f"col_{name}") for name in ("north", "south", "large")
        )
        cls.manager = cls.new_staff("manager", login="col_manager")
        cls.country = cls.env.ref("base.fr")

    def rule(self, name, users, **criteria):
        return self.env["billing.collector.rule"].with_user(self.manager).create(
            {"name": name, "company_id": self.company.id, "collector_ids": [Command.set(users.ids)], **criteria}
        )

    def choose(self, amount=100.0, partner=None):
        partner = partner or self.customer
        return self.env["billing.case"]._get_collectors(self.company, {partner: amount})[partner]

    def test_the_first_rule_that_fits(self):
        self.rule("Large", self.large, sequence=1, amount_from=1000.0)
        self.rule("France", self.north, sequence=2, country_ids=[Command.set(self.country.ids)])
        self.assertEqual(self.choose(), self.collector, "that of the company")
        self.customer.country_id = self.country
        self.assertEqual(self.choose(), self.north)
        self.assertEqual(self.choose(1000.0), self.large)
        self.customer.with_company(self.company).billing_collector_id = self.south
        self.assertEqual(self.choose(1000.0), self.south, "the customer's own")

    def test_each_criterion(self):
        tag = self.env["res.partner.category"].create({"name": "VIP"})
        industry = self.env["res.partner.industry"].create({"name": "Mining"})
        tier = self.env["billing.tier"].create({"name": "Gold"})
        state = self.env["res.country.state"].create({"name": "S", "code": "S1", "country_id": self.country.id})
        language = self.env["res.lang"]._activate_lang("fr_FR")
        for name, value, vals in (
            ("category_ids", tag, {"category_id": [Command.set(tag.ids)]}),
            ("industry_ids", industry, {"industry_id": industry.id}),
            ("state_ids", state, {"country_id": self.country.id, "state_id": state.id}),
            ("lang_ids", language, {"lang": "fr_FR"}),
            ("tier_ids", tier, None),
        ):
            with self.subTest(name):
                rule = self.rule(name, self.north, **{name: [Command.set(value.ids)]})
                self.assertEqual(self.choose(), self.collector)
                if vals:
                    self.customer.write(vals)
                else:
                    self.customer.sudo()._set_billing_tier(self.company, tier, {self.customer.id: "Test"})
                self.assertEqual(self.choose(), self.north)
                rule.active = False

    def test_invariant_10_queries_do_not_grow_with_customers(self):
        tag = self.env["res.partner.category"].create({"name": "VIP"})
        self.rule("Tag", self.south, category_ids=[Command.set(tag.ids)], country_ids=[Command.set(self.country.ids)])
        self.rule("All", self.north | self.south, lang_ids=[Command.set(self.env.ref("base.lang_en").ids)])
        partners = self.env["res.partner"].create([{"name": f"Customer {n}", "lang": "en_US"} for n in range(9)])
        partners[::2].write({"category_id": [Command.set(tag.ids)], "country_id": self.country.id})
        counts = []
        for ids in (partners.ids[:1], partners.ids[1:4], partners.ids[4:]):
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            amounts = {self.env["res.partner"].browse(number): 100.0 for number in ids}
            found = self.env["billing.case"]._get_collectors(self.company, amounts)
            counts.append(self.env.cr.sql_log_count - before)
            self.assertEqual(set(found), set(amounts))
        self.assertEqual(counts[1], counts[2])

    def test_the_one_with_the_fewest_cases(self):
        self.rule("All", self.north | self.south)
        partners = self.env["res.partner"].create([{"name": f"Customer {n}"} for n in range(3)])
        for partner in partners:
            self.invoice("2026-03-10", 10.0, partner=partner)
        self.night(send=False)
        users = [self.case(partner).collector_id for partner in partners]
        self.assertEqual(sorted(users, key=lambda u: u.id), [self.north, self.north, self.south])

    def test_who_cannot_collect_is_passed_over(self):
        self.rule("All", self.north | self.south)
        self.north.sudo().active = False
        self.assertEqual(self.choose(), self.south)
        self.south.sudo().group_ids -= self.quick_ref("customer_billing.group_billing_collector")
        self.assertEqual(self.choose(), self.collector)
        self.customer.with_company(self.company).billing_collector_id = self.north
        self.assertEqual(self.choose(), self.collector)

    def test_cases_of_who_left_go_to_somebody_else_at_night(self):
        self.rule("All", self.north)
        self.invoice("2026-03-10", 100.0)
        self.night(send=False)
        case = self.case()
        self.assertEqual(case.collector_id, self.north)
        task = case.activity_schedule("mail.mail_activity_data_call", user_id=self.north.id)
        self.assertIn(self.north.partner_id, case.message_partner_ids)
        self.north.sudo().group_ids -= self.quick_ref("customer_billing.group_billing_collector")
        with freeze_time("2026-03-15"):
            self.night(send=False)
        self.assertEqual((case.collector_id, task.user_id), (self.collector, self.collector))
        self.assertNotIn(self.north.partner_id, case.message_partner_ids)
        self.assertIn(self.collector.partner_id, case.message_partner_ids)
        notes = [body for body in case.message_ids.mapped("body") if "does not collect any more" in body]
        self.assertEqual(len(notes), 1)
        self.assertIn(self.north.name, notes[0])

    def test_nobody_to_take_over_stops_no_night(self):
        self.invoice("2026-03-10", 100.0)
        self.night(send=False)
        users = self.env.ref("customer_billing.group_billing_collector").user_ids
        users.sudo().group_ids -= self.quick_ref("customer_billing.group_billing_collector")
        with freeze_time("2026-03-15"):
            self.night(send=False)
        self.assertEqual(self.case().collector_id, self.collector)
        with self.assertRaisesRegex(UserError, "Nobody can take"):
            self.case().with_user(self.manager).action_reassign()

    def test_managers_assign_by_rule(self):
        self.invoice("2026-03-10", 100.0)
        self.invoice("2026-03-10", 100.0, partner=self.other_customer)
        self.night(send=False)
        cases = self.case() | self.case(self.other_customer)
        self.assertEqual(cases.collector_id, self.collector)
        self.rule("All", self.north | self.south)
        with self.assertRaises(AccessError):
            cases.with_user(self.collector).action_reassign()
        for _time in range(2):
            cases.with_user(self.manager).action_reassign()
            self.assertEqual(cases.collector_id, self.north | self.south)
        self.assertEqual(
            len([body for body in cases[0].message_ids.mapped("body") if "by rule" in body]), 1, "told once"
        )

    def opened(self, amount=100.0):
        """A case; rules for small and large amounts, and one user for each."""
        self.rule("Large", self.large, sequence=1, amount_from=1000.0)
        self.rule("Small", self.north | self.south, sequence=2)
        self.invoice("2026-03-10", amount)
        self.night(send=False)
        return self.case()

    def grow(self, day, amount, **values):
        with freeze_time(f"2026-03-{day}"):
            self.invoice("2026-03-13", amount, **values)
            self.night(send=False)

    def test_another_amount_passes_the_case_on(self):
        case = self.opened()
        self.assertEqual((case.collector_id, case.collector_amount), (self.north, 100.0))
        task = case.activity_schedule("mail.mail_activity_data_call", user_id=self.north.id)
        self.grow("15", 400.0)
        self.assertEqual(case.collector_id, self.north, "no bound is crossed")
        self.grow("16", 700.0)
        self.assertEqual((case.collector_id, task.user_id), (self.large, self.large))
        self.assertEqual(case.collector_amount, 1200.0)
        [note] = [body for body in case.message_ids.mapped("body") if "overdue in all" in body]
        for text in (self.north.name, self.large.name, "1,200.00", "100.00"):
            self.assertIn(text, note)
        self.grow("17", -900.0)
        self.assertEqual(case.collector_id, self.north, "and back, to the one with fewer cases")
        waiting = case.notice_ids.filtered(lambda notice: notice.state == "queued")
        self.assertLessEqual(set(waiting.collector_id), {self.north, self.large})

    def test_whom_a_person_has_chosen_stays(self):
        case = self.opened()
        case.with_user(self.manager).collector_id = self.south
        self.assertTrue(case.collector_manual)
        self.grow("15", 2000.0)
        self.assertEqual(case.collector_id, self.south)
        case.with_user(self.manager).action_reassign()
        self.assertEqual((case.collector_id, case.collector_manual, case.collector_amount), (self.large, False, 2100.0))
        self.grow("16", -1900.0)
        self.assertIn(case.collector_id, self.north | self.south, "the rules again")

    def test_a_person_is_followed_by_the_next_case_too(self):
        case = self.opened()
        case.with_user(self.manager).collector_id = self.south
        values = case._get_collector_values(self.north | self.south)
        self.assertEqual((values["collector_id"], values["collector_manual"]), (self.south.id, True))
        self.assertEqual(case._get_collector_values(self.north), {})

    def test_changed_rules_and_own_collectors_pass_nothing_on(self):
        case = self.opened()
        self.rule("New", self.large, sequence=0)
        self.grow("15", 10.0)
        self.assertEqual(case.collector_id, self.north, "the amount has crossed nothing")
        self.customer.with_company(self.company).billing_collector_id = self.south
        self.grow("16", 5000.0)
        self.assertEqual(case.collector_id, self.north)

    def test_the_customer_in_all_counts(self):
        case = self.opened(600.0)
        euro = self.setup_other_currency("EUR", rates=[("2026-01-01", 2.0)])
        self.grow("15", 900.0, currency=euro)  # 450.00
        self.assertEqual(case.collector_id, self.large)
        self.assertEqual(self.case(currency_id=euro.id).collector_id, self.large)

    def test_invariant_10_following_amounts_does_not_cost_more_for_more(self):
        self.opened()
        partners = self.env["res.partner"].create([{"name": f"Customer {n}"} for n in range(12)])
        for partner in partners:
            self.invoice("2026-03-10", 10.0, partner=partner)
        self.night(send=False)
        model = self.env["billing.case"].sudo()
        counts = []
        for ids in (partners.ids[:1], partners.ids[1:4], partners.ids[4:]):
            cases = model.search([("partner_id", "in", ids)])
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            cases._follow_amounts(self.company, dict.fromkeys(cases.partner_id, 5000.0))
            self.env.flush_all()
            counts.append(self.env.cr.sql_log_count - before)
            self.assertEqual(cases.collector_id, self.large)
        self.assertEqual(counts[1], counts[2])

    def test_a_rule_needs_collectors(self):
        with self.assertRaisesRegex(ValidationError, "at least one collector"):
            self.rule("Nobody", self.env["res.users"])
