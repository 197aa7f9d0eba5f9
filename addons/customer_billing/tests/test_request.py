import re
from datetime import timedelta
from urllib.parse import urlencode, urlparse

from psycopg2 import IntegrityError

from odoo import Command, fields, http
from odoo.exceptions import AccessError, UserError
from odoo.tests import HttpCase, tagged
from odoo.tools import mute_logger

from .common import BillingCommon


class RequestCommon(BillingCommon):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.today = cls.company._get_billing_today()
        (cls.customer | cls.other_customer).lang = "en_US"
        cls.user = cls.new_portal(cls.customer, "asking_one")
        cls.other_user = cls.new_portal(cls.other_customer, "asking_two")
        cls.officer = cls.new_staff("officer", login="deciding")
        cls.basic, cls.premium, cls.secret = (
            cls.env["billing.price"].create(
                {"product_id": product.id, "code": code, "unit_amount": amount, "date_from": "2020-01-01",
                 "currency_id": cls.company.currency_id.id, "is_published": published}
            )
            for product, code, amount, published in (
                (cls.product, "BASIC", 100.0, True),
                (cls.new_item("Premium seat"), "PREMIUM", 150.0, True),
                (cls.new_item("Secret seat"), "SECRET", 1.0, False),
            )
        )  # fmt: skip
        cls.plan.write(
            {
                "self_quantity": "direct", "self_switch": "direct", "self_pause": "direct", "self_close": "direct",
                "switch_product_ids": [Command.set((cls.basic | cls.premium | cls.secret).product_id.ids)],
            }
        )  # fmt: skip
        cls.contract = cls.new_contract(cls.today, [{"quantity": 3}], officer_id=cls.officer.id)
        cls.line = cls.contract.line_ids
        cls.other_contract = cls.new_contract(cls.today, partner_id=cls.other_customer.id)
        cls.bill(cls.today, cls.contract | cls.other_contract)
        cls.reason = cls.env.ref("customer_billing.billing_close_reason_other")

    @classmethod
    def new_item(cls, name):
        taxes = [Command.set(cls.company_data["default_tax_sale"].ids)]
        return cls.env["product.product"].create({"name": name, "type": "service", "taxes_id": taxes})

    def ask(self, kind, contract=None, **form):
        """What the page does, without the page: the request of the customer."""
        contract = contract or self.contract
        requests_sudo = self.env["billing.request"].with_user(self.user).sudo()
        contract_sudo = contract.with_user(self.user).sudo()
        vals, errors = requests_sudo._read_form(contract_sudo, kind, {k: str(v) for k, v in form.items()})
        self.assertFalse(errors)
        return requests_sudo._submit(contract_sudo, vals).sudo(False).with_user(self.env.user)

    def errors(self, kind, **form):
        requests_sudo = self.env["billing.request"].with_user(self.user).sudo()
        return requests_sudo._read_form(self.contract.with_user(self.user).sudo(), kind, form)[1]


