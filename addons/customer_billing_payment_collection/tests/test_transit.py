from datetime import timedelta

from psycopg2.errors import CheckViolation

from odoo import Command, fields
from odoo.tests import tagged
from odoo.tools import format_date, mute_logger

from odoo.addons.customer_billing_collection.tests.common import CollectionCommon
from odoo.addons.customer_billing_payment.tests.common import PaymentBillingCommon


@tagged("post_install", "-at_install")
class TestTransit(PaymentBillingCommon, CollectionCommon):
    """A bill that is four days late, and an online payment of it that its provider does not confirm."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.policy = cls.new_policy({"name": "Friendly", "days": 3})
        cls.company.billing_dunning_policy_id = cls.policy
        cls.move = cls.open_bill(100.0, days=-4)
        cls.classPatch(cls.registry["payment.provider"], "support_manual_capture", "full_only")

    def begin(self, state="pending", days=0, amount=100.0, move=None, **values):
        """An online payment with its last news so many days ago."""
        tx = self._create_transaction(
            "direct", amount=amount, invoice_ids=[Command.set((move or self.move).ids)],
            partner_id=self.customer.id, reference=values.pop("reference", "WEB-1"), **values,
        )  # fmt: skip
        if state:
            getattr(tx, f"_set_{state}")()
        return self.age(tx, days)

    def age(self, tx, days):
        tx.last_state_change = fields.Datetime.now() - timedelta(days=days)
        return tx

    def row(self):
        items = self.env["billing.case"]._read_items(self.company, self.today, self.customer.ids)
        return items[self.customer.id, self.company.currency_id.id][0]

    def test_invariant_14_what_never_arrives_is_demanded_again(self):
        for state in ("pending", "authorized"):
            with self.subTest(state):
                tx = self.begin(state, days=14, reference=f"WEB-{state}")
                self.night()
                self.assertFalse(self.case(), "until the end of the last day")
                self.age(tx, 15)
                self.assertEqual((self.row()["transit"], self.row()["excluded"]), (0.0, None))
                tx._set_canceled()
        tx = self.begin(days=15)
        self.night()
        case = self.case()
        self.assertEqual((self.sent(case), case.notice_ids.amount), (["Friendly"], 100.0))
        self.assertIn("WEB-1", case.items_html)
        self.assertIn("not awaited any longer", case.items_html)

    def test_the_company_says_how_long(self):
        self.begin(days=3)
        self.company.billing_transit_days = 2
        self.assertFalse(self.row()["excluded"])
        self.company.billing_transit_days = 3
        self.assertEqual(self.row()["excluded"], "transit")
        with self.assertRaises(CheckViolation), mute_logger("odoo.sql_db"), self.env.cr.savepoint():
            self.company.billing_transit_days = 0
            self.env.flush_all()

    def test_invariant_14_confirmed_money_is_never_demanded(self):
        tx = self.begin("done", days=90)
        self.assertFalse(tx.is_post_processed)
        self.night()
        self.assertEqual(self.row()["excluded"], "transit")
        self.assertFalse(self.case())

    def test_invariant_14_an_unknown_outcome_is_never_demanded(self):
        bill = self.contract_bill()
        bill.invoice_date_due -= timedelta(days=4)
        self.mandate()
        for state in ("draft", "pending"):
            self.answers = {1: lambda tx: None}
            if state == "draft":
                self.charge()
            attempt = self.attempts(bill)
            if state == "pending":
                attempt.transaction_id._set_pending()
            self.age(attempt.transaction_id, 90)
            [row] = [row for row in self.env["billing.case"]._read_items(
                self.company, self.today, self.customer.ids
            )[self.customer.id, self.company.currency_id.id] if row["move_id"] == bill.id]  # fmt: skip
            self.assertEqual((attempt.state, row["excluded"]), ("processing", "transit"))

    def test_invariant_14_news_between_proposal_and_sending(self):
        tx = self.begin(days=15)
        self.night(send=False)
        notice = self.case().notice_ids
        self.assertEqual(notice.state, "queued")
        tx._set_done()  # it came after all
        self.send()
        self.assertEqual((notice.state, notice.reason_code), ("skipped", "transit"))
        self.assertIn("WEB-1, ", notice.reason)

    def test_the_reason_says_what_is_on_its_way_and_since_when(self):
        self.night(send=False)
        case = self.case()
        self.begin(days=5)
        case._refresh()
        self.send()
        since = fields.Date.to_string(fields.Date.today() - timedelta(days=5))
        notice = case.notice_ids
        self.assertEqual(
            notice.reason_values["payments"], [{"name": "WEB-1", "date": since, "amount": 100.0}]
        )
        self.assertIn("A payment is on its way. WEB-1, ", notice.reason)
        self.night()
        self.assertIn("WEB-1, ", notice.reason, "also as the night tells it")
        self.assertIn("WEB-1, ", case.items_html)

    def test_what_is_late_takes_nothing_from_what_is_not(self):
        self.begin(days=20, amount=100.0, reference="OLD")
        self.begin(days=1, amount=60.0, reference="NEW")
        row = self.row()
        self.assertEqual((row["transit"], row["excluded"]), (60.0, None))
        self.assertEqual({p["name"]: (p["amount"], p["is_late"]) for p in row["payments"]},
                         {"NEW": (60.0, False), "OLD": (40.0, True)})  # fmt: skip
        self.night()
        self.assertEqual(self.case().notice_ids.amount, 40.0)

    def test_customers_without_a_case_are_told_with_the_day(self):
        self.begin(days=5)
        item = self.env["billing.health"]._get_left_out_item(self.company)
        self.assertEqual(item["value"], 1)
        since = format_date(self.env, fields.Date.today() - timedelta(days=5))
        self.assertIn(f"Payment on its way (since {since}): 1", item["hint"])
