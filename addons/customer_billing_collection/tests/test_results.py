import random
from datetime import date, timedelta
from io import BytesIO

from openpyxl import load_workbook

from odoo import Command
from odoo.exceptions import AccessError, UserError
from odoo.tests import HttpCase, tagged

from odoo.addons.customer_billing.tests.test_receivable import ReceivableCommon

FIRST = date(2026, 1, 1)


class ResultsCommon(ReceivableCommon):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.policy = cls.env["billing.dunning.policy"].create(
            {
                "name": "Test",
                "step_ids": [
                    Command.create({"name": "Reminder", "days": 5}),
                    Command.create({"name": "Call", "days": 15, "channel": "call"}),
                ],
            }
        )
        cls.reminder, cls.call = cls.policy.step_ids

    @classmethod
    def new_case(cls, opened, closed=False, partner=None, currency=None, **values):
        return cls.env["billing.case"].sudo().create(
            {
                "name": "Case",
                "partner_id": (partner or cls.customer).id,
                "company_id": cls.company.id,
                "currency_id": (currency or cls.usd).id,
                "policy_id": cls.policy.id,
                "date_opened": opened,
                "date_closed": closed,
                "state": "closed" if closed else "open",
                **values,
            }
        )  # fmt: skip

    @classmethod
    def notice(cls, case, step, sent, moves, **values):
        return cls.env["billing.dunning.notice"].sudo().create(
            {
                "case_id": case.id,
                "step_id": step.id,
                "channel": step.channel,
                "date": sent[:10],
                "state": "sent",
                "date_sent": sent,
                "line_ids": [Command.create({"move_line_id": line.id}) for line in cls.lines(moves)],
                **values,
            }
        )  # fmt: skip

    def report(self, kind, date_from="2026-01-01", date_to="2026-03-31", user=None, **values):
        Report = self.env["billing.collection.report"].with_user(user or self.env.user)
        report = Report.with_context(allowed_company_ids=self.company.ids).create(
            {"kind": kind, "company_id": self.company.id, "date_from": date_from, "date_to": date_to, **values}
        )
        action = report.action_show()
        return report, report.env[action["res_model"]].search(action["domain"])


