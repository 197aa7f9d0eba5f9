from unittest.mock import patch

from freezegun import freeze_time
from psycopg2 import IntegrityError
from psycopg2.errors import SerializationFailure

from odoo import Command, fields
from odoo.exceptions import AccessError, ConcurrencyError, UserError
from odoo.tests import tagged
from odoo.tools import mute_logger

from odoo.addons.base.models.ir_mail_server import IrMail_Server
from odoo.addons.mail.tests.common import MockEmail

from ..models import billing_price_revision
from ..models.billing_contract_amendment import BillingContract
from .common import BillingCommon


class RevisionCommon(BillingCommon):
    """Contracts of 100 a month in advance from 2026-01-01; today is 2026-10-10."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        (cls.customer | cls.other_customer).lang = "en_US"
        cls.contract = cls.new_contract("2026-01-01", [{"price_id": False, "price_unit": 100.0}])
        cls.line = cls.contract.line_ids
        cls.other = cls.new_contract(
            "2026-01-01", [{"price_id": False, "price_unit": 80.0, "discount": 10.0}],
            partner_id=cls.other_customer.id,
        )  # fmt: skip

    @classmethod
    def new_revision(cls, compute=True, **values):
        record = cls.env["billing.price.revision"].create(
            {
                "name": "Prices of 2027",
                "percent": 3.0,
                "date": "2027-01-01",
                "company_id": cls.company.id,
                **values,
            }
        )
        if compute:
            record.action_compute()
        return record

    def work(self):
        with self.in_job() as commits:
            self.env["billing.price.revision"]._cron_work()
        return commits

    def notify(self, record):
        record.action_notify()
        self.work()
        return record

    def line_of(self, record, contract):
        return record.line_ids.filtered(lambda line: line.contract_id == contract)

    def amounts(self, contract, until):
        """What is billed up to a date: [(period start, amount)]."""
        return [(row["period_start"], row["amount"]) for row in contract.simulate(until)]


@tagged("post_install", "-at_install")
@freeze_time("2026-10-10 12:00:00")
class TestPriceRevision(RevisionCommon, MockEmail):
    def test_whole_flow(self):
        before = self.amounts(self.contract, "2026-12-31")
        record = self.new_revision()
        self.assertEqual(record.state, "draft")
        line = self.line_of(record, self.contract)
        self.assertEqual((line.price_unit, line.new_price_unit, line.outcome), (100.0, 103.0, "proposed"))
        self.assertEqual((round(line.change_percent, 2), line.yearly_effect), (3.0, 36.0))
        self.assertEqual(self.line_of(record, self.other).new_price_unit, 82.4)
        self.assertEqual(record.yearly_effect, 36.0 + 25.92)
        self.assertEqual(len(self.contract.line_ids), 1)
        record.action_notify()
        self.assertEqual((record.state, record.queued_count), ("notified", 2))
        self.assertEqual(len(self.contract.line_ids), 1, "not before the letter is out")
        self.work()
        self.assertEqual(set(record.notice_ids.mapped("state")), {"sent"})
        self.assertEqual(set(record.line_ids.mapped("outcome")), {"applied"})
        new = line.new_line_id
        self.assertEqual((str(self.line.date_end), str(new.date_start)), ("2026-12-31", "2027-01-01"))
        self.assertEqual((new.price_unit, new.previous_line_id), (103.0, self.line))
        self.assertEqual(self.line_of(record, self.other).new_line_id.discount, 10.0)
        self.assertEqual(self.amounts(self.contract, "2026-12-31"), before)
        self.assertEqual(self.amounts(self.contract, "2027-01-31")[-1], ("2027-01-01", 103.0))
        self.assertEqual(self.bill("2026-12-01", self.contract).move_ids.amount_untaxed, 1200.0)
        with freeze_time("2026-12-31 12:00:00"):
            self.work()
            self.assertEqual(record.state, "notified")
        with freeze_time("2027-01-01 12:00:00"):
            self.work()
            self.assertEqual(record.state, "effective")
            self.assertEqual(self.bill("2027-01-01", self.contract).move_ids.amount_untaxed, 103.0)
            with self.assertRaisesRegex(UserError, "for “Draft”, “Customers notified”"):
                record.action_cancel()

    def test_not_before_the_notice_days(self):
        record = self.new_revision(date="2026-11-08")
        with self.assertRaisesRegex(UserError, "11/09/2026"):
            record.action_notify()
        self.assertEqual((record.state, len(record.notice_ids)), ("draft", 0))
        record.write({"date": "2026-11-09"})
        self.assertFalse(record.line_ids, "computed for another day")
        record.action_compute()
        self.notify(record)
        self.assertEqual(set(record.line_ids.mapped("outcome")), {"applied"})

    def test_letters_that_leave_too_late_are_not_sent(self):
        record = self.new_revision(date="2026-11-09")
        record.action_notify()
        with freeze_time("2026-10-11 12:00:00"):
            commits = self.work()
        self.assertTrue(commits)
        self.assertEqual(set(record.notice_ids.mapped("state")), {"failed"})
        self.assertIn("Too late", record.notice_ids[0].error)
        self.assertEqual(set(record.line_ids.mapped("outcome")), {"skipped"})
        self.assertIn("Not notified in time", record.line_ids[0].reason)
        self.assertEqual(len(self.contract.line_ids), 1)

    def test_notice_days_of_the_company(self):
        self.company.billing_price_notice_days = 45
        self.assertEqual(self.new_revision(compute=False).notice_days, 45)
        self.assertEqual(str(self.new_revision(compute=False).deadline), "2026-11-17")

    def test_no_email_and_letter(self):
        self.other_customer.email = False
        record = self.new_revision()
        self.notify(record)
        notice = record.notice_ids.filtered(lambda notice: notice.partner_id == self.other_customer)
        self.assertEqual(notice.state, "failed")
        self.assertIn("No valid e-mail address", notice.error)
        self.assertEqual(record.unreached_count, 1)
        self.assertEqual(self.line_of(record, self.contract).outcome, "applied")
        self.assertEqual(self.line_of(record, self.other).outcome, "proposed")
        with self.assertRaisesRegex(UserError, "not before"):
            notice.action_letter("2026-10-11")
        notice.action_letter("2026-10-09")
        self.assertEqual((notice.state, str(notice.date)), ("letter", "2026-10-09"))
        self.assertEqual(self.line_of(record, self.other).outcome, "applied")

    def test_the_letter_goes_to_those_who_get_bills(self):
        self.customer.email = False  # the role is enough
        self.env["res.partner"].create(
            [
                {"name": "Desk", "parent_id": self.customer.id, "email": "desk@customer.example",
                 "billing_role_billing": True},
                {"name": "Tech", "parent_id": self.customer.id, "email": "tech@customer.example",
                 "billing_role_technical": True},
            ]
        )  # fmt: skip
        record = self.new_revision(contract_ids=[Command.set(self.contract.ids)])
        record.action_notify()
        self.assertEqual(record.notice_ids.email, "desk@customer.example")
        with self.mock_mail_gateway():
            self.work()
        self.assertEqual(record.notice_ids.state, "sent")
        self.assertEqual([mail["email_to"] for mail in self._mails], [['"Desk" <desk@customer.example>']])

    def test_letter_too_late_and_skipped(self):
        self.other_customer.email = False
        record = self.new_revision()
        self.notify(record)
        notice = record.notice_ids.filtered(lambda notice: notice.state == "failed")
        with freeze_time("2026-12-03 12:00:00"):
            with self.assertRaisesRegex(UserError, "Too late"):
                notice.action_letter()
            self.work()
            self.assertEqual(self.line_of(record, self.other).outcome, "skipped")
            self.assertEqual(record.state, "notified")
        self.assertEqual(self.other.line_ids.price_unit, 80.0)

    def test_send_again_after_the_address_is_known(self):
        self.other_customer.email = False
        record = self.new_revision()
        self.notify(record)
        self.other_customer.email = "now@customer.example"
        record.notice_ids.action_send_again()
        self.work()
        self.assertEqual(self.line_of(record, self.other).outcome, "applied")

    def test_one_letter_per_customer(self):
        second = self.new_contract("2026-02-01", [{"price_id": False, "price_unit": 10.0}])
        record = self.new_revision()
        record.action_notify()
        notice = record.notice_ids.filtered(lambda notice: notice.partner_id == self.customer)
        with self.mock_mail_gateway():
            self.work()
        self.assertEqual(len(self._mails), 2)
        body = next(m["body"] for m in self._mails if "one@customer.example" in m["email_to"][0])
        for text in (self.contract.name, second.name, "100.00", "103.00", "10.30", "01/01/2027",
                     f"/my/price-changes/{notice.id}?access_token="):  # fmt: skip
            self.assertIn(text, body)
        self.assertNotIn("unsubscribe", body.lower())
        self.assertNotIn(self.other.name, body)

    def test_mail_in_the_language_of_the_customer(self):
        self.env["res.lang"]._activate_lang("zh_CN")
        self.customer.lang = "zh_CN"
        template = self.env.ref("customer_billing.mail_template_price_notice")
        template.with_context(lang="zh_CN").subject = "自 {{ format_date(object.date_effective) }} 起的价格"
        record = self.new_revision(contract_ids=[Command.set(self.contract.ids)])
        record.action_notify()
        with self.mock_mail_gateway():
            self.work()
        [mail] = self._mails
        self.assertEqual(mail["subject"], "自 2027/01/01 起的价格")
        self.assertIn("2027/01/01", mail["body"])
        self.assertNotIn("01/01/2027", mail["body"])

    @mute_logger("odoo.addons.customer_billing.models.billing_price_notice")
    def test_a_mail_server_that_fails_is_tried_again(self):
        record = self.new_revision(contract_ids=[Command.set(self.contract.ids)])
        record.action_notify()
        with self.mock_mail_gateway(), patch.object(
            IrMail_Server, "send_email", side_effect=OSError("no route")
        ):
            for _night in range(2):
                self.work()
            self.assertEqual((record.notice_ids.state, record.notice_ids.tries), ("queued", 2))
        self.assertEqual(len(self.contract.line_ids), 1)
        self.work()
        self.assertEqual(record.notice_ids.state, "sent")
        self.assertEqual(record.line_ids.outcome, "applied")

    @mute_logger("odoo.addons.mail.models.mail_mail")
    def test_an_address_that_is_none(self):
        self.customer.email = "at the counter"
        record = self.new_revision(contract_ids=[Command.set(self.contract.ids)])
        record.action_notify()
        with self.mock_mail_gateway():
            for _night in range(3):
                self.work()
        self.assertEqual(record.notice_ids.state, "failed")
        self.assertEqual(len(self.contract.line_ids), 1)

    def test_a_mail_that_comes_back_holds_the_price(self):
        record = self.new_revision()
        self.notify(record)
        notice = self.line_of(record, self.contract).notice_id
        notice._message_receive_bounce("one@customer.example", self.customer)
        self.assertEqual(notice.state, "failed")
        self.assertIn("came back", notice.error)
        self.assertTrue(notice.activity_ids)
        self.assertEqual(self.line_of(record, self.contract).outcome, "proposed")
        self.assertEqual(self.line_of(record, self.other).outcome, "applied")
        self.assertEqual(self.contract.line_ids, self.line)
        self.assertFalse(self.line.date_end)
        notice.action_letter()
        self.assertEqual(self.line_of(record, self.contract).outcome, "applied")

    def test_only_if_acknowledged(self):
        record = self.new_revision(acknowledgement_required=True)
        self.notify(record)
        self.assertEqual(set(record.line_ids.mapped("outcome")), {"proposed"})
        notice = self.line_of(record, self.contract).notice_id
        notice.action_acknowledge("Ms One")
        self.assertEqual((notice.acknowledged_by, notice.acknowledged_how), ("Ms One", "staff"))
        self.assertEqual(self.line_of(record, self.contract).outcome, "applied")
        notice.action_acknowledge("Somebody else")
        self.assertEqual(notice.acknowledged_by, "Ms One")
        with freeze_time("2027-01-01 12:00:00"):
            self.work()
        self.assertEqual(self.line_of(record, self.other).outcome, "skipped")
        self.assertIn("Not acknowledged", self.line_of(record, self.other).reason)
        self.assertEqual(record.state, "effective")

    def test_merged_contacts_keep_their_letters(self):
        contacts = self.env["res.partner"].create(
            [{"name": name, "parent_id": self.customer.id, "email": f"{name}@x.example"} for name in "ab"]
        )
        for contact in contacts:
            self.new_contract(
                "2026-01-01", [{"price_id": False, "price_unit": 7.0}], invoice_partner_id=contact.id
            )
        record = self.notify(self.new_revision())
        self.assertEqual(len(record.notice_ids), 4)
        wizard = self.env["base.partner.merge.automatic.wizard"].create({})
        wizard._merge(contacts.ids, contacts[0])
        self.env.invalidate_all()
        self.assertEqual(len(record.notice_ids.filtered(lambda n: n.partner_id == contacts[0])), 2)

    # By hand

    def test_negotiated_and_excluded_lines_survive_computing_again(self):
        record = self.new_revision()
        one, two = self.line_of(record, self.contract), self.line_of(record, self.other)
        one.new_price_unit = 101.5
        self.assertTrue(one.is_negotiated)
        self.assertEqual((round(one.change_percent, 2), one.yearly_effect), (1.5, 18.0))
        two.reason = "Fixed until 2028"
        two.action_exclude()
        record.write({"percent": 4.0, "date": "2027-02-01"})
        record.action_compute()
        self.assertEqual(len(record.line_ids), 2)
        self.assertEqual(str(one.date), "2027-02-01")
        self.assertEqual((one.new_price_unit, two.outcome, two.reason), (101.5, "excluded", "Fixed until 2028"))
        self.notify(record)
        self.assertEqual(one.new_line_id.price_unit, 101.5)
        self.assertEqual(len(record.notice_ids), 1)
        self.assertEqual(len(self.other.line_ids), 1)
        with self.assertRaisesRegex(UserError, "this step is for"):
            one.new_price_unit = 99.0
        with self.assertRaisesRegex(UserError, "this step is for"):
            record.percent = 5.0

    def test_included_again(self):
        record = self.new_revision()
        record.line_ids.action_exclude("Not this year")
        with self.assertRaisesRegex(UserError, "no new price to tell"):
            record.action_notify()
        record.line_ids.action_include()
        self.assertEqual(set(record.line_ids.mapped("outcome")), {"proposed"})
        self.assertFalse(any(record.line_ids.mapped("reason")))

    def test_selection(self):
        tag = self.env["res.partner.category"].create({"name": "Tenants"})
        self.other_customer.category_id = tag
        industry = self.env["res.partner.industry"].create({"name": "Mills"})
        self.other_customer.industry_id = industry
        tier = self.env["billing.tier"].create({"name": "Gold"})
        self.customer.sudo().billing_tier_id = tier
        product = self.env["product.product"].create({"name": "Other", "type": "service"})
        third = self.new_contract(
            "2026-01-01", [{"product_id": product.id, "price_id": False, "price_unit": 5.0}],
            plan_id=self.plan_arrears.id,
        )  # fmt: skip
        for values, expected in (
            ({}, self.contract | self.other | third),
            ({"plan_ids": self.plan_arrears}, third),
            ({"product_ids": product}, third),
            ({"partner_ids": self.customer}, self.contract | third),
            ({"category_ids": tag}, self.other),
            ({"tier_ids": tier}, self.contract | third),
            ({"industry_ids": industry}, self.other),
            ({"contract_ids": self.contract | third}, self.contract | third),
            ({"partner_ids": self.customer, "product_ids": self.product}, self.contract),
        ):
            with self.subTest(values=values):
                record = self.new_revision(
                    **{name: [Command.set(records.ids)] for name, records in values.items()}
                )
                self.assertEqual(record.line_ids.contract_id, expected)
        with self.assertRaisesRegex(UserError, "No running contract"):
            self.new_revision(plan_ids=[Command.set(self.plan_month_end.ids)])

    def test_which_lines_are_touched(self):
        negotiated = {"price_id": False, "price_unit": 50.0}
        self.new_contract("2026-01-01", [negotiated], activate=False)
        paused = self.new_contract("2026-01-01", [negotiated])
        paused.action_pause("2026-10-01")
        ending = self.new_contract("2026-01-01", [negotiated])
        ending.action_close("2026-12-31")
        lines = self.new_contract(
            "2026-01-01",
            [
                {**negotiated, "name": "once", "charge_type": "one_time"},
                {**negotiated, "name": "ends", "date_end": "2026-12-31"},
                {**negotiated, "name": "starts", "date_start": "2027-01-01"},
                {**negotiated, "name": "coupon", "max_slots": 20},
                {**negotiated, "name": "credit", "price_unit": -5.0},
                {**negotiated, "name": "free", "price_unit": 0.0},
                {**negotiated, "name": "seat", "date_end": "2027-06-30"},
            ],
        ).line_ids
        record = self.new_revision()
        found = {line.contract_line_id.name: line.outcome for line in record.line_ids
                 if line.contract_line_id in lines}  # fmt: skip
        self.assertEqual(
            found, {"coupon": "blocked", "credit": "blocked", "free": "blocked", "seat": "proposed"}
        )
        self.assertTrue(all(line.reason for line in record.line_ids if line.outcome == "blocked"))
        self.assertIn(paused, record.line_ids.contract_id)
        self.assertNotIn(ending, record.line_ids.contract_id)
        self.notify(record)
        seat = record.line_ids.filtered(lambda line: line.contract_line_id.name == "seat").new_line_id
        self.assertEqual((str(seat.date_start), str(seat.date_end)), ("2027-01-01", "2027-06-30"))
        self.assertEqual(self.line_of(record, paused).outcome, "applied")

    # Prices

    def price(self, **values):
        return self.env["billing.price"].create(
            {"product_id": self.product.id, "currency_id": self.company.currency_id.id, "code": "X",
             "date_from": "2026-01-01", **values}
        )  # fmt: skip

    def test_price_by_bracket(self):
        price = self.price(
            pricing_model="graduated", minimum_amount=20.0,
            bracket_ids=[Command.create({"up_to": 10, "unit_amount": 2.0}),
                         Command.create({"up_to": 0, "unit_amount": 1.5, "flat_amount": 5.0})],
        )  # fmt: skip
        contracts = self.env["billing.contract"]
        for _number in range(2):
            contracts |= self.new_contract("2026-01-01", [{"price_id": price.id, "quantity": 30}])
        record = self.new_revision(percent=10.0, contract_ids=[Command.set(contracts.ids)])
        line = record.line_ids[0]
        self.assertTrue(line.is_scaled)
        self.assertEqual(line.outcome, "proposed")
        self.assertEqual((line.change_percent, line.yearly_effect), (10.0, 66.0))  # 55 a month
        with self.assertRaisesRegex(UserError, "no single new price"):
            line.new_price_unit = 3.0
        self.notify(record)
        new = line.new_line_id
        self.assertEqual(new.price_id.bracket_ids.mapped("unit_amount"), [2.2, 1.65])
        self.assertEqual(new.price_id.bracket_ids.mapped("flat_amount"), [0.0, 5.5])
        self.assertEqual(new.price_id.minimum_amount, 22.0)
        self.assertFalse(new.price_id.active)
        self.assertEqual(record.line_ids.new_line_id.price_id, new.price_id, "one for all")
        self.assertEqual(price.bracket_ids.mapped("unit_amount"), [2.0, 1.5])
        self.assertEqual(self.amounts(contracts[0], "2027-01-01")[-2:], [("2026-12-01", 55.0), ("2027-01-01", 60.5)])
        later = self.new_contract("2027-02-01", [{}])
        self.assertEqual(later.line_ids.price_id, price, "new contracts have the published price")
        texts = line._get_amounts()
        self.assertEqual(len(texts), 4)
        self.assertIn("1.65", texts[1][2])

    def test_published_price_and_percentage(self):
        unit = self.price(unit_amount=12.0)
        percentage = self.price(code="P", pricing_model="percentage", unit_amount=0.08)
        contract = self.new_contract(
            "2026-01-01",
            [{"price_id": unit.id}, {"price_id": unit.id, "price_unit": 11.0},
             {"price_id": percentage.id, "quantity": 1000}],
        )  # fmt: skip
        record = self.new_revision(contract_ids=[Command.set(contract.ids)], percent=5.0)
        self.assertEqual(record.line_ids.mapped("outcome"), ["proposed", "proposed", "blocked"])
        self.notify(record)
        new = record.line_ids.new_line_id
        self.assertEqual((new.mapped("price_unit"), new.price_id), ([12.6, 11.55], unit))
        self.assertEqual(unit.unit_amount, 12.0)

    def test_amount(self):
        price = self.price(
            pricing_model="volume", bracket_ids=[Command.create({"up_to": 0, "unit_amount": 1.0})]
        )
        euro = self.setup_other_currency("EUR")
        foreign = self.new_contract(
            "2026-01-01", [{"price_id": False, "price_unit": 10.0}], currency_id=euro.id
        )
        brackets = self.new_contract("2026-01-01", [{"price_id": price.id}])
        record = self.new_revision(method="fixed", amount=2.5, rounding=1.0)
        outcomes = {line.contract_id: (line.outcome, line.new_price_unit) for line in record.line_ids}
        self.assertEqual(outcomes[self.contract], ("proposed", 103.0))
        self.assertEqual(outcomes[self.other], ("proposed", 83.0))
        self.assertEqual(outcomes[foreign][0], "blocked")
        self.assertEqual(outcomes[brackets][0], "blocked")
        low = self.new_revision(method="fixed", amount=-100.0)
        self.assertIn("above zero", self.line_of(low, self.contract).reason)

    def test_foreign_currency(self):
        euro = self.setup_other_currency("EUR", rates=[("2020-01-01", 2.0)])
        foreign = self.new_contract(
            "2026-01-01", [{"price_id": False, "price_unit": 50.0}], currency_id=euro.id
        )
        record = self.new_revision(contract_ids=[Command.set(foreign.ids)], percent=10.0)
        line = record.line_ids
        self.assertEqual((line.currency_id, line.yearly_effect), (euro, 60.0))
        self.assertEqual(line.yearly_effect_company, 30.0)
        self.notify(record)
        self.assertEqual(line.new_line_id.price_unit, 55.0)
        self.assertEqual(self.bill("2027-01-01", foreign).move_ids.currency_id, euro)

    def test_index_with_limits(self):
        record = self.new_revision(
            method="index", index_name="CPI", index_base=100.0, index_current=108.0,
            has_cap=True, cap=5.0, rounding=0.5,
        )  # fmt: skip
        self.assertEqual(self.line_of(record, self.contract).new_price_unit, 105.0)
        self.assertEqual(self.line_of(record, self.other).new_price_unit, 84.0)
        record.action_notify()
        self.assertIn("CPI: from 100 to 108", record.notice_ids[0]._get_why())
        for values in (
            {"has_floor": True, "floor": 6.0, "has_cap": True, "cap": 5.0},
            {"rounding": -1.0},
            {"percent": -100.0},
        ):
            with self.subTest(values=values), self.assertRaises(UserError):
                self.new_revision(compute=False, **values)
        for values in ({"percent": 0.0}, {"method": "index"}, {"method": "fixed"}):
            with self.subTest(values=values), self.assertRaisesRegex(UserError, "Enter"):
                self.new_revision(**values)

    def test_usage_and_minimum(self):
        meter = self.env["billing.meter"].create({"name": "Water", "code": "REVISED"})
        contract = self.new_contract(
            "2026-09-01",
            [
                {"charge_type": "usage", "meter_id": meter.id, "price_id": False, "price_unit": 0.0125},
                {"charge_type": "minimum", "price_id": False, "price_unit": 40.0},
            ],
        )
        usage = contract.line_ids[0]
        records = self.env["billing.usage"].create(
            [
                {"contract_line_id": usage.id, "quantity": 1000, "timestamp": f"{month}-05 08:00:00"}
                for month in ("2026-09", "2027-01")
            ]
        )
        self.bill("2026-10-01", contract)
        record = self.new_revision(contract_ids=[Command.set(contract.ids)], percent=4.0)
        metered, minimum = record.line_ids
        self.assertEqual((metered.new_price_unit, minimum.new_price_unit), (0.013, 41.6))
        self.assertEqual((metered.yearly_amount, minimum.yearly_amount), (12.5, 27.5))
        self.notify(record)
        self.assertEqual(records[1].contract_line_id, metered.new_line_id)
        record.action_cancel()
        self.assertEqual(records.contract_line_id, usage)
        self.assertEqual(len(contract.line_ids), 2)

    # Days

    def test_invariant_3_mid_period_and_month_end(self):
        contract = self.new_contract(
            "2026-01-31", [{"price_id": False, "price_unit": 310.0}], plan_id=self.plan.id
        )
        record = self.new_revision(
            contract_ids=[Command.set(contract.ids)], date="2027-01-10", percent=10.0
        )
        self.notify(record)
        # the period 2026-12-31 – 2027-01-30: 10 days at 310, 21 days at 341
        self.assertEqual(
            self.amounts(contract, "2027-01-31")[-3:],
            [("2026-12-31", 100.0), ("2027-01-10", 231.0), ("2027-01-31", 341.0)],
        )
        self.assertEqual(self.amounts(contract, "2026-11-30")[-1], ("2026-11-30", 310.0))

    def test_month_end_periods(self):
        contract = self.new_contract(
            "2026-01-01", [{"price_id": False, "price_unit": 280.0}], plan_id=self.plan_month_end.id
        )
        record = self.new_revision(
            contract_ids=[Command.set(contract.ids)], date="2027-02-28", percent=10.0
        )
        self.notify(record)
        self.assertEqual(
            self.amounts(contract, "2027-03-01")[-3:],
            [("2027-02-01", 270.0), ("2027-02-28", 11.0), ("2027-03-01", 308.0)],
        )

    def test_without_proration_the_next_period(self):
        plan = self.plan.copy({"proration": "none"})
        contract = self.new_contract("2026-01-01", [{"price_id": False, "price_unit": 100.0}], plan_id=plan.id)
        record = self.new_revision(contract_ids=[Command.set(contract.ids)], date="2027-01-10")
        self.assertEqual(str(record.line_ids.date), "2027-02-01")
        self.notify(record)
        self.assertEqual(str(record.line_ids.new_line_id.date_start), "2027-02-01")

    def test_billed_ahead_is_an_adjustment(self):
        plan = self.plan.copy({"interval_unit": "year"})
        contract = self.new_contract("2026-07-01", [{"price_id": False, "price_unit": 365.0}], plan_id=plan.id)
        self.bill("2026-07-01", contract)
        record = self.new_revision(contract_ids=[Command.set(contract.ids)], percent=100.0)
        self.notify(record)
        move = self.bill("2027-07-01", contract).move_ids
        # 181 days from 2027-01-01 at 1 more a day, and the year from 2027-07-01
        self.assertEqual(move.amount_untaxed, 181.0 + 730.0)
        self.assertEqual(contract.charge_ids.filtered(lambda c: c.revision == 0)[0].amount, 365.0)

    def test_bills_with_lead_days_have_the_new_price(self):
        plan = self.plan.copy({"lead_days": 20})
        contract = self.new_contract("2026-09-01", [{"price_id": False, "price_unit": 100.0}], plan_id=plan.id)
        record = self.new_revision(contract_ids=[Command.set(contract.ids)])
        self.notify(record)
        with freeze_time("2026-12-12 12:00:00"):
            move = self.bill("2026-12-12", contract).move_ids
        self.assertEqual(move.invoice_line_ids.mapped("price_unit")[-1], 103.0)

    def test_two_revisions_in_sequence(self):
        first = self.notify(self.new_revision(percent=10.0))
        second = self.new_revision(percent=10.0, date="2028-01-01")
        self.assertEqual(self.line_of(second, self.contract).price_unit, 110.0)
        self.notify(second)
        self.assertEqual(
            self.contract.line_ids.sorted("date_start").mapped("price_unit"), [100.0, 110.0, 121.0]
        )
        self.assertFalse(self.new_revision(compute=False)._get_contract_lines_left(), "begun that day")
        first.action_cancel()  # the second builds on it
        self.assertEqual(self.line_of(first, self.contract).outcome, "failed")
        self.assertIn("amended since", self.line_of(first, self.contract).reason)
        self.assertEqual(self.amounts(self.contract, "2028-01-01")[-1], ("2028-01-01", 121.0))

    def test_renewing_contracts_wait_for_their_renewal(self):
        plan = self.plan.copy({"renewal": "auto", "term_interval": 1, "term_unit": "year"})
        contract = self.new_contract("2026-01-01", [{"price_id": False, "price_unit": 100.0}], plan_id=plan.id)
        self.assertEqual(str(contract.date_end), "2026-12-31")
        record = self.new_revision(contract_ids=[Command.set(contract.ids)])
        self.notify(record)
        self.assertEqual(record.line_ids.outcome, "proposed")
        with freeze_time("2026-12-02 12:00:00"):
            contract._cron_refresh_states()
            self.assertEqual(str(contract.date_end), "2027-12-31")
            self.work()
        self.assertEqual(record.line_ids.outcome, "applied")

    # Failures

    def test_invariant_8_a_failure_stops_nobody(self):
        record = self.new_revision()
        real = BillingContract.action_amend

        def amend(contract, values, date=None):
            if contract == self.contract:
                raise UserError("No journal")
            return real(contract, values, date)

        with patch.object(BillingContract, "action_amend", amend):
            self.notify(record)
        line = self.line_of(record, self.contract)
        self.assertEqual((line.outcome, line.reason), ("failed", "No journal"))
        self.assertEqual(self.line_of(record, self.other).outcome, "applied")
        exception = self.env["billing.exception"].search([("contract_id", "=", self.contract.id)])
        self.assertEqual((exception.message, exception.state), ("No journal", "open"))
        line.action_retry()
        self.assertEqual(line.outcome, "applied")
        self.assertEqual(exception.state, "resolved")

    def test_a_price_changed_since_is_not_overwritten(self):
        self.other_customer.email = False
        record = self.notify(self.new_revision())
        self.other.action_amend({"lines": [{"line_id": self.other.line_ids.id, "price_unit": 75.0}]}, "2026-11-01")
        record.notice_ids.filtered(lambda n: n.state == "failed").action_letter()
        line = self.line_of(record, self.other)
        self.assertEqual(line.outcome, "failed")
        self.assertIn("changed since", line.reason)
        draft = self.new_revision(date="2027-06-01")
        self.other.action_amend(
            {"lines": [{"line_id": self.other.line_ids.filtered(lambda l: not l.date_end).id, "price_unit": 70.0}]},
            "2026-11-01",
        )
        draft.action_notify()
        self.assertEqual(self.line_of(draft, self.other).outcome, "blocked")

    def test_a_quantity_changed_since_is_kept(self):
        self.other_customer.email = False
        record = self.notify(self.new_revision())
        self.other.action_amend({"lines": [{"line_id": self.other.line_ids.id, "quantity": 4}]}, "2026-11-01")
        record.notice_ids.filtered(lambda n: n.state == "failed").action_letter()
        new = self.line_of(record, self.other).new_line_id
        self.assertEqual((new.quantity, new.price_unit), (4.0, 82.4))

    def test_invariant_1_stopped_half_way_and_again(self):
        contracts = self.contract | self.other
        for number in range(4):
            contracts |= self.new_contract("2026-01-01", [{"price_id": False, "price_unit": 10.0 + number}])
        record = self.new_revision()
        record.action_notify()
        with patch.object(billing_price_revision, "CHUNK_SIZE", 2):
            steps = []
            for _number in range(20):  # time is up after each chunk
                with self.in_job() as commits, patch.object(type(record), "_split_step", self.one_chunk(steps)):
                    self.env["billing.price.revision"]._cron_work()
                if not commits:
                    break
        for contract in contracts:
            self.assertEqual(len(contract.line_ids), 2, steps)
        self.assertEqual(set(record.line_ids.mapped("outcome")), {"applied"})
        self.work()
        record.line_ids.action_retry()
        self.assertEqual({len(contract.line_ids) for contract in contracts}, {2})

    def one_chunk(self, steps):
        """A ``_split_step`` that hands out one record of each kind only: the process dies after it."""
        def split(record, method, records, size=2):
            for one in records[:1]:
                steps.append(one)
                yield method, one

        return split

    def test_the_job_tries_collisions_again_and_tells_errors(self):
        failures = [SerializationFailure("collision"), ConcurrencyError("collision")]
        lines_model = type(self.env["billing.price.revision.line"])
        apply = lines_model._apply

        def collide(lines):
            if failures:
                raise failures.pop()
            return apply(lines)

        record = self.new_revision()
        record.action_notify()
        with (
            patch.object(lines_model, "_apply", collide),
            patch.object(self.env.cr, "rollback"),
            patch("odoo.addons.customer_billing.models.billing_job_mixin.time.sleep"),
            mute_logger("odoo.addons.customer_billing.models.billing_job_mixin"),
        ):
            self.work()
            self.assertFalse(failures)
            self.assertEqual(set(record.line_ids.mapped("outcome")), {"applied"})
            failures.append(ZeroDivisionError("nothing to divide"))
            late = self.new_revision(date="2027-06-01")
            late.action_notify()
            self.work()
        self.assertEqual(set(late.line_ids.mapped("outcome")), {"proposed"})
        self.assertIn("nothing to divide", late.message_ids[0].body)

    def test_the_database_refuses_a_second_line(self):
        record = self.new_revision()
        with mute_logger("odoo.sql_db"), self.assertRaises(IntegrityError), self.env.cr.savepoint():
            record.line_ids[0].sudo().copy()

    def test_large_selections_are_for_the_job(self):
        with patch.object(type(self.env["billing.price.revision"]), "_job_inline_limit", 1):
            record = self.new_revision(compute=False)
            record.action_compute()
            self.assertEqual((record.job, len(record.line_ids)), ("compute", 0))
            with self.assertRaisesRegex(UserError, "background job"):
                record.action_notify()
            self.work()
            self.assertEqual((record.job, len(record.line_ids)), (False, 2))
            record.action_notify()
            self.assertFalse(record.notice_ids)
            self.work()
            self.assertEqual(set(record.line_ids.mapped("outcome")), {"applied"})
            record.action_cancel()
            self.assertEqual(set(record.line_ids.mapped("outcome")), {"applied"})
            self.work()
            self.assertEqual(set(record.line_ids.mapped("outcome")), {"withdrawn"})
            self.assertEqual(self.contract.line_ids, self.line)

    def test_invariant_10_queries_grow_with_contracts_only(self):
        """Computing needs the same queries for any number; amending as many for each contract."""

        def contracts(count):
            made = self.env["billing.contract"]
            for number in range(count):
                made |= self.new_contract("2026-01-01", [{"price_id": False, "price_unit": 10.0 + number}])
            return made

        counts = {}
        for count in (4, 8):
            record = self.new_revision(compute=False, contract_ids=[Command.set(contracts(count).ids)])
            self.env.flush_all()
            self.env.invalidate_all()
            start = self.env.cr.sql_log_count
            record.action_compute()
            self.env.flush_all()
            computed = self.env.cr.sql_log_count - start
            record.action_notify()
            record.notice_ids.sudo().write({"state": "sent", "date": "2026-10-10"})
            self.env.flush_all()
            self.env.invalidate_all()
            start = self.env.cr.sql_log_count
            self.work()
            self.env.flush_all()
            counts[count] = (computed, self.env.cr.sql_log_count - start)
            self.assertEqual(set(record.line_ids.mapped("outcome")), {"applied"})
        self.assertLessEqual(counts[8][0], counts[4][0] + 2)
        self.assertLess(counts[8][1], counts[4][1] * 2 + 5)

    # Cancel

    def test_cancel_leaves_contracts_as_they_were(self):
        before = self.amounts(self.contract, "2027-12-31")
        record = self.notify(self.new_revision())
        self.assertNotEqual(self.amounts(self.contract, "2027-12-31"), before)
        record.action_cancel()
        self.assertEqual(record.state, "cancelled")
        self.assertEqual(set(record.line_ids.mapped("outcome")), {"withdrawn"})
        self.assertEqual(self.contract.line_ids, self.line)
        self.assertFalse(self.line.date_end)
        self.assertEqual(self.amounts(self.contract, "2027-12-31"), before)
        with self.assertRaisesRegex(UserError, "make a new revision"):
            record.action_draft()

    def test_cancel_after_a_bill_ahead_credits_it(self):
        plan = self.plan.copy({"interval_unit": "year"})
        contract = self.new_contract("2026-07-01", [{"price_id": False, "price_unit": 365.0}], plan_id=plan.id)
        self.bill("2026-07-01", contract)
        record = self.new_revision(contract_ids=[Command.set(contract.ids)], percent=100.0)
        self.notify(record)
        record.action_cancel()
        self.assertEqual(self.bill("2027-07-01", contract).move_ids.amount_untaxed, 365.0)
        monthly = self.notify(self.new_revision(contract_ids=[Command.set(self.contract.ids)]))
        run = self.bill("2027-02-01", self.contract)  # made ahead, at the new price
        self.assertEqual(run.move_ids.amount_untaxed, 1200.0 + 206.0)
        monthly.action_cancel()
        self.assertEqual(self.bill("2027-03-01", self.contract).move_ids.amount_untaxed, 100.0 - 6.0)

    def test_withdraw_after_an_objection(self):
        record = self.notify(self.new_revision())
        line = self.line_of(record, self.contract)
        line.notice_id._object("Too much", "Ms One", "192.0.2.1")
        self.assertEqual(record.objection_count, 1)
        self.assertIn("Too much", line.notice_id.activity_ids.note)
        line.action_withdraw("Agreed on the telephone")
        self.assertEqual((line.outcome, line.reason), ("withdrawn", "Agreed on the telephone"))
        self.assertEqual(self.contract.line_ids, self.line)
        self.assertEqual(self.line_of(record, self.other).outcome, "applied")
        self.assertFalse(line.notice_id._get_changes())

    def test_amendments_between_stay_in_the_chain(self):
        record = self.notify(self.new_revision())
        self.contract.action_amend({"lines": [{"line_id": self.line.id, "quantity": 2}]}, "2026-12-01")
        record.action_cancel()
        running = self.contract.line_ids.filtered(lambda line: not line.date_end)
        self.assertEqual((running.quantity, running.price_unit), (2.0, 100.0))
        self.assertEqual(len(self.contract.line_ids), 2)

    def test_a_draft_is_cancelled_and_comes_back(self):
        record = self.new_revision()
        record.action_cancel()
        record.action_draft()
        self.assertEqual((record.state, len(record.line_ids)), ("draft", 0))
        record.unlink()
        told = self.notify(self.new_revision())
        with self.assertRaisesRegex(UserError, "stays as a record"):
            told.unlink()

    # Roles

    def test_invariant_18_who_prepared_does_not_release(self):
        self.company.billing_approval = True
        officer = self.new_staff("officer", login="rev_officer")
        manager = self.new_staff("manager", login="rev_manager")
        record = self.env["billing.price.revision"].with_user(officer).create(
            {"name": "X", "percent": 3.0, "date": "2027-01-01"}
        )  # fmt: skip
        record.action_compute()
        with self.assertRaisesRegex(UserError, "billing manager releases"):
            record.action_notify()
        record.line_ids[0].with_user(manager).action_exclude()
        with self.assertRaisesRegex(UserError, "You prepared"):
            record.with_user(manager).action_notify()
        second = self.new_staff("manager", login="rev_second")
        record.with_user(second).action_notify()
        self.assertEqual(record.notified_by_id, second)
        self.company.billing_approval = False
        other = self.env["billing.price.revision"].with_user(officer).create(
            {"name": "Y", "percent": 3.0, "date": "2027-06-01"}
        )  # fmt: skip
        other.action_compute()
        other.action_notify()
        self.work()
        self.assertIn("applied", other.line_ids.mapped("outcome"))

    def test_another_company_is_not_touched(self):
        other = self.setup_other_company()["company"]
        plan = self.plan.copy({"company_id": other.id})
        contract = self.env["billing.contract"].with_context(allowed_company_ids=(other | self.company).ids).create(
            {"partner_id": self.customer.id, "company_id": other.id, "plan_id": plan.id, "date_start": "2026-01-01",
             "line_ids": [Command.create({"product_id": self.product.id, "price_id": False, "price_unit": 10.0})]}
        )  # fmt: skip
        contract.action_activate()
        record = self.notify(self.new_revision())
        self.assertNotIn(contract, record.line_ids.contract_id)
        theirs = self.env["billing.price.revision"].with_company(other).create(
            {"name": "Theirs", "percent": 1.0, "date": "2027-01-01"}
        )  # fmt: skip
        officer = self.new_staff("officer", login="rev_officer_here")
        with self.assertRaises(AccessError):
            theirs.with_user(officer).action_compute()
        self.assertEqual(fields.Date.to_string(theirs.date), "2027-01-01")