@tagged("post_install", "-at_install")
class TestRequest(RequestCommon):
    """The model: what is allowed, what is done, who decides."""

    def test_invariant_7_what_was_shown_is_billed(self):
        date = self.today + timedelta(days=5)
        request = self.ask("quantity", line_id=self.line.id, quantity=5, date=date)
        self.assertEqual((request.state, request.requester_id), ("applied", self.customer))
        self.assertEqual(request.contract_id.line_ids.mapped("quantity"), [3.0, 5.0])
        self.assertEqual(request.amount_before, 300.0)
        until = fields.Date.add(self.today, months=1)
        move = self.bill(until, self.contract).move_ids
        self.assertAlmostEqual(move.amount_untaxed, request.amount_after)
        self.assertGreater(request.amount_after, 500.0)
        self.assertIn("3 → 5", request.summary)

    def test_switch_to_a_published_price(self):
        request = self.ask("switch", choice=f"{self.line.id}-{self.premium.id}", date=self.today)
        line = self.contract.line_ids - self.line
        self.assertEqual((line.product_id, line.price_id, line.price_unit, line.quantity),
                         (self.premium.product_id, self.premium, 150.0, 3.0))  # fmt: skip
        self.assertIn("Premium seat", request.summary)
        theirs = self.other_contract.line_ids
        for choice in (f"{self.line.id}-{self.secret.id}", f"{self.line.id}-{self.basic.id}", "1-1", "", "x-y",
                       f"{line.id}-{self.secret.id}", f"{theirs.id}-{self.basic.id}"):  # fmt: skip
            with self.subTest(choice=choice):
                self.assertIn("price_id", self.errors("switch", choice=choice))

    def announce(self):
        """A letter tells a new price from in two months on; returns its first day."""
        day = fields.Date.add(self.today, months=2)
        revision = self.env["billing.price.revision"].create(
            {"name": "More", "percent": 10.0, "date": day, "notice_days": 30,
             "contract_ids": [Command.set(self.contract.ids)]}
        )  # fmt: skip
        revision.action_compute()
        revision.action_notify()
        revision.notice_ids.action_letter()
        return day

    def terms(self):
        """The lines that have days: [(first day, last day, quantity, price)]."""
        return [
            (line.date_start, line.date_end, line.quantity, line.price_unit)
            for line in self.contract.line_ids.sorted(lambda line: (line.date_start, line.id))
            if not line.date_end or line.date_end >= line.date_start
        ]

    def test_a_quantity_changes_with_an_announced_price(self):
        day = self.announce()
        self.assertEqual(len(self.terms()), 2)
        date = self.today + timedelta(days=5)
        self.ask("quantity", line_id=self.line.id, quantity=5, date=date)
        one = timedelta(days=1)
        expected = [
            (self.line.date_start, date - one, 3, 100.0),
            (date, day - one, 5, 100.0),
            (day, False, 5, 110.0),
        ]
        self.assertEqual([(a, b, q, round(p, 2)) for a, b, q, p in self.terms()], expected)

    def test_a_quantity_after_the_announced_price_has_begun(self):
        day = self.announce()
        later = day + timedelta(days=10)
        self.ask("quantity", line_id=self.line.id, quantity=5, date=later)
        one = timedelta(days=1)
        self.assertEqual(
            [(a, b, q, round(p, 2)) for a, b, q, p in self.terms()],
            [(self.line.date_start, day - one, 3, 100.0), (day, later - one, 3, 110.0), (later, False, 5, 110.0)],
        )

    def test_a_switch_takes_the_place_of_an_announced_price(self):
        self.announce()
        date = self.today + timedelta(days=5)
        self.ask("switch", choice=f"{self.line.id}-{self.premium.id}", date=date)
        self.assertEqual(
            self.terms(),
            [(self.line.date_start, date - timedelta(days=1), 3, 100.0), (date, False, 3, 150.0)],
        )

    def test_an_announced_end_or_other_item_is_left_to_staff(self):
        day = fields.Date.add(self.today, months=2)
        self.contract.action_amend({"lines": [{"line_id": self.line.id, "end": True}]}, day)
        self.assertNotIn("quantity", self.kinds())

    def test_a_price_that_ends_before(self):
        self.premium.date_to = self.today + timedelta(days=5)
        for days, wrong in ((5, False), (6, True)):
            date = str(self.today + timedelta(days=days))
            errors = self.errors("switch", choice=f"{self.line.id}-{self.premium.id}", date=date)
            self.assertEqual("date" in errors, wrong)

    def test_pause_and_resume(self):
        date = self.today + timedelta(days=3)
        self.ask("pause", date=date, note="Holidays")
        pause = self.contract.pause_ids
        self.assertEqual((pause.origin, pause.date_from, pause.reason), ("customer", date, "Holidays"))
        self.assertNotIn("pause", self.kinds())
        self.ask("resume", date=date + timedelta(days=2))
        self.assertEqual(pause.date_to, date + timedelta(days=1))

    def kinds(self, contract=None):
        return self.env["billing.request"].sudo()._get_kinds((contract or self.contract).sudo())

    def test_pauses_of_staff_are_ended_by_staff(self):
        self.contract.action_pause(self.today)
        self.assertNotIn("resume", self.kinds())
        with self.assertRaisesRegex(UserError, "cannot be changed here"):
            self.ask("resume", date=self.today)
        self.assertFalse(self.contract.pause_ids.date_to)

    def test_cancel(self):
        request = self.ask("close", reason_id=self.reason.id, date=self.today + timedelta(days=10), note="Moving")
        self.assertEqual(self.contract.date_end, self.today + timedelta(days=10))
        self.assertEqual(self.contract.close_reason_id, self.reason)
        self.assertLess(request.amount_after, request.amount_before)
        self.assertNotIn("close", self.kinds())

    def test_notice_is_respected(self):
        self.plan.self_notice_days = 14
        for kind, form in (
            ("quantity", {"line_id": str(self.line.id), "quantity": "5"}), ("pause", {}),
            ("close", {"reason_id": str(self.reason.id)}),
        ):  # fmt: skip
            for days, wrong in ((13, True), (14, False), (366, False), (367, True), (-1, True)):
                with self.subTest(kind=kind, days=days):
                    date = str(self.today + timedelta(days=days))
                    self.assertEqual("date" in self.errors(kind, **form, date=date), wrong)
        for date in ("x", "2026-13-01", "31.12.2026", "0000-00-00"):
            with self.subTest(date=date):
                self.assertIn("date", self.errors("pause", date=date))

    def test_a_fixed_term_ends_with_its_term(self):
        plan = self.env["billing.plan"].create(
            {"name": "Year", "renewal": "auto", "notice_days": 30, "self_close": "direct"}
        )
        contract = self.new_contract(self.today, plan_id=plan.id)
        end = contract.date_end
        requests = self.env["billing.request"].sudo()
        self.assertEqual(requests._get_first_date(contract, "close"), end)
        self.assertEqual(requests._get_last_date(contract, "close"), end)
        plan.notice_days = 400
        self.assertEqual(requests._get_first_date(contract, "close"), contract._get_term_end(after=end))

    def test_quantities(self):
        for quantity in ("0", "-1", "3", "1e99", "NaN", "Infinity", "", "x", "1000001", "1.00001", "٣x"):
            with self.subTest(quantity=quantity):
                self.assertIn("quantity", self.errors("quantity", line_id=str(self.line.id), quantity=quantity))
        self.assertIn("line_id", self.errors("quantity", line_id=str(self.other_contract.line_ids.id), quantity="5"))
        self.assertFalse(self.errors("quantity", line_id=str(self.line.id), quantity="2.5"))

    def test_not_allowed(self):
        self.plan.write({"self_quantity": "no", "self_switch": "no", "self_pause": "no", "self_close": "no"})
        self.assertFalse(self.kinds())
        for kind, form in (("quantity", {"line_id": self.line.id, "quantity": 5}), ("pause", {}),
                           ("close", {"reason_id": self.reason.id})):  # fmt: skip
            with self.subTest(kind=kind), self.assertRaisesRegex(UserError, "cannot be changed here"):
                self.ask(kind, **form, date=self.today)

    def test_a_request_waits_for_a_person(self):
        self.plan.self_quantity = "request"
        form = {"line_id": self.line.id, "quantity": 5, "date": self.today, "note": "We grow"}
        request = self.ask("quantity", **form)
        self.assertEqual(request.state, "requested")
        self.assertEqual(self.contract.line_ids, self.line)
        self.assertEqual(request.activity_ids.user_id, self.officer)
        with self.assertRaisesRegex(UserError, "asked for this already"):
            self.ask("quantity", **form)
        request.with_user(self.officer).action_approve()
        self.assertEqual((request.state, request.decided_by_id), ("applied", self.officer))
        self.assertEqual(self.contract.line_ids.mapped("quantity"), [3.0, 5.0])
        self.assertFalse(request.activity_ids)
        self.assertIn(self.customer, request.message_ids[0].notified_partner_ids)
        with self.assertRaisesRegex(UserError, "decided already"):
            request.with_user(self.officer).action_approve()

    def test_other_amounts_are_shown_before_they_are_approved(self):
        self.plan.self_quantity = "request"
        request = self.ask("quantity", line_id=self.line.id, quantity=5, date=self.today)
        officer = request.with_user(self.officer)
        self.contract.action_amend({"lines": [{"product_id": self.secret.product_id.id, "price_id": False,
                                               "price_unit": 7.0}]}, self.today)  # fmt: skip
        shown, lines = request.amount_after, self.contract.line_ids
        action = officer.action_approve()
        self.assertEqual(action["tag"], "display_notification")
        self.assertIn(self.contract.name, action["params"]["message"])
        self.assertEqual((request.state, request.is_changed, self.contract.line_ids), ("requested", True, lines))
        self.assertEqual((request.amount_after, request.amount_after_now), (shown, shown + 14.0))
        self.assertIs(officer.action_approve(), True)
        self.assertEqual(request.state, "applied")
        self.assertEqual(self.contract.line_ids.mapped("quantity"), [3.0, 1.0, 5.0])
        told = request.message_ids[0]
        self.assertIn("The amounts have changed since you asked", told.body)
        self.assertIn(self.customer, told.notified_partner_ids)

    def test_amounts_that_change_again_are_shown_again(self):
        self.plan.self_quantity = "request"
        request = self.ask("quantity", line_id=self.line.id, quantity=5, date=self.today)
        officer = request.with_user(self.officer)
        later = self.today + timedelta(days=10)
        officer.date = later
        self.assertNotEqual(officer.action_approve(), True)
        first = request.amount_after_now
        officer.date = later + timedelta(days=5)
        self.assertNotEqual(officer.action_approve(), True)
        self.assertNotEqual(request.amount_after_now, first)
        officer.date = self.today
        self.assertIs(officer.action_approve(), True, "what the customer saw")
        self.assertFalse(request.is_changed)

    def test_approving_a_resume_ends_no_pause_of_staff(self):
        self.ask("pause", date=self.today)
        self.plan.self_pause = "request"
        request = self.ask("resume", date=self.today + timedelta(days=4))
        self.env["billing.contract.pause"].create(
            {"contract_id": self.contract.id, "date_from": self.today + timedelta(days=2), "origin": "staff"}
        )
        with self.assertRaisesRegex(UserError, "the customer did not begin"), self.env.cr.savepoint():
            request.with_user(self.officer).action_approve()
        self.assertFalse(any(self.contract.pause_ids.mapped("date_to")))
        self.contract.pause_ids.filtered(lambda pause: pause.origin == "staff").unlink()
        request.with_user(self.officer).action_approve()
        self.assertEqual(self.contract.pause_ids.date_to, self.today + timedelta(days=3))

    def test_a_decided_request_keeps_its_day(self):
        self.plan.self_pause = "request"
        request = self.ask("pause", date=self.today).with_user(self.officer)
        request.action_refuse("No")
        for vals in ({"date": self.today + timedelta(days=1)}, {"answer": "Yes"}):
            with self.subTest(vals=vals), self.assertRaisesRegex(UserError, "decided already"):
                request.write(vals)

    def test_refused_with_an_answer(self):
        self.plan.self_close = "request"
        request = self.ask("close", reason_id=self.reason.id, date=self.today)
        officer = request.with_user(self.officer)
        with self.assertRaisesRegex(UserError, "write under Answer"):
            officer.action_refuse()
        officer.action_refuse("Your term runs until June.")
        self.assertEqual((request.state, self.contract.state), ("refused", "active"))
        self.assertIn("until June", request.message_ids[0].body)

    def test_what_is_not_possible_any_more_is_not_approved(self):
        self.plan.self_quantity = "request"
        request = self.ask("quantity", line_id=self.line.id, quantity=5, date=self.today)
        self.contract.action_close(self.today)
        request.date = self.today + timedelta(days=3)
        with self.assertRaises(UserError), self.env.cr.savepoint():
            request.with_user(self.officer).action_approve()
        request.invalidate_recordset()
        self.assertEqual(request.state, "requested")

    def test_an_old_request_to_cancel_prolongs_nothing(self):
        self.plan.self_close = "request"
        request = self.ask("close", reason_id=self.reason.id, date=self.today + timedelta(days=90))
        end = self.today + timedelta(days=5)
        self.contract.action_close(end)
        with self.assertRaisesRegex(UserError, "already"):
            request.with_user(self.officer).action_approve()
        self.assertEqual(self.contract.date_end, end)

    def test_one_open_request_of_a_kind(self):
        self.plan.self_pause = "request"
        request = self.ask("pause", date=self.today)
        with self.assertRaises(IntegrityError), mute_logger("odoo.sql_db"), self.env.cr.savepoint():
            self.env["billing.request"].sudo().create(
                {"contract_id": request.contract_id.id, "kind": "pause", "date": self.today}
            )

    def test_many_requests_of_a_day_stop(self):
        for number in range(10):
            self.ask("quantity", line_id=self.contract.line_ids[-1:].id, quantity=5 + number, date=self.today)
            self.ask("quantity", line_id=self.contract.line_ids.sorted("id")[-1:].id, quantity=50 + number,
                     date=self.today)  # fmt: skip
        with self.assertRaisesRegex(UserError, "many changes today"):
            self.ask("pause", date=self.today)

    def offer(self):
        self.reason.write(
            {
                "offer": "May we call you?", "offer_percent": 20.0, "offer_periods": 2,
                "offer_product_id": self.env["product.product"].create(
                    {"name": "Loyalty discount", "type": "service", "taxes_id": [Command.clear()]}).id,
            }
        )  # fmt: skip

    def test_stay_with_a_discount_once(self):
        self.offer()
        request = self.ask("stay", reason_id=self.reason.id)
        coupon = self.contract.line_ids - self.line
        self.assertEqual((request.state, coupon.price_unit, coupon.max_slots), ("applied", -60.0, 2))
        self.assertEqual(coupon.date_start, fields.Date.add(self.today, months=1))
        move = self.bill(coupon.date_start, self.contract).move_ids
        self.assertEqual(move.amount_untaxed, 240.0)
        self.assertIn("reason_id", self.errors("stay", reason_id=str(self.reason.id)))
        self.assertFalse(self.env["billing.request"].sudo()._get_offer(self.contract.sudo(), self.reason))

    def test_no_offer_no_discount(self):
        self.assertIn("reason_id", self.errors("stay", reason_id=str(self.reason.id)))
        self.offer()
        self.plan.self_close = "no"
        self.assertIn("reason_id", self.errors("stay", reason_id=str(self.reason.id)))

    def test_a_preview_changes_nothing(self):
        requests_sudo = self.env["billing.request"].with_user(self.user).sudo()
        contract_sudo = self.contract.with_user(self.user).sudo()
        messages = self.contract.message_ids
        for kind, form in (
            ("quantity", {"line_id": self.line.id, "quantity": 9}),
            ("switch", {"choice": f"{self.line.id}-{self.premium.id}"}),
            ("pause", {}), ("close", {"reason_id": self.reason.id}),
        ):  # fmt: skip
            vals, errors = requests_sudo._read_form(contract_sudo, kind, {k: str(v) for k, v in form.items()})
            self.assertFalse(errors)
            before, after, rows = requests_sudo._preview(contract_sudo, vals)
            with self.subTest(kind=kind):
                self.assertNotEqual(before, after)
                self.assertTrue(rows or kind in ("close", "pause"))
                self.assertEqual(self.contract.line_ids, self.line)
                self.assertFalse(self.line.date_end or self.contract.date_end or self.contract.pause_ids)
                self.assertEqual(self.contract.message_ids, messages)

    def test_invariant_16_customers_write_nothing(self):
        self.plan.self_pause = "request"
        request = self.ask("pause", date=self.today)
        for user in (self.user, self.other_user):
            mine = request.with_user(user)
            for call in (
                lambda mine=mine: mine.write({"date": "2026-01-01"}),
                lambda mine=mine: mine.action_approve(),
                lambda mine=mine: mine.action_refuse(),
                lambda mine=mine: mine.unlink(),
                lambda mine=mine: mine.create({"contract_id": self.contract.id, "kind": "pause", "date": self.today}),
            ):
                with self.assertRaises(AccessError):
                    call()
        self.assertTrue(request.with_user(self.user).has_access("read"))
        self.assertFalse(request.with_user(self.other_user).has_access("read"))
        with self.assertRaises(AccessError):
            request.with_user(self.user).read(["price_id"])
        with self.assertRaises(AccessError):
            self.reason.with_user(self.user).read(["offer_percent"])

    def test_protected_fields_of_a_request(self):
        self.plan.self_pause = "request"
        request = self.ask("pause", date=self.today).with_user(self.officer)
        for vals in ({"state": "applied"}, {"kind": "close"}, {"contract_id": self.other_contract.id},
                     {"quantity": 9}, {"amount_after": 0.0}, {"requester_id": self.other_customer.id}):  # fmt: skip
            with self.subTest(vals=vals), self.assertRaises(AccessError):
                request.write(vals)
        request.write({"date": self.today + timedelta(days=1), "answer": "As you wish."})


