from urllib.parse import urlparse

from freezegun import freeze_time

from odoo import fields
from odoo.exceptions import AccessError, UserError
from odoo.http import Request
from odoo.tests import HttpCase, tagged

from .common import BillingCommon


class ProfileCommon(BillingCommon):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.company.billing_profile_months = 6
        cls.customer.write(
            {"street": "Old Street 1", "phone": "111", "country_id": cls.env.ref("base.us").id, "vat": "US1"}
        )
        cls.bank = cls.env["res.partner.bank"].create({"partner_id": cls.customer.id, "acc_number": "12345678"})
        cls.officer = cls.new_staff("officer", login="profile_officer")
        cls.officer.password = "profile_officer"

    def ask(self, partner=None):
        return self.env["billing.profile.confirmation"]._ask(partner or self.customer, self.company)

    def answer(self, record, **values):
        record.sudo()._answer(values, "Ann Lee", "portal", "10.0.0.1")
        return record.change_ids


@tagged("post_install", "-at_install")
class TestProfile(ProfileCommon):
    def test_confirming_changes_nothing(self):
        record = self.ask()
        profile = {row["name"]: row["value"] for row in record._get_profile()}
        changes = self.answer(record, **profile)
        self.assertFalse(changes)
        self.assertEqual(record.state, "done")
        self.assertEqual((record.answered_by, record.answered_ip), ("Ann Lee", "10.0.0.1"))
        self.assertEqual(self.customer.profile_confirm_date, self.company._get_billing_today())
        self.assertIn("Ann Lee", self.customer.message_ids[0].body)

    def test_address_at_once_tax_and_bank_after_approval(self):
        record = self.ask()
        changes = self.answer(record, street="New Street 2", vat="US2", bank="87654321")
        self.assertEqual(dict(changes.mapped(lambda c: (c.field_name, c.state))),
                         {"street": "applied", "vat": "waiting", "bank": "waiting"})  # fmt: skip
        self.assertEqual(self.customer.street, "New Street 2")
        self.assertEqual(self.customer.vat, "US1")
        self.assertEqual(self.customer.bank_ids, self.bank)
        self.assertEqual(record.state, "waiting")
        self.assertTrue(record.activity_ids)
        by_name = {change.field_name: change.with_user(self.officer) for change in changes}
        by_name["bank"].action_approve()
        self.assertEqual(self.customer.bank_ids.acc_number, "87654321")
        self.assertFalse(self.customer.bank_ids.allow_out_payment)
        self.assertFalse(self.bank.active)
        self.assertEqual(record.state, "waiting")
        with self.assertRaises(UserError):
            by_name["vat"].action_refuse()
        by_name["vat"].action_refuse("Send us the certificate")
        self.assertEqual(self.customer.vat, "US1")
        self.assertEqual(record.state, "done")
        self.assertFalse(record.activity_ids)
        self.assertIn("certificate", record.message_ids[0].body)
        self.assertEqual(record.message_ids[0].partner_ids, self.customer)
        self.assertEqual(by_name["vat"].user_id, self.officer)
        for change in by_name.values():
            with self.assertRaises(UserError):
                change.action_approve()

    def test_approval_of_what_changed_since_is_refused(self):
        change = self.answer(self.ask(), vat="US2")
        self.customer.vat = "US3"
        with self.assertRaises(UserError):
            change.with_user(self.officer).action_approve()
        self.assertEqual(self.customer.vat, "US3")

    def test_bad_values_change_nothing(self):
        for values in (
            {"email": ""}, {"email": "nonsense"}, {"email": "ann@firm"}, {"phone": "call me"}, {"street": "x" * 300},
            {"country_id": "abc"}, {"country_id": "99999999999"},
        ):  # fmt: skip
            record = self.ask() or self.env["billing.profile.confirmation"].search([("state", "=", "asked")])
            with self.assertRaises(UserError, msg=values), self.env.cr.savepoint():
                self.answer(record, **{"phone": "222-5555", **values})
            record.invalidate_recordset()
            self.assertEqual(record.state, "asked")
            self.assertFalse(record.change_ids)
            self.assertEqual(self.customer.phone, "111")

    def test_unknown_fields_are_not_looked_at(self):
        changes = self.answer(self.ask(), credit_limit="1000000", user_id="1", phone="222-5555", active="")
        self.assertEqual(changes.mapped("field_name"), ["phone"])
        self.assertTrue(self.customer.active)

    def test_country_takes_its_state_along(self):
        self.customer.state_id = self.env.ref("base.state_us_5")
        change = self.answer(self.ask(), country_id=str(self.env.ref("base.cn").id))
        change.with_user(self.officer).action_approve()
        self.assertEqual(self.customer.country_id, self.env.ref("base.cn"))
        self.assertFalse(self.customer.state_id)

    def test_one_open_request(self):
        record = self.ask()
        self.assertFalse(self.ask())
        with self.assertRaises(UserError):
            self.customer.with_user(self.officer).action_ask_billing_profile()
        record.with_user(self.officer).action_confirm("Bob")
        self.assertEqual((record.state, record.answered_how), ("done", "staff"))
        with self.assertRaises(UserError):
            record.action_remind()
        self.assertTrue(self.customer.with_user(self.officer).action_ask_billing_profile())

    def test_roles(self):
        record = self.ask()
        change = self.answer(record, vat="US2")
        for role in ("sales", "collector", "auditor"):
            user = self.new_staff(role, login=f"profile_{role}")
            with self.assertRaises(AccessError):
                record.with_user(user).action_confirm("X")
            with self.assertRaises(AccessError):
                change.with_user(user).action_approve()
            with self.assertRaises(AccessError):
                self.customer.with_user(user).action_ask_billing_profile()
            if role != "auditor":
                with self.assertRaises(AccessError):
                    change.with_user(user).read(["new_value"])
        with self.assertRaises(AccessError):
            change.with_user(self.officer).write({"new_value": "US9"})
        with self.assertRaises(AccessError):
            record.with_user(self.officer).write({"state": "done"})

    def test_nightly_job(self):
        model = self.env["billing.profile.confirmation"]
        with freeze_time("2026-01-10"):
            self.new_contract("2026-01-01")
            self.new_contract("2026-01-01", partner_id=self.other_customer.id)
            third = self.env["res.partner"].create({"name": "No address"})
            self.new_contract("2026-01-01", partner_id=third.id)
            draft = self.env["res.partner"].create({"name": "Draft"})
            self.new_contract("2026-01-01", partner_id=draft.id, activate=False)
            self.other_customer.billing_profile_opt_out = True
        known = model.search([])

        def work(day):
            with freeze_time(day), self.in_job():
                model._cron_ask()
            return model.search([("company_id", "=", self.company.id)]) - known

        self.assertFalse(work("2026-06-30"))
        found = work("2026-07-01")
        self.assertEqual(found.partner_id, self.customer | third)
        self.assertEqual(work("2026-07-02"), found)
        record = found.filtered(lambda r: r.partner_id == self.customer)
        silent = found - record
        self.assertTrue(silent.error)
        self.assertEqual(len(silent.activity_ids), 1)
        mails = self.env["mail.mail"].sudo().search([("model", "=", model._name)])
        self.assertEqual(len(mails.filtered(lambda mail: mail.recipient_ids == self.customer)), 1)
        for day, count in (("2026-07-14", 0), ("2026-07-15", 1), ("2026-07-16", 1), ("2026-07-29", 2)):
            work(day)
            self.assertEqual(record.reminder_count, count, day)
        self.assertFalse(record.activity_ids)
        work("2026-08-12")
        work("2026-08-13")
        self.assertEqual(len(record.activity_ids), 1)
        self.assertEqual(len(silent.activity_ids), 1)
        with freeze_time("2026-08-14"):
            self.answer(record)
        self.assertFalse(record.activity_ids)
        work("2027-02-13")
        self.assertEqual(record.search_count([("partner_id", "=", self.customer.id)]), 1)
        work("2027-02-14")
        self.assertEqual(record.search_count([("partner_id", "=", self.customer.id)]), 2)

    def test_mails_that_do_not_arrive_are_a_task(self):
        record, other = self.ask(), self.ask(self.other_customer)
        record._message_receive_bounce(self.customer.email, self.customer)
        mail = self.env["mail.mail"].sudo().search([("model", "=", other._name), ("res_id", "=", other.id)])
        mail.write({"state": "exception", "failure_reason": "no such user"})
        for _again in range(2):
            other._note_refused_mails()
        for refused, reason in ((record, "came back"), (other, "no such user")):
            self.assertIn(reason, refused.error)
            self.assertEqual((len(refused.activity_ids), refused.reminder_count), (1, 3))
        self.assertFalse(record._get_to_remind(self.company))

    def test_what_is_never_answered_is_asked_anew(self):
        self.new_contract("2020-01-01")
        old = self.ask()
        old.sudo().write({"date_asked": "2020-02-01", "reminder_count": 3})
        with self.in_job():
            self.env["billing.profile.confirmation"]._cron_ask()
        new = self.env["billing.profile.confirmation"]._get_asked(self.customer, self.company)
        self.assertEqual((old.state, len(new), new.reminder_count), ("cancelled", 1, 0))

    def test_switched_off(self):
        self.new_contract("2020-01-01")
        self.env["res.company"].search([]).billing_profile_months = 0
        with self.in_job():
            self.env["billing.profile.confirmation"]._cron_ask()
        self.assertFalse(self.env["billing.profile.confirmation"].search([("company_id", "=", self.company.id)]))


