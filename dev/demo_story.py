"""The demo company: Harbour City Services, which looks after buildings and rents out software.

``build(env)`` tells a year of its billing, up to today: customers, contracts of all cycles, two runs a month,
payments (some late), disputes, and a present with something to do. It needs the module installed, runs as the
superuser, leaves the commit to its caller, and does nothing the second time. Plans, products, prices and the
first customers are the module's own demo data.
"""

import base64
import io
import json
import random
from collections import Counter
from datetime import timedelta

from dateutil.relativedelta import FR, relativedelta
from PIL import Image, ImageDraw

from odoo import Command
from odoo.tools import convert

from demo_situations import OVERDUE, Situations

MODULE = "customer_billing"
PARAMETER = "customer_billing.demo_story"
SEED = 19
RUN_DAYS = (1, 15)
DAY = timedelta(days=1)
# A year of old mail and tracking would only be noise, and take its time.
QUIET = {"tracking_disable": True, "mail_auto_subscribe_no_notify": True, "no_reset_password": True}

STAFF = (  # login (and password), name, job
    ("officer", "Alice Morgan", "Billing Officer"),
    ("manager", "Benjamin Carter", "Billing Manager"),
    ("collector", "Carla Diaz", "Collector"),
    ("auditor", "David Lin", "Auditor"),
    ("sales", "Eva Park", "Account Manager"),
)
PORTAL_USERS = (("portal", "partner_brightwater_contact", "en_US"), ("kehu", "partner_mingyuan_contact", "zh_CN"))
LOGINS = (
    ("Administrator", "admin", "Billing › Contracts: make one, then “Bill Now”; Settings › Billing."),
    ("Billing officer", "officer", "Billing Runs: the proposed run lists what is due and why; make its draft bills."),
    ("Billing manager", "manager", "Billing Runs: one run has a bill above the limit; approve it, then post and send."),
    ("Collector", "collector", "Collections › My Worklist: “Call Next”. Three disputes are open behind the bills."),
    ("Auditor", "auditor", "Charges: every amount, its period and “Why this amount”; nothing can be changed."),
    ("Sales", "sales", "Contracts: those of the own customers only."),
    ("Portal customer", "portal", "My account › Contracts and Invoices: open a bill, see how it was computed."),
    ("Portal customer, Chinese", "kehu", "我的账户 › 合同与账单：打开账单，查看金额的计算过程。"),
    ("… long overdue", "late", "My account › What Is Overdue: pay, or tell when you will."),
    ("… offered instalments", "parts", "我的账户 › 逾期款项：查看分期方案并签字确认。"),
    ("… pays in advance", "prepaid", "My account › Payments: the balance is low; top up."),
)

# Customers beside those of the module's demo data: name, city; where they are and what they buy follow.
TENANTS = (
    ("Alder Court Residences", "Seattle"),
    ("Beacon Hill Medical Center", "Seattle"),
    ("Cedar Park Offices", "Redmond"),
    ("Dockside Apartments", "Tacoma"),
    ("Elliott Bay Hotel", "Seattle"),
    ("Fremont Art Lofts", "Seattle"),
    ("Green Lake Fitness", "Seattle"),
    ("Harrison Street Market", "Bellevue"),
    ("Interbay Storage", "Seattle"),
    ("Juniper Senior Living", "Kirkland"),
    ("翠园餐厅", "Seattle"),
    ("福满楼超市", "Bellevue"),
    ("金桥旅行社", "Seattle"),
    ("长城律师事务所", "Seattle"),
)
SUBSCRIBERS = (
    ("Kestrel Analytics", "Seattle"),
    ("Larkspur Studios", "Portland"),
    ("Meridian Freight", "Oakland"),
    ("Nimbus Robotics", "San Jose"),
    ("Orchard Foods", "Yakima"),
    ("Pioneer Insurance Brokers", "Boise"),
    ("Quarry Engineering", "Spokane"),
    ("Rainier Outdoor Supply", "Tacoma"),
    ("Summit Legal Partners", "Denver"),
    ("Tidewater Travel", "San Diego"),
)
SUBSCRIBERS_IN_CHINA = (
    ("杭州启明星教育科技有限公司", "杭州市"),
    ("北京盛世文化传媒有限公司", "北京市"),
    ("广州南粤物流有限公司", "广州市"),
    ("成都锦城信息技术有限公司", "成都市"),
    ("深圳海纳物业管理有限公司", "深圳市"),
    ("南京钟山医疗器械有限公司", "南京市"),
    ("厦门鹭岛旅游有限公司", "厦门市"),
    ("武汉江城食品有限公司", "武汉市"),
)
CONSOLIDATED = ("Dockside Apartments", "Summit Legal Partners", "福满楼超市", "深圳海纳物业管理有限公司")
# How customers pay, one after the other: the share of those who are late is that of this list.
PAYERS = ("prompt", "prompt", "late", "prompt", "prompt", "very late", "prompt", "prompt", "stopped", "prompt")