@tagged("post_install", "-at_install")
class TestRequestPages(RequestCommon, HttpCase):
    """The pages, as a browser uses them."""

    def get(self, url, login="asking_one"):
        self.authenticate(login, login)
        return self.url_open(url)

    def post(self, url, login="asking_one", token=True, **data):
        self.authenticate(login, login)
        if token:
            data["csrf_token"] = http.Request.csrf_token(self)
        return self.url_open(url, data=data, headers={"Accept-Language": "en-US"})

    def url(self, kind, contract=None):
        return f"/my/contracts/{(contract or self.contract).id}/change/{kind}"

    def test_a_change_is_shown_then_confirmed(self):
        page = self.get(f"/my/contracts/{self.contract.id}").text
        self.assertIn(self.url("quantity"), page)
        self.assertIn("New quantity", self.get(self.url("quantity")).text)
        form = {"line_id": self.line.id, "quantity": "5", "date": str(self.today)}
        page = self.post(self.url("quantity"), **form).text
        self.assertIn("What you will be billed", page)
        self.assertIn("3 → 5", page)
        self.assertEqual(self.contract.line_ids, self.line)
        shown = re.search(r'name="shown" value="([^"]*)"', page).group(1)
        page = self.post(self.url("quantity"), **form, confirm="1", shown="0.0000|0.0000").text
        self.assertIn("have changed in the meantime", page)
        self.assertEqual(self.contract.line_ids, self.line)
        response = self.post(self.url("quantity"), **form, confirm="1", shown=shown)
        request = self.env["billing.request"].search([("contract_id", "=", self.contract.id)])
        self.assertEqual(urlparse(response.url).path, f"/my/requests/{request.id}")
        self.assertIn("Done", response.text)
        self.assertEqual(self.contract.line_ids.mapped("quantity"), [3.0, 5.0])
        form["quantity"] = "5.0"  # a second click
        again = self.post(self.url("quantity"), **form, confirm="1", shown=shown)
        self.assertEqual(urlparse(again.url).path, f"/my/requests/{request.id}")
        self.assertEqual(len(self.contract.line_ids), 2)
        self.assertIn(f"/my/requests/{request.id}", self.get("/my/requests").text)

    def test_a_second_click_leads_to_the_request(self):
        self.plan.self_pause = "request"
        page = self.post(self.url("pause"), note="Holidays").text
        form = {"date": str(self.today), "note": "Holidays", "confirm": "1"}
        form["shown"] = re.search(r'name="shown" value="([^"]*)"', page).group(1)
        paths = {urlparse(self.post(self.url("pause"), **form).url).path for _click in range(2)}
        request = self.env["billing.request"].search([("contract_id", "=", self.contract.id)])
        self.assertEqual(paths, {f"/my/requests/{request.id}"})
        self.assertEqual(len(request.activity_ids), 1)
        self.assertIn("You have asked for this already", self.post(self.url("pause"), **form | {"note": "x"}).text)
        response = self.get(f"{self.url('pause')}?{urlencode(form)}")
        self.assertIn("You have asked for this already", response.text, "a link sends nothing")

    def test_every_kind_has_a_form_and_a_preview(self):
        for kind, form in (
            ("switch", {"choice": f"{self.line.id}-{self.premium.id}"}),
            ("pause", {"note": "Holidays"}),
            ("close", {"reason_id": self.reason.id}),
        ):
            with self.subTest(kind=kind):
                self.assertIn("See what it costs", self.get(self.url(kind)).text)
                self.assertIn("What you will be billed", self.post(self.url(kind), **form).text)
        self.assertNotIn("What you will be billed", self.post(self.url("switch"), choice="x").text)
        self.assertIn("cannot be changed here", self.get(self.url("resume")).text)

    def test_offer_on_the_way_out(self):
        TestRequest.offer(self)
        page = self.post(self.url("close"), reason_id=self.reason.id).text
        for text in ("May we call you?", "Stay with this discount", "20 % off for 2 periods"):
            self.assertIn(text, page)
        page = self.post(self.url("stay"), reason_id=self.reason.id).text
        shown = re.search(r'name="shown" value="([^"]*)"', page).group(1)
        self.post(self.url("stay"), reason_id=self.reason.id, confirm="1", shown=shown)
        self.assertEqual((self.contract.line_ids - self.line).price_unit, -60.0)
        self.assertNotIn("Stay with this discount", self.post(self.url("close"), reason_id=self.reason.id).text)

    def test_mass_assignment(self):
        form = {
            "line_id": self.line.id, "quantity": "5", "date": str(self.today), "price_unit": "0.01", "discount": "100",
            "state": "applied", "contract_id": self.other_contract.id, "kind": "close", "amount_after": "0",
            "requester_id": self.other_customer.id, "bill_now": "1", "plan_id": "1", "end": "1", "create_uid": "1",
        }  # fmt: skip
        page = self.post(self.url("quantity"), **form).text
        shown = re.search(r'name="shown" value="([^"]*)"', page).group(1)
        self.post(self.url("quantity"), **form, confirm="1", shown=shown)
        request = self.env["billing.request"].search([], limit=1)
        line = self.contract.line_ids - self.line
        self.assertEqual((line.price_unit, line.discount, line.quantity), (100.0, 0.0, 5.0))
        self.assertEqual((request.contract_id, request.kind, request.requester_id),
                         (self.contract, "quantity", self.customer))  # fmt: skip
        self.assertEqual(len(self.other_contract.line_ids), 1)

    def test_invariant_16_only_the_customer_changes_the_contract(self):
        payer = self.env["res.partner"].create({"name": "Payer", "lang": "en_US"})
        self.new_portal(payer, "asking_payer")
        self.contract.sudo().invoice_partner_id = payer
        self.officer.write({"password": "deciding", "lang": "en_US"})
        form = {"line_id": self.line.id, "quantity": "5", "date": str(self.today), "confirm": "1",
                "shown": "300.0000|500.0000"}  # fmt: skip
        token = self.contract._portal_ensure_token()
        for login in ("asking_two", "asking_payer", "deciding"):
            for url in (self.url("quantity"), f"{self.url('quantity')}?access_token={token}"):
                with self.subTest(login=login, url=url):
                    for response in (self.get(url, login), self.post(url, login, **form)):
                        self.assertTrue(urlparse(response.url).path.endswith("/my"), response.url)
        self.authenticate(None, None)
        self.assertIn("/web/login", self.url_open(f"{self.url('quantity')}?access_token={token}").url)
        self.assertEqual(self.contract.line_ids, self.line)
        self.assertNotIn("/change/", self.get(f"/my/contracts/{self.contract.id}", "asking_payer").text)
        with_token = f"/my/contracts/{self.contract.id}?access_token={token}"
        self.assertNotIn("/change/", self.get(with_token, "asking_two").text)

    def test_a_colleague_may_change_it(self):
        colleague = self.env["res.partner"].create(
            {"name": "Colleague", "parent_id": self.customer.id, "lang": "en_US"}
        )
        self.new_portal(colleague, "asking_colleague")
        page = self.post(self.url("pause"), "asking_colleague").text
        shown = re.search(r'name="shown" value="([^"]*)"', page).group(1)
        self.post(self.url("pause"), "asking_colleague", confirm="1", shown=shown)
        self.assertEqual(self.contract.pause_ids.origin, "customer")
        request = self.env["billing.request"].search([("contract_id", "=", self.contract.id)])
        self.assertEqual(request.requester_id, colleague)

    @mute_logger("odoo.http")
    def test_forms_of_other_sites_are_refused(self):
        response = self.post(self.url("pause"), token=False, confirm="1", shown="x")
        self.assertEqual(response.status_code, 400)
        self.assertFalse(self.contract.pause_ids)

    def test_request_page_and_withdrawal(self):
        self.plan.self_pause = "request"
        request = self.ask("pause", date=self.today, note="<b>Holidays</b>")
        url = f"/my/requests/{request.id}"
        page = self.get(url).text
        self.assertIn("&lt;b&gt;Holidays&lt;/b&gt;", page)
        self.assertIn("Withdraw the request", page)
        token = request._portal_ensure_token()
        for query in ("", "?access_token=wrong", "?access_token="):
            self.assertTrue(urlparse(self.get(url + query, "asking_two").url).path.endswith("/my"))
        response = self.get(f"{url}?access_token={token}", "asking_two")
        self.assertNotIn("Withdraw the request", response.text)
        self.post(f"{url}/withdraw", "asking_two")
        self.assertEqual(request.state, "requested")
        self.post(f"{url}/withdraw", access_token="x", state="applied")
        self.assertEqual(request.state, "withdrawn")
        self.post(f"{url}/withdraw")
        self.assertEqual(request.state, "withdrawn")
        self.assertFalse(self.contract.pause_ids)

    def test_queries_of_the_list_do_not_grow(self):
        def count(url):
            self.url_open(url)
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            self.url_open(url)
            return self.env.cr.sql_log_count - before

        self.authenticate("asking_one", "asking_one")
        empty = count("/my")
        contracts = self.env["billing.contract"].union(*(self.new_contract(self.today) for _ in range(6)))
        self.plan.self_pause = "request"
        found = []
        for some in (contracts[:3], contracts[3:]):
            for contract in some:
                self.ask("pause", contract=contract, date=self.today)
            found.append(count("/my/requests"))
        self.assertEqual(*found)
        self.assertLessEqual(found[1], empty + 15)
        self.assertLessEqual(count(f"/my/contracts/{self.contract.id}"), empty + 15)
