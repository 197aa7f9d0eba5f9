import random
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


@tagged("post_install", "-at_install")
class TestReceivableHistories(ReceivableCommon):
    """Random histories, compared with a walk over the matches in Python, and with what was seen at the time."""

    FIRST = date(2026, 1, 5)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.term = cls.env["account.payment.term"].create(
            {
                "name": "Two instalments",
                "line_ids": [
                    Command.create({"value": "percent", "value_amount": 40, "nb_days": 10}),
                    Command.create({"value": "percent", "value_amount": 60, "nb_days": 45}),
                ],
            }
        )
        cls.exchange_journal = cls.company.currency_exchange_journal_id

    def all_lines(self):
        return self.env["account.move.line"].search(
            [("account_id.account_type", "=", "asset_receivable"), ("company_id", "=", self.company.id)]
        )

    def expected(self, day, lines):
        """Residuals on a day by line, from amounts and matches alone."""
        found = {}
        for line in lines.filtered(lambda line: line.parent_state == "posted" and line.date <= day):
            if line.journal_id == self.exchange_journal:
                continue
            residual = line.amount_currency
            for partial in line.matched_credit_ids | line.matched_debit_ids:
                is_debit = partial.debit_move_id == line
                other = partial.credit_move_id if is_debit else partial.debit_move_id
                when = max(line.date, other.date)
                if other.journal_id == self.exchange_journal:
                    causes = self.env["account.partial.reconcile"].search([("exchange_move_id", "=", other.move_id.id)])
                    if causes:
                        when = min(when, max(causes.debit_move_id.date, causes.credit_move_id.date))
                        if {*causes.debit_move_id.mapped("parent_state"), *causes.credit_move_id.mapped("parent_state")} != {"posted"}:
                            continue
                if other.parent_state == "posted" and when <= day:
                    residual -= partial.debit_amount_currency if is_debit else -partial.credit_amount_currency
            found[line.id] = line.currency_id.round(residual)
        return {line: residual for line, residual in found.items() if residual}

    def seen(self, day):
        """Residuals on a day by line, from the queries."""
        items = self.receivable._get_open_items(self.company, day)
        self.assertEqual(len({item["move_line_id"] for item in items}), len(items))
        return {item["move_line_id"]: item["residual"] for item in items if item["residual"]}

    def act(self, chance, day):
        """Do one thing that happens on a day; return the first day whose balances it may change."""
        currency = chance.choice([self.usd, self.eur, self.chf])
        partner = chance.choice([self.customer, self.other_customer])
        amount = chance.choice([10.0, 33.33, 100.0, 99.99, 250.0])
        posted = self.all_lines().filtered(
            lambda line: line.parent_state == "posted" and line.journal_id != self.exchange_journal
        )
        action = chance.choice(["invoice", "invoice", "pay", "pay", "refund", "match", "match", "match", "undo", "draft"])
        if action == "invoice":
            self.invoice(amount, day, partner, currency, invoice_payment_term_id=chance.choice([False, self.term.id]))
        elif action == "refund":
            self.invoice(amount / 2, day, partner, currency, move_type="out_refund")
        elif action == "pay":
            self.pay(chance.choice([amount, amount / 3, -amount / 4]), day, partner, currency)
        elif action == "match":
            return self.match_some(chance, posted, day)
        elif action == "undo":
            return self.undo_some(chance, posted, day)
        else:
            return self.draft_some(chance, posted, day)
        return day

    def match_some(self, chance, posted, day):
        lines = posted.filtered(lambda line: not line.reconciled)
        chosen = lines.browse(chance.sample(lines.ids, min(len(lines), chance.choice([2, 2, 3, 5]))))
        before = self.env["account.partial.reconcile"].search([])
        if {line.balance > 0 for line in chosen} == {True, False}:
            chosen.reconcile()
        made = self.env["account.partial.reconcile"].search([]) - before
        return min([day, *made.mapped("max_date")])

    def undo_some(self, chance, posted, day):
        lines = posted.filtered(lambda line: line.matched_debit_ids or line.matched_credit_ids)
        if not lines:
            return day
        line = chance.choice(lines)
        dates = (line.matched_debit_ids | line.matched_credit_ids).mapped("max_date")
        line.remove_move_reconcile()
        return min([day, *dates])

    def draft_some(self, chance, posted, day):
        """Take a payment out of the books, or put one back."""
        drafts = self.env["account.payment"].search([("move_id.state", "=", "draft")]).move_id
        moves = drafts or posted.filtered("payment_id").move_id
        if not moves:
            return day
        move = chance.choice(moves)
        move.action_post() if drafts else move.button_draft()
        return min(day, move.date)

    def test_invariant_11_random_histories(self):
        for seed in range(6):
            with self.subTest(seed=seed):
                self.check_history(random.Random(seed))

    def check_history(self, chance):
        day, remembered = self.FIRST, {}
        for _step in range(30):
            changed = self.act(chance, day)
            remembered = {when: seen for when, seen in remembered.items() if when < changed}
            remembered[day] = self.seen(day)
            day += timedelta(days=chance.choice([0, 1, 3, 9]))
        lines = self.all_lines()
        for when, seen in remembered.items():
            self.assertEqual(self.seen(when), seen, f"{when} changed afterwards")
        for _check in range(6):
            start = self.FIRST + timedelta(days=chance.randrange((day - self.FIRST).days + 1))
            self.check_day(start, start + timedelta(days=chance.randrange(60)), lines)

    def check_day(self, start, end, lines):
        expected = self.expected(end, lines)
        self.assertEqual(self.seen(end), expected, end)
        opening = self.receivable._get_balances(self.company, start - timedelta(days=1))
        closing = self.receivable._get_balances(self.company, end, bounds=[7, 14], basis="invoice")
        moved = {}
        for row in self.receivable._get_movements(self.company, start, end):
            key = (row["partner_id"], row["currency_id"])
            moved[key] = moved.get(key, 0.0) + row["amount"]
        for key in {*opening, *closing, *moved}:
            values = closing.get(key, {"balance": 0.0, "buckets": []})
            owed = sum(
                residual for line, residual in expected.items()
                if (lines.browse(line).partner_id.commercial_partner_id.id, lines.browse(line).currency_id.id) == key
            )  # fmt: skip
            self.assertAlmostEqual(values["balance"], owed, 2)
            self.assertAlmostEqual(values["balance"], sum(values["buckets"]), 2)
            start_balance = opening.get(key, {"balance": 0.0})["balance"]
            self.assertAlmostEqual(start_balance + moved.get(key, 0.0), values["balance"], 2, (key, start, end))
        ledger = sum(
            line.balance for line in lines if line.parent_state == "posted" and line.date <= end
        )
        found = self.receivable._check_identity(self.company, end)
        self.assertFalse({key: row for key, row in found.items() if row["difference"] or row["difference_company"]})
        self.assertAlmostEqual(sum(row["balance_company"] + row["exchange_rest"] for row in found.values()), ledger, 2)
