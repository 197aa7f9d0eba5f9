import random
from collections import defaultdict
from contextlib import ExitStack
from unittest.mock import patch

from odoo import Command, fields
from odoo.tests import tagged
from odoo.tools import SQL

from ..models.account_move import AccountMove
from ..models.account_move_line import AccountMoveLine
from ..models.billing_engine import BillingEngine
from .common import BillingCommon

# What differs between any two bills: keys, times and tokens. Numbers, and all that follows from them, are the same.
IGNORED = frozenset(
    ("id", "create_date", "write_date", "write_uid", "move_id", "billing_run_id", "access_token")
)  # fmt: skip


@tagged("post_install", "-at_install")
class TestDifferential(BillingCommon):
    """The bills of a run equal those of the same values, created and posted one by one by the
    plain ORM, in every stored column."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.tax_excluded = cls.company_data["default_tax_sale"]
        cls.tax_included = cls.tax_excluded.copy(
            {"name": "7 % included", "amount": 7.0, "price_include_override": "tax_included"}
        )
        cls.tax_second = cls.tax_excluded.copy({"name": "3.3 %", "amount": 3.3})
        cls.tax_on_tax = cls.tax_excluded.copy(
            {"name": "5 %, part of the base", "amount": 5.0, "include_base_amount": True, "sequence": 0}
        )
        cls.terms = cls.env["account.payment.term"].create(
            {
                "name": "30 % now, the rest in a month",
                "line_ids": [
                    Command.create({"value": "percent", "value_amount": 30.0, "nb_days": 0}),
                    Command.create({"value": "percent", "value_amount": 70.0, "nb_days": 30}),
                ],
            }
        )

    def naive(self):
        """Without any of the shortcuts."""
        stack = ExitStack()

        def plain(engine, groups, run):
            return [engine._prepare_move_vals(group, run) for group in groups]

        book = BillingEngine._book

        def book_one_by_one(engine, groups, run):
            found = defaultdict(engine.env["account.move"].browse)
            for group in groups:
                for contract, moves in book(engine, [group], run).items():
                    found[contract] |= moves
            return found

        stack.enter_context(patch.object(BillingEngine, "_book", book_one_by_one))
        stack.enter_context(patch.object(BillingEngine, "_prepare_moves_vals", plain))
        stack.enter_context(
            patch.object(
                AccountMove,
                "_get_next_sequence_format",
                lambda move: super(AccountMove, move)._get_next_sequence_format(),
            )
        )
        for model in (AccountMove, AccountMoveLine):
            stack.enter_context(patch.object(model, "_is_billing_noop", lambda *args: False))
        stack.enter_context(
            patch.object(AccountMoveLine, "_fill_billing_values", lambda *args: ())
        )
        return stack

    def snapshot(self, records):
        """The columns of ``records`` in order, as they are in the database, and their many2many
        fields; without what two bills never share."""
        self.env.flush_all()
        self.env.invalidate_all()
        columns, relations = [], []
        for name, field in records._fields.items():
            if field.store and name not in IGNORED:
                if field.column_type:
                    columns.append(name)
                elif field.type == "many2many":
                    relations.append(name)
        rows = self.env.execute_query_dict(
            SQL(
                "SELECT id, %s FROM %s WHERE id IN %s",
                SQL(", ").join(map(SQL.identifier, columns)),
                SQL.identifier(records._table),
                tuple(records.ids),
            )
        )
        row_by_id = {row.pop("id"): row for row in rows}
        found = []
        for record in records:
            values = row_by_id[record.id]
            values |= {name: sorted(record[name].ids) for name in relations}
            found.append(values)
        return found

    def with_values(self, values):
        """Bills with ``values`` that no contract sets, in both ways."""
        prepare = BillingEngine._prepare_move_vals

        def prepare_move_vals(engine, group, run):
            return {**prepare(engine, group, run), **values}

        return patch.object(BillingEngine, "_prepare_move_vals", prepare_move_vals)

    def new_cash_rounding(self, strategy, rounding=0.05):
        account = self.company_data["default_account_revenue"]
        return self.env["account.cash.rounding"].create(
            {
                "name": f"{strategy} {rounding}",
                "rounding": rounding,
                "strategy": strategy,
                "profit_account_id": account.id,
                "loss_account_id": self.company_data["default_account_expense"].id,
                "rounding_method": "HALF-UP",
            }
        )

    def bill_both_ways(self, contracts, date):
        """The same run twice, each rolled back: as it is, and naively, one bill at a time."""
        found = []
        for naive in (False, True):
            savepoint = self.env.cr.savepoint()
            with self.naive() if naive else ExitStack():
                run = self.new_run(date, contracts)
                run.action_propose()
                run.action_generate()
                drafts = self.take(run)
                run.action_approve()
                if naive:
                    # in the order that core gives to a batch
                    for move in run.move_ids.sorted(lambda move: (move.date, move.ref or "", move.id)):
                        move._post(soft=False)
                    run._finish_posting()
                else:
                    run.action_post()
                self.assertEqual(run.state, "posted")
                found.append((drafts, self.take(run), run.move_ids.sorted("id").mapped("name")))
            self.env.flush_all()
            savepoint.close(rollback=True)
            self.env.invalidate_all()
        return found

    def take(self, run):
        moves = run.move_ids.sorted(lambda move: (move.partner_id.id, move.amount_total))
        lines = moves.line_ids.sorted(
            lambda line: (line.partner_id.id, line.move_id.amount_total, line.move_id.id, line.display_type,
                          line.sequence, line.name or "", line.date_maturity or line.date)
        )  # fmt: skip
        result = []
        for records in (moves, lines):
            result += self.snapshot(records)
        return result

    def assert_same(self, contracts, date="2026-03-01"):
        fast, naive = self.bill_both_ways(contracts, fields.Date.to_date(date))
        self.assertTrue(fast[0])
        self.assertEqual(fast[2], naive[2], "the numbers")
        for step in (0, 1):
            self.assertEqual(len(fast[step]), len(naive[step]))
            for left, right in zip(fast[step], naive[step], strict=True):
                self.assertEqual(left, right)
        return fast[1]

    def lines(self, *taxes, prices=(33.33, 0.07, 129.99)):
        return [
            {"price_unit": price, "quantity": quantity, "discount": discount,
             "tax_ids": [Command.set([tax.id for tax in taxes])]}
            for price, quantity, discount in zip(prices, (1, 7, 3), (0, 0, 12.5), strict=True)
        ]  # fmt: skip

    def two(self, lines, **values):
        return self.new_contract("2026-01-01", lines, **values) + self.new_contract(
            "2026-01-15", lines, **{"partner_id": self.other_customer.id, **values}
        )

    def test_tax_excluded(self):
        self.assert_same(self.two(self.lines(self.tax_excluded)))

    def test_tax_included(self):
        self.assert_same(self.two(self.lines(self.tax_included)))

    def test_several_taxes(self):
        self.assert_same(self.two(self.lines(self.tax_on_tax, self.tax_excluded, self.tax_second)))

    def test_rounding_of_taxes_on_the_whole_bill(self):
        self.company.tax_calculation_rounding_method = "round_globally"
        self.assert_same(self.two(self.lines(self.tax_excluded, self.tax_second)))

    def test_taxes_of_the_product(self):
        self.assert_same(self.two([{}, {"price_unit": 1.05}]))

    def test_foreign_currency(self):
        currency = self.setup_other_currency("EUR", rates=[("2026-01-01", 1.7)])
        self.assert_same(
            self.two(self.lines(self.tax_excluded, self.tax_second), currency_id=currency.id)
        )

    def test_payment_terms_with_instalments(self):
        self.assert_same(
            self.two(self.lines(self.tax_excluded), payment_term_id=self.terms.id)
        )

    def test_payment_terms_with_early_discount(self):
        terms = self.env["account.payment.term"].create(
            {
                "name": "2 % within a week",
                "early_discount": True,
                "discount_percentage": 2.0,
                "discount_days": 7,
                "early_pay_discount_computation": "mixed",
                "line_ids": [
                    Command.create({"value": "percent", "value_amount": 100.0, "nb_days": 30})
                ],
            }
        )
        contracts = self.two(self.lines(self.tax_excluded), payment_term_id=terms.id)
        self.assert_same(contracts)
        run = self.new_run("2026-01-20", contracts)
        run.action_propose()
        shown = [line.amount + line.amount_tax for line in run.line_ids.sorted("contract_id")]
        run.action_generate()
        lines = run.line_ids.sorted("contract_id")
        for amount, move in zip(shown, lines.move_id, strict=True):
            self.assertEqual(round(amount, 2), move.amount_total)

    def test_group_of_taxes(self):
        group = self.env["account.tax"].create(
            {
                "name": "Both",
                "amount_type": "group",
                "children_tax_ids": [Command.set((self.tax_excluded + self.tax_second).ids)],
            }
        )
        self.assert_same(self.two(self.lines(group)))

    def test_taxes_with_tags_due_on_payment(self):
        country = self.company.account_fiscal_country_id
        tags = self.env["account.account.tag"].create(
            [
                {"name": name, "applicability": "taxes", "country_id": country.id}
                for name in ("Box 7", "Box 8")
            ]
        )
        self.company.tax_exigibility = True
        transition = self.company_data["default_account_tax_sale"].copy({"reconcile": True})
        on_payment = self.tax_second.copy(
            {
                "name": "On payment",
                "tax_exigibility": "on_payment",
                "cash_basis_transition_account_id": transition.id,
            }
        )
        for tax, tag in zip((self.tax_excluded, on_payment), tags, strict=True):
            tax.invoice_repartition_line_ids.tag_ids = tag
        self.assert_same(self.two(self.lines(self.tax_excluded, on_payment)))

    def test_credit_notes_and_lines_of_nothing(self):
        prices = (-33.33, 0.07, 0.0)
        self.assert_same(self.two(self.lines(self.tax_excluded, prices=prices)))
        self.assert_same(self.two(self.lines(prices=prices)))

    def test_storno(self):
        self.company.account_storno = True
        self.assert_same(self.two(self.lines(self.tax_excluded, prices=(-33.33, 0.07, 12.0))))

    def test_income_account_that_is_reconciled(self):
        self.company_data["default_account_revenue"].reconcile = True
        self.assert_same(self.two(self.lines(self.tax_excluded)))

    def test_fiscal_position(self):
        position = self.env["account.fiscal.position"].create({"name": "Abroad"})
        self.tax_second.write(
            {
                "fiscal_position_ids": [Command.link(position.id)],
                "original_tax_ids": [Command.link(self.tax_excluded.id)],
            }
        )
        self.customer.property_account_position_id = position
        contracts = self.two([{}, {"price_unit": 19.99}])
        self.assert_same(contracts)

    def test_cash_rounding_adds_a_line(self):
        rounding = self.new_cash_rounding("add_invoice_line")
        with self.with_values({"invoice_cash_rounding_id": rounding.id}):
            moves = self.assert_same(self.two(self.lines(self.tax_excluded, self.tax_second)))
        self.assertIn("rounding", [line["display_type"] for line in moves if "display_type" in line])

    def test_cash_rounding_goes_into_the_biggest_tax(self):
        rounding = self.new_cash_rounding("biggest_tax")
        with self.with_values({"invoice_cash_rounding_id": rounding.id}):
            self.assert_same(
                self.two(
                    self.lines(self.tax_excluded, self.tax_second), payment_term_id=self.terms.id
                )
            )

    def test_credit_notes(self):
        contracts = self.two(self.lines(self.tax_excluded, self.tax_second))
        self.bill("2026-03-01", contracts)
        contracts.action_close("2026-02-03")
        self.assert_same(contracts)

    def test_random_combinations(self):
        """Everything together, chosen by a seed that a failure names."""
        currency = self.setup_other_currency("EUR", rates=[("2026-01-01", 1.7)])
        coarse = self.setup_other_currency("JPY", rounding=1.0, rates=[("2026-01-01", 143.21)])
        position = self.env["account.fiscal.position"].create({"name": "Abroad"})
        (self.tax_second | self.tax_included).write(
            {
                "fiscal_position_ids": [Command.link(position.id)],
                "original_tax_ids": [Command.link(self.tax_excluded.id)],
            }
        )
        roundings = [False, *map(self.new_cash_rounding, ("add_invoice_line", "biggest_tax"))]
        taxes = self.tax_on_tax, self.tax_excluded, self.tax_second, self.tax_included
        tag = self.env["account.account.tag"].create({"name": "+base", "applicability": "taxes"})
        self.tax_second.invoice_repartition_line_ids[0].tag_ids = tag
        for seed in range(6):
            choose = random.Random(seed)
            with self.subTest(seed=seed), self.env.cr.savepoint() as savepoint:
                self.company.tax_calculation_rounding_method = choose.choice(
                    ("round_per_line", "round_globally")
                )
                self.plan.catch_up = choose.choice(("separate", "merged"))
                for partner in self.customer, self.other_customer:
                    partner.property_account_position_id = choose.choice((False, position.id))
                    partner.billing_consolidation = choose.choice(("contract", "customer"))
                rounding = choose.choice(roundings)
                contracts = self.env["billing.contract"]
                money = choose.choice((self.company.currency_id, currency, coarse))
                for number in range(4):
                    lines = [
                        {
                            "price_id": False,
                            "price_unit": round(choose.uniform(-20, 300), choose.choice((0, 2, 4))),
                            "quantity": choose.choice((1, 3, 0.25, 7)),
                            "discount": choose.choice((0, 0, 12.5, 100)),
                            "tax_ids": [
                                Command.set([tax.id for tax in choose.sample(taxes, choose.randrange(4))])
                            ],
                        }
                        for _line in range(choose.randrange(1, 4))
                    ]
                    contracts += self.new_contract(
                        choose.choice(("2026-01-01", "2026-01-15", "2026-02-28")),
                        [*lines, {"price_id": False, "price_unit": 100 + number}],
                        partner_id=choose.choice((self.customer, self.other_customer)).id,
                        currency_id=money.id,
                        payment_term_id=choose.choice((False, self.terms.id)),
                        client_ref=choose.choice((False, "PO 1")),
                    )
                if choose.random() < 0.5:
                    self.bill("2026-02-01", contracts)
                    contracts.filtered(lambda c: c.date_start.month == 1)[:1].action_close("2026-02-03")
                with self.with_values({"invoice_cash_rounding_id": rounding and rounding.id}):
                    self.assert_same(contracts)
                savepoint.rollback()
                self.env.invalidate_all()

    def test_analytic_rules(self):
        plan = self.env["account.analytic.plan"].create({"name": "Projects"})
        account = self.env["account.analytic.account"].create({"name": "A", "plan_id": plan.id})
        self.env["account.analytic.distribution.model"].create(
            {"partner_id": self.customer.id, "analytic_distribution": {str(account.id): 100}}
        )
        self.assert_same(self.two([{}, {}]))

    def test_invariant_10_another_bill_is_less_than_one_statement(self):
        def statements(count):
            contracts = self.env["billing.contract"]
            for _number in range(count):
                partner = self.env["res.partner"].create({"name": "Many"})
                contracts += self.new_contract("2026-01-01", partner_id=partner.id)
            self.bill("2026-01-01", contracts)  # warm
            before = self.env.cr.sql_log_count
            self.bill("2026-02-01", contracts)
            return self.env.cr.sql_log_count - before

        self.assertLess(statements(40) - statements(20), 20)