@tagged("post_install", "-at_install")
class TestResults(ResultsCommon):
    def test_collected_belongs_to_the_last_notice_that_listed_the_item(self):
        ann, bob = self.new_staff("collector", login="ann"), self.new_staff("collector", login="bob")
        old, new = self.invoice(100, "2026-01-01"), self.invoice(40, "2026-01-20")
        case = self.new_case("2026-01-02", collector_id=bob.id)
        self.notice(case, self.reminder, "2026-01-10 09:00:00", old, collector_id=ann.id)
        self.notice(case, self.call, "2026-01-20 09:00:00", old | new, collector_id=ann.id)
        self.notice(case, self.call, "2026-01-12 09:00:00", old, state="skipped", date_due="2026-01-01")
        for invoice, amount, day in (
            (old, 10, "2026-01-05"), (old, 20, "2026-01-10"), (old, 30, "2026-01-19"), (old, 5, "2026-01-20"),
            (new, 7, "2026-02-01"),
        ):  # fmt: skip
            self.match(invoice | self.pay(amount, day))
        self.match(old | self.invoice(1, "2026-01-06", move_type="out_refund"))
        _report, lines = self.report("collected")
        self.assertEqual(
            [(str(line.date), line.amount, line.step_id, line.collector_id) for line in lines],
            [
                ("2026-01-05", 10, self.call.browse(), bob),
                ("2026-01-10", 20, self.reminder, ann),
                ("2026-01-19", 30, self.reminder, ann),
                ("2026-01-20", 5, self.call, ann),
                ("2026-02-01", 7, self.call, ann),
            ],
        )
        self.assertEqual(lines.mapped("days_overdue"), [4, 9, 18, 19, 12])
        self.assertEqual(lines.mapped("days_after"), [0, 0, 9, 0, 12])
        self.assertEqual(set(lines.mapped("channel")), {False, "email", "call"})
        self.assertEqual(lines.case_id, case)
        _report, figures = self.report("figures")
        self.assertEqual(figures.mapped("collected"), [65.0, 7.0, 0.0])

    def test_collected_needs_an_open_case_of_the_currency(self):
        self.new_case("2026-01-10", "2026-01-20")
        self.new_case("2026-01-21")
        for amount, day, currency in (
            (1, "2026-01-09", self.usd), (2, "2026-01-10", self.usd), (4, "2026-01-20", self.usd),
            (8, "2026-01-21", self.usd), (16, "2026-01-15", self.eur),
        ):  # fmt: skip
            self.match(self.invoice(amount, "2026-01-01", currency=currency) | self.pay(amount, day, currency=currency))
        self.match(
            self.invoice(32, "2026-01-01", partner=self.other_customer)
            | self.pay(32, "2026-01-15", partner=self.other_customer)
        )
        _report, lines = self.report("collected")
        self.assertEqual(sorted(lines.mapped("amount")), [2, 4, 8])

    def test_the_day_of_a_notice_is_that_of_the_company(self):
        self.company.partner_id.tz = "Asia/Shanghai"
        invoice = self.invoice(100, "2026-01-01")
        case = self.new_case("2026-01-02")
        self.notice(case, self.reminder, "2026-01-10 18:00:00", invoice)
        self.match(invoice | self.pay(100, "2026-01-10"))
        _report, lines = self.report("collected")
        self.assertFalse(lines.notice_id, "in Shanghai it was sent on the 11th")

    def test_foreign_payments_count_in_both_currencies(self):
        invoice = self.invoice(80, "2026-01-01", currency=self.eur)
        self.new_case("2026-01-02", currency=self.eur)
        self.match(invoice | self.pay(80, "2026-02-10", currency=self.eur))
        _report, lines = self.report("collected")
        self.assertEqual([(line.amount, line.currency_id) for line in lines], [(80, self.eur)])
        self.assertAlmostEqual(lines.amount_company, 80 / 0.9, 2)

    def test_figures_of_a_quarter_by_hand(self):
        paid = self.invoice(300, "2026-01-10", due="2026-02-10")
        self.match(paid | self.pay(300, "2026-02-05"))
        self.invoice(100, "2026-01-20", due="2026-02-20")
        self.invoice(200, "2026-02-15", due="2026-03-15")
        self.invoice(50, "2026-02-16", move_type="out_refund")
        _report, (january, february, march) = self.report("figures")
        self.assertEqual((january.opening, january.sales, january.closing, january.overdue), (0, 400, 400, 0))
        self.assertEqual((february.opening, february.sales, february.closing), (400, 150, 250))
        self.assertEqual(february.overdue, 50, "the credit of 50 is deducted from the 100 that are overdue")
        self.assertEqual((january.dso_simple, march.dso_simple), (31.0, 0.0))
        self.assertAlmostEqual(february.dso_simple, 250 / 150 * 28, 1)
        # 150 of February are all of its 28 days, the other 100 are 100 of the 400 of January
        self.assertAlmostEqual(february.dso_count_back, 28 + 100 / 400 * 31, 1)
        self.assertAlmostEqual(february.effectiveness, (400 + 150 - 250) / (400 + 150 - 200), 4)
        self.assertFalse(january.effectiveness, "nothing was due: there is no index")
        means = self.env["billing.collection.figure"]._read_group(
            [("report_id", "=", january.report_id.id)], [], ["dso_simple:avg", "promise_rate:avg", "effectiveness:avg"]
        )
        self.assertAlmostEqual(means[0][0], (31 + 250 / 150 * 28) / 2, 1, "March had no sales: it does not count")
        self.assertFalse(means[0][1])
        self.assertAlmostEqual(means[0][2], (february.effectiveness + march.effectiveness) / 2, 3)
        domain = [("report_id", "=", january.report_id.id)]
        specs = ["dso_simple:avg", "effectiveness:avg", "promise_rate:avg"]
        figures = self.env["billing.collection.figure"]
        pivot = figures.formatted_read_grouping_sets(domain, [[], ["date_to:month"]], specs)
        self.assertEqual([set(specs) & set(group) for group in pivot[1]], [{specs[0]}, set(specs[:2]), {specs[1]}])
        self.assertNotIn("promise_rate:avg", pivot[0][0], "an empty cell, not 0 %")
        graph = figures.formatted_read_group(domain, ["date_to:month"], ["effectiveness:avg"])
        self.assertEqual(len(graph), 2, "nothing was due in January")
        self.assertEqual(len(figures.formatted_read_group(domain, ["date_to:month"], specs)), 3)
        sheet = load_workbook(BytesIO(january.report_id._get_xlsx())).active
        self.assertEqual([cell.value for cell in sheet[4]][9:], [None, 0, 0, None], "as on the screen")
        _report, quarter = self.report("figures", interval="3")
        self.assertEqual((len(quarter), quarter.sales, quarter.closing), (1, 550, 250))

    def test_promises_are_counted_when_they_are_decided(self):
        case = self.new_case("2026-01-02")
        self.env["billing.promise"].sudo().create(
            [
                {"case_id": case.id, "amount": 10, "date_given": "2026-01-02", "date": "2026-02-01", "state": state,
                 "date_decided": decided}
                for state, decided in (
                    ("kept", "2026-01-31"), ("kept", "2026-02-01"), ("partly", "2026-02-10"), ("broken", "2026-02-28"),
                    ("cancelled", "2026-02-11"), ("open", False),
                )
            ]
        )  # fmt: skip
        _report, (january, february, march) = self.report("figures")
        self.assertEqual([line.promise_count for line in (january, february, march)], [1, 3, 0])
        self.assertAlmostEqual(february.promise_rate, 1 / 3, 4)
        [[rate]] = february._read_group([("report_id", "=", february.report_id.id)], [], ["promise_rate:avg"])
        self.assertAlmostEqual(rate, 2 / 4, 4, "of all promises, not the mean of the months")
        promises = self.env["billing.promise"].search(february.action_open_promises()["domain"])
        self.assertEqual(len(promises), 3)

    def test_moves_by_hand(self):
        due = self.invoice(100, "2026-01-01", due="2026-01-20")
        self.match(due | self.pay(30, "2026-02-10"))
        self.invoice(60, "2026-01-10", due="2026-03-10")
        self.invoice(7, "2026-02-03", due="2026-02-05")
        report, lines = self.report("moves", "2026-02-01", "2026-02-28")
        found = {(line.bucket_from, line.bucket_to): (line.amount, line.item_count, line.rate) for line in lines}
        self.assertEqual(
            found,
            {
                ("1", "2"): (70, 1, 0.7),
                ("1", "settled"): (30, 1, 0.3),
                ("0", "0"): (60, 1, 1),
                ("new", "1"): (7, 1, 1),
            },
        )
        settled = lines.filtered(lambda line: line.bucket_to == "settled")
        items = self.env["account.move.line"].search(settled.action_open_items()["domain"])
        self.assertEqual(items, self.lines(due))
        sheet = load_workbook(BytesIO(report._get_xlsx())).active
        self.assertEqual([cell.value for cell in sheet[3]][2:6], ["Bucket Before", "Bucket After", "Items", "Amount"])
        self.assertEqual(sum(row[5] for row in sheet.iter_rows(min_row=4, values_only=True)), 167)

    def test_roll_rates_of_several_months(self):
        first = self.invoice(100, "2026-01-01", due="2026-01-20")
        self.match(first | self.pay(100, "2026-02-10"))
        self.invoice(300, "2026-02-01", due="2026-02-20")
        _report, lines = self.report("moves", "2026-02-01", "2026-03-31")
        domain = [("report_id", "=", lines.report_id.id), ("bucket_from", "=", "1")]
        rates = dict(lines._read_group(domain, ["bucket_to"], ["rate:avg"]))
        self.assertEqual(rates, {"settled": 0.25, "2": 0.75}, "of the 400 that were in the bucket, in either month")
        pivot = lines._read_grouping_sets(domain, [[], ["date_to:month", "bucket_to"]], ["amount:sum", "rate:avg"])
        self.assertEqual(pivot[0], [(400, 1.0)])
        self.assertEqual([row[-1] for row in pivot[1]], [1.0, 1.0])
        settled = lines._read_group([*domain, ("bucket_to", "=", "settled")], [], ["rate:avg"])
        self.assertEqual(settled, [(0.25,)], "a filter of what became of it changes no rate")
        empty = lines._read_group([("report_id", "=", 0)], [], ["rate:avg"])
        self.assertEqual(empty, [(False,)])

    def test_period_is_in_order(self):
        with self.assertRaisesRegex(UserError, "ends before it begins"):
            self.report("figures", "2026-02-01", "2026-01-31")

    def test_figures_drill_down_to_what_was_owed(self):
        self.invoice(100, "2026-01-01")
        self.match(self.invoice(50, "2026-01-01") | self.pay(50, "2026-02-02"))
        _report, lines = self.report("figures")
        for line in lines:
            items = self.env["billing.aged.line"].search(line.action_open_items()["domain"])
            self.assertEqual(sum(items.mapped("residual_company")), line.closing)

    def test_queries_per_month_do_not_grow_with_items(self):
        def count(kind, months):
            self.env.invalidate_all()
            report = self.env["billing.collection.report"].create(
                {"kind": kind, "date_from": "2026-01-01", "date_to": f"2026-{months:02}-28"}
            )
            self.env.flush_all()
            start = self.cr.sql_log_count
            report._load()
            return self.cr.sql_log_count - start

        def count_all():
            for kind in ("collected", "figures", "moves"):
                count(kind, 1)
            return {kind: [count(kind, months) for months in (1, 2, 3)] for kind in ("collected", "figures", "moves")}

        self.invoice(10, "2026-01-02")
        few = count_all()
        for day in range(1, 9):
            self.match(self.invoice(10, f"2026-01-{day:02}") | self.pay(3, f"2026-02-{day:02}"))
        self.assertEqual(count_all(), few)
        for kind, (one, two, three) in few.items():
            self.assertEqual(three - two, two - one, f"{kind}: the same number for each month")


