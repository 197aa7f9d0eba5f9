from datetime import date, timedelta

from odoo import Command, fields
from odoo.tests import tagged

from .common import BillingCommon


class ReceivableCommon(BillingCommon):
    """A company in USD with customers that pay in EUR, CHF and USD at rates that change."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.usd = cls.company.currency_id
        cls.eur = cls.setup_other_currency("EUR", rates=[("2025-01-01", 0.80), ("2026-02-01", 0.90), ("2026-03-01", 0.70)])
        cls.chf = cls.setup_other_currency("CHF", rates=[("2025-01-01", 0.85), ("2026-02-01", 0.95), ("2026-03-01", 0.78)])
        cls.receivable = cls.env["billing.receivable"]
        cls.receivable_account = cls.company_data["default_account_receivable"]

    @classmethod
    def invoice(cls, amount, day, partner=None, currency=None, move_type="out_invoice", due=None, **values):
        move = cls.env["account.move"].create(
            {
                "move_type": move_type,
                "partner_id": (partner or cls.customer).id,
                "currency_id": (currency or cls.usd).id,
                "invoice_date": day,
                "date": day,
                "invoice_date_due": due or day,
                "invoice_payment_term_id": False,
                "invoice_line_ids": [
                    Command.create({"product_id": cls.product.id, "price_unit": amount, "tax_ids": []})
                ],
                **values,
            }
        )
        move.action_post()
        return move

    @classmethod
    def pay(cls, amount, day, partner=None, currency=None):
        """A payment in the books; a negative amount is paid back."""
        payment = cls.env["account.payment"].create(
            {
                "payment_type": "inbound" if amount > 0 else "outbound",
                "partner_type": "customer",
                "partner_id": (partner or cls.customer).id,
                "currency_id": (currency or cls.usd).id,
                "amount": abs(amount),
                "date": day,
                "journal_id": cls.company_data["default_journal_bank"].id,
            }
        )
        payment.action_post()
        return payment.move_id

    @classmethod
    def lines(cls, moves):
        return moves.line_ids.filtered(lambda line: line.account_id.account_type == "asset_receivable")

    @classmethod
    def match(cls, moves):
        cls.lines(moves).filtered(lambda line: not line.reconciled).reconcile()


@tagged("post_install", "-at_install")
class TestReceivable(ReceivableCommon):
    def balance(self, day, currency=None, partner=None):
        day = fields.Date.to_date(day)
        found = self.receivable._get_balances(self.company, day, (partner or self.customer).ids)
        return found.get(((partner or self.customer).id, (currency or self.usd).id))

    def movements(self, day_from="2025-01-01", day_to="2027-12-31", currency=None):
        rows = self.receivable._get_movements(
            self.company, fields.Date.to_date(day_from), fields.Date.to_date(day_to), self.customer.ids,
            currency and currency.ids,
        )  # fmt: skip
        return [(row["kind"], str(row["date"]), row["amount"]) for row in rows]

    def assert_identity(self, day):
        found = self.receivable._check_identity(self.company, fields.Date.to_date(day))
        for key, values in found.items():
            with self.subTest(day=day, key=key):
                self.assertEqual((values["difference"], values["difference_company"]), (0.0, 0.0), values)
        ledger = sum(values["ledger"] for values in found.values())
        lines = self.env["account.move.line"].search(
            [("account_id.account_type", "=", "asset_receivable"), ("parent_state", "=", "posted"),
             ("company_id", "=", self.company.id), ("date", "<=", day)]
        )  # fmt: skip
        self.assertAlmostEqual(ledger, sum(lines.mapped("balance")), 2)
        self.assertAlmostEqual(sum(values["moved_company"] for values in found.values()), 0.0, 2)
        return found

    def test_invariant_11_a_euro_invoice_paid_in_dollars_is_settled_in_both(self):
        invoice = self.invoice(100, "2026-01-10", currency=self.eur)
        payment = self.pay(111.11, "2026-02-10")
        self.match(invoice | payment)
        for day, eur, usd in (
            ("2026-01-09", 0.0, 0.0), ("2026-01-10", 100.0, 0.0), ("2026-02-09", 100.0, 0.0),
            ("2026-02-10", 0.0, 0.0), ("2026-02-28", 0.0, 0.0), ("2026-12-31", 0.0, 0.0),
        ):  # fmt: skip
            found = self.assert_identity(day)
            self.assertEqual((self.balance(day, self.eur) or {"balance": 0.0})["balance"], eur)
            self.assertEqual((self.balance(day) or {"balance": 0.0})["balance"], usd)
        self.assertEqual(
            self.movements(),
            [("invoice", "2026-01-10", 100.0), ("conversion", "2026-02-10", -100.0),
             ("payment", "2026-02-10", -111.11), ("conversion", "2026-02-10", 111.11)],
        )  # fmt: skip