@tagged("post_install", "-at_install")
class TestProfilePortal(ProfileCommon, HttpCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.user = cls.new_portal(cls.customer, "profile_one")
        cls.other_user = cls.new_portal(cls.other_customer, "profile_two")

    def setUp(self):
        super().setUp()
        self.record = self.ask()
        self.other_record = self.ask(self.other_customer)
        self.url = f"/my/billing/profile/{self.record.id}"

    def get(self, url, login=None):
        self.authenticate(login, login)
        return self.url_open(url, headers={"Accept-Language": "en-US"})

    def post(self, action, login=None, csrf=True, **data):
        self.authenticate(login, login)
        if csrf:
            data["csrf_token"] = Request.csrf_token(self)
        return self.url_open(f"{self.url}/{action}", data=data, headers={"Accept-Language": "en-US"})

    def test_by_login(self):
        page = self.get(self.url, "profile_one")
        for text in ("Old Street 1", "•••• 5678", "Confirm"):
            self.assertIn(text, page.text)
        for text in ("12345678", "Your name"):
            self.assertNotIn(text, page.text)
        page = self.post("confirm", "profile_one", street="New Street 2", vat="US2", who="Somebody else", user_id=1)
        self.assertIn("Thank you", page.text)
        self.assertNotIn("New Street 2", page.text)
        self.assertEqual(self.customer.street, "New Street 2")
        self.assertEqual(self.record.answered_by, self.user.name)
        self.assertEqual(set(self.record.change_ids.mapped("field_name")), {"street", "vat"})

    def test_by_link(self):
        token = self.record.access_token
        self.assertIn("Your name", self.get(self.record.get_portal_url()).text)
        self.assertIn("write your name", self.post("confirm", access_token=token).text)
        page = self.post("confirm", access_token=token, who="Ann", email="", street="New Street 5")
        self.assertIn("cannot be empty", page.text)
        self.assertIn('value="New Street 5"', page.text, "what was entered is not lost")
        self.assertEqual(self.record.state, "asked")
        for wrong in ({"email": "ann@firm"}, {"phone": "call me"}):
            self.assertIn("is no", self.post("confirm", access_token=token, who="Ann", **wrong).text)
        self.assertEqual(self.record.state, "asked")
        self.post("confirm", access_token=token, who="An\0n", phone="333-5555\0")
        self.assertEqual(self.customer.phone, "333-5555")
        self.post("confirm", access_token=token, who="Eve", phone="444")  # the first answer counts
        self.assertEqual((self.customer.phone, self.record.answered_by), ("333-5555", "Ann"))
        self.assertNotIn("Old Street", self.get(self.record.get_portal_url()).text)

    def test_a_link_is_for_one_answer(self):
        token = self.record.access_token
        page = self.post("confirm", access_token=token, who="Ann")
        self.assertIn("cannot be used again", page.text)
        for text in ("Ann", "Do not ask me any more"):
            self.assertNotIn(text, page.text)
        page = self.post("stop", access_token=token)
        self.assertNotIn("not ask you any more", page.text)
        self.assertFalse(self.customer.billing_profile_opt_out)
        self.assertIn("answered by Ann", self.get(self.url, "profile_one").text)
        self.post("stop", "profile_one")
        self.assertTrue(self.customer.billing_profile_opt_out, "by login it is the customer's own choice")

    def test_a_link_expires(self):
        self.record.sudo().date_asked = fields.Date.subtract(self.company._get_billing_today(), days=61)
        token = self.record.access_token
        page = self.get(self.record.get_portal_url())
        self.assertIn("This link has expired", page.text)
        self.assertNotIn("Old Street", page.text)
        self.post("confirm", access_token=token, who="Ann", phone="333")
        self.post("stop", access_token=token)
        self.assertEqual((self.record.state, self.customer.phone), ("asked", "111"))
        self.assertFalse(self.customer.billing_profile_opt_out)
        self.assertIn("Old Street 1", self.get(self.url, "profile_one").text)
        self.record.with_user(self.officer).action_remind()
        self.assertIn("Old Street 1", self.get(self.record.get_portal_url()).text)

    def test_stop(self):
        page = self.post("stop", access_token=self.record.access_token)
        self.assertIn("not ask you any more", page.text)
        self.assertTrue(self.customer.billing_profile_opt_out)
        self.assertEqual(self.record.state, "cancelled")

    def test_at_any_time(self):
        self.new_contract("2026-01-01")
        url = "/my/billing/profile"
        self.assertTrue(self.get(url, "profile_one").url.endswith(self.url), "what was asked is answered first")
        self.record.sudo().state = "cancelled"
        page = self.get(url, "profile_one")
        self.assertIn("Old Street 1", page.text)
        self.assertNotIn("Do not ask me any more", page.text)
        self.url = url
        page = self.post("", "profile_one", email="")
        self.assertIn("cannot be empty", page.text)
        page = self.post("", "profile_one", street="New Street 2", vat="US2", partner_id=self.other_customer.id)
        self.assertIn("Thank you", page.text)
        record = self.record.search([("partner_id", "=", self.customer.id), ("state", "=", "waiting")])
        self.assertEqual(record.answered_by, self.user.name)
        self.assertEqual(record.change_ids.mapped("field_name"), ["street", "vat"])
        self.assertEqual((self.customer.street, self.customer.vat), ("New Street 2", "US1"))
        self.assertTrue(self.get(url, "profile_one").url.endswith(record.access_url), "one at a time")
        self.assertTrue(self.get(url, "profile_two").url.endswith("/my/account"), "no customer of ours")
        self.assertTrue(self.get(url, "profile_officer").url.endswith("/my"))

    def test_addresses_of_the_portal_change_no_tax_data(self):
        self.customer.is_company = True
        contact = self.env["res.partner"].create({"name": "Ann Lee", "parent_id": self.customer.id})
        self.new_portal(contact, "profile_ann")
        name, street = self.customer.name, self.customer.street
        usual = {"street": "New Street 2", "city": "Town", "zip": "1", "email": "a@example.com", "phone": "5",
                 "country_id": self.env.ref("base.us").id, "state_id": self.env.ref("base.state_us_5").id}  # fmt: skip

        def submit(login, partner, **values):
            self.authenticate(login, login)
            data = {"csrf_token": Request.csrf_token(self), "partner_id": partner.id, **usual, "name": partner.name}
            return self.url_open("/my/address/submit", data={**data, **values}).json()

        self.assertIn("redirectUrl", submit("profile_one", self.customer, vat="US2", name="Other"), "not ours yet")
        self.customer.write({"name": name, "vat": "US1", "street": street})
        self.new_contract("2026-01-01")
        france = self.env.ref("base.fr").id
        for login, partner, values in (
            ("profile_one", self.customer, {"vat": "US2"}),
            ("profile_one", self.customer, {"vat": "US2", "verify_address_values": ""}),
            ("profile_one", self.customer, {"name": "Other"}),
            ("profile_one", self.customer, {"country_id": france, "state_id": ""}),
            ("profile_ann", contact, {"company_name": "Other"}),
            ("profile_ann", contact, {"company_name": "Other", "verify_address_values": ""}),
            ("profile_ann", contact, {"country_id": france, "state_id": ""}),
        ):
            with self.subTest(login=login, **values):
                answer = submit(login, partner, **values)
                self.assertTrue(any("Your Details" in text for text in answer["messages"]))
                self.assertEqual((self.customer.name, self.customer.vat, self.customer.street), (name, "US1", street))
        self.assertIn("redirectUrl", submit("profile_one", self.customer, vat="US1"))
        self.assertIn("redirectUrl", submit("profile_ann", contact, name="Ann Wu", company_name=name))
        self.assertEqual((self.customer.street, contact.name), ("New Street 2", "Ann Wu"))

    def test_invariant_16_others_get_nothing(self):
        wrong = self.other_record.access_token
        for login in ("profile_two", None):
            for query in ("", "?access_token=wrong", f"?access_token={wrong}"):
                page = self.get(self.url + query, login)
                self.assertTrue(urlparse(page.url).path.endswith("/my" if login else "/web/login"), page.url)
                self.assertNotIn("Old Street", page.text)
            self.post("confirm", login, access_token=wrong, who="X", phone="9")
            self.post("stop", login, access_token=wrong)
        self.assertEqual(self.post("confirm", "profile_one", csrf=False, phone="9").status_code, 400)
        self.get(self.record.get_portal_url(), "profile_officer")
        self.post("confirm", "profile_officer", access_token=self.record.access_token, phone="9")
        self.assertEqual((self.customer.phone, self.record.state), ("111", "asked"))
        self.assertFalse(self.customer.billing_profile_opt_out)
        with self.assertRaises(AccessError):
            self.record.with_user(self.user).action_confirm("X")
        for name in ("error", "answered_ip", "change_ids"):
            with self.assertRaises(AccessError):
                self.record.with_user(self.user).read([name])
        self.assertFalse(self.record.with_user(self.other_user).search([("id", "=", self.record.id)]))
