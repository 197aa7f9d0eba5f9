import base64
from unittest.mock import patch

from freezegun import freeze_time
from psycopg2 import IntegrityError

from odoo import Command, fields
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import Form, tagged
from odoo.tools import SQL, mute_logger

from .common import StatementCommon

PIXEL = (
    b"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


@tagged("post_install", "-at_install")
class TestSnapshot(StatementCommon):
    def test_the_form_of_a_new_statement_opens_without_a_customer(self):
        with Form(self.env["billing.statement"]) as form:
            self.assertEqual(form.user_id, self.env.user)
            form.partner_id = self.customer
            form.date_from, form.date_to = "2026-01-01", "2026-01-31"
        self.assertEqual(form.record.partner_id, self.customer)

    def test_activity_with_opening_movements_and_ageing(self):
        self.invoice("2025-11-10", 300.0)
        january = self.invoice("2026-01-05", 100.0, due="2026-02-04")
        payment = self.pay("2026-01-20", 40.0, invoices=january)
        statement = self.statement()
        self.assertEqual(statement.kind, "activity")
        self.assertEqual(statement.balance_open, 300.0)
        self.assertEqual((statement.amount_debit, statement.amount_credit), (100.0, 40.0))
        self.assertEqual(statement.balance_close, 360.0)
        self.assertEqual(statement.line_ids.mapped("number"), [january.name, payment.name])
        self.assertEqual(statement.line_ids.mapped("balance"), [400.0, 360.0])
        self.assertEqual(statement.line_ids.mapped("residual"), [60.0, 0.0])
        self.assertEqual(statement.line_ids.mapped("kind"), ["invoice", "payment"])
        self.assertEqual(statement.bucket_0, 60.0)
        self.assertEqual(statement.bucket_3, 300.0)  # 82 days
        self.assertEqual(statement.amount_overdue, 300.0)

    def test_invariant_11_statements_of_all_kinds_tie_to_the_ledger(self):
        old = self.invoice("2025-10-01", 250.0)
        self.invoice("2025-12-20", -30.0)
        self.pay("2026-01-10", 70.0, invoices=old)
        self.pay("2026-01-11", 500.0)
        self.invoice("2026-01-31", 90.0, due="2026-03-01")
        self.invoice("2026-02-01", 1000.0)  # later
        self.env.flush_all()
        self.env.cr.execute(
            """SELECT SUM(amount_currency) FROM account_move_line
                WHERE account_id = %s AND parent_state = 'posted' AND partner_id = %s
                  AND date <= '2026-01-31'""",
            [self.receivable.id, self.customer.id],
        )
        [ledger] = self.env.cr.fetchone()
        self.assertEqual(ledger, -260.0)
        for number, kind in enumerate(("activity", "open_item", "balance_forward")):
            with self.subTest(kind=kind):
                statement = self.statement(date_from=f"2026-01-0{number + 1}", kind=kind)
                statement.action_check()
                self.assertEqual(statement.state, "checked", statement.exception_ids.mapped("message"))
                self.assertEqual(statement.balance_close, float(ledger))
                self.assertEqual(statement.balance_company, float(ledger))
                self.assertEqual(
                    statement.balance_open + statement.amount_debit - statement.amount_credit,
                    float(ledger),
                )
                self.assertAlmostEqual(sum(statement._get_buckets()), float(ledger))
                self.assertEqual(statement.line_ids[-1].balance, float(ledger))
                self.assertEqual(statement.amount_unallocated, 530.0)

    def test_the_screen_of_the_customer_shows_its_statements(self):
        self.invoice("2026-01-05", 100.0)
        statement, gone = self.statement(), self.statement("2026-02-01", "2026-02-28")
        gone.action_cancel()
        self.assertEqual(self.customer.billing_last_statement_ids, statement)
        self.assertFalse(self.other_customer.billing_last_statement_ids)

    def test_statements_go_to_those_who_get_bills(self):
        clerk = self.env["res.partner"].create(
            {"name": "Clerk", "parent_id": self.customer.id, "email": "clerk@customer.example"}
        )
        self.assertEqual(self.statement()._get_recipients(), self.customer)
        clerk.billing_role_billing = True
        self.assertEqual(self.statement("2026-02-01", "2026-02-28")._get_recipients(), clerk)

    def test_open_items_are_what_is_left(self):
        paid = self.invoice("2025-12-01", 50.0)
        self.pay("2026-01-05", 50.0, invoices=paid)
        late = self.invoice("2025-12-01", 80.0, due="2025-12-31")
        self.pay("2026-02-05", 80.0, invoices=late)  # not yet
        credit = self.pay("2026-01-09", 20.0)
        statement = self.statement(kind="open_item")
        lines = {line.number: line for line in statement.line_ids}
        self.assertEqual(set(lines), {late.name, credit.name})
        self.assertEqual(lines[late.name].days_overdue, 31)
        self.assertEqual(lines[late.name].bucket, 2)
        self.assertEqual(lines[late.name].residual, 80.0)
        self.assertFalse(lines[late.name].unallocated)
        self.assertTrue(lines[credit.name].unallocated)
        self.assertEqual(lines[credit.name].days_overdue, 0)

    def test_invariant_12_day_30_is_in_the_first_band(self):
        self.invoice("2026-01-01", 10.0, due="2026-01-01")
        self.invoice("2025-12-31", 20.0, due="2025-12-31")
        self.invoice("2026-01-01", 40.0, due="2026-01-31")
        statement = self.statement(kind="open_item")
        self.assertEqual(
            [statement.bucket_0, statement.bucket_1, statement.bucket_2], [40.0, 10.0, 20.0]
        )
        self.assertEqual(sorted(statement.line_ids.mapped("bucket")), [0, 1, 2])
        self.assertEqual(len(statement._get_bucket_labels()), len(statement._get_buckets()))

    def test_bands_are_those_of_the_day_it_was_made(self):
        self.invoice("2025-12-31", 20.0)
        statement = self.statement()
        statement.action_check()
        self.company.billing_ageing_bounds = "10, 20, 40, 50"
        self.assertEqual(statement.ageing_bounds, [30, 60, 90, 120])
        self.assertEqual(statement.bucket_2, 20.0)
        self.assertEqual(statement.action_verify()[0]["state"], "ok")

    def test_currencies_have_statements_of_their_own(self):
        euro = self.setup_other_currency("EUR", rates=[("2025-01-01", 0.5)])
        bill = self.invoice("2026-01-05", 100.0, currency=euro)
        self.invoice("2026-01-06", 7.0)
        payment = self.pay("2026-01-20", 200.0, invoices=bill)  # dollars for euros
        in_euro, in_dollars = self.statement(currency_id=euro.id), self.statement()
        self.assertEqual(in_euro.line_ids.mapped("kind"), ["invoice", "conversion"])
        self.assertEqual((in_euro.balance_close, in_euro.amount_credit), (0.0, 100.0))
        self.assertIn(payment.name, in_euro.line_ids[1].counterpart)
        self.assertEqual(in_dollars.balance_close, 7.0)
        self.assertEqual(sorted(in_dollars.line_ids.mapped("kind")), ["conversion", "invoice", "payment"])
        for statement in in_euro | in_dollars:
            self.assertNotIn("EXCH", " ".join(statement.line_ids.mapped("number")))
            statement.action_check()
            self.assertEqual(statement.state, "checked", statement.exception_ids.mapped("message"))

    def test_contacts_of_the_customer_are_on_it(self):
        child = self.env["res.partner"].create({"name": "Branch", "parent_id": self.customer.id})
        bill = self.invoice("2026-01-05", 100.0, partner=child)
        statement = self.statement(partner_id=child.id)
        self.assertEqual(statement.partner_id, self.customer)
        self.assertEqual(statement.line_ids.move_id, bill)

    def test_contracts_are_named(self):
        contract = self.new_contract("2026-01-01", [{"price_id": False, "price_unit": 100.0}])
        self.bill("2026-01-01", contract)
        line = self.statement().line_ids
        self.assertEqual((line.contract_id, line.contract_name), (contract, contract.name))

    def test_a_period_and_currency_has_one_statement(self):
        self.invoice("2026-01-05", 100.0)
        first = self.statement()
        with mute_logger("odoo.sql_db"), self.assertRaises(IntegrityError), self.cr.savepoint():
            self.statement(kind="open_item")
            self.env.flush_all()
        first.action_cancel()
        self.assertTrue(self.statement().name)

    def test_changing_a_draft_reads_the_ledger_again(self):
        self.invoice("2026-01-05", 100.0)
        self.invoice("2026-02-05", 11.0)
        statement = self.statement()
        statement.write({"date_from": "2026-02-01", "date_to": "2026-02-28"})
        self.assertEqual((statement.balance_open, statement.balance_close), (100.0, 111.0))
        self.assertEqual(len(statement.line_ids), 1)
        with self.assertRaises(ValidationError):
            statement.date_to = "2099-01-01"


@tagged("post_install", "-at_install")
class TestSelfCheck(StatementCommon):
    def found(self, statement):
        return set(
            statement.exception_ids.filtered(lambda e: e.state == "open").check_id.mapped("code")
        )

    def test_what_does_not_add_up_is_not_sent(self):
        self.invoice("2026-01-05", 100.0)
        statement = self.statement()

        def wrong(this, account):
            return {**original(this, account), "balance_open": 1.0}

        original = type(statement)._prepare_amounts
        with patch.object(type(statement), "_prepare_amounts", wrong):
            statement.action_check()
        self.assertEqual(statement.state, "draft")
        self.assertIn("statement_sums", self.found(statement))
        exception = statement.exception_ids[:1]
        self.assertEqual((exception.partner_id, exception.severity), (self.customer, "blocking"))
        with self.assertRaisesRegex(UserError, "Draft"):
            statement.action_send()
        exception.action_check_again()
        self.assertEqual(exception.state, "resolved")
        self.assertEqual(statement.state, "checked")

    def test_what_does_not_tie_to_the_ledger_is_not_sent(self):
        self.invoice("2026-01-05", 100.0)
        statement = self.statement()
        receivable = type(self.env["billing.receivable"])
        original = receivable._check_identity

        def wrong(this, *args):
            result = original(this, *args)
            for values in result.values():
                values["difference_company"] = 5.0
            return result

        with patch.object(receivable, "_check_identity", wrong):
            statement.action_check()
            self.assertEqual(statement.state, "draft")
            self.assertEqual(self.found(statement), {"statement_ledger"})
            with self.assertRaisesRegex(UserError, "still there"):
                statement.exception_ids.action_resolve()
        statement.exception_ids.action_resolve()
        self.assertEqual(statement.state, "checked")

    def test_an_opening_balance_that_does_not_tie_to_the_ledger_is_not_sent(self):
        self.invoice("2025-12-05", 70.0)
        self.invoice("2026-01-05", 100.0)
        statement = self.statement()
        receivable = type(self.env["billing.receivable"])
        original = receivable._get_accounts

        def wrong(this, *args, **kwargs):
            """A movement that the ledger does not have is taken off the opening balance."""
            accounts = original(this, *args, **kwargs)
            for account in accounts.values():
                account.movements.append({**account.movements[0], "move_line_id": 0, "amount": 5.0})
                account.debit, account.opening = account.debit + 5.0, account.opening - 5.0
            return accounts

        with patch.object(receivable, "_get_accounts", wrong):
            statement.action_check()
        self.assertEqual((statement.state, self.found(statement)), ("draft", {"statement_ledger"}))
        self.assertIn("65", statement.exception_ids.message)
        self.assertIn("70", statement.exception_ids.message)

    def test_late_documents_are_reported_on_the_next_statement(self):
        self.invoice("2026-01-05", 100.0)
        january = self.sent()
        self.invoice("2026-01-20", 33.0)
        february = self.statement("2026-02-01", "2026-02-28")
        self.assertEqual(february.previous_id, january)
        february.action_check()
        self.assertEqual(february.state, "draft")
        self.assertEqual(self.found(february), {"statement_opening"})
        self.assertIn("33", february.exception_ids.message)
        january.action_reissue()
        again = january.superseded_by_id
        again.action_check()
        february.action_check()
        self.assertEqual((february.state, february.previous_id), ("checked", again))

    def test_a_waived_difference_is_sent(self):
        self.invoice("2026-01-05", 100.0)
        self.sent()
        self.invoice("2026-01-20", 33.0)
        february = self.statement("2026-02-01", "2026-02-28")
        february.action_check()
        february.exception_ids.action_waive("Told the customer by phone.")
        february.action_check()
        self.assertEqual(february.state, "checked")

    def test_gaps_and_overlaps_are_reported(self):
        self.invoice("2026-01-05", 100.0)
        self.sent()
        for date_from, code in (("2026-02-05", "statement_opening"), ("2026-01-31", "statement_duplicate")):
            statement = self.statement(date_from, "2026-02-28")
            statement.action_check()
            self.assertEqual(self.found(statement), {code})
            statement.action_cancel()
            self.assertFalse(self.found(statement))

    def test_drafts_and_missing_address_are_warnings(self):
        self.invoice("2026-01-05", 100.0)
        self.invoice("2026-01-06", 100.0, post=False)
        self.customer.email = False
        statement = self.statement()
        statement.action_check()
        self.assertEqual(self.found(statement), {"statement_drafts", "statement_email"})
        self.assertEqual(statement.state, "checked")

    def test_a_ledger_that_changed_since_the_check_is_not_sent(self):
        self.invoice("2026-01-05", 100.0)
        statement = self.statement()
        statement.action_check()
        self.invoice("2026-01-06", 1.0)
        with self.assertRaisesRegex(UserError, "ledger has changed"):
            statement.action_send()
        statement.action_draft()
        statement.action_check()
        statement.action_send()
        self.assertEqual((statement.state, statement.balance_close), ("sent", 101.0))


@tagged("post_install", "-at_install")
class TestIssued(StatementCommon):
    def setUp(self):
        super().setUp()
        self.bill = self.invoice("2026-01-05", 100.0)
        self.other_bill = self.invoice("2026-01-06", 50.0)
        self.statement_ = self.sent()

    def content(self, statement):
        names = sorted({*statement._billing_protected, "partner_id", "date_from", "date_to", "kind"})
        lines = statement.line_ids
        return (
            [statement[name] for name in names if name not in ("line_ids", "exception_ids", "dispute_ids")],
            [[line[name] for name in sorted(lines._billing_protected)] for line in lines],
        )

    def test_sending_stores_files_and_mails_them(self):
        statement = self.statement_
        self.assertTrue(statement.date_sent)
        self.assertEqual(statement.delivery_state, "sent")
        message = statement.message_ids.filtered("attachment_ids")
        self.assertEqual(message.attachment_ids.raw, statement._get_file("pdf"))
        self.assertEqual(message.partner_ids, self.customer)
        self.assertIn(statement.access_token, message.body)
        self.assertNotIn("unsubscribe", message.body.lower())
        self.assertEqual((statement.date_due - statement.company_id._get_billing_today()).days, 10)
        first = statement.pdf
        statement.action_send()
        self.assertEqual(statement.pdf, first)
        self.assertEqual(len(statement.message_ids.filtered("attachment_ids")), 2)

    def test_no_address_is_a_failure_and_by_hand_is_possible(self):
        self.other_customer.email = False
        self.invoice("2026-01-05", 5.0, partner=self.other_customer)
        statement = self.statement(partner_id=self.other_customer.id)
        statement.action_check()
        statement.action_send()
        self.assertEqual((statement.state, statement.delivery_state), ("checked", "failed"))
        self.assertEqual(statement.next_step, "deliver")
        self.assertIn("No e-mail address", statement.delivery_error)
        statement.action_mark_sent()
        self.assertEqual((statement.state, statement.delivery_state), ("sent", "manual"))
        self.assertTrue(statement.sha256)

    def test_archived_customers_get_no_mail_and_the_statement_says_so(self):
        self.customer.active = False
        statement = self.statement("2026-02-01", "2026-02-28")
        statement.action_check()
        statement.action_send()
        mailed = statement.message_ids.notification_ids.res_partner_id
        self.assertEqual((statement.delivery_state, mailed), ("failed", mailed.browse()))

    def test_invariant_13_nobody_changes_an_issued_statement(self):
        statement = self.statement_
        before = self.content(statement)
        manager = self.new_staff("manager", login="stm_manager")
        statement_fields = {
            "name": "X", "partner_id": self.other_customer.id, "date_to": "2026-02-01",
            "date_from": "2026-01-02", "balance_close": 1.0, "amount_debit": 1.0, "bucket_0": 1.0,
            "kind": "open_item", "template": "contract", "changes": [], "line_ids": [Command.clear()],
            "ageing_bounds": [1], "sha256": "0", "pdf": base64.b64encode(b"x"), "xlsx": False,
            "date_sent": False, "previous_id": False,
        }  # fmt: skip
        for name, value in statement_fields.items():
            for record in (statement.with_user(manager), statement.sudo()):
                with self.subTest(field=name, su=record.env.su), self.assertRaises(UserError):
                    record.write({name: value})
        line = statement.line_ids[0]
        for record in (line.with_user(manager), line.sudo()):
            for values in ({"debit": 1.0}, {"number": "X"}, {"residual": 0.0}, {"statement_id": False}):
                with self.subTest(values=values), self.assertRaises(UserError):
                    record.write(values)
            with self.assertRaises(UserError):
                record.unlink()
        with self.assertRaises(UserError):
            line.sudo().create(
                {
                    "statement_id": statement.id, "kind": "entry", "date": "2026-01-01", "debit": 1.0,
                    "company_id": statement.company_id.id, "currency_id": statement.currency_id.id,
                }
            )
        with self.assertRaises(UserError):
            statement.sudo().unlink()
        result = statement.with_user(manager).load(
            [".id", "balance_close"], [[str(statement.id), "1"]]
        )
        self.assertFalse(result["ids"])
        self.env.invalidate_all()
        self.assertEqual(self.content(statement), before)

    def test_invariant_13_files_are_not_changed_around_the_statement(self):
        manager = self.new_staff("manager", login="stm_manager")
        statement = self.statement_
        files = self.env["ir.attachment"].sudo().search(
            [("res_model", "=", "billing.statement"), ("res_id", "=", statement.id), ("res_field", "!=", False)]
        )
        self.assertEqual(len(files), 2)
        for attachments in (files.with_user(manager), files):
            with self.assertRaises(UserError):
                attachments[0].write({"raw": b"forged"})
            with self.assertRaises(UserError):
                attachments.unlink()
        forged = {"name": "pdf", "raw": b"forged", "res_model": "billing.statement", "res_id": statement.id}
        with self.assertRaises(UserError):
            self.env["ir.attachment"].with_user(manager).create({**forged, "res_field": "pdf"})
        note = self.env["ir.attachment"].with_user(manager).create(forged)
        with self.assertRaises(UserError):
            note.write({"res_field": "pdf"})
        self.assertEqual(statement.action_verify()[0]["state"], "ok")

    def test_invariant_13_later_matching_changes_nothing(self):
        before = self.content(self.statement_)
        self.pay("2026-01-31", 100.0, invoices=self.bill)
        self.bill.line_ids.remove_move_reconcile()
        self.other_bill.button_draft()
        self.other_bill.button_cancel()
        self.env.invalidate_all()
        self.assertEqual(self.content(self.statement_), before)

    def test_verify_tells_what_changed_in_the_ledger(self):
        payment = self.pay("2026-01-31", 100.0, invoices=self.bill)
        self.other_bill.button_draft()
        late = self.invoice("2026-01-07", 8.0)
        self.invoice("2025-12-07", 3.0)
        [result] = self.statement_.action_verify()
        self.assertEqual(result["state"], "changed")
        changes = {(c["change"], c["number"]): (c["before"], c["after"]) for c in result["changes"]}
        self.assertEqual(
            changes,
            {
                ("opening", ""): (0.0, 3.0),
                ("added", payment.name): (0.0, -100.0),
                ("added", late.name): (0.0, 8.0),
                ("removed", self.other_bill.name): (50.0, 0.0),
                ("matched", self.bill.name): (100.0, 0.0),
            },
        )
        self.assertEqual(result["balance_close"], 11.0)

    def test_verify_finds_a_damaged_file(self):
        attachment = self.env["ir.attachment"].sudo().search(
            [("res_model", "=", "billing.statement"), ("res_id", "=", self.statement_.id), ("res_field", "=", "xlsx")]
        )
        self.env.cr.execute(
            "UPDATE ir_attachment SET store_fname = NULL, db_datas = 'other' WHERE id = %s", [attachment.id]
        )
        self.env.invalidate_all()
        [result] = self.statement_.action_verify()
        self.assertEqual((result["state"], result["files"]), ("damaged", ["xlsx"]))

    def test_a_new_one_takes_the_place_and_tells_the_difference(self):
        late = self.invoice("2026-01-07", 8.0)
        action = self.statement_.action_reissue()
        new = self.env["billing.statement"].browse(action["res_id"])
        self.assertEqual((self.statement_.state, self.statement_.superseded_by_id), ("superseded", new))
        self.assertEqual((new.supersedes_id, new.state), (self.statement_, "draft"))
        self.assertEqual([(c["change"], c["number"]) for c in new.changes], [("added", late.name)])
        self.assertIn(late.name, new.changes_html)
        new.action_check()
        new.action_send()
        self.assertEqual((new.state, new.balance_close), ("sent", 158.0))
        self.assertEqual(self.statement_.balance_close, 150.0)
        with self.assertRaises(UserError):
            self.statement_.action_reissue()

    def test_a_new_one_that_is_dropped_leaves_the_old_one_in_force(self):
        for drop in ("action_cancel", "unlink"):
            with self.subTest(drop=drop):
                self.statement_.action_reissue()
                getattr(self.statement_.superseded_by_id, drop)()
                self.assertEqual(self.statement_.state, "sent")
                self.assertFalse(self.statement_.superseded_by_id)

    def test_a_dropped_one_does_not_bring_back_what_was_withdrawn_since(self):
        self.statement_.action_reissue()
        dropped = self.statement_.superseded_by_id
        dropped.action_cancel()
        self.statement_.action_cancel()
        dropped.unlink()
        self.assertEqual(self.statement_.state, "cancelled")

    def test_a_statement_in_force_again_is_reminded(self):
        self.statement_.action_reissue()
        self.statement_.superseded_by_id.action_cancel()
        self.assertEqual((self.statement_.state, self.statement_.delivery_state), ("sent", "sent"))

    def test_a_period_without_an_end_is_refused(self):
        statement = self.statement("2026-02-01", "2026-02-28")
        for name in ("date_from", "date_to"):
            with self.subTest(name=name), self.assertRaisesRegex(UserError, "last day"), self.cr.savepoint():
                statement.write({name: False})

    def test_a_new_one_stays_with_customer_and_period_of_the_old_one(self):
        self.statement_.action_reissue()
        new = self.statement_.superseded_by_id
        for vals in ({"partner_id": self.other_customer.id}, {"date_from": "2026-01-02"}):
            with self.subTest(vals=vals), self.assertRaises(UserError):
                new.write(vals)

    def test_confirming_needs_a_name_and_of_staff_a_note(self):
        statement = self.statement_
        for arguments in ((" ",), ("Ann Lee",)):
            with self.assertRaises(UserError):
                statement.action_confirm(*arguments)
        statement.action_confirm("Ann Lee", PIXEL, note="By phone")
        self.assertEqual((statement.state, statement.confirm_name), ("confirmed", "Ann Lee"))
        self.assertEqual(statement.confirm_user_id, self.env.user)
        self.assertTrue(statement.date_confirmed and statement.signature)
        for name, value in (("confirm_name", "Bob"), ("signature", False), ("date_confirmed", False)):
            with self.assertRaises(UserError):
                statement.sudo().write({name: value})
        with self.assertRaises(UserError):
            statement.action_confirm("Ann Lee", note="Twice")
        with self.assertRaises(UserError):
            statement.action_cancel()

    def test_the_customer_confirms_without_a_note(self):
        portal = self.new_portal(self.customer, "stm_portal")
        with self.assertRaises(AccessError):
            self.statement_.with_user(portal).action_confirm("Ann Lee")
        self.statement_.with_user(portal).sudo().action_confirm("Ann Lee", PIXEL)
        self.assertEqual(self.statement_.state, "confirmed")
        self.assertFalse(self.statement_.confirm_user_id)

    def test_opened_is_noted_once(self):
        self.statement_._note_opened()
        opened = self.statement_.date_opened
        self.assertTrue(opened)
        self.statement_._note_opened()
        self.assertEqual(self.statement_.date_opened, opened)

    def test_reminders_then_a_task(self):
        statement = self.statement_
        self.company.write({"billing_statement_reminder_days": 7, "billing_statement_reminder_max": 2})

        def later(days):
            for name in ("date_reminded", "date_sent"):
                if statement[name]:
                    column = SQL.identifier(name)
                    self.env.cr.execute(
                        SQL(
                            "UPDATE billing_statement SET %s = %s - %s * interval '1 day' WHERE id = %s",
                            column, column, days, statement.id,
                        )
                    )  # fmt: skip
            statement.invalidate_recordset()
            with self.in_job():
                self.env["billing.statement"]._cron_remind()
            return statement.reminder_count, bool(statement.activity_ids)

        self.assertEqual(later(6), (0, False))
        self.assertEqual(later(2), (1, False))
        self.assertEqual(later(0), (1, False))
        self.assertEqual(later(8), (2, False))
        self.assertEqual(later(8), (2, True))
        self.assertEqual(later(8), (2, True))
        self.assertEqual(len(statement.activity_ids), 1)
        statement.action_confirm("Ann Lee", note="By phone")
        self.assertFalse(statement.activity_ids)

    def test_nobody_is_reminded_without_an_address(self):
        self.customer.email = False
        with self.assertRaisesRegex(UserError, "No e-mail address"):
            self.statement_.action_remind()
        self.assertEqual(self.statement_.reminder_count, 0)

    def test_statements_share_the_limit_of_mails(self):
        self.company.billing_mails_per_hour = 1  # setUp has sent one
        self.statement_.sudo().delivery_state = "queued"
        sent = self.statement_.delivery_date
        self.assertEqual(self.env["res.company"]._get_full_mail_companies(), self.company)
        self.statement_._deliver()
        with self.in_job():
            self.env["billing.statement"]._cron_deliver()
        self.assertEqual((self.statement_.delivery_state, self.statement_.delivery_date), ("queued", sent))
        self.company.billing_mails_per_hour = 2
        with self.in_job():
            self.env["billing.statement"]._cron_deliver()
        self.assertEqual(self.statement_.delivery_state, "sent")

    def test_reminders_share_the_limit_of_mails(self):
        self.company.write({"billing_statement_reminder_days": 7, "billing_mails_per_hour": 1})
        statement = self.statement_
        with freeze_time(fields.Datetime.add(statement.date_sent, days=8)) as clock, self.in_job():
            self.customer.message_post(body="Hello", partner_ids=self.customer.ids)
            self.customer.message_ids[0].record_company_id = self.company
            self.env["billing.statement"]._cron_remind()
            self.assertEqual(statement.reminder_count, 0)
            clock.tick(delta=3601)
            self.env["billing.statement"]._cron_remind()
            self.env["billing.statement"]._cron_remind()
            self.assertEqual(statement.reminder_count, 1)
            statement.action_remind()  # a person has said so: the mail waits in the queue
            message = statement.message_ids[0]
            self.assertEqual(message.date, fields.Datetime.add(fields.Datetime.now(), hours=1))
            self.assertFalse(message.notification_ids)
            self.assertEqual(self.company._get_billing_mail_time(), fields.Datetime.add(message.date, hours=1))

    def test_each_recipient_gets_it_in_the_own_language(self):
        self.env["res.lang"]._activate_lang("zh_CN")
        contacts = self.env["res.partner"].create(
            [
                {"name": lang, "parent_id": self.customer.id, "email": f"{lang}@customer.example", "lang": lang,
                 "billing_role_billing": True}
                for lang in ("en_US", "zh_CN")
            ]
        )  # fmt: skip
        template = self.env.ref("customer_billing_statement.mail_template_statement")
        template.with_context(lang="en_US").subject = "In English"
        template.with_context(lang="zh_CN").subject = "中文"
        before = self.statement_.message_ids
        self.statement_.action_send()
        messages = (self.statement_.message_ids - before).filtered("notification_ids")
        self.assertEqual(
            {(message.subject, message.partner_ids) for message in messages},
            {("In English", contacts[0]), ("中文", contacts[1])},
        )
        files = messages.attachment_ids
        self.assertEqual((len(files), len(set(files.mapped("checksum")))), (2, 1), "the PDF is the one that was issued")

    def test_a_mail_that_comes_back_is_a_task(self):
        statement = self.statement_
        notification = statement.message_ids.notification_ids.filtered(
            lambda n: n.notification_type == "email"
        )[:1]
        self.assertTrue(notification)
        notification.sudo().write({"notification_status": "bounce", "failure_reason": "no such user"})
        self.env["billing.statement"]._note_delivery_failures()
        self.assertEqual((statement.state, statement.delivery_state), ("sent", "failed"))
        self.assertTrue(statement.activity_ids)


@tagged("post_install", "-at_install")
class TestDisputes(StatementCommon):
    def setUp(self):
        super().setUp()
        self.bill = self.invoice("2026-01-05", 100.0)
        self.statement_ = self.sent()

    def dispute(self, **values):
        values = {"name": "Too much", "line_id": self.statement_.line_ids.id, "claimed_amount": 80.0, **values}
        return self.env["billing.dispute"].browse(self.statement_.action_dispute(values))

    def test_a_disputed_line(self):
        proof = self.env["ir.attachment"].create({"name": "proof.txt", "raw": b"80"})
        dispute = self.dispute(attachment_ids=proof.ids)
        self.assertEqual((dispute.partner_id, dispute.company_id), (self.customer, self.company))
        self.assertEqual((dispute.our_amount, dispute.claimed_amount, dispute.amount), (100.0, 80.0, 20.0))
        self.assertEqual((dispute.move_id, dispute.attachment_ids), (self.bill, proof))
        self.assertEqual(dispute.user_id, self.statement_.user_id)
        self.assertEqual((self.statement_.state, self.statement_.next_step), ("disputed", "decide"))
        with self.assertRaisesRegex(UserError, "Disputed"):
            self.statement_.action_confirm("Ann Lee", note="No")
        dispute.resolution = "Credited"
        with self.assertRaisesRegex(UserError, "resolved by"):
            dispute.action_accept()
        dispute.resolution_kind = "credit_note"
        dispute.action_accept()
        self.assertEqual(self.statement_.state, "sent")
        dispute.action_reopen()
        self.assertEqual(self.statement_.state, "disputed")
        dispute.action_reject()
        self.statement_.action_confirm("Ann Lee", note="By phone")

    def test_a_deleted_dispute_disputes_nothing(self):
        self.dispute().with_user(self.new_staff("manager")).unlink()
        self.assertEqual(self.statement_.state, "sent")

    def test_something_missing_on_the_statement(self):
        dispute = self.dispute(line_id=False, claimed_amount=-40.0)
        self.assertEqual((dispute.our_amount, dispute.amount), (0.0, 40.0))
        self.assertFalse(dispute.move_id)
        dispute.write({"resolution": "The payment is in February"})
        dispute.action_reject()
        self.assertEqual(dispute.resolution_kind, "explained")
        self.assertEqual(self.statement_.state, "sent")

    def test_wrong_disputes(self):
        with self.assertRaisesRegex(ValidationError, "above zero"):
            self.dispute(claimed_amount=100.0)
        self.invoice("2026-01-05", 1.0, partner=self.other_customer)
        other = self.sent(partner_id=self.other_customer.id)
        with self.assertRaisesRegex(ValidationError, "another statement"):
            self.dispute(line_id=other.line_ids.id)
        other.action_confirm("Bob", note="By phone")
        with self.assertRaisesRegex(UserError, "not confirmed"):
            self.env["billing.dispute"].create(
                {"name": "Late", "statement_id": other.id, "claimed_amount": 5.0}
            )
        with mute_logger("odoo.sql_db"), self.assertRaises(IntegrityError), self.cr.savepoint():
            self.env["billing.dispute"].create({"name": "About nothing", "amount": 5.0})

    def test_disputes_of_bills_are_as_before(self):
        dispute = self.env["billing.dispute"].create({"name": "Bill", "move_id": self.bill.id})
        self.assertEqual((dispute.amount, dispute.partner_id), (100.0, self.customer))
        self.assertEqual(self.statement_.state, "sent")
        with self.assertRaises(ValidationError):
            dispute.amount = 101.0

    def test_a_credit_note_resolves_a_dispute(self):
        dispute = self.dispute()
        action = dispute.action_credit()
        wizard = self.env["account.move.reversal"].with_context(**action["context"]).create(
            {"journal_id": self.bill.journal_id.id}
        )
        wizard.refund_moves()
        self.assertTrue(dispute.credit_move_ids)
        dispute.resolution = "Credited"
        dispute.action_accept()
        self.assertEqual((dispute.resolution_kind, self.statement_.state), ("credit_note", "sent"))

    def test_customers_with_statements_are_merged_or_refused(self):
        merge = self.env["base.partner.merge.automatic.wizard"]
        other = self.invoice("2026-01-06", 50.0, partner=self.other_customer)
        theirs = self.statement(partner_id=self.other_customer.id)
        partners = self.customer | self.other_customer
        self.other_customer.email = self.customer.email
        with self.assertRaisesRegex(UserError, "same period"):
            merge._merge(partners.ids, self.customer)
        theirs.action_cancel()
        merge._merge(partners.ids, self.customer)
        self.env.invalidate_all()
        self.assertEqual((theirs.partner_id, other.partner_id), (self.customer, self.customer))
        self.assertEqual(self.statement_.action_verify()[0]["state"], "changed")

    def test_open_disputes_go_on_with_the_new_statement(self):
        line, missing = self.dispute(), self.dispute(line_id=False, claimed_amount=-40.0)
        rejected = self.dispute()
        rejected.write({"resolution": "No"})
        rejected.action_reject()
        self.statement_.action_reissue()
        new = self.statement_.superseded_by_id
        self.assertEqual(self.statement_.dispute_ids, line | missing | rejected)
        new.action_check()
        new.action_send()
        self.assertEqual((new.state, new.dispute_ids), ("disputed", line | missing))
        self.assertEqual((line.statement_line_id.statement_id, line.amount), (new, 20.0))
        self.assertFalse(missing.statement_line_id)
        self.assertIn(new.name, line.message_ids[0].body)
        self.assertEqual(rejected.statement_id, self.statement_)
        (line | missing).write({"resolution": "Explained"})
        (line | missing).action_reject()
        self.assertEqual(new.state, "sent")

    def test_what_the_new_statement_settles_does_not_go_on(self):
        settled = self.dispute(line_id=False, claimed_amount=108.0)
        settled._write({"about_balance": True})
        lost = self.dispute()
        lost.statement_line_id.sudo()._write({"key": "gone"})
        self.env.invalidate_all()
        self.invoice("2026-01-07", 8.0)
        self.statement_.action_reissue()
        new = self.statement_.superseded_by_id
        new.action_check()
        new.action_send()
        self.assertEqual((new.state, new.balance_close), ("sent", 108.0))
        self.assertEqual((settled | lost).statement_id, self.statement_)

    def test_a_new_statement_resolves_a_dispute(self):
        dispute = self.dispute()
        self.statement_.action_reissue()
        self.assertEqual(dispute.resolution_statement_id, self.statement_.superseded_by_id)
        dispute.write({"resolution": "Corrected", "resolution_kind": "correction"})
        dispute.action_accept()
        self.assertEqual(self.statement_.state, "superseded")
