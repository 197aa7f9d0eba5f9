"""The situations of the demo company: for all that can become of a bill, a customer to look at.

A part of the story (``demo_story``). What happened weeks ago is done on its day, by the same methods as today, so that
cases, notices and promises have a history. At the end ``find`` looks for a customer in each situation, by the data.
"""

from datetime import datetime, time, timedelta
from email.message import EmailMessage

from dateutil.relativedelta import relativedelta
from freezegun import freeze_time

from odoo import Command

DAY = timedelta(days=1)

# Customers who pay all else in time, and for how many days the bill of one more service is overdue.
OVERDUE = {
    "Oakridge Dental Group": -6,
    "Fremont Art Lofts": -3,
    "Green Lake Fitness": 5,
    "Interbay Storage": 6,
    "Larkspur Studios": 16,
    "Juniper Senior Living": 17,
    "Meridian Freight": 26,
    "Orchard Foods": 27,
    "Rainier Outdoor Supply": 28,
    "金桥旅行社": 30,
    "Pioneer Insurance Brokers": 40,
    "Beacon Hill Medical Center": 45,
    "广州南粤物流有限公司": 50,
    "Cedar Park Offices": 60,
    "武汉江城食品有限公司": 90,
    "Dockside Apartments": 95,
}
# The days, before today, on which the collector worked.
NIGHTS = (38, 27, 19, 12, 6)
# Contacts who see the portal beside those of the story: login, name, customer, role.
CONTACTS = (
    ("technical", "Noah Patel", "Brightwater Apartments", "technical"),
    ("late", "Hannah Weiss", "Alder Court Residences", "billing"),
    ("parts", "周敏", "金桥旅行社", "collection"),
    ("held", "Peter Novak", "Cedar Park Offices", "billing"),
    ("prepaid", "Maria Santos", "Tidewater Travel", "billing"),
    ("card", "Rachel Kim", "Oakridge Dental Group", "billing"),
    ("newcomer", "Tom Fisher", "Seaview Yoga Studio", "billing"),
)
# What there is to see, and where: the first customer who is found there is named.
SITUATIONS = (
    ("Automatic charge, paid", "billing.payment.attempt", [("state", "=", "done")]),
    ("Automatic charge declined", "billing.payment.attempt", [("state", "=", "declined")]),
    ("Automatic charge, outcome unknown", "billing.payment.attempt", [("state", "=", "unknown")]),
    ("Card that expires soon", "billing.payment.mandate", [("notice_days", ">", 0)]),
    ("Prepayment with a top-up bill", "account.move", [("billing_prepaid_kind", "=", "topup")]),
    ("Prepaid balance, low", "res.partner", [("billing_prepaid_alert_date", "!=", False)]),
    ("Credit that is not allocated", "account.payment", [("is_reconciled", "=", False), ("memo", "=", "Paid twice")]),
    ("Two currencies", "billing.contract", [("client_ref", "=", "USD-1")]),
    ("Bill that came back", "account.move", [("billing_delivery_state", "=", "failed")]),
    ("Line in dispute, a conversation", "billing.dispute", [("state", "=", "open"), ("move_line_id", "!=", False)]),
    ("Reminded before the due date", "billing.dunning.notice", [("state", "=", "sent"), ("step_id.days", "<", 0)]),
    (
        "Friendly reminder sent",
        "billing.case",
        [("step_days", "=", 3), ("state", "=", "open"), ("partner_id.email", "!=", False)],
    ),
    ("To be called", "billing.case", [("step_days", "=", 10), ("state", "=", "open")]),
    ("Second reminder sent", "billing.case", [("step_days", "=", 21), ("state", "=", "open")]),
    (
        "Final letter waits for the manager",
        "billing.dunning.notice",
        [("state", "=", "proposed"), ("channel", "=", "letter")],
    ),
    ("No e-mail address: a call instead", "billing.dunning.notice", [("reason_code", "=", "no_address")]),
    ("Promise, open", "billing.promise", [("state", "=", "open")]),
    ("Promise, kept", "billing.promise", [("state", "=", "kept")]),
    ("Promise, broken", "billing.promise", [("state", "=", "broken")]),
    ("Instalments, offered", "billing.instalment", [("state", "=", "offered")]),
    ("Instalments, running", "billing.instalment", [("state", "=", "running")]),
    ("Instalments, broken", "billing.instalment", [("state", "=", "broken")]),
    ("Service hold", "billing.case", [("state", "=", "hold")]),
    ("Handed over to a lawyer", "billing.case", [("state", "=", "legal"), ("handover_attachment_id", "!=", False)]),
    ("Written off", "billing.case", [("state", "=", "written_off")]),
    ("Late interest billed", "billing.interest", [("state", "=", "billed")]),
    ("Late interest waived", "billing.interest", [("state", "=", "waived")]),
    ("New price announced", "billing.price.notice", [("date_acknowledged", "!=", False)]),
    ("New price, the customer objects", "billing.price.notice", [("objection", "!=", False)]),
    ("Contract paused", "billing.contract.pause", [("origin", "=", "staff"), ("date_to", "=", False)]),
    ("Change asked for in the portal", "billing.request", [("state", "=", "requested")]),
    ("Profile to be confirmed", "billing.profile.confirmation", [("state", "=", "asked")]),
    ("New bank account to approve", "billing.profile.confirmation", [("state", "=", "waiting")]),
    ("Tier proposed", "billing.tier.proposal", [("state", "=", "open")]),
    ("Tier set by hand", "res.partner", [("billing_tier_manual", "=", True)]),
    ("Statement confirmed", "billing.statement", [("state", "=", "confirmed")]),
    ("Statement in dispute", "billing.statement", [("state", "=", "disputed")]),
    ("Technical contact with a login", "res.users", [("login", "=", "technical")]),
    ("A customer with nothing yet", "res.users", [("login", "=", "newcomer")]),
)