# Contracts are dealt out in this order: plan, products with the smallest and largest quantity.
BUILDING = (
    ("plan_monthly_first", (("product_management_fee", 300, 900), ("product_cleaning", 1, 2))),
    ("plan_quarterly", (("product_elevator", 1, 3),)),
    ("plan_weekly", (("product_security", 1, 1), ("product_waste", 1, 4))),
    ("plan_monthly_fifteenth", (("product_management_fee", 200, 600), ("product_parking", 2, 12))),
    ("plan_monthly_end", (("product_cleaning", 1, 2), ("product_waste", 2, 6))),
    ("plan_monthly_last", (("product_parking", 5, 30),)),
    ("plan_four_weekly", (("product_cleaning", 1, 1),)),
    ("plan_half_yearly", (("product_management_fee", 500, 950),)),
    ("plan_quarterly_arrears", (("product_security", 1, 2),)),
)
SOFTWARE = (
    ("plan_monthly_arrears", (("product_licence", 5, 40), ("product_setup", 1, 1))),
    ("plan_yearly", (("product_licence_year", 5, 20),)),
    ("plan_monthly_first", (("product_licence", 8, 60), ("product_hosting", 1, 1), ("product_setup", 1, 1))),
    ("plan_quarterly_arrears", (("product_hosting", 1, 1), ("product_backup", 1, 3))),
    ("plan_half_yearly", (("product_support", 1, 1),)),
)
# Amount per month, for periods and currencies that have no published price.
MONTHLY_AMOUNTS = {
    "USD": {
        "product_management_fee": 2.3, "product_cleaning": 640, "product_parking": 90, "product_security": 400,
        "product_elevator": 300, "product_waste": 45, "product_hosting": 250, "product_support": 380,
        "product_backup": 60, "product_licence_year": 40, "product_setup": 1500,
    },
    "CNY": {
        "product_hosting": 1750, "product_support": 2500, "product_backup": 260, "product_licence_year": 270,
        "product_setup": 8800,
    },
}  # fmt: skip
PRICES = {  # published, per month: product and currency
    ("product_management_fee", "USD"), ("product_cleaning", "USD"), ("product_parking", "USD"),
    ("product_security", "USD"), ("product_elevator", "USD"), ("product_licence", "USD"),
    ("product_hosting", "USD"), ("product_support", "USD"), ("product_setup", "USD"),
    ("product_licence", "CNY"), ("product_hosting", "CNY"), ("product_support", "CNY"),
}  # fmt: skip


def build(env):
    """Makes the demo company, unless it is there; returns what ``make demo`` tells about it."""
    parameters = env["ir.config_parameter"].sudo()
    told = parameters.get_param(PARAMETER)
    if not told:
        told = json.dumps(Story(env(context={**env.context, **QUIET})).tell())
        parameters.set_param(PARAMETER, told)
    return json.loads(told)


