from urllib.parse import urlparse

from freezegun import freeze_time

from odoo.exceptions import AccessError
from odoo.http import Request
from odoo.tests import HttpCase, tagged

from .test_price_revision import RevisionCommon


@tagged("post_install", "-at_install")
class TestPriceNotice(RevisionCommon, HttpCase):
    """The letter in the portal: by login, by link, and for nobody else."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.user = cls.new_portal(cls.customer, "price_one")
        cls.other_user = cls.new_portal(cls.other_customer, "price_two")
        cls.officer = cls.new_staff("officer", login="price_officer")
        cls.contract.officer_id = cls.officer

    def setUp(self):
        super().setUp()
        today = self.company._get_billing_today()
        self.record = self.new_revision(date=today.replace(year=today.year + 1, month=6, day=1))
        self.notify(self.record)
        self.notice = self.line_of(self.record, self.contract).notice_id
        self.url = f"/my/price-changes/{self.notice.id}"

    def get(self, url, login=None):
        self.authenticate(login, login)
        return self.url_open(url, headers={"Accept-Language": "en-US"})

    def post(self, action, login=None, **data):
        self.authenticate(login, login)
        data["csrf_token"] = Request.csrf_token(self)
        return self.url_open(f"{self.url}/{action}", data=data, headers={"Accept-Language": "en-US"})

    def test_letter_and_acknowledgement_by_login(self):
        page = self.get(self.url, "price_one")
        self.assertEqual(page.status_code, 200)
        for text in (self.contract.name, "100.00", "103.00", "+3", "I have read this", "I object"):
            self.assertIn(text, page.text)
        for text in ("Your name", self.other.name, "Prices of 2027"):
            self.assertNotIn(text, page.text)
        page = self.post("acknowledge", "price_one", name="Somebody else")
        self.assertIn("Thank you", page.text)
        self.assertNotIn("I have read this</button>", page.text)
        notice = self.notice
        self.assertTrue(notice.is_acknowledged)
        self.assertEqual((notice.acknowledged_by, notice.acknowledged_how), (self.user.name, "portal"))
        self.assertEqual(notice.acknowledged_ip, "127.0.0.1")
        self.assertTrue(notice.date_acknowledged)
        self.assertIn("127.0.0.1", "".join(notice.message_ids.mapped("body")))

    def test_acknowledgement_by_link(self):
        page = self.get(self.notice.get_portal_url())
        self.assertIn("Your name", page.text)
        token = self.notice.access_token
        self.assertIn("fill in what is missing", self.post("acknowledge", access_token=token).text)
        self.assertFalse(self.notice.is_acknowledged)
        page = self.post("acknowledge", access_token=token, name="Ms One")
        self.assertIn("Read by Ms One", page.text)
        self.assertEqual(self.notice.acknowledged_by, "Ms One")

    def test_objection_is_a_task(self):
        token = self.notice.access_token
        page = self.post("object", access_token=token, name="Ms One", text="  ")
        self.assertIn("fill in what is missing", page.text)
        page = self.post("object", access_token=token, name="Ms One", text="Far <b>too</b> much")
        self.assertIn("we will answer", page.text)
        self.assertIn("Far &lt;b&gt;too&lt;/b&gt; much", page.text)
        activity = self.notice.activity_ids
        self.assertEqual(activity.user_id, self.officer)
        self.assertIn("too", activity.note)
        self.assertTrue(self.notice.is_objected)
        self.assertFalse(self.notice.is_acknowledged)
        self.assertEqual(self.line_of(self.record, self.contract).outcome, "applied")

    def test_invariant_16_another_customer_gets_nothing(self):
        other_token = (self.record.notice_ids - self.notice).access_token
        for login in ("price_two", None):
            for query in ("", "?access_token=wrong", f"?access_token={other_token}"):
                page = self.get(self.url + query, login)
                path = urlparse(page.url).path
                self.assertTrue(path.endswith("/my" if login else "/web/login"), page.url)
                self.assertNotIn(self.contract.name, page.text)
            self.post("acknowledge", login, access_token=other_token, name="X")
            self.post("object", login, access_token=other_token, name="X", text="X")
        self.assertFalse(self.notice.is_acknowledged or self.notice.is_objected)
        notices = self.record.notice_ids.with_user(self.other_user)
        self.assertEqual(notices._filtered_access("read"), notices.filtered(lambda n: n.id != self.notice.id))
        with self.assertRaises(AccessError):
            self.notice.with_user(self.user).action_acknowledge()
        with self.assertRaises(AccessError):
            self.record.line_ids.with_user(self.user).read(["new_price_unit"])
        with self.assertRaises(AccessError):
            self.notice.with_user(self.user).write({"is_acknowledged": True})

    def test_invariant_16_staff_who_may_only_read_do_not_answer(self):
        for group in ("auditor", "officer"):
            login = f"price_{group}_web"
            self.new_staff(group, login=login).password = login
            for token in ("", self.notice.access_token):
                page = self.get(f"{self.url}?access_token={token}", login)
                self.assertIn("103.00", page.text)
                self.assertNotIn("I have read this</button>", page.text)
                self.assertNotIn("not open for answers", page.text)
                self.post("acknowledge", login, access_token=token)
                self.post("object", login, access_token=token, text="No")
        self.assertFalse(self.notice.is_acknowledged or self.notice.is_objected)

    def test_letters_that_were_not_sent_are_not_shown(self):
        self.notice.sudo().state = "failed"
        for login in ("price_one", None):
            page = self.get(self.notice.get_portal_url(), login)
            self.assertNotIn("103.00", page.text)

    def test_closed_letters_are_read_only(self):
        self.record.action_cancel()
        page = self.get(self.url, "price_one")
        self.assertIn("were withdrawn", page.text)
        self.post("acknowledge", "price_one")
        self.assertFalse(self.notice.is_acknowledged)

    def test_contract_page_shows_the_next_price(self):
        page = self.get(f"/my/contracts/{self.contract.id}", "price_one")
        self.assertIn("o_billing_next_price", page.text)
        self.assertIn("103.00", page.text)
        self.assertIn(self.url, page.text)
        self.assertIn("read and answer", page.text)
        self.notice.action_acknowledge()
        page = self.get(f"/my/contracts/{self.contract.id}", "price_one")
        self.assertNotIn("read and answer", page.text)
        page = self.get(self.contract.get_portal_url())
        self.assertIn("103.00", page.text)

    def test_contract_page_tells_one_line_once(self):
        day = self.record.date
        self.notify(self.new_revision(date=day.replace(year=day.year + 1)))
        page = self.get(f"/my/contracts/{self.contract.id}", "price_one")
        self.assertEqual(page.text.count("o_billing_next_price"), 2)
        self.assertEqual(page.text.count(f">{self.contract.line_ids[0].name}<"), 1)

    def test_acknowledgement_applies_where_it_is_asked_for(self):
        record = self.new_revision(
            date=self.record.date.replace(month=7), acknowledgement_required=True
        )
        self.notify(record)
        line = self.line_of(record, self.contract)
        self.assertEqual(line.outcome, "proposed")
        self.url = f"/my/price-changes/{line.notice_id.id}"
        self.post("acknowledge", "price_one")
        self.work()
        self.assertEqual(line.outcome, "applied")

    def test_effective_prices_are_still_shown(self):
        with freeze_time(f"{self.record.date} 12:00:00"):
            self.work()
            self.assertEqual(self.record.state, "effective")
        page = self.get(self.url, "price_one")
        self.assertIn("103.00", page.text)
        self.assertIn("not open for answers", page.text)