@tagged("post_install", "-at_install")
class TestResultsAccess(ResultsCommon, HttpCase):
    def test_invariant_16_results_by_role(self):
        sales = self.new_staff("sales", login="res_sales")
        self.customer.user_id = sales
        for partner in (self.customer, self.other_customer):
            invoice = self.invoice(100, "2026-01-01", partner=partner)
            self.new_case("2026-01-01", partner=partner)
            self.match(invoice | self.pay(30, "2026-01-10", partner=partner))
        for role in ("collector", "auditor", "officer", "manager"):
            user = self.new_staff(role, login=f"res_{role}")
            with self.subTest(role=role):
                _report, lines = self.report("collected", user=user)
                self.assertEqual(sum(lines.mapped("amount")), 60)
                _report, lines = self.report("figures", user=user)
                self.assertEqual(lines[-1].closing, 140)
                _report, moves = self.report("moves", user=user)
                items = moves[-1].action_open_items()
                moves.env[items["res_model"]].search(items["domain"]).read(["name", "amount_residual"])
        report, lines = self.report("collected", user=sales)
        self.assertEqual(lines.partner_id, self.customer)
        _report, figures = self.report("figures", user=sales)
        self.assertEqual(figures[-1].closing, 70)
        with self.assertRaises(AccessError):
            lines.write({"amount": 0})
        with self.assertRaises(AccessError):
            report.with_user(user).action_show()
        self.assertFalse(lines.with_user(user).has_access("read"), "reports are their owner's")
        for user in (self.new_staff(login="res_nobody"), self.new_portal(self.customer, "res_portal")):
            with self.assertRaises(AccessError):
                self.report("figures", user=user)

    def test_invariant_16_other_companies_are_refused(self):
        other = self.setup_other_company()["company"]
        user = self.new_staff("manager", login="res_other")
        with self.assertRaises(AccessError):
            self.report("figures", user=user, company_id=other.id)

    def test_the_file_is_for_its_owner(self):
        owner, other = (self.new_staff("collector", login=f"res_file_{name}") for name in ("a", "b"))
        (owner | other).password = "download"
        self.invoice(100, "2026-01-01")
        report, lines = self.report("figures", user=owner)
        lines = lines.with_context(billing_collection_report_id=report.id)
        for button in (report.action_download(), lines.action_download()):
            self.authenticate(owner.login, "download")
            response = self.url_open(button["url"])
            self.assertEqual(load_workbook(BytesIO(response.content)).active.max_row, 6)
            self.authenticate(other.login, "download")
            self.assertEqual(self.url_open(button["url"]).status_code, 404)