class Story:
    def __init__(self, env):
        self.env = env
        self.random = random.Random(SEED)
        self.company = env.company
        self.today = self.company._get_billing_today()
        # The last run lies two days back, so that something has become due since.
        first = self.today - relativedelta(months=12)
        days = [first + DAY * number for number in range((self.today - first).days - 1)]
        self.run_days = [day for day in days if day.day in RUN_DAYS]
        self.events = []  # (day, what happens to a contract that day), applied before the next run
        self.payers = {}
        self.situations = Situations(self)

    def tell(self):
        self.set_up_company()
        self.set_up_currencies()
        self.set_up_users()
        self.load_masters()
        self.make_customers()
        self.make_contracts()
        self.bill_the_year()
        self.settle_disputes()
        self.collect_payments()
        self.revise_prices()
        self.make_the_present()
        self.grade_customers()
        self.listen_to_customers()
        if "billing.statement" in self.env:
            self.make_statements()
        if "billing.payment.mandate" in self.env:
            self.make_payments()
        if "billing.case" in self.env:
            self.situations.collect()
        return self.sum_up()

    def ref(self, name):
        return self.env.ref(f"{MODULE}.{name}")

    # The company

    def set_up_company(self):
        env, company = self.env, self.company
        for code in ("en_US", "zh_CN"):
            env["res.lang"]._activate_lang(code)
        env["ir.default"].set("res.partner", "lang", "en_US")
        # By way of the contact: a country set on the company would install its localisation.
        company.partner_id.write(
            {
                "name": "Harbour City Services Ltd.",
                "street": "1 Harbour Plaza",
                "city": "Seattle",
                "zip": "98101",
                "state_id": env.ref("base.state_us_48").id,
                "country_id": env.ref("base.us").id,
                "email": "billing@harbourcity.example.com",
                "phone": "+1 206 555 0100",
                "website": "https://harbourcity.example.com",
                "lang": "en_US",
            }
        )
        if not company.chart_template:
            env["account.chart.template"].try_loading("generic_coa", company, install_demo=False)
        company.write(
            {
                "name": "Harbour City Services Ltd.",
                "logo": _draw_logo(),
                "primary_color": "#1f5f8b",
                "secondary_color": "#e0a030",
                "external_report_layout_id": env.ref("web.external_layout_standard").id,
                "billing_approval": True,
                "billing_approval_amount": 10_000.0,
            }
        )
        self.journal = env["account.journal"].search([("company_id", "=", company.id), ("type", "=", "bank")], limit=1)
        if not self.journal.bank_account_id:
            self.journal.bank_account_id = env["res.partner.bank"].create(
                {"acc_number": "4021 7781 0001", "partner_id": company.partner_id.id, "company_id": company.id}
            )

    def set_up_currencies(self):
        self.usd, self.cny = self.env.ref("base.USD"), self.env.ref("base.CNY")
        (self.usd | self.cny).active = True
        if self.company.currency_id != self.usd:
            self.company.currency_id = self.usd
        self.env["res.currency.rate"].create(
            [
                {
                    "name": (self.today - relativedelta(months=months)).replace(day=1),
                    "currency_id": self.cny.id,
                    "company_id": self.company.id,
                    "rate": round(7.05 + self.random.uniform(0, 0.25), 4),
                }
                for months in range(15)
            ]
        )

    def set_up_users(self):
        users = self.env["res.users"]
        admin = self.env.ref("base.user_admin")
        admin.write({"lang": "en_US", "email": "admin@harbourcity.example.com"})
        self.users = {
            login: users.create(
                {
                    "login": login,
                    "password": login,
                    "name": name,
                    "email": f"{login}@harbourcity.example.com",
                    "signature": f"<p>{name}<br/>{job}</p>",
                    "lang": "en_US",
                    "group_ids": [Command.set(self.ref(f"group_billing_{login}").ids)],
                }
            )
            for login, name, job in STAFF
        }

    # Customers and contracts

    def load_masters(self):
        """Plans, products, prices, first customers and contracts: the module's demo data."""
        if not self.env.ref(f"{MODULE}.partner_brightwater", raise_if_not_found=False):
            for file in ("demo/billing_demo.xml", "demo/billing_tier_demo.xml"):
                convert.convert_file(self.env, MODULE, file, {}, mode="init", noupdate=True)
            # the records just loaded have Chinese texts in the module's catalogue
            self.env["ir.module.module"]._load_module_terms([MODULE], ["zh_CN"])
        self.ref("billing_run_proposed").unlink()  # history comes first
        for login, contact, lang in PORTAL_USERS:
            self.env["res.users"].create(
                {
                    "login": login,
                    "password": login,
                    "partner_id": self.ref(contact).id,
                    "lang": lang,
                    "group_ids": [Command.set(self.env.ref("base.group_portal").ids)],
                }
            )

    def make_customers(self):
        given = self.env["res.partner"].search(
            [("is_company", "=", True), ("id", "in", self.ids_of("res.partner"))], order="id"
        )
        made = self.env["res.partner"].create(
            [
                *(self.prepare_customer(number, *entry) for number, entry in enumerate(TENANTS, start=11)),
                *(self.prepare_customer(number, *entry) for number, entry in enumerate(SUBSCRIBERS, start=41)),
                *(
                    self.prepare_customer(number, *entry, country="base.cn")
                    for number, entry in enumerate(SUBSCRIBERS_IN_CHINA, start=71)
                ),
            ]
        )
        for number, partner in enumerate(made):
            partner.billing_size = ("micro", "small", "medium", "large")[number % 4]
            partner.billing_source = ("recommendation", "website", "outreach", "event", "partner")[number % 5]
        made.filtered(lambda partner: partner.name in CONSOLIDATED).billing_consolidation = "customer"
        self.customers = given | made
        for number, partner in enumerate(self.customers):
            (partner | partner.child_ids).lang = "en_US" if partner.name.isascii() else "zh_CN"
            (partner | partner.child_ids).user_id = self.users["sales" if number % 2 else "manager"]
            partner.billing_officer_id = self.users["officer"]
            self.payers[partner] = PAYERS[number % len(PAYERS)]
        self.payers[self.ref("partner_brightwater")] = "prompt"
        self.payers[self.ref("partner_mingyuan")] = "late"
        self.situations.make_customers()

    def ids_of(self, model):
        """Records of ``model`` that the module's demo data made."""
        return self.env["ir.model.data"].search([("module", "=", MODULE), ("model", "=", model)]).mapped("res_id")

    def prepare_customer(self, number, name, city, country="base.us"):
        term = ("15days", "30days")[number % 2]
        return {
            "name": name,
            "is_company": True,
            "street": f"{100 + number * 7} Main Street" if country == "base.us" else f"人民路{number}号",
            "city": city,
            "country_id": self.env.ref(country).id,
            "email": f"accounts{number}@customers.example.com",
            "phone": f"+1 206 555 01{number}" if country == "base.us" else f"+86 21 5550 01{number}",
            "property_payment_term_id": self.env.ref(f"account.account_payment_term_{term}").id,
        }

    def make_contracts(self):
        given = self.env["billing.contract"].browse(self.ids_of("billing.contract"))
        for contract in given:
            partner = contract.partner_id
            contract.write({"user_id": partner.user_id.id, "officer_id": partner.billing_officer_id.id})
        self.make_history_of_portal_customers()
        self.make_metered_contracts()
        made = self.env["billing.contract"]
        by_name = {partner.name: partner for partner in self.customers}
        tenants = [by_name[name] for name, _city in TENANTS]
        subscribers = [by_name[name] for name, _city in (*SUBSCRIBERS, *SUBSCRIBERS_IN_CHINA)]
        again = [by_name[name] for name in CONSOLIDATED]  # these have a second one, for one bill
        for offers, partners in ((BUILDING, tenants + again[::2]), (SOFTWARE, subscribers + again[1::2])):
            for number, partner in enumerate(partners):
                plan, items = offers[number % len(offers)]
                made |= self.make_contract(partner, plan, items, self.choose_start(plan))
        made.action_activate()
        self.choose_fates(made)
        soon = self.today + relativedelta(months=1, day=1)
        for partner, offer in zip(self.random.sample(tenants, 4), BUILDING, strict=False):
            self.make_contract(partner, *offer, soon)
        self.situations.make_contracts()

    def make_history_of_portal_customers(self):
        """The two customers with a login have a year to look back on, and were there before this system."""
        first = self.run_days[0].replace(day=1)
        old = {"billed_through": first - DAY}
        brightwater, mingyuan = self.ref("partner_brightwater"), self.ref("partner_mingyuan")
        start = first - relativedelta(months=2)
        contracts = self.make_contract(
            brightwater, "plan_monthly_first", (("product_management_fee", 640, 640), ("product_waste", 4, 4)),
            start, **old,
        )  # fmt: skip
        contracts |= self.make_contract(brightwater, "plan_monthly_fifteenth", (("product_parking", 6, 6),), first)
        contracts |= self.make_contract(
            mingyuan, "plan_monthly_first", (("product_support", 1, 1), ("product_backup", 2, 2)), start, **old
        )
        contracts |= self.make_contract(mingyuan, "plan_weekly", (("product_backup", 1, 1),), first)
        contracts |= self.make_contract(
            self.ref("partner_maple"), "plan_monthly_first", (("product_management_fee", 120, 120),), start, **old
        )
        contracts.action_activate()

    def make_metered_contracts(self):
        """Usage with a minimum commitment, a coupon, a trial with a ramp; the newest reading comes late."""
        mingyuan, start = self.ref("partner_mingyuan"), self.run_days[0].replace(day=1)
        ramp = self.today + relativedelta(months=2, day=1)
        usage = {"charge_type": "usage", "price_id": False}
        lines = (
            {"product_id": "product_api_calls", **usage, "meter_id": "meter_api_calls", "price_unit": 0.08},
            {"product_id": "product_active_users", **usage, "meter_id": "meter_active_users", "price_unit": 65.0},
            {"product_id": "product_commitment", "charge_type": "minimum", "price_id": False, "price_unit": 4000.0},
            {"product_id": "product_coupon", "price_id": False, "price_unit": -500.0, "max_slots": 6},
            {"product_id": "product_hosting", "price_id": False, "price_unit": 0.0,
             "date_end": start + relativedelta(months=2) - DAY, "name": "云托管（试用）"},
            {"product_id": "product_hosting", "price_id": False, "price_unit": 1500.0,
             "date_start": start + relativedelta(months=2), "date_end": ramp - DAY},
            {"product_id": "product_hosting", "price_id": False, "price_unit": 1800.0, "date_start": ramp},
        )  # fmt: skip
        self.metered = self.env["billing.contract"].create(
            {
                "partner_id": mingyuan.id,
                "plan_id": self.ref("plan_monthly_end").id,
                "currency_id": self.cny.id,
                "date_start": start,
                "line_ids": [Command.create(self.prepare_metered_line(mingyuan, line)) for line in lines],
            }
        )
        self.metered.action_activate()
        late = self.today - DAY * 40
        self.record_usage([day for day in self.days(start, self.today) if day != late])
        self.events.append((late + DAY * 36, self, "record_usage", ([late],)))

    def prepare_metered_line(self, partner, line):
        product = self.ref(line["product_id"])
        named = {"name": product.with_context(lang=partner.lang).name, **line, "product_id": product.id}
        return named | ({"meter_id": self.ref(line["meter_id"]).id} if "meter_id" in line else {})

    def days(self, start, end):
        return [start + DAY * number for number in range((end - start).days)]

    def record_usage(self, days):
        """A reading of each meter on each of the ``days``, as another system sends them."""
        contract = self.metered.name
        rows = []
        for day in days:
            seen = {"contract": contract, "timestamp": f"{day} 10:00:00"}
            calls = 900 + day.day * 17 % 400 + day.month * 90
            rows.append({**seen, "meter": "api", "quantity": calls, "external_id": f"api {day}"})
            users = range(day.day % 3, 6 + day.month)
            rows += [
                {**seen, "meter": "users", "key": f"user{user}", "external_id": f"users {day} {user}", "quantity": 1}
                for user in users
            ]
        results = self.env["billing.usage"].record_batch(rows)
        assert all(result["status"] == "created" for result in results), results

    def choose_start(self, plan):
        """A day of the past year; yearly contracts are old enough to have been renewed."""
        if plan == "plan_yearly":
            months = self.random.choice((5, 8, 12, 13))
            return self.today - relativedelta(months=months) - DAY * self.random.randrange(28)
        earliest = self.run_days[0] - 12 * DAY
        days = (self.today - earliest).days
        return earliest + DAY * int(days * self.random.betavariate(1, 2.2) * 0.94)

    def make_contract(self, partner, plan, items, start, currency=None, **values):
        plan = self.ref(plan)
        currency = currency or (self.cny if partner.country_id.code == "CN" else self.usd)
        lines = [self.prepare_line(partner, plan, currency, *item) for item in items]
        contract = (
            self.env["billing.contract"]
            .with_context(ir_sequence_date=str(start))
            .create(
                {
                    "partner_id": partner.id,
                    "plan_id": plan.id,
                    "currency_id": currency.id,
                    "date_start": start,
                    "client_ref": f"PO-{self.random.randrange(10_000, 99_999)}"
                    if self.random.random() < 0.15
                    else False,
                    "line_ids": [Command.create(line) for line in lines],
                    **values,
                }
            )
        )
        return contract.with_env(self.env)

    def prepare_line(self, partner, plan, currency, product, least, most):
        record = self.ref(product)
        once = product == "product_setup"
        vals = {
            "product_id": record.id,
            "name": record.with_context(lang=partner.lang).name,
            "quantity": self.random.randint(least, most),
            "discount": self.random.choice((0, 0, 0, 0, 5, 10)) if not once else 0,
            "charge_type": "one_time" if once else "recurring",
        }
        monthly = plan.interval == 1 and plan.interval_unit == "month"
        if not ((monthly or once) and (product, currency.name) in PRICES):
            amount = MONTHLY_AMOUNTS[currency.name][product] * (1 if once else plan._get_months())
            vals |= {"price_id": False, "price_unit": round(amount, 2)}
        return vals

    # What happens to contracts in the year

    def choose_fates(self, contracts):
        """Some contracts end, some pause. It happens between runs, so that bills are corrected."""
        old = contracts.filtered(lambda contract: contract.date_start < self.today - relativedelta(months=4)).ids
        self.random.shuffle(old)
        contracts = [self.env["billing.contract"].browse(old_id) for old_id in old]
        # taken from the end: those with an overdue bill go on, since credits would settle it
        contracts.sort(key=lambda contract: contract.partner_id.name not in OVERDUE)
        reasons = self.env["billing.close.reason"].search([])
        for number in range(5):
            contract = contracts.pop()
            day = self.today - DAY * (20 + 17 * number)
            self.events.append((day, contract, "action_close", (str(day), reasons[number % len(reasons)].id)))
        leaving = contracts.pop()
        day = self.today + relativedelta(months=2, day=1) - DAY
        self.events.append((self.today - 9 * DAY, leaving, "action_close", (str(day), reasons[0].id)))
        for days in (75, 30):  # paused since
            day = self.today - DAY * days
            self.events.append((day, contracts.pop(), "action_pause", (str(day),)))
        for days, length in ((150, 21), (100, 40)):  # paused for a while
            contract, day = contracts.pop(), self.today - DAY * days
            self.events.append((day, contract, "action_pause", (str(day),)))
            self.events.append((day + DAY * length, contract, "action_resume", (str(day + DAY * length),)))
        self.events.sort(key=lambda event: event[0])

    def live_until(self, day):
        """What happened to contracts up to this day."""
        while self.events and self.events[0][0] <= day:
            _day, contract, method, arguments = self.events.pop(0)
            actor = contract.with_user(self.users["officer"]) if contract is not self else self
            getattr(actor, method)(*arguments)

    # Runs

    def bill_the_year(self):
        single = {day: contracts for day, contracts in self.situations.runs.items() if day not in self.run_days}
        for day in sorted([*self.run_days, *single]):
            self.live_until(day)
            values = {"contract_ids": [Command.set(single[day].ids)]} if day in single else {}
            run = self.make_run(day, **values)
            run.action_generate()
            approver = self.users["manager" if run.approval_needed else "officer"]
            run.with_user(approver).action_approve()
            if run.state == "approved":
                run.action_post()
            if day == self.run_days[-1]:
                self.last_run = run
            else:
                self.mark_delivered(run)
        self.live_until(self.today)

    def make_run(self, day, **values):
        """A proposed run, prepared by the officer."""
        run = self.env["billing.run"].with_user(self.users["officer"]).with_context(ir_sequence_date=str(day))
        run = run.create({"date": day, "invoice_date": day, **values})
        run = run.with_context(self.env.context)
        run.action_propose()
        return run

    def mark_delivered(self, run):
        """As if the bills had been mailed at the time; nothing is sent for the past."""
        moves = run.sudo().move_ids.filtered(lambda move: move.state == "posted")
        moves.write({"billing_delivery_state": "sent", "is_move_sent": True})
        run.sudo()._refresh_sent_state()

    # Disputes and payments

    def get_bills(self):
        return self.env["account.move"].search(
            [
                ("billing_run_id", "!=", False),
                ("move_type", "=", "out_invoice"),
                ("state", "=", "posted"),
                ("company_id", "=", self.company.id),
            ],
            order="invoice_date, id",
        )

    def settle_disputes(self):
        """Five objections: two are open, two were right, one was not."""
        self.disputed = self.env["account.move"]
        patrol = self.pick_bill(2, "product_security", "en_US")
        self.dispute(
            patrol, "service", "Patrol did not come",
            "No patrol was seen on two nights; we ask for a credit for these.", share=0.4,
        )  # fmt: skip
        seats = self.pick_bill(1, "product_licence", "zh_CN")
        self.dispute(seats, "quantity", "席位数量不符", "账单上的席位数多于合同约定，请核实。", share=0.25)
        free = self.pick_bill(5, "product_parking", "en_US")
        self.dispute(
            free, "duplicate", "Billed although cancelled by phone",
            "We had agreed on the phone that this month is free.",
            "action_accept", "The call is on record: the whole bill is credited.",
        )  # fmt: skip
        self.credit(free, "Agreed by phone: free month")
        dear = self.pick_bill(4, "product_cleaning", "en_US")
        self.dispute(
            dear, "price", "Price is not that of the offer", "The offer said 10 % less.",
            "action_accept", "The offer is right: 10 % are credited.", share=0.1,
        )  # fmt: skip
        self.credit(dear, "Price of the offer, 10 %", share=0.1)
        month = self.pick_bill(3, "product_hosting", "en_US")
        self.dispute(
            month, "period", "The month was billed already", "We believe that we paid for this period.",
            "action_reject", "The earlier bill was for the month before; the periods are on both bills.",
        )  # fmt: skip
        self.unpaid = patrol | seats | self.situations.get_unpaid()  # nobody pays while the question is open

    def pick_bill(self, months, product, lang):
        """The bill for a product from about so many months ago, of a customer without a dispute."""
        day = self.today - relativedelta(months=months)
        taken = self.disputed.commercial_partner_id
        product = self.ref(product)
        bill = min(
            self.get_bills().filtered(
                lambda bill: (
                    bill.commercial_partner_id not in taken
                    and bill.commercial_partner_id.lang == lang
                    and product in bill.invoice_line_ids.product_id
                )
            ),
            key=lambda bill: (
                bill.commercial_partner_id.name in OVERDUE,  # these have their own trouble
                abs((bill.invoice_date - day).days),
                bill.id,
            ),
        )
        self.disputed |= bill
        return bill

    def dispute(self, bill, reason, name, description, close=None, resolution=False, share=1.0):
        asked = bill.invoice_date + 9 * DAY
        dispute = (
            self.env["billing.dispute"]
            .with_user(self.users["collector"])
            .create(
                {
                    "move_id": bill.id,
                    "name": name,
                    "reason": reason,
                    "description": description,
                    "amount": bill.currency_id.round(bill.amount_total * share),
                    "date_due": max(asked + 7 * DAY, self.today + 4 * DAY) if not close else asked + 7 * DAY,
                    "resolution": resolution,
                }
            )
        )
        if close:
            getattr(dispute, close)()

    def credit(self, bill, reason, share=1.0):
        """A posted credit note that settles (a part of) the bill."""
        day = bill.invoice_date + 14 * DAY
        wizard = (
            self.env["account.move.reversal"]
            .with_context(active_model="account.move", active_ids=bill.ids)
            .create({"reason": reason, "journal_id": bill.journal_id.id, "date": day})
        )
        wizard.refund_moves()
        note = wizard.new_move_ids
        note.invoice_date = day
        if share != 1.0:
            for line in note.invoice_line_ids:
                line.price_unit *= share
        note.action_post()
        note.is_move_sent = True
        (bill | note).line_ids.filtered(
            lambda line: line.account_type == "asset_receivable" and not line.reconciled
        ).reconcile()

    def collect_payments(self):
        """Each customer pays as it uses to; the bank's statements come on Fridays."""
        # Nothing is committed yet, so autovacuum has no statistics of what this transaction has written.
        self.env.flush_all()
        self.env.cr.execute("ANALYZE account_move, account_move_line, billing_charge")
        due = {}
        for bill in self.get_bills() - self.unpaid:
            if not bill.currency_id.is_zero(bill.amount_residual):
                day = self.get_payment_date(bill)
                if day and day <= self.today:
                    due[day] = due.get(day, self.env["account.move"]) | bill
        half = max(due)
        partly = due[half][-1]
        due[half] -= partly
        self.pay(partly, half, amount=partly.currency_id.round(partly.amount_residual / 2))
        for day in sorted(due):
            if due[day]:
                self.pay(due[day], day)

    def get_payment_date(self, bill):
        """The Friday on which a bill is paid, or None."""
        payer = self.payers[bill.commercial_partner_id]
        if payer == "prompt":
            day = bill.invoice_date_due - DAY * self.random.randrange(6)
            return max(day + relativedelta(weekday=FR(-1)), bill.invoice_date)
        if payer == "stopped" and bill.invoice_date > self.today - relativedelta(months=4):
            return None
        least, most = {"late": (8, 25), "very late": (20, 40), "stopped": (0, 20)}[payer]
        return bill.invoice_date_due + DAY * self.random.randint(least, most) + relativedelta(weekday=FR)

    def pay(self, bills, day, **values):
        self.env["account.payment.register"].with_context(
            active_model="account.move", active_ids=bills.ids, dont_redirect_to_payments=True
        ).create(
            {"payment_date": day, "journal_id": self.journal.id, "group_payment": True, **values}
        ).action_create_payments()

    # New prices

    def revise_prices(self):
        """Two prices follow an index in two months; customers know by letter, one has answered, one asks."""
        record = (
            self.env["billing.price.revision"]
            .with_user(self.users["officer"])
            .create(
                {
                    "name": "Yearly revision",
                    "method": "index",
                    "index_name": "Consumer prices, 2020 = 100",
                    "index_base": 121.3,
                    "index_current": 124.8,
                    "has_cap": True,
                    "cap": 5.0,
                    "date": self.today + 31 * DAY + relativedelta(months=1, day=1),  # told 30 days before, at least
                    "product_ids": [
                        Command.set((self.ref("product_management_fee") | self.ref("product_support")).ids)
                    ],
                }
            )
        )
        record.action_compute()
        record.with_user(self.users["manager"]).action_notify()
        record.notice_ids.action_letter()
        letters = record.sudo().notice_ids.grouped(lambda notice: notice.partner_id.commercial_partner_id)
        brightwater, mingyuan = letters[self.ref("partner_brightwater")], letters[self.ref("partner_mingyuan")]
        brightwater._acknowledge(brightwater.partner_id.name, "portal", "203.0.113.24")
        mingyuan._object("请说明此次调价的依据。", mingyuan.partner_id.name, "203.0.113.57")

    # The present

    def make_the_present(self):
        """Three runs that wait for somebody: to be sent, to be approved, to be looked at."""
        loud = self.env(context={key: value for key, value in self.env.context.items() if key not in QUIET})
        yesterday = self.today - DAY
        by_name = {partner.name: partner for partner in self.customers}
        large = self.make_contract(
            by_name["Nimbus Robotics"], "plan_yearly", (("product_licence_year", 60, 60),), yesterday,
            client_ref="NR-2209",
        )  # fmt: skip
        new = self.make_contract(
            by_name["Elliott Bay Hotel"], "plan_quarterly", (("product_elevator", 3, 3),), yesterday
        )
        new |= self.make_contract(
            by_name["杭州启明星教育科技有限公司"], "plan_half_yearly", (("product_support", 1, 1),), yesterday
        )
        new |= self.make_contract(
            by_name["福满楼超市"], "plan_monthly_arrears", (("product_elevator", 1, 1),), yesterday
        )
        (large | new).action_activate()
        self.env = loud
        waiting = self.make_run(self.today, contract_ids=[Command.set(large.ids)])
        waiting.action_generate()
        self.make_run(self.today)
        self.send_some()

    def send_some(self):
        """Mail the newest bills of three customers; the officer sends the others."""
        bills = self.last_run.move_ids.filtered(lambda move: move.state == "posted")
        first = self.ref("partner_brightwater") | self.ref("partner_mingyuan")
        chosen = bills.filtered(lambda bill: bill.commercial_partner_id in first)
        returned = (bills - chosen).filtered(lambda bill: bill.move_type == "out_invoice")[:1]
        (chosen | returned).with_env(self.env).with_user(self.users["officer"]).action_billing_deliver()
        self.situations.return_mail(returned)

    def grade_customers(self):
        """Customers have tiers; three proposals wait for the manager, one customer has a tier set by hand."""
        manager = self.users["manager"]
        self.env["billing.tier"].with_user(manager).action_grade()
        proposals = self.env["billing.tier.proposal"].search([("state", "=", "open")], order="revenue desc")
        own = self.ref("partner_oakridge")
        mine = proposals.filtered(lambda proposal: proposal.partner_id == own)
        (proposals[3:] - mine).with_user(manager).action_accept()
        own.with_user(manager).action_set_billing_tier(
            self.ref("tier_gold").id, "Agreed with the group's head office", self.today + relativedelta(months=6)
        )

    # What customers did in the portal

    def listen_to_customers(self):
        """One customer asks for a parking space less, another for a pause; one objects to a bill and was asked back."""
        self.env["billing.price"].search([]).is_published = True
        self.env["billing.plan"].search([]).write(
            {"self_quantity": "request", "self_pause": "request", "self_close": "request", "self_notice_days": 14}
        )
        users = {user.login: user for user in self.env["res.users"].search([("login", "in", ("portal", "kehu"))])}
        self.ask_for_change(users["portal"], "quantity", "Two tenants have moved out.")
        self.ask_for_change(users["kehu"], "pause", "办公室装修，预计两个月。")
        self.confirm_profiles(users["portal"].commercial_partner_id)
        bill = self.get_bills().filtered(
            lambda bill: bill.commercial_partner_id == users["portal"].commercial_partner_id and bill.amount_residual
        ).sorted("id")[-1:]
        dispute, _errors = (
            self.env["billing.dispute"]
            .with_user(users["portal"])
            ._dispute_from_portal(
                bill,
                {
                    "line_id": str(bill.invoice_line_ids[:1].id),
                    "figure": f"{bill.invoice_line_ids[:1].price_total * 0.9:.2f}",
                    "reason": "price",
                    "name": "Price is above our offer",
                    "description": "Your offer of last spring says 10 % less for this item.",
                },
                [],
            )
        )
        for login, text in (
            ("collector", "Thank you for telling us. Could you send us the number of the offer?"),
            ("portal", "It is OF-2291, signed by Mr. Carter."),
        ):
            author = self.env["res.users"].search([("login", "=", login)])
            dispute.with_user(author).sudo().message_post(
                body=text, message_type="comment", subtype_xmlid="mail.mt_comment"
            )

    def confirm_profiles(self, customer):
        """One customer is asked whether its data is right; another has moved, and has a new bank account to approve."""
        confirmations = self.env["billing.profile.confirmation"]
        confirmations._ask(customer, self.company)
        moved = self.ref("partner_oakridge")
        confirmations._ask(moved, self.company).sudo()._answer(
            {"street": "1180 Harbor Avenue", "bank": "4400 7731 0926"}, "Laura Kim", "portal", "203.0.113.71"
        )

    def ask_for_change(self, user, kind, note):
        """A request in the portal, in the first contract of the user's company where it is possible."""
        requests = self.env["billing.request"].with_user(user).sudo()
        contracts = self.env["billing.contract"].search(
            [("partner_id", "child_of", user.commercial_partner_id.id), ("state", "=", "active")], order="id"
        )
        for contract in contracts.with_user(user).sudo():
            lines = requests._get_quantity_lines(contract).filtered(lambda line: line.quantity > 2)
            if kind in requests._get_kinds(contract) and (lines or kind != "quantity"):
                form = {"note": note}
                if kind == "quantity":
                    form |= {"line_id": str(lines[0].id), "quantity": f"{lines[0].quantity - 2:g}"}
                vals, _errors = requests._read_form(contract, kind, form)
                return requests._submit(contract, vals)
        return requests

    # Statements of account

    def make_statements(self):
        """Last month's statements: some are confirmed, one is disputed, some were only opened, one is late; the
        others wait to be sent."""
        officer = self.users["officer"]
        last = self.today.replace(day=1) - DAY
        run = (
            self.env["billing.statement.run"]
            .with_user(officer)
            .create({"frequency": "monthly", "date_from": last.replace(day=1), "date_to": last})
        )
        run.action_prepare()
        shown = self.ref("partner_brightwater") | self.ref("partner_mingyuan")
        statements = run.statement_ids.filtered(lambda s: s.state == "checked" and s.balance_close > 0)
        own = statements.filtered(lambda s: s.partner_id in shown)
        others = (statements - own)[:7]
        others[-1:].date_due = self.today - 2 * DAY
        (own | others).action_send()
        (own[:1] | others[:5])._note_opened()
        for statement, name in zip(others[:3], ("Grace Holt", "Omar Reyes", "Ines Park"), strict=False):
            # as the customer does it, with the link
            statement.with_user(self.env.ref("base.public_user")).sudo().action_confirm(name, _draw_signature())
        disputed = others[3:4]
        bill = disputed.line_ids.filtered(lambda line: line.kind == "invoice")[:1]
        disputed.action_dispute(
            {
                "name": "One visit less",
                "line_id": bill.id,
                "claimed_amount": disputed.currency_id.round((bill.debit - bill.credit) * 0.9 - 10),
                "reason": "quantity",
                "description": "Our log has one visit less than the bill.",
            }
        )

    # Payments

    def make_payments(self):
        """One customer pays automatically, another's saved card was declined, a third pays in advance."""
        provider = self.env.ref("payment.payment_provider_demo", raise_if_not_found=False)
        if provider and provider.code == "demo":
            provider.write({"state": "test", "is_published": True, "journal_id": self.journal.id})
            provider.payment_method_ids.filtered(lambda method: method.code == "demo").active = True
            self.pay_automatically(provider, self.ref("partner_brightwater"), "done")
            self.pay_automatically(provider, self.ref("partner_mingyuan"), "cancel")
            self.situations.charge_without_answer(provider)
        by_name = {partner.name: partner for partner in self.customers}
        self.situations.pay_twice(by_name["北京盛世文化传媒有限公司"])
        ahead = by_name["Tidewater Travel"]
        self.company.write(self.prepare_prepayments())
        ahead.write({"billing_prepaid": True, "billing_prepaid_threshold": 500.0})
        owed = sum(self.get_bills().filtered(lambda b: b.commercial_partner_id == ahead).mapped("amount_residual"))
        self.env["account.payment"].create(
            {
                "payment_type": "inbound",
                "partner_type": "customer",
                "partner_id": ahead.id,
                "amount": 420.0 + owed,
                "date": self.today - 3 * DAY,
                "journal_id": self.journal.id,
                "memo": "PREPAID",
            }
        ).action_post()
        ahead._after_billing_payment(self.company)
        ahead._alert_billing_low_balance(self.company)

    def prepare_prepayments(self):
        """What the company needs for top-up bills: a liability, and numbers of their own."""
        account = self.env["account.account"].create(
            {
                "name": "Customer Prepayments",
                "code": "255100",
                "account_type": "liability_current",
                "reconcile": True,
            }
        )
        journal = self.env["account.journal"].create(
            {"name": "Customer Prepayments", "code": "TOP", "type": "sale", "sequence": 90}
        )
        return {"billing_prepaid_account_id": account.id, "billing_prepaid_journal_id": journal.id}

    def pay_automatically(self, provider, customer, answer, expiry=None):
        """The customer's portal user saves a method and allows it; the newest open bill is charged now.

        Returns the attempt.
        """
        user = self.env["res.users"].search([("partner_id", "child_of", customer.id), ("share", "=", True)], limit=1)
        token = self.env["payment.token"].create(
            {
                "provider_id": provider.id,
                "payment_method_id": provider.payment_method_ids[:1].id,
                "payment_details": {"done": "4242", "cancel": "0341", "pending": "1881"}[answer],
                "partner_id": user.partner_id.id,
                "provider_ref": f"demo {customer.id}",
                "demo_simulated_state": answer,
            }
        )
        customer.billing_contract_ids.plan_id.invoice_policy = "charge"
        text = self.company.with_context(lang=user.lang)._get_billing_mandate_text()
        expiry = expiry or self.today + relativedelta(months=20, day=31)
        self.env["billing.payment.mandate"].with_user(user)._grant(token, text, None, expiry, "203.0.113.24")
        bills = self.get_bills().filtered(
            lambda bill: bill.commercial_partner_id == customer
            and bill.amount_residual
            and not bill.billing_dispute_ids.filtered(lambda dispute: dispute.state == "open")
        )
        bill = bills.sorted("invoice_date")[-1:]
        bill.action_billing_charge()
        attempt = self.env["billing.payment.attempt"]._intend(bill)
        attempt._call_provider()
        attempt._settle()
        return attempt

    # What the story says about itself

    def sum_up(self):
        self.env.flush_all()
        bills, debit = self.check_ledger()
        contracts = self.env["billing.contract"].search([("company_id", "=", self.company.id)])
        posted = self.get_bills()
        notes = self.env["account.move"].search_count([("move_type", "=", "out_refund"), ("state", "=", "posted")])
        overdue = posted.filtered(lambda bill: bill.amount_residual and bill.invoice_date_due < self.today)
        return {
            "company": self.company.name,
            "logins": [(role, login, "admin" if login == "admin" else login, first) for role, login, first in LOGINS],
            "counts": {
                "customers": len(self.customers),
                "contracts": len(contracts),
                **{f"contracts {state}": count for state, count in sorted(Counter(contracts.mapped("state")).items())},
                "plans in use": len(contracts.plan_id),
                "runs": self.env["billing.run"].search_count([]),
                "bills": len(posted),
                "credit notes": notes,
                "payments": self.env["account.payment"].search_count([]),
                "bills overdue": len(overdue),
                "disputes": self.env["billing.dispute"].search_count([]),
                **self.count_statements(),
                **self.count_cases(),
            },
            "ledger": {"bills": bills, "receivable_debit": debit},
            "situations": self.situations.find(),
        }

    def count_statements(self):
        if "billing.statement" not in self.env:
            return {}
        groups = self.env["billing.statement"]._read_group([], ["state"], ["__count"])
        return {f"statements {state}": count for state, count in groups}

    def count_cases(self):
        if "billing.case" not in self.env:
            return {}
        groups = self.env["billing.case"]._read_group([], ["state"], ["__count"])
        return {f"cases {state}": count for state, count in groups}

    def check_ledger(self):
        """Σ bills = Σ receivable debit, the latter as the general ledger has it."""
        [[bills]] = self.env["account.move"]._read_group(
            [("move_type", "=", "out_invoice"), ("state", "=", "posted"), ("company_id", "=", self.company.id)],
            [],
            ["amount_total_signed:sum"],
        )
        [[debit]] = self.env["account.move.line"]._read_group(
            [
                ("account_id.account_type", "=", "asset_receivable"),
                ("parent_state", "=", "posted"),
                ("journal_id.type", "=", "sale"),
                ("move_id.billing_prepaid_kind", "=", False),
                ("company_id", "=", self.company.id),
            ],
            [],
            ["debit:sum"],
        )
        currency = self.company.currency_id
        assert currency.compare_amounts(bills, debit) == 0, f"bills {bills}, receivable {debit}"
        return currency.round(bills), currency.round(debit)


