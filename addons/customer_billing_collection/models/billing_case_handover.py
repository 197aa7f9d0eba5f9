import csv
import io
import json
import tempfile

from markupsafe import Markup

from odoo import Command, api, fields, models
from odoo.exceptions import AccessError, UserError
from odoo.tools import float_repr, format_date

from odoo.addons.customer_billing.models.ir_actions_report import CJK_FONTS, NO_SCRIPT_DELAY

from ..tools.file_names import safe_file_name
from ..tools.package import without_moment, write_package
from .billing_case import CLOSED, SETTLED

RENDERED_BILLS = 100  # bills without a stored PDF that one package renders: a second each
RENDERED_CONTRACTS = 50
CONTRACT_REPORT = "customer_billing.billing_contract_report"
MAXIMUM_BYTES = 200 * 1024 * 1024  # of one package
SUMMARY_ITEMS = 500  # rows of the summary; all items are in items.csv
MARGIN = 15  # millimetres above and below
MISSING = "MISSING.txt"
TASK = "customer_billing_collection.mail_activity_type_tell_agency"
NEW_DEBT = "customer_billing_collection.mail_activity_type_new_debt"


class BillingCase(models.Model):
    """Hand-over to a lawyer or an agency: one package of evidence, and no dunning from then on."""

    _name = "billing.case"
    _inherit = "billing.case"

    handover_partner_id = fields.Many2one(
        "res.partner", string="Handed Over To", readonly=True, copy=False, tracking=True, ondelete="restrict",
        index="btree_not_null", help="The lawyer or agency that collects.",
    )  # fmt: skip
    handover_attachment_id = fields.Many2one(
        "ir.attachment", string="Hand-Over Package", readonly=True, copy=False, index="btree_not_null"
    )
    handover_sha256 = fields.Char(
        string="SHA-256 of the Package", readonly=True, copy=False,
        help="Tells whether a copy is the one that was made.",
    )  # fmt: skip

    def action_hand_over(self, partner_id, note=""):
        """Make the package of evidence, store it on the case, and hand the case over; dunning stops.

        :param int partner_id: the lawyer or agency
        :param str note: what to tell them, in the summary
        :return: id of the attachment
        :raises UserError: when the case is closed or handed over already, or nothing is owed
        :raises AccessError: when the user may not work on the case
        """
        self.ensure_one()
        self.check_access("write")
        if self.date_legal or self.state in ("closed", "written_off"):
            raise UserError(
                self.env._("“%s” is closed or was handed over already: take it back first.", self.display_name)
            )
        items = self._get_items()[self]
        owed = sum(item["residual"] for item in items)
        if self.currency_id.compare_amounts(owed, 0) <= 0:
            raise UserError(self.env._("%s owes nothing: there is nothing to hand over.", self.partner_id.display_name))
        partner = self.env["res.partner"].browse(partner_id).exists()
        partner.check_access("read")
        if not partner:
            raise UserError(self.env._("Choose the lawyer or agency who takes over."))
        case_sudo = self.sudo()  # protected fields
        case_sudo.write(
            {
                "handover_partner_id": partner.id,
                "date_legal": self.company_id._get_billing_today(),
                "handover_known_move_ids": [Command.clear()],
            }
        )
        self._store_package(note)
        self._note_handed_over(items)
        case_sudo.notice_ids.filtered(lambda n: n.state in ("proposed", "queued", "failed"))._leave_out("legal")
        case_sudo._refresh()
        case_sudo.message_post(
            body=self.env._(
                "Handed over to %(name)s. SHA-256 of the package: %(sum)s", name=partner.name, sum=self.handover_sha256
            ),
            attachment_ids=self.handover_attachment_id.ids,
            author_id=self.env.user.partner_id.id,
            subtype_xmlid="mail.mt_note",
        )
        return self.handover_attachment_id.id

    def action_renew_package(self, note=""):
        """Make the package again, with all that is open now: what has come since the hand-over belongs to it too.

        :param str note: what to tell the lawyer or agency, in the summary
        :return: id of the attachment
        :raises UserError: when the case is not handed over, or nothing is owed
        :raises AccessError: when the user may not work on the case
        """
        self.ensure_one()
        self.check_access("write")
        if not self.date_legal or self.state in CLOSED:
            raise UserError(self.env._("“%s” is not handed over.", self.display_name))
        items = self._get_items()[self]
        if self.currency_id.compare_amounts(sum(item["residual"] for item in items), 0) <= 0:
            raise UserError(self.env._("%s owes nothing: there is nothing to hand over.", self.partner_id.display_name))
        self._store_package(note)
        self._note_handed_over(items)
        self.sudo().activity_unlink([NEW_DEBT])  # decided
        self.sudo().message_post(
            body=self.env._(
                "New package for %(name)s. SHA-256: %(sum)s",
                name=self.sudo().handover_partner_id.name or "",
                sum=self.handover_sha256,
            ),
            attachment_ids=self.handover_attachment_id.ids,
            author_id=self.env.user.partner_id.id,
            subtype_xmlid="mail.mt_note",
        )
        return self.handover_attachment_id.id

    def _note_handed_over(self, items):
        """Note that these items are in the package: its credits are no news, the others are what is collected."""
        moves = self.env["account.move"].browse(dict.fromkeys(item["move_id"] for item in items))
        credits = {item["move_id"] for item in items if item["residual"] < 0}
        self.sudo().write(  # protected fields
            {
                "handover_move_ids": [Command.set(moves.ids)],
                "handover_known_move_ids": [Command.link(move) for move in credits],
            }
        )

    def action_take_back(self, reason):
        """Take a case back that was handed over; dunning goes on. For billing managers.

        :param str reason: why, for the history
        :raises UserError: when the case is not handed over, or without a reason
        :raises AccessError: when the user is not a billing manager
        """
        self.check_access("write")
        if not self.env.su and not self.env.user.has_group("customer_billing.group_billing_manager"):
            raise AccessError(self.env._("Only a billing manager takes back what was handed over: ask one."))
        if not (reason or "").strip():
            raise UserError(self.env._("Say why the case is taken back."))
        for case in self:
            if not case.date_legal:
                raise UserError(self.env._("“%s” is not handed over.", case.display_name))
            case_sudo = case.sudo()  # protected fields
            name = case_sudo.handover_partner_id.name
            case_sudo.write({"date_legal": False, "handover_partner_id": False})
            case_sudo.activity_unlink([NEW_DEBT])  # it is demanded again
            case_sudo._message_log(
                body=self.env._("Taken back from %(name)s: %(reason)s", name=name, reason=reason),
                author_id=self.env.user.partner_id.id,
            )
        self._refresh()

    def action_download_package(self):
        """Download the package that was made."""
        self.ensure_one()
        self.check_access("read")
        if not self.handover_attachment_id:
            raise UserError(self.env._("No package was made for this case."))
        return {
            "type": "ir.actions.act_url",
            "url": f"/web/content/{self.handover_attachment_id.id}?download=true",
            "target": "download",
        }

    def _close(self, reason):
        """Whoever collects from outside has to know that the money came; a task that says so may be there already."""
        settled = self.sudo().filtered(lambda case: reason in SETTLED and case.date_legal and case.state not in CLOSED)
        settled -= settled.filtered(lambda case: case.activity_search([TASK]))
        result = super()._close(reason)
        self.sudo().activity_unlink([NEW_DEBT])
        for case_sudo in settled:
            user = case_sudo.collector_id or self.env.user
            env, name = user.with_context(lang=user.lang).env, case_sudo.handover_partner_id.name or ""
            summary = env._("Paid after the hand-over: tell %s", name)
            if reason == "credited":
                summary = env._("Credited or cancelled after the hand-over: tell %s", name)
            case_sudo.activity_schedule(TASK, summary=summary, user_id=user.id)
        return result

    # Package

    def _store_package(self, note=""):
        """Make the package and store it as an attachment of the case, with its hash."""
        self.ensure_one()
        # sudo: the evidence is that of a case that the user may work on, checked before; a collector may not read
        # accounting, but hands over what concerns the customer, company and currency of this case alone
        case = self.sudo().with_context(lang=self._get_handover_lang(), handover_note=note or "")
        with tempfile.TemporaryFile() as output:
            digest = write_package(output, case._iterate_handover_files())
            attachment = self.env["ir.attachment"].sudo().create(  # as above
                {
                    "name": f"{safe_file_name(self.name, str(self.id))}.zip",
                    "res_model": self._name,
                    "res_id": self.id,
                    "mimetype": "application/zip",
                    "raw": output.read(),
                }
            )
        case.write({"handover_attachment_id": attachment.id, "handover_sha256": digest})

    def _get_handover_lang(self):
        return self.sudo().handover_partner_id.lang or self.sudo().company_id.partner_id.lang or self.env.lang

    def _iterate_handover_files(self):
        """Yield (path, content) of the package, and at last what is missing in it with the reasons."""
        missing, size = [], 0
        for path, make in self._get_handover_documents():
            try:
                with self.env.cr.savepoint():
                    content = make()
            except UserError as error:
                missing.append(f"{path}: {error}")
                continue
            if not content:
                missing.append(self.env._("%s: the file is not there any more", path))
                continue
            if size + len(content) > MAXIMUM_BYTES:
                missing.append(self.env._("%s: the package would be too large", path))
                continue
            size += len(content)
            yield path, without_moment(content) if content[:5] == b"%PDF-" else content
        if missing:
            yield MISSING, "\n".join([*missing, ""]).encode()

    def _get_handover_documents(self):
        """Yield the documents of the package as (path, function that returns the content as bytes).

        Modules add theirs: ``yield from super()._get_handover_documents()``. The function may raise a UserError: then
        the package tells that the document is missing, and why. Called as superuser: take care that what is yielded
        is about the customer, company and currency of the case.
        """
        self.ensure_one()
        items = self._get_items()[self]
        yield "summary.pdf", lambda: self._render_handover_summary(items)
        yield "items.csv", lambda: self._write_handover_items(items)
        yield from self._get_handover_bills(items)
        yield from self._get_handover_notices()
        yield "notices.csv", self._write_handover_notices
        yield from self._get_handover_contracts(items)
        yield from self._get_handover_correspondence(items)
        yield "interest.csv", self._write_handover_interest
        yield "promises.csv", self._write_handover_promises
        yield "agreements.csv", self._write_handover_agreements

    # Bills

    def _get_handover_moves(self, items):
        """The bills and credit notes that are open."""
        moves = self.env["account.move"].browse(dict.fromkeys(item["move_id"] for item in items))
        return moves.filtered(lambda move: move.is_sale_document(include_receipts=True))

    def _get_handover_bills(self, items):
        moves = self._get_handover_moves(items)
        to_render = moves.filtered(lambda move: not move.invoice_pdf_report_id)
        left_out = to_render[RENDERED_BILLS:]
        for move in moves:
            path = f"bills/{safe_file_name(move.name, str(move.id))}.pdf"
            yield path, lambda move=move: self._get_handover_bill(move, move in left_out)

    @api.model
    def _get_handover_bill(self, move, is_left_out):
        """The PDF of a bill: the one that was sent, or made now."""
        if move.invoice_pdf_report_id:
            return move.invoice_pdf_report_id.with_prefetch().raw
        if is_left_out:
            raise UserError(self.env._("no PDF was made of it yet: print it first, then make the package again"))
        return self.env["ir.actions.report"]._render_qweb_pdf("account.account_invoices", move.ids)[0]

    # Notices

    def _get_handover_notices(self):
        for notice in self.notice_ids.filtered(lambda notice: notice.state == "sent").sorted("date_sent"):
            name = f"notices/{notice.date_sent:%Y-%m-%d}_{safe_file_name(notice.step_id.name, str(notice.id))}"
            yield f"{name}.html", lambda notice=notice: self._render_handover("handover_notice", notice=notice)
            letters = self.env["ir.attachment"].search([("res_model", "=", notice._name), ("res_id", "=", notice.id)])
            for attachment in letters | notice._get_messages().attachment_ids:
                path = f"{name}_{attachment.id}_{safe_file_name(attachment.name, 'file')}"
                yield path, lambda attachment=attachment: attachment.with_prefetch().raw

    @api.model
    def _get_handover_recipients(self, message):
        """Who got a message, and what the mail servers said: a list of (name, address, state)."""
        found = []
        for notification in message.notification_ids:
            partner = notification.res_partner_id
            states = dict(notification._fields["notification_status"]._description_selection(self.env))
            state = states.get(notification.notification_status, "")
            reason = notification.failure_reason or ""
            address = self._get_handover_address(notification)
            found.append((partner.name or "", address or "", f"{state} {reason}".strip()))
        known = {address for _name, address, _state in found}
        for mail in message.mail_ids:
            states = dict(mail._fields["state"]._description_selection(self.env))
            addresses = [(partner.name, partner.email) for partner in mail.recipient_ids] or [("", mail.email_to)]
            found += [
                (name, address, f"{states[mail.state]} {mail.failure_reason or ''}".strip())
                for name, address in addresses
                if address not in known
            ]
        return found

    @api.model
    def _get_handover_address(self, notification):
        """Where a message went to; modules know other addresses."""
        return notification.mail_email_address or notification.res_partner_id.email

    # Contracts, correspondence

    def _get_handover_contracts(self, items):
        """The contracts of the open bills, as PDF with their charging terms."""
        contracts = self._get_handover_moves(items).billing_contract_ids
        contracts = contracts.filtered(lambda c: c.company_id.root_id == self.company_id).sorted("name")
        left_out = contracts[RENDERED_CONTRACTS:]
        for contract in contracts:
            path = f"contracts/{safe_file_name(contract.name, str(contract.id))}.pdf"
            yield path, lambda contract=contract: self._get_handover_contract(contract, contract in left_out)

    @api.model
    def _get_handover_contract(self, contract, is_left_out):
        if is_left_out:
            raise UserError(self.env._("too many contracts for one package: print it by itself"))
        return self.env["ir.actions.report"]._render_qweb_pdf(CONTRACT_REPORT, contract.ids)[0]

    def _get_handover_correspondence(self, items):
        """What was written to and by the customer about the case and its bills; no internal notes."""
        moves = self._get_handover_moves(items)
        for records in (self, moves):
            messages = self.env["mail.message"].search(
                [
                    ("model", "=", records._name),
                    ("res_id", "in", records.ids),
                    ("message_type", "in", ("email", "email_outgoing", "comment")),
                    "|", ("subtype_id", "=", False), ("subtype_id.internal", "=", False),
                ],
                order="date, id",
            )  # fmt: skip
            name = "case" if records == self else "bills"
            if messages:
                path = f"correspondence/{name}.html"
                yield path, lambda messages=messages: self._render_handover("handover_messages", messages=messages)
            for attachment in messages.attachment_ids - moves.invoice_pdf_report_id:
                path = f"correspondence/files/{attachment.id}_{safe_file_name(attachment.name, 'file')}"
                yield path, lambda attachment=attachment: attachment.with_prefetch().raw

    # Tables

    def _write_handover_items(self, items):
        """Every open item, as CSV."""
        amount = self._format_handover_amount
        rows = [
            [item["number"], item["kind"], item["date"], item["date_maturity"], item["days_overdue"],
             self.currency_id.name, amount(item["amount"]), amount(item["residual"]), item["excluded"] or ""]
            for item in items
        ]  # fmt: skip
        head = ["number", "kind", "date", "due", "days_overdue", "currency", "amount", "open", "excluded"]
        return self._write_csv(head, rows)

    def _write_handover_notices(self):
        """The proof of sending: a row for each notice that went out and each of its recipients."""
        rows = []
        for notice in self.notice_ids.filtered(lambda notice: notice.state == "sent").sorted("date_sent"):
            common = [notice.name, notice.step_id.name, notice.channel, self._format_handover_amount(notice.amount),
                      notice.date_sent.isoformat(" ")]  # fmt: skip
            for message in notice._get_messages() or [notice.mail_message_id]:
                recipients = message and self._get_handover_recipients(message) or [("", "", "")]
                number = message.message_id or ""
                rows += [[*common, number, *recipient, notice.error or ""] for recipient in recipients]
        head = ["notice", "step", "channel", "amount", "sent_utc", "message_id", "recipient", "address", "outcome",
                "failure"]  # fmt: skip
        return self._write_csv(head, rows)

    def _write_handover_interest(self):
        """The calculation of interest and fees, stretch by stretch."""
        amount = self._format_handover_amount
        rows = [
            [line.kind, line.move_line_id.move_id.name, line.date_from, line.date_to, amount(line.amount), line.state,
             json.dumps(line.trace, sort_keys=True) if line.trace else ""]
            for line in self.interest_ids.sorted("id")
        ]  # fmt: skip
        return self._write_csv(["kind", "number", "from", "to", "amount", "state", "calculation"], rows)

    def _write_handover_promises(self):
        amount = self._format_handover_amount
        rows = [
            [promise.date_given, promise.date, amount(promise.amount), amount(promise.amount_paid), promise.state,
             promise.date_decided, promise.origin, promise.note]
            for promise in self.promise_ids.sorted(lambda promise: (promise.date_given, promise.id))
        ]  # fmt: skip
        return self._write_csv(["given", "for", "amount", "paid", "state", "decided", "origin", "note"], rows)

    def _write_handover_agreements(self):
        amount = self._format_handover_amount
        rows = [
            [plan.name, plan.state, plan.date_confirmed, plan.confirmed_by, plan.date_broken, line.date,
             amount(line.amount)]
            for plan in self.instalment_ids.sorted("id")
            for line in plan.line_ids
        ]  # fmt: skip
        return self._write_csv(["agreement", "state", "confirmed", "by", "broken", "instalment", "amount"], rows)

    def _format_handover_amount(self, amount):
        return float_repr(amount, self.currency_id.decimal_places)

    @api.model
    def _write_csv(self, head, rows):
        """CSV for spreadsheets; texts that one would take for a formula are marked as texts."""
        output = io.StringIO()
        writer = csv.writer(output)
        writer.writerow(head)
        for row in rows:
            writer.writerow(["" if value is False or value is None else self._escape_csv(value) for value in row])
        return output.getvalue().encode("utf-8-sig")

    @api.model
    def _escape_csv(self, value):
        text = str(value)
        return f"'{text}" if isinstance(value, str) and text[:1] in "=+-@\t\r" and not _is_number(text) else text

    # Pages

    def _render_handover_summary(self, items):
        """The summary as PDF: who owes what, item by item, and what was done."""
        html = self._render_handover(
            "handover_summary",
            items=[item for item in items if item["residual"]][:SUMMARY_ITEMS],
            more=max(len(items) - SUMMARY_ITEMS, 0),
            total=sum(item["residual"] for item in items),
            overdue=sum(item["residual"] for item in items if item["days_overdue"] > 0),
            interest=self._get_handover_interest(),
            history=self._get_handover_history(),
            note=self.env.context.get("handover_note", ""),
        )
        return self._convert_handover(html)

    def _get_handover_interest(self):
        """Interest and fees that stand, by item; fees under no item: {receivable line id or None: amount}."""
        sums = {}
        for line in self.interest_ids.filtered(lambda line: line.state in ("pending", "billed")):
            key = line.move_line_id.id or None
            sums[key] = sums.get(key, 0.0) + line.amount
        return sums

    def _get_handover_history(self):
        """What happened, by day: a list of (date, text)."""
        days = [(self.date_opened, self.env._("Case opened"))] if self.date_opened else []
        labels = {
            model: dict(self.env[model]._fields["state"]._description_selection(self.env))
            for model in ("billing.promise", "billing.instalment")
        }
        money = self.currency_id.format
        for notice in self.notice_ids.filtered(lambda notice: notice.state == "sent"):
            channel = dict(notice.step_id._fields["channel"]._description_selection(self.env))[notice.channel]
            days.append((notice.date_sent.date(), f"{notice.step_id.name} ({channel}): {money(notice.amount)}"))
        for promise in self.promise_ids:
            text = self.env._(
                "Promised %(amount)s for %(date)s: %(state)s",
                amount=money(promise.amount),
                date=format_date(self.env, promise.date),
                state=labels["billing.promise"][promise.state],
            )
            days.append((promise.date_given, text))
        for plan in self.instalment_ids.filtered("date_confirmed"):
            text = self.env._(
                "Instalments agreed by %(name)s: %(state)s",
                name=plan.confirmed_by or "",
                state=labels["billing.instalment"][plan.state],
            )
            days.append((plan.date_confirmed.date(), text))
        if self.date_hold:
            days.append((self.date_hold, self.env._("Services held")))
        days.append((self.date_legal, self.env._("Handed over to %s", self.handover_partner_id.name)))
        return sorted(days, key=lambda day: day[0])

    def _render_handover(self, template, **values):
        """A page of the package as HTML that loads nothing."""
        cjk = CJK_FONTS.get(self.env.lang, CJK_FONTS[""])
        return self.env["ir.qweb"]._render(
            f"customer_billing_collection.{template}",
            {
                "case": self,
                "company": self.company_id,
                "recipients": self._get_handover_recipients,
                "fonts": Markup('"Liberation Sans", Arial, "%s", sans-serif') % Markup(cjk),  # quotes stay as they are
                **values,
            },
        ).encode()

    @api.model
    def _convert_handover(self, html):
        """HTML to PDF.

        :raises UserError: wkhtmltopdf is not there, or has failed
        """
        report = self.env["ir.actions.report"].with_context(billing_script_delay=NO_SCRIPT_DELAY)
        if report.get_wkhtmltopdf_state() == "install":
            raise UserError(self.env._("No PDF can be made: install wkhtmltopdf on the server."))
        return report._run_wkhtmltopdf(
            [html.decode()],
            specific_paperformat_args={
                "data-report-margin-top": MARGIN,
                "data-report-margin-bottom": MARGIN,
                "data-report-header-spacing": 0,
            },
        )


def _is_number(text):
    return text.replace(".", "", 1).replace("-", "", 1).isdigit()