class Situations:
    def __init__(self, story):
        self.story = story
        self.runs = {}  # day -> contracts that are billed on it, besides the company's own days

    # Customers and contracts

    def make_customers(self):
        story = self.story
        newcomer = story.env["res.partner"].create(
            {
                "name": "Seaview Yoga Studio",
                "is_company": True,
                "city": "Tacoma",
                "country_id": story.env.ref("base.us").id,
                "email": "hello@seaview-yoga.example.com",
                "lang": "en_US",
            }
        )
        self.by_name = {partner.name: partner for partner in (*story.customers, newcomer)}
        for name in OVERDUE:
            story.payers[self.by_name[name]] = "prompt"
        self.make_contacts()

    def make_contacts(self):
        """Contacts by role, some of whom have a login."""
        env, portal = self.story.env, self.story.env.ref("base.group_portal")
        self.story.ref("partner_brightwater_contact").billing_role_billing = True
        self.add_contact("Ruth Ellis", self.by_name["Brightwater Apartments"], "collection")
        self.users = {
            login: env["res.users"].create(
                {
                    "login": login,
                    "password": login,
                    "partner_id": self.add_contact(name, self.by_name[customer], role).id,
                    "lang": self.by_name[customer].lang,
                    "group_ids": [Command.set(portal.ids)],
                }
            )
            for login, name, customer, role in CONTACTS
        }

    def add_contact(self, name, customer, role):
        local = name.split()[0].lower() if name.isascii() else "zhoumin"
        return customer.create(
            {
                "name": name,
                "parent_id": customer.id,
                "email": f"{local}@{customer.email.split('@')[1]}",
                "lang": customer.lang,
                f"billing_role_{role}": True,
            }
        )

    def make_contracts(self):
        """One more service for those who do not pay it, billed on a day of its own; one in another currency."""
        story, made = self.story, self.story.env["billing.contract"]
        for name, overdue in OVERDUE.items():
            partner = self.by_name[name]
            in_china = partner.country_id.code == "CN"
            product = "product_support" if in_china else "product_security" if overdue < 50 else "product_cleaning"
            term = partner.property_payment_term_id.line_ids.nb_days
            day = story.today - DAY * (overdue + term)
            contract = story.make_contract(partner, "plan_half_yearly", ((product, 1, 1),), day)
            self.runs[day] = self.runs.get(day, made) | contract
            made |= contract
        made.action_activate()
        self.contracts = made
        other = story.make_contract(
            story.ref("partner_mingyuan"), "plan_monthly_first", (("product_backup", 1, 1),),
            story.run_days[-1] - relativedelta(months=2), currency=story.usd, client_ref="USD-1",
        )  # fmt: skip
        other.action_activate()

    def get_unpaid(self):
        """The bills that these customers do not pay."""
        return self.contracts.charge_ids.move_line_id.move_id

    # Bills and payments

    def return_mail(self, bill):
        """The mail with a bill comes back."""
        message = bill.message_ids.filtered(lambda message: message.notification_ids)[:1]
        back = EmailMessage()
        back["From"], back["To"] = "MAILER-DAEMON@mx.example.com", "bounce@example.com"
        back["Subject"], back["Message-Id"] = "Undelivered Mail Returned to Sender", f"<back-{bill.id}@mx.example.com>"
        back.set_content("550 5.1.1 The mailbox does not exist.")
        original = EmailMessage()
        original["Message-Id"], original["Subject"] = message.message_id, message.subject
        back.add_attachment(original)
        self.story.env["mail.thread"].message_process(False, back.as_bytes())
        bill._note_delivery_failures()

    def pay_twice(self, customer):
        """A credit that nobody has allocated."""
        story = self.story
        payment = story.env["account.payment"].create(
            {
                "payment_type": "inbound",
                "partner_type": "customer",
                "partner_id": customer.id,
                "currency_id": customer.billing_contract_ids.currency_id[:1].id,
                "amount": 860.0,
                "date": story.today - 4 * DAY,
                "journal_id": story.journal.id,
                "memo": "Paid twice",
            }
        )
        payment.action_post()

    def charge_without_answer(self, provider):
        """A charge whose outcome the provider does not tell, by a card that expires soon."""
        story, customer = self.story, self.by_name["Oakridge Dental Group"]
        asked = story.today - DAY * (story.company.billing_charge_poll_days + 2)
        with self.on(asked):
            attempt = story.pay_automatically(provider, customer, "pending", expiry=story.today + 21 * DAY)
        attempt._poll()
        story.env["billing.payment.mandate"]._cron_notify_expiry()

    # Collections

    def on(self, day):
        """The morning of a day."""
        return freeze_time(datetime.combine(day, time(16, 30)), tick=True)

    def collect(self):
        """What the collector has done for weeks, and this morning."""
        story = self.story
        self.collector = story.users["collector"]
        self.cases = story.env["billing.case"].sudo()
        self.policy = story.env.ref("customer_billing_collection.billing_dunning_policy_standard")
        story.company.write(
            {
                "billing_dunning_policy_id": self.policy.id,
                "billing_collector_id": self.collector.id,
                "billing_collection_approval_amount": 500.0,
                "billing_bad_debt_account_id": story.env["account.account"]
                .search([("account_type", "=", "expense")], limit=1)
                .id,
            }
        )
        self.policy.write({"interest_rate": 0.08, "interest_date_from": story.today - relativedelta(months=6)})
        happened = {
            27: [self.break_instalments],
            19: [self.run_instalments, self.keep_promise, self.break_promise],
            12: [self.pay_for_promise, self.pay_instalment, self.print_letters],
            6: [self.hold],
        }
        for days in NIGHTS:
            with self.on(story.today - DAY * days):
                self.work_night()
                for event in happened.get(days, ()):
                    event()
        self.by_name["Interbay Storage"].email = False
        self.work_night(share=0.67)
        self.work_today()

    def work_night(self, share=1.0):
        """Refresh the cases, send what is due, call whom there is to call."""
        story = self.story
        items = self.cases._refresh_customers(story.company, sorted(story.customers.ids))
        notices = self.cases.browse([case.id for case in items])._propose(items, any_day=True)
        waiting = notices.filtered(lambda notice: notice.channel in ("email", "call") and notice.state == "proposed")
        must = waiting.filtered(lambda notice: notice.partner_id.name in OVERDUE)
        chosen = must | (waiting - must)[: round(len(waiting - must) * share)]
        for number in range(0, len(chosen), 10):
            chosen[number : number + 10].with_user(self.collector).action_send()
        if share == 1.0:
            for case in chosen.filtered(lambda notice: notice.channel == "call").case_id:
                self.call(case, "no_answer", note="Nobody before noon.")

    def get_case(self, name):
        return self.cases.search(
            [("partner_id", "=", self.by_name[name].id), *self.cases._get_open_domain()], limit=1
        ).with_user(self.collector)

    def call(self, case, outcome, **values):
        calls = self.story.env["billing.case.call"].with_user(self.collector)
        calls.create({"case_id": case.id, "outcome": outcome, **values}).action_done()

    def agree(self, name, first, person=None):
        """An agreement about three parts, confirmed by telephone if a person is named."""
        agreement = self.story.env["billing.instalment"].with_user(self.collector)
        agreement = agreement.create({"case_id": self.get_case(name).id})
        agreement.action_make_schedule(3, str(first))
        agreement.action_offer()
        if person:
            agreement.action_confirm(person, "By telephone")
        return agreement

    def break_instalments(self):
        self.agree("广州南粤物流有限公司", self.story.today - 20 * DAY, "黄建国")

    def run_instalments(self):
        self.agreement = self.agree("Beacon Hill Medical Center", self.story.today - 12 * DAY, "Ann Lee")

    def pay_instalment(self):
        """The first part is paid on its day."""
        part = self.agreement.line_ids.sorted("date")[0]
        self.pay_part(self.agreement.move_line_ids.move_id, part.date, part.amount)

    def pay_part(self, bills, day, amount):
        bill = bills.sorted(lambda bill: -bill.amount_residual)[:1].with_env(self.story.env)
        self.story.pay(bill, day, amount=bill.currency_id.round(amount))

    def promise(self, name, amount, days, note):
        case = self.get_case(name)
        self.call(case, "promised", promise_amount=amount, promise_date=self.story.today - DAY * days, note=note)

    def keep_promise(self):
        self.promise("Orchard Foods", 500.0, 10, "500 now, the rest next month.")

    def pay_for_promise(self):
        self.pay_part(self.get_unpaid().filtered(lambda bill: bill.partner_id.name == "Orchard Foods"),
                      self.story.today - 12 * DAY, 500.0)  # fmt: skip

    def break_promise(self):
        self.promise("Rainier Outdoor Supply", 900.0, 13, "Pays as soon as a customer of theirs has paid.")

    def print_letters(self):
        """The last letters to those with whom it gets serious: the manager approves, the collector prints."""
        for name in ("Cedar Park Offices", "Dockside Apartments"):
            letter = self.get_case(name).notice_ids.filtered(
                lambda notice: notice.channel == "letter" and notice.state == "proposed"
            )
            letter.with_user(self.story.users["manager"]).action_approve()
            letter.with_user(self.collector).action_print()

    def hold(self):
        self.get_case("Cedar Park Offices").action_start_hold("Three reminders without an answer")

    def work_today(self):
        story = self.story
        self.promise("Juniper Senior Living", self.get_case("Juniper Senior Living").amount_overdue, -6,
                     "The bookkeeper was on leave; pays on her first day.")  # fmt: skip
        self.agree("金桥旅行社", story.today + 7 * DAY)
        self.write_off("武汉江城食品有限公司", "The company was dissolved; there is nothing left.")
        self.charge_interest()
        lawyer = story.env["res.partner"].create(
            {"name": "Whitfield & Rowe, Attorneys", "is_company": True, "email": "office@whitfield-rowe.example.com"}
        )
        self.get_case("Dockside Apartments").action_hand_over(lawyer.id, "They say that they will not pay.")

    def write_off(self, name, reason):
        """The collector asks, the manager approves."""
        case = self.get_case(name)
        items = case._get_writeoff_items().filtered(lambda line: line.date_maturity < self.story.today)
        writeoff = self.story.env["billing.writeoff"].with_user(self.collector).create(
            {
                "case_id": case.id,
                "move_line_ids": [Command.set(items.ids)],
                "amount": sum(items.mapped("amount_residual_currency")),
                "reason": reason,
            }
        )  # fmt: skip
        writeoff.action_request()
        if writeoff.state == "requested":
            writeoff.with_user(self.story.users["manager"]).action_approve()

    def charge_interest(self):
        """Interest of all until today; one customer gets the bill, another one's is waived."""
        story = self.story
        interest = story.env["billing.interest"].with_user(story.users["officer"])
        interest.accrue(str(story.today))

        def pending(name):
            return interest.search([("case_id", "=", self.get_case(name).id), ("state", "=", "pending")])

        action = pending("Alder Court Residences").action_bill()
        story.env["account.move"].with_user(story.users["officer"]).browse(action["res_id"]).action_post()
        pending("Meridian Freight").action_waive("The bill had gone to an old address.")

    # The table

    def find(self):
        """For each situation the customer who is in it: rows of (situation, customer, login).

        :raises AssertionError: nobody is in a situation
        """
        payers = self.story.payers.items()
        in_time = next(partner for partner, payer in payers if payer == "prompt" and self.is_fine(partner))
        rows = [("Pays in time", in_time.name, self.get_login(in_time))]
        for text, model, domain in SITUATIONS:
            found = self.story.env[model].search(domain)
            assert found, f"Nobody is in this situation: {text}"
            customers = [self.get_customer(record) for record in found]
            logins = {partner: self.get_login(partner) for partner in customers}
            customers.sort(key=lambda partner: (not logins[partner], partner.name not in OVERDUE))
            login = found.login if model == "res.users" else logins[customers[0]]
            rows.append((text, customers[0].name, login))
        return rows

    def is_fine(self, partner):
        known = [("partner_id", "=", partner.id)]
        return not self.cases.search_count(known) and not self.story.env["billing.dispute"].search_count(known)

    def get_customer(self, record):
        if record._name == "res.partner":
            return record
        partner = record.contract_id.partner_id if record._name == "billing.contract.pause" else record.partner_id
        return partner.commercial_partner_id

    def get_login(self, partner):
        users = self.story.env["res.users"].search(
            [("partner_id", "child_of", partner.id), ("share", "=", True)], order="id"
        )
        return users[:1].login or ""