@tagged("post_install", "-at_install")
class TestResultsHistories(ResultsCommon):
    """Figures and moves of random histories, against a count over amounts and matches in Python."""

    def build(self, chance):
        for _number in range(40):
            day = FIRST + timedelta(days=chance.randrange(120))
            partner = chance.choice([self.customer, self.other_customer])
            currency = chance.choice([self.usd, self.eur])
            kind = chance.choice(["out_invoice"] * 3 + ["out_refund"])
            due = day + timedelta(days=chance.choice([0, 10, 30, 60]))
            invoice = self.invoice(chance.choice([10, 99.99, 250]), day, partner, currency, kind, due)
            if kind == "out_invoice" and chance.random() < 0.7:
                paid = day + timedelta(days=chance.randrange(100))
                payment = self.pay(chance.choice([10, 50, 99.99]), paid, partner, currency)
                if chance.random() < 0.8:
                    self.match(invoice | payment)

    def open_on(self, day):
        """{line: residual in company currency} from the amounts and matches."""
        lines = self.env["account.move.line"].search(
            [("account_id.account_type", "=", "asset_receivable"), ("company_id", "=", self.company.id),
             ("parent_state", "=", "posted"), ("date", "<=", day),
             ("journal_id", "!=", self.company.currency_exchange_journal_id.id)]
        )  # fmt: skip
        found = {}
        for line in lines:
            residual, in_currency = line.balance, line.amount_currency
            for match, sign, amount in [
                *((match, 1, match.debit_amount_currency) for match in line.matched_credit_ids),
                *((match, -1, match.credit_amount_currency) for match in line.matched_debit_ids),
            ]:
                other = match.credit_move_id if sign == 1 else match.debit_move_id
                exchange = other.journal_id == self.company.currency_exchange_journal_id
                if max(line.date, other.date) <= day:
                    residual -= sign * match.amount
                    in_currency -= 0 if exchange else sign * amount
            if not line.currency_id.is_zero(in_currency):
                found[line] = residual
        return found

    @staticmethod
    def bucket(line, day):
        days = (day - line.date_maturity).days
        return 0 if days <= 0 else min((days + 29) // 30, 5)

    def test_random_histories_agree_with_a_count_by_hand(self):
        for seed in range(2):
            savepoint = self.env.cr.savepoint()
            self.build(random.Random(seed))
            with self.subTest(seed=seed):
                self.check_figures()
                self.check_moves()
            savepoint.close(rollback=True)
            self.env.invalidate_all()

    def check_figures(self):
        _report, lines = self.report("figures", "2026-01-15", "2026-06-20")
        self.assertEqual([str(line.date_to) for line in lines][::5], ["2026-01-31", "2026-06-20"])
        for line in lines:
            items = self.open_on(line.date_to)
            self.assertAlmostEqual(line.closing, sum(items.values()), 2)
            overdue = 0
            for key in {(item.partner_id, item.currency_id) for item in items}:
                overdue += max(0, sum(
                    residual for item, residual in items.items()
                    if (item.partner_id, item.currency_id) == key
                    and (residual < 0 or item.date_maturity < line.date_to)
                ))  # fmt: skip
            self.assertAlmostEqual(line.overdue, overdue, 2)
            invoices = self.env["account.move"].search(
                [("company_id", "=", self.company.id), ("move_type", "in", ("out_invoice", "out_refund")),
                 ("date", ">=", line.date_from), ("date", "<=", line.date_to)]
            )  # fmt: skip
            self.assertAlmostEqual(line.sales, sum(invoices.mapped("amount_total_signed")), 2)
            available = line.opening + line.sales - (line.closing - line.overdue)
            if available > 0:
                self.assertAlmostEqual(line.effectiveness, 1 - line.overdue / available, 3)
            if line.sales > 0:
                days = (line.date_to - line.date_from).days + 1
                self.assertAlmostEqual(line.dso_simple, line.closing / line.sales * days, delta=0.06)
            self.assertAlmostEqual(line.dso_count_back, self.count_back(line.closing, line.date_to), delta=0.06)

    def count_back(self, rest, day):
        """Days of sales that are owed, month by month from ``day`` back."""
        counted = 0
        while rest > 0.001 and day.year > 2024:
            first = day.replace(day=1)
            invoices = self.env["account.move"].search(
                [("company_id", "=", self.company.id), ("move_type", "in", ("out_invoice", "out_refund")),
                 ("date", ">=", first), ("date", "<=", day)]
            )  # fmt: skip
            sold, days = sum(invoices.mapped("amount_total_signed")), day.day
            counted += days * min(1, rest / sold) if sold > 0 else days
            rest, day = rest - sold, first - timedelta(days=1)
        return counted

    def check_moves(self):
        _report, lines = self.report("moves", "2026-01-01", "2026-05-31")
        expected = {}
        for month in range(1, 6):
            before = date(2026, month, 1) - timedelta(days=1)
            after = date(2026, month + 1, 1) - timedelta(days=1)
            olds, news = self.open_on(before), self.open_on(after)
            for line in {*olds, *news}:
                old, new = max(olds.get(line, 0), 0), max(news.get(line, 0), 0)
                start = str(self.bucket(line, before)) if old else "new"
                end = str(self.bucket(line, after)) if new else "settled"
                for key, amount in (
                    ((start, end), min(old, new)), ((start, "settled"), old - new), (("new", end), new - old)
                ):  # fmt: skip
                    if amount > 0.001:
                        expected[after, *key] = expected.get((after, *key), 0) + amount
        found = {(line.date_to, line.bucket_from, line.bucket_to): line.amount for line in lines}
        self.assertEqual(set(found), set(expected))
        for key, amount in expected.items():
            self.assertAlmostEqual(found[key], amount, 2)