def _draw_logo():
    """A small logo: towers by the water."""
    image = Image.new("RGBA", (360, 120), (255, 255, 255, 0))
    draw = ImageDraw.Draw(image)
    for left, top, right in ((14, 46, 34), (38, 18, 62), (66, 34, 88), (92, 58, 108)):
        draw.rectangle((left, top, right, 92), fill="#1f5f8b")
        for row in range(top + 7, 88, 11):
            for column in range(left + 5, right - 5, 8):
                draw.rectangle((column, row, column + 3, row + 4), fill="#e0a030")
    for row, colour in ((98, "#4f93bf"), (106, "#9cc5df")):
        draw.rounded_rectangle((8, row, 114, row + 4), 2, fill=colour)
    draw.text((130, 28), "Harbour City", fill="#1f5f8b", font_size=34)
    draw.text((130, 68), "Services", fill="#7a8894", font_size=26)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return base64.b64encode(buffer.getvalue())


def _draw_signature():
    """A name written by hand, more or less."""
    image = Image.new("RGBA", (240, 80), (255, 255, 255, 0))
    draw = ImageDraw.Draw(image)
    points = [(20 + 5 * n, 40 + (18 - n // 3) * (-1) ** n + (n * 7) % 5) for n in range(40)]
    draw.line(points, fill="#1b2a6b", width=2, joint="curve")
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return base64.b64encode(buffer.getvalue())
