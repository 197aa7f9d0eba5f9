from urllib.parse import urlparse

from odoo import http
from odoo.exceptions import AccessError, UserError
from odoo.tests import HttpCase, tagged
from odoo.tools import mute_logger

from .test_portal import BillingPortalCommon

MEGABYTE = 1024 * 1024


@tagged("post_install", "-at_install")
class TestPortalDispute(BillingPortalCommon, HttpCase):
    """Customers object to bills on their page, and talk with us about it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.url = f"/my/invoices/{cls.move.id}/dispute"
        cls.line = cls.move.invoice_line_ids[0]
        cls.form = {"reason": "quantity", "name": "One seat less", "description": "We cancelled one."}
        cls.officer.write({"password": "officer_of_contracts", "lang": "en_US"})

    def get(self, url, login="portal_one"):
        self.authenticate(login, login)
        return self.url_open(url, headers={"Accept-Language": "en-US"})

    def post(self, url, data, login="portal_one", files=None, token=True):
        self.authenticate(login, login)
        if token:
            data = {**data, "csrf_token": http.Request.csrf_token(self)}
        return self.url_open(url, data=data, files=files, headers={"Accept-Language": "en-US"})

    def latest(self):
        found = self.env["billing.dispute"].search([("id", "not in", self.disputes.ids)], order="id desc", limit=1)
        found.invalidate_recordset()
        return found

    def test_object_to_a_line_with_an_own_figure_and_files(self):
        self.assertIn(self.url, self.get(f"/my/invoices/{self.move.id}").text)
        self.assertIn(self.line.name.split("\n")[0], self.get(self.url).text)
        response = self.post(
            self.url,
            {**self.form, "line_id": self.line.id, "figure": "10.50"},
            files=[("files", ("mail.eml", b"Please cancel")), ("files", ("C:\\x\\scan.PDF", b"%PDF-1.4"))],
        )
        dispute = self.latest()
        self.assertEqual(urlparse(response.url).path, f"/my/disputes/{dispute.id}")
        self.assertIn("Thank you.", response.text)
        self.assertEqual((dispute.move_id, dispute.move_line_id, dispute.claimed_amount, dispute.reason),
                         (self.move, self.line, 10.5, "quantity"))  # fmt: skip
        self.assertAlmostEqual(dispute.amount, self.line.price_total - 10.5)
        self.assertEqual(dispute.user_id, self.officer)
        self.assertEqual(dispute.activity_ids.user_id, self.officer)
        dispute.write({"resolution": "As agreed", "state": "rejected"})
        self.assertFalse(dispute.activity_ids)
        dispute.action_reopen()
        self.assertEqual(dispute.message_ids.filtered(lambda m: m.message_type == "comment").author_id, self.customer)
        self.assertEqual(sorted(dispute.attachment_ids.mapped("name")), ["mail.eml", "scan.PDF"])
        again = self.post(self.url, {**self.form, "line_id": self.line.id})
        self.assertIn("You have objected to this line already", again.text)

    def test_sent_twice_is_one_objection(self):
        for values in ({}, {"figure": "5", "name": " Other words "}, {"line_id": self.line.id, "figure": "10.50"}):
            with self.subTest(values=values):
                paths = {urlparse(self.post(self.url, {**self.form, **values}).url).path for _click in range(2)}
                self.assertEqual(paths, {f"/my/disputes/{self.latest().id}"})
                self.assertEqual(len(self.latest().activity_ids), 1)
        made = self.env["billing.dispute"].search([("id", "not in", self.disputes.ids)])
        self.assertEqual(len(made), 3)
        first = made.sorted("id")[0]
        for change in ({"reason": "price"}, {"name": "Two seats less"}, {"description": "Again"}, {"figure": "1"}):
            with self.subTest(change=change):
                before = self.latest()
                self.post(self.url, {**self.form, **change})
                self.assertGreater(self.latest().id, before.id, "other words are another objection")
        first.write({"state": "rejected", "resolution": "No"})
        self.post(self.url, self.form)
        self.assertEqual(self.latest().description, self.form["description"])
        self.assertNotEqual(self.latest(), first, "a decided one is not meant")

    def test_a_colleague_with_the_same_words_is_no_second_click(self):
        move_sudo = self.move.with_user(self.user).sudo()
        model = self.env["billing.dispute"]
        first, _errors = model.with_user(self.user)._dispute_from_portal(move_sudo, self.form, [])
        again, _errors = model.with_user(self.user)._dispute_from_portal(move_sudo, self.form, [])
        self.assertEqual(again, first)
        other, _errors = model.with_user(self.other_user)._dispute_from_portal(move_sudo, self.form, [])
        self.assertNotEqual(other, first)
        first.sudo().flush_recordset()
        self.env.cr.execute(
            "UPDATE billing_dispute SET create_date = create_date - interval '11 minutes' WHERE id = %s", [first.id]
        )
        first.invalidate_recordset()
        later, _errors = model.with_user(self.user)._dispute_from_portal(move_sudo, self.form, [])
        self.assertNotEqual(later, first, "an hour later it is another one")

    def test_object_to_the_whole_bill(self):
        self.post(self.url, self.form)
        dispute = self.latest()
        self.assertFalse(dispute.move_line_id)
        self.assertEqual(dispute.amount, self.move.amount_total)
        self.post(self.url, {**self.form, "figure": "1"})
        self.assertEqual(self.latest().amount, self.move.amount_total - 1)

    def test_what_is_wrong_with_a_form(self):
        other_line = self.other_move.invoice_line_ids[0]
        for field, wrong in (
            ("reason", ("", "x")), ("name", ("", " ", "x" * 101)), ("description", ("", "x" * 5001)),
            ("figure", ("x", "-1", "1e99", "NaN", "0.001", str(self.move.amount_total))),
            ("line_id", (str(other_line.id), "x", "0")),
        ):  # fmt: skip
            for value in wrong:
                with self.subTest(field=field, value=value[:20]):
                    text = self.post(self.url, {**self.form, field: value}).text
                    self.assertIn(f"error_{field}", text)
                    self.assertFalse(self.latest())

    def test_files_that_are_not_taken(self):
        for files in (
            [("page.html", b"<script>alert(1)</script>")], [("drawing.svg", b"<svg/>")], [("run.exe", b"MZ")],
            [("empty.pdf", b"")], [("large.pdf", b"x" * (10 * MEGABYTE + 1))], [("a.pdf", b"x")] * 6,
        ):  # fmt: skip
            with self.subTest(file=files[0][0]):
                text = self.post(self.url, self.form, files=[("files", file) for file in files]).text
                self.assertIn("error_files", text)
                self.assertFalse(self.latest())

    def test_files_are_saved_and_never_shown(self):
        self.post(self.url, self.form, files=[("files", ("notes.txt", b"<html><script>alert(1)</script></html>"))])
        dispute = self.latest()
        url = f"/my/disputes/{dispute.id}/files/{dispute.attachment_ids.id}"
        response = self.get(url)
        self.assertEqual(response.headers["Content-Type"], "application/octet-stream")
        self.assertTrue(response.headers["Content-Disposition"].startswith("attachment"))
        self.assertIn("sandbox", response.headers["Content-Security-Policy"])
        self.assertEqual(dispute.attachment_ids.mimetype, "text/plain")
        other = self.env["ir.attachment"].create({"name": "x.txt", "raw": b"secret", "res_model": "billing.dispute",
                                                  "res_id": dispute.id})  # fmt: skip
        with mute_logger("odoo.http"):
            self.assertEqual(self.get(f"/my/disputes/{dispute.id}/files/{other.id}").status_code, 404)
        self.assertTrue(urlparse(self.get(url, "portal_two").url).path.endswith("/my"))

    def test_mass_assignment(self):
        self.post(self.url, {**self.form, "state": "accepted", "amount": "1", "resolution": "Yes", "user_id": "1",
                             "move_id": self.other_move.id, "partner_id": self.other_customer.id,
                             "credit_move_ids": "1", "attachment_ids": "1", "cause_id": "1"})  # fmt: skip
        dispute = self.latest()
        self.assertEqual((dispute.state, dispute.move_id, dispute.partner_id, dispute.user_id),
                         ("open", self.move, self.customer, self.officer))  # fmt: skip
        self.assertFalse(dispute.resolution or dispute.credit_move_ids or dispute.attachment_ids or dispute.cause_id)
        self.assertEqual(dispute.amount, self.move.amount_total)

    def test_invariant_16_who_objects(self):
        token = self.move._portal_ensure_token()
        other = self.other_move._portal_ensure_token()
        for login in ("portal_two", None):
            for query in ("", "?access_token=wrong", f"?access_token={other}", "?access_token="):
                with self.subTest(login=login, query=query):
                    self.assertNotIn(self.move.name, self.get(self.url + query, login).text)
                    self.post(self.url + query, self.form, login)
                    self.assertFalse(self.latest())
        self.post(self.url, self.form, "officer_of_contracts")
        self.assertFalse(self.latest())
        response = self.post(f"{self.url}?access_token={token}", self.form, None)
        dispute = self.latest()
        self.assertEqual(dispute.message_ids.filtered(lambda m: m.message_type == "comment").author_id, self.customer)
        self.assertIn("Thank you.", response.text)
        self.assertNotIn(f'href="/my/invoices/{self.move.id}"', response.text)
        for query in ("", "?access_token=wrong", f"?access_token={token}"):
            self.assertNotIn("One seat less", self.get(f"/my/disputes/{dispute.id}{query}", "portal_two").text)
        with mute_logger("odoo.http"):
            self.assertEqual(self.post(self.url, self.form, token=False).status_code, 400)

    def test_list_conversation_and_outcome(self):
        dispute = self.disputes.filtered(lambda d: d.move_id == self.move)
        for query, found in (("", True), ("?filterby=open", True), ("?filterby=closed", False), ("?filterby=x", True)):
            self.assertEqual(f"/my/disputes/{dispute.id}" in self.get(f"/my/disputes{query}").text, found)
        page = self.get(f"/my/disputes/{dispute.id}").text
        self.assertIn(f'data-token="{dispute.access_token}"', page)
        self.assertNotIn("Discount agreed", page)
        refund = self.move._reverse_moves([{"date": "2026-02-20", "invoice_date": "2026-02-20"}])
        refund.action_post()
        dispute.sudo().write({"state": "accepted", "credit_move_ids": [(4, refund.id)]})
        page = self.get(f"/my/disputes/{dispute.id}").text
        for text in ("Accepted", "Discount agreed", refund.name):
            self.assertIn(text, page)
        self.assertNotIn(f"/my/disputes/{dispute.id}", self.get("/my/disputes", "portal_two").text)

    def test_a_link_cannot_fill_a_list_of_tasks(self):
        disputes = self.env["billing.dispute"].with_user(self.user)
        for number in range(9):
            disputes._dispute_from_portal(self.move, {**self.form, "name": f"Number {number}"}, [])
        with self.assertRaisesRegex(UserError, "many objections"):
            disputes._dispute_from_portal(self.move, self.form, [])
        self.assertIn("many objections", self.get(self.url).text)
        with self.assertRaises(AccessError):
            disputes.create({"name": "X", "move_id": self.move.id})

    def test_queries_of_the_list_do_not_grow(self):
        def count(url):
            self.url_open(url)
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            self.url_open(url)
            return self.env.cr.sql_log_count - before

        self.authenticate("portal_one", "portal_one")
        empty, found = count("/my"), []
        for _half in range(2):
            self.env["billing.dispute"].create([{"name": "Again", "move_id": self.move.id} for _ in range(8)])
            found.append((count("/my/disputes"), count(f"/my/disputes/{self.disputes[0].id}")))
        self.assertEqual(*found)
        self.assertLessEqual(max(found[0]), empty + 15)
