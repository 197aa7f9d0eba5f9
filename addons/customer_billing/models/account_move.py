import logging
import uuid

from psycopg2 import OperationalError

from odoo import api, fields, models
from odoo.exceptions import ConcurrencyError, UserError
from odoo.fields import Domain
from odoo.tools.urls import urljoin

from ..tools.qr import qr_data_uri

_logger = logging.getLogger(__name__)

DELIVERY_BATCH = 50
MAX_TRIES = 3


# In the context of bills that were checked just now; no caller over RPC can pass it.
CHECKED = object()

# In the context of bills that a run makes, whose values are known to be right; likewise.
BOOKING = object()


class NumberFormats(dict):
    """The formats of the numbers of a batch, in its context; a caller over RPC has no such thing."""


class DeliveryError(UserError):
    """A bill cannot be delivered as it is: a person corrects something first."""


# What is summed up from the lines, and compared with the limit of the approval.
TOTAL_FIELDS = frozenset(
    (
        "amount_untaxed", "amount_tax", "amount_total", "amount_untaxed_signed",
        "amount_tax_signed", "amount_total_signed", "amount_untaxed_in_currency_signed",
        "amount_total_in_currency_signed",
    )
)  # fmt: skip

# Who owes what, which a charge fixes: not to be changed on its bill.
FROZEN_FIELDS = frozenset(("company_id", "currency_id", "move_type", "partner_id"))


def check_company_once(records, check):
    """Check the companies of the values of ``records``, each pair of company and value once.

    A chunk of bills holds the same few accounts, taxes and products hundreds of times.

    :param check: the original ``_check_company``, as a function of records and field names
    """
    for name, field in records._fields.items():
        if not (field.relational and field.check_company):
            continue
        seen = {(record.company_id, record[name]): record.id for record in records}
        # Asked about the company itself, the original checks all fields.
        check(records.browse(seen.values()), [name])


class AccountMove(models.Model):
    _name = "account.move"
    _inherit = ["account.move", "billing.protected.mixin"]
    _billing_protected = frozenset(
        (
            "billing_run_id", "billing_contract_ids", "billing_approved_amount", "billing_run_amount",
            "billing_delivery_state", "billing_delivery_error", "billing_delivery_tries",
            "billing_delivery_date", "billing_delivery_channel", "billing_correction", "billing_cancellation",
        )
    )  # fmt: skip

    billing_run_id = fields.Many2one(
        "billing.run", readonly=True, copy=False, index="btree_not_null", ondelete="restrict"
    )
    billing_contract_ids = fields.Many2many(
        "billing.contract",
        "billing_contract_move_rel",
        "move_id",
        "contract_id",
        string="Contracts",
        readonly=True,
        copy=False,
    )
    billing_approved_amount = fields.Monetary(
        string="Approved Total",
        currency_field="company_currency_id",
        readonly=True,
        copy=False,
        groups="base.group_user",
        help="What a second person released; a bill with another total is approved again.",
    )
    billing_run_amount = fields.Monetary(
        string="Total Before Changes by Hand",
        currency_field="company_currency_id",
        readonly=True,
        copy=False,
        groups="base.group_user",
        help="As the run made the bill, or as it was approved last. The approval looks at it too: what is changed by "
        "hand afterwards does not take a bill below the limit.",
    )
    billing_delivery_state = fields.Selection(
        [
            ("queued", "Waiting to be sent"),
            ("sent", "Sent"),
            ("print", "To print"),
            ("manual", "Delivered by hand"),
            ("failed", "Failed"),
        ],
        string="Delivery",
        readonly=True,
        copy=False,
        index="btree_not_null",
        groups="base.group_user",
    )
    billing_delivery_error = fields.Char(
        string="Delivery Problem", readonly=True, copy=False, groups="base.group_user"
    )
    billing_delivery_date = fields.Datetime(
        string="Sent On", readonly=True, copy=False, groups="base.group_user"
    )
    billing_delivery_channel = fields.Selection(
        selection="_get_billing_channels",
        string="Delivered By",
        readonly=True,
        copy=False,
        groups="base.group_user",
    )
    billing_delivery_tries = fields.Integer(
        string="Delivery Attempts",
        readonly=True, copy=False, aggregator=None, groups="base.group_user"
    )
    billing_cancellation = fields.Selection(
        [
            ("requested", "Requested of an authority"),
            ("again", "The periods are billed again"),
            ("good", "The periods are not billed again"),
        ],
        string="Cancellation",
        readonly=True,
        copy=False,
        groups="base.group_user",
    )
    billing_dispute_ids = fields.One2many("billing.dispute", "move_id", string="Disputes")
    billing_dispute_count = fields.Integer(
        compute="_compute_billing_dispute_count", string="Open Disputes"
    )

    billing_exception_ids = fields.One2many(
        "billing.exception", "move_id", string="Exceptions", groups="base.group_user"
    )
    billing_exception_count = fields.Integer(
        compute="_compute_billing_exception_count", string="Open Exceptions", groups="base.group_user"
    )

    @api.model
    def _is_billing_reader(self):
        """Whether the user works with bills without any accounting right, as sales and collectors do."""
        user = self.env.user
        return not user.has_groups(
            "account.group_account_invoice,account.group_account_readonly"
        ) and user.has_groups("customer_billing.group_billing_sales,customer_billing.group_billing_collector")

    @api.model
    def _get_view_cache_key(self, view_id=None, view_type="form", **options):
        return (*super()._get_view_cache_key(view_id, view_type, **options), self._is_billing_reader())

    @api.model
    def _get_view(self, view_id=None, view_type="form", **options):
        """Readers of bills get a form of their own: Odoo's reads journals, payments and matches, which they may not."""
        if view_type == "form" and self._is_billing_reader():
            view_id = self.env.ref("customer_billing.account_move_view_form_reader").id
        return super()._get_view(view_id, view_type, **options)

    def _compute_billing_exception_count(self):
        counts = dict(
            self.env["billing.exception"]
            .sudo()  # a count about a document that the reader may see
            ._read_group(
                [("move_id", "in", self.ids), ("state", "=", "open")], ["move_id"], ["__count"]
            )
        )
        for move in self:
            move.billing_exception_count = counts.get(move._origin, 0)

    def _compute_billing_dispute_count(self):
        counts = dict(
            self.env["billing.dispute"]
            .sudo()  # a count of a document that the reader may see
            ._read_group(
                [("move_id", "in", self.ids), ("state", "=", "open")], ["move_id"], ["__count"]
            )
        )
        for move in self:
            move.billing_dispute_count = counts.get(move._origin, 0)

    # The ledger follows what happens to a bill

    def unlink(self):
        if not self.env.context.get("billing_again"):
            self._check_billing_not_asked()
        charges = self.invoice_line_ids.sudo().billing_charge_ids  # engine-owned records
        self._close_billing_exceptions(self.env._("The bill was deleted."))
        result = super().unlink()
        if charges:
            charges._void()
        return result

    def _post(self, soft=True):
        """Bills of runs are checked before they are posted, whichever button does it."""
        self._check_billing_drafts()
        if len(self) > 1:  # the taxes of a batch at once: core asks for them bill by bill
            self.line_ids.fetch(["tax_ids", "tax_tag_ids", "tax_line_id"])
        checked = self.with_context(billing_checked=CHECKED)
        return super(AccountMove, checked)._post(soft=soft).with_env(self.env)

    def _check_billing_drafts(self):
        """Ask the checks of those drafts of runs that were not checked just now."""
        if self.env.context.get("billing_checked") is not CHECKED:
            drafts = self.filtered(lambda move: move.billing_run_id and move.state == "draft")
            if drafts:
                self.env["billing.exception"]._check_moves(drafts)

    def write(self, vals):
        """All changes of state come through here, from buttons, jobs and the API."""
        if self._is_billing_noop(vals):
            return True
        state = vals.get("state")
        if state in ("draft", "posted"):
            self._check_billing_not_void()
        if state == "posted":
            self._check_billing_drafts()
            self._check_billing_exceptions()
            self._check_billing_approved()
        if FROZEN_FIELDS.intersection(vals):
            self._check_billing_frozen(vals)
        if vals.get("auto_post") in ("monthly", "quarterly", "yearly"):
            self._check_billing_not_repeated()
        if TOTAL_FIELDS.intersection(vals):
            self._check_billing_totals()
        cancelled = self.filtered(lambda move: state == "cancel" and move.state != "cancel")
        if "billing_again" not in self.env.context:
            cancelled._check_billing_not_asked()
        elif not self.env.context["billing_again"]:
            for move in cancelled._get_billing_issued():
                move._get_billing_left(whole=True)
        moves = self
        if state == "posted" and self._get_number_formats() is not None:
            moves = self.with_context(skip_invoice_sync=True)
        result = super(AccountMove, moves).write(vals)
        if cancelled:
            cancelled._close_billing_exceptions(self.env._("The bill was cancelled."))
            cancelled._cancel_charges()
        return result

    def _is_billing_noop(self, vals):
        """Whether a run writes on its new bills that nobody has modified them, as they are.

        Core does so after it created them and, to change nothing, compares all their lines.
        """
        return (
            vals == {"is_manually_modified": False}
            and self.env.context.get("billing_booking") is BOOKING
            and not any(self.mapped("is_manually_modified"))
        )

    def _get_billing_issued(self):
        """Those of these bills of contracts that the customer may have got; no credit notes for them."""
        return self.filtered(
            lambda move: move.posted_before and move.billing_contract_ids and not move.reversed_entry_id
        )

    def button_request_cancel(self):
        """Localisations ask an authority and cancel when it agrees: there is nobody to ask by then."""
        self._get_billing_issued().sudo().billing_cancellation = "requested"  # protected field
        return super().button_request_cancel()

    def _check_billing_not_asked(self):
        """Raise for bills that were posted: whoever cancels them says what of their periods.

        The answer is ``billing_again`` in the context, as for a credit note.
        """
        issued = self._get_billing_issued().sudo()  # protected field
        if asking := issued.filtered(lambda move: move.billing_cancellation != "requested")[:1]:
            raise UserError(
                self.env._(
                    "%s has been posted. Are its periods billed again, or is it taken back for "
                    "good? Reset it to draft and choose “Cancel, Bill Again” or “Cancel for Good”; "
                    "or leave it posted and make a credit note, which asks the same.",
                    asking.display_name,
                )
            )

    def _cancel_charges(self):
        """The ledger follows cancelled bills: their periods are billed again, unless an issued
        bill is taken back for good. What an authority has cancelled is billed again."""
        issued_sudo = self._get_billing_issued().sudo()  # protected field
        for_good = self.browse()
        if not self.env.context.get("billing_again", True):
            for_good = issued_sudo.sudo(self.env.su)
        for_good._waive_charges()
        # sudo: engine-owned records
        if charges_sudo := (self - for_good).invoice_line_ids.sudo().billing_charge_ids:
            charges_sudo._void()
        issued_sudo.billing_cancellation = "good" if for_good else "again"
        issued_sudo._log_billing_cancellation()

    def _log_billing_cancellation(self):
        """Say on these cancelled bills and on their contracts what becomes of the periods."""
        for move in self:
            body = (
                self.env._("%s was cancelled for good: its periods are not billed again.", move.display_name)
                if move.billing_cancellation == "good"
                else self.env._("%s was cancelled: the next run bills its periods again.", move.display_name)
            )
            for record in (move, *move.billing_contract_ids):
                record._message_log(body=body)

    def _check_company(self, fnames=None):
        """A run checks the bills that it creates value by value, not bill by bill."""
        if fnames is None and self.env.context.get("billing_booking") is BOOKING:
            original = super()._check_company
            check_company_once(self, original.__func__)
        else:
            super()._check_company(fnames)

    def _get_number_formats(self):
        """The formats found for the batch that is being posted, or None."""
        formats = self.env.context.get("billing_number_formats")
        return formats if isinstance(formats, NumberFormats) else None

    def _get_next_sequence_format(self):
        """Look at the latest number of a journal once for a batch of bills of one date.

        ``billing_number_formats`` in the context lives as long as the batch is being posted.
        Core takes each number from its own counter, which holds the lock on the sequence, and
        tries the next ones when a number is taken.
        """
        formats = self._get_number_formats()
        if formats is None:
            return super()._get_next_sequence_format()
        key = self._get_billing_number_key()
        if key not in formats:
            formats[key] = super()._get_next_sequence_format()
        template, values = formats[key]
        return template, dict(values)  # core takes the number out of the values

    def _get_billing_number_key(self):
        """What the format of the number of a bill depends on."""
        return (
            self.journal_id.id,
            self.date,
            self.move_type,
            bool(self.origin_payment_id),
            self.commercial_partner_id.id if self.journal_id.is_self_billing else 0,
        )

    def _get_billing_unapproved(self):
        """The draft bills of runs that a second person must still approve: those above the
        limit, as they are or as they were before changes by hand, and those with an open warning (blocking
        exceptions hold a bill by themselves).

        An approval is for a total: a bill that changed afterwards is approved again.
        Override to add a reason for approval.
        """
        moves_sudo = self.sudo().filtered(  # engine-owned fields
            lambda move: move.state == "draft"
            and move.billing_run_id
            and move.company_id.billing_approval
        )
        doubtful = self.env["billing.exception"]._get_open(moves_sudo, "warning").move_id
        return moves_sudo.filtered(
            lambda move: move in doubtful
            or max(abs(move.amount_total_signed), abs(move.billing_run_amount))
            > move.company_id.billing_approval_amount
            and (
                not move.billing_approved_amount
                or move.company_currency_id.compare_amounts(
                    move.amount_total_signed, move.billing_approved_amount
                )
            )
        ).sudo(self.env.su)

    def _check_billing_exceptions(self):
        """Raise when an open blocking exception holds one of these drafts back."""
        drafts = self.filtered(lambda move: move.billing_run_id and move.state == "draft")
        if exception := self.env["billing.exception"]._get_open(drafts, "blocking")[:1]:
            raise UserError(
                self.env._(
                    "The bill for %(customer)s is held by “%(check)s”: %(message)s Correct it, or "
                    "let the exception be waived with a reason.",
                    customer=exception.partner_id.display_name,
                    check=exception.check_id.name,
                    message=exception.message,
                )
            )

    def _close_billing_exceptions(self, resolution):
        """Bills that are gone have no open exceptions."""
        if bills := self.filtered("billing_run_id"):
            self.env["billing.exception"]._get_open(bills)._close(resolution)

    def _check_billing_approved(self):
        if unapproved := self._get_billing_unapproved()[:1]:
            raise UserError(
                self.env._(
                    "The bill of %(amount)s for %(customer)s needs the approval of a second "
                    "person: open run %(run)s and let a billing manager who did not prepare it "
                    "approve it.",
                    amount=unapproved.currency_id.format(unapproved.amount_total),
                    customer=unapproved.partner_id.display_name,
                    run=unapproved.sudo().billing_run_id.name,  # a name in a message
                )
            )

    def _check_billing_not_void(self):
        if void := self.filtered(
            lambda move: move.state == "cancel" and (move.billing_run_id or move.billing_correction)
        )[:1]:
            raise UserError(
                self.env._(
                    "%s comes from a contract and was cancelled: the ledger does not count it any "
                    "more, so it cannot come back.",
                    void.display_name,
                )
            )

    def _check_billing_not_repeated(self):
        """Core's repeated invoices are copies that no run knows: it would bill the same again."""
        if bill := self.filtered("billing_run_id")[:1]:
            raise UserError(
                self.env._(
                    "%s comes from a contract, and billing runs bill what follows: it cannot be "
                    "repeated.",
                    bill.display_name,
                )
            )

    def _check_billing_totals(self):
        """Totals follow the lines, also through the API: the approval depends on them."""
        if bill := self.filtered("billing_run_id")[:1]:
            raise UserError(
                self.env._("The totals of %s follow from its lines.", bill.display_name)
            )

    def _get_billing_authors(self):
        """Who added lines to these bills by hand: they have their own author."""
        added = self.invoice_line_ids.filtered(lambda line: not line.sudo().billing_charge_ids)
        return added.create_uid | added.write_uid

    def _check_billing_frozen(self, vals):
        """Customer, currency, company and type of a bill are those of its contracts."""
        for move in self:
            changed = {
                name
                for name in FROZEN_FIELDS.intersection(vals)
                if move._fields[name].convert_to_write(move[name], move) != vals[name]
            }
            if not changed or not move.invoice_line_ids.sudo().billing_charge_ids:
                continue
            partner = self.env["res.partner"].browse(vals.get("partner_id", move.partner_id.id))
            if changed == {"partner_id"} and (
                partner.commercial_partner_id == move.commercial_partner_id
            ):
                continue  # another contact of the same customer
            raise UserError(
                self.env._(
                    "%s comes from a contract: its customer, currency, company and type cannot "
                    "be changed here. Correct the contract, or credit the bill.",
                    move.display_name,
                )
            )

    # Address and QR code

    def _get_billing_url(self):
        """The full address of the portal page of this bill, with its access token."""
        self.ensure_one()
        return urljoin(self.get_base_url(), self.get_portal_url())

    def _ensure_billing_tokens(self):
        """Give those of these documents a token for their links that have none: with one statement, not one each.

        The caller has checked that the reader may see the documents.
        """
        without_sudo = self.sudo().filtered(lambda move: not move.access_token)  # customers may not write
        if without_sudo:
            # only the key of the link: nothing of the entry changes that a write would have to check
            without_sudo._write_multi([{"access_token": str(uuid.uuid4())} for _move in without_sudo])
            without_sudo.invalidate_recordset(["access_token"], flush=False)

    def _get_payment_url(self, amount=None):
        """Where these bills can be paid: the page of the first one.

        Payment modules override this to pay all of ``self`` at once.

        :param float amount: what is asked for, in the currency of the bills; None: all that is open
        """
        return self[:1]._get_billing_url()

    def _get_billing_qr_code(self):
        """The QR code of the bill's address, as a PNG data URI."""
        self.ensure_one()
        return qr_data_uri(self._get_billing_url())

    def _get_billing_explanations(self):
        """"Why this amount" for the page and the PDF: a list of dicts, in the order of the lines.

        Bills without charges give an empty list.
        """
        self.ensure_one()
        # sudo: the explanation is part of the document, which its reader may see
        charges = self.invoice_line_ids.sudo().sorted("sequence").billing_charge_ids
        return [
            {
                "move_line": charge.move_line_id,
                "name": charge.contract_line_id.name,
                "period": charge._format_span(charge.period_start, charge.period_end),
                "contract": charge.contract_id.name,
                "lines": charge._explain(),
                "amount": charge.amount,
                "currency": charge.currency_id,
            }
            for charge in charges.with_context(lang=self.env.lang)
        ]

    def _get_mail_template(self):
        if self and all(move.billing_run_id for move in self):
            xmlid = (
                "customer_billing.mail_template_credit_note"
                if all(move.move_type == "out_refund" for move in self)
                else "customer_billing.mail_template_bill"
            )
            return self.env.ref(xmlid)
        return super()._get_mail_template()

    def _get_invoice_pdf_proforma(self):
        """A posted bill of a contract is a bill, also before its PDF was first sent."""
        self.ensure_one()
        if self.state != "posted" or not self.billing_contract_ids:
            return super()._get_invoice_pdf_proforma()
        reports = self.env["ir.actions.report"]
        content, report_type = reports._pre_render_qweb_pdf("account.account_invoices", self.ids)
        documents = reports._get_splitted_report("account.account_invoices", content, report_type)
        return {
            "filename": self._get_invoice_report_filename(),
            "filetype": "pdf",
            "content": documents[self.id],
        }

    # Delivery

    def _queue_delivery(self):
        """Put posted bills in the delivery queue."""
        posted_sudo = self.filtered(lambda move: move.state == "posted").sudo()  # protected fields
        # Nothing of the journal entry changes: core need not compare its lines.
        posted_sudo.with_context(skip_invoice_sync=True, skip_is_manually_modified=True).write(
            {
                "billing_delivery_state": "queued",
                "billing_delivery_error": False,
                "billing_delivery_tries": 0,
            }
        )

    @api.model
    def _get_billing_channels(self):
        """The channels that a customer can choose."""
        return self.env["res.partner"]._fields["billing_channel"]._description_selection(self.env)

    def _get_delivery_channel(self):
        """How the customer wants this bill."""
        self.ensure_one()
        partner = self.commercial_partner_id.with_company(self.company_id)
        return partner.billing_channel or "email"

    def _deliver(self):
        """Deliver queued bills one by one, each by the channel of its customer.

        A failure is written on the bill and tried again by the queue, ``MAX_TRIES`` times in
        all. Mails above the company's limit per hour stay in the queue.
        """
        for move in self:
            channel = move._get_delivery_channel()
            if channel != "email" or move.company_id._has_billing_mail_room():
                move._deliver_by(channel)

    def _deliver_by(self, channel):
        """Deliver one bill by ``_deliver_<channel>`` and note what came of it.

        A module adds a channel with an option of ``res.partner.billing_channel`` and a method
        ``_deliver_<channel>(self)`` for one posted bill. It returns the new delivery state
        (``sent``; ``print`` when a person has to go on). It raises ``DeliveryError`` when a
        person must correct something first; any other error is tried again.
        """
        self.ensure_one()
        started = fields.Datetime.now()
        try:
            with self.env.cr.savepoint():
                state = getattr(self, f"_deliver_{channel}")()
        except (OperationalError, ConcurrencyError):
            raise
        except Exception as error:
            if not isinstance(error, UserError):
                _logger.exception("Bill %s could not be delivered", self.name)
            tries = self.billing_delivery_tries + 1
            final = tries >= MAX_TRIES or isinstance(error, DeliveryError)
            vals = {
                "billing_delivery_state": "failed" if final else "queued",
                "billing_delivery_error": str(error),
                "billing_delivery_tries": tries,
            }
        else:
            vals = {
                "billing_delivery_state": state,
                "billing_delivery_error": False,
                "billing_delivery_date": started,
            }
        self.sudo().write({**vals, "billing_delivery_channel": channel})  # protected fields

    def _deliver_email(self):
        """Mail the bill with its PDF."""
        if not self._get_delivery_emails():
            raise DeliveryError(
                self.env._(
                    "No e-mail address: add one to %s, then send again; or print the bill "
                    "and mark it as delivered.",
                    self.partner_id.display_name,
                )
            )
        self.env["account.move.send"]._generate_and_send_invoices(
            self, allow_raising=True, sending_methods=["email"]
        )
        return "sent"

    def _deliver_portal(self):
        """The customer looks into the portal: nothing is sent."""
        return "sent"

    def _deliver_post(self):
        """A person prints and mails the bill, then marks it as delivered."""
        return "print"

    def _get_delivery_emails(self):
        """The e-mail addresses that this bill goes to."""
        self.ensure_one()
        return self.partner_id._get_billing_recipients("billing").mapped("email")

    def action_billing_deliver(self):
        """Send these posted bills (again) now."""
        self.check_access("write")
        self._queue_delivery()
        self.filtered(lambda move: move.billing_delivery_state == "queued")._deliver()
        self.billing_run_id._refresh_sent_state()
        return True

    def action_billing_delivered(self):
        """Mark bills as delivered by hand or by post."""
        self.check_access("write")
        posted_sudo = self.filtered(lambda move: move.state == "posted").sudo()  # protected fields
        posted_sudo.write({"billing_delivery_state": "manual", "billing_delivery_error": False})
        self.billing_run_id._refresh_sent_state()
        return True

    @api.model
    def _note_delivery_failures(self):
        """Mails that the server refused or that came back: the bill says so, and the one who
        looks after the contract gets a task."""
        failures = self.env["mail.notification"]._get_billing_failures(self._name)
        moves = self.browse(set(failures.mail_message_id.mapped("res_id"))).exists()
        for notification in failures:
            message = notification.mail_message_id
            move = moves.filtered(lambda move, message=message: move.id == message.res_id)
            if (
                move.billing_delivery_state != "sent"
                or not move.billing_delivery_date
                or message.date < move.billing_delivery_date
            ):
                continue
            reason = notification.failure_reason or notification.format_failure_reason()
            move.sudo().write(  # protected fields
                {
                    "billing_delivery_state": "failed",
                    "billing_delivery_error": self.env._(
                        "The mail to %(partner)s failed: %(reason)s",
                        partner=notification.res_partner_id.email or "",
                        reason=reason,
                    ),
                }
            )
            owners = (
                *move.billing_contract_ids.officer_id, move.billing_run_id.prepared_by_id, move.invoice_user_id,
            )  # fmt: skip
            owner = next((user for user in owners if user.active), self.env.user)
            move.activity_schedule(
                "mail.mail_activity_data_todo",
                summary=owner.with_context(lang=owner.lang).env._("The bill did not reach the customer"),
                user_id=owner.id,
            )

    @api.model
    def _cron_deliver(self):
        """Deliver queued bills, oldest first, each its own commit."""
        self._note_delivery_failures()
        commit = self.env["ir.cron"]._commit_progress
        domain = self._get_deliverable_domain()
        # What failed waits for the next time: three tries at once would be one.
        commit(remaining=self.search_count([*domain, ("billing_delivery_tries", "=", 0)]))
        moves = self.search(domain, order="billing_delivery_tries, id", limit=DELIVERY_BATCH)
        for move in moves:
            move = move.try_lock_for_update()
            if move:
                move.with_company(move.company_id).with_user(
                    move.billing_run_id.prepared_by_id or self.env.user
                ).sudo()._deliver()
            if not commit(1):
                return
        moves.billing_run_id._refresh_sent_state()
        commit()

    @api.model
    def _get_deliverable_domain(self):
        """The queued bills that can go out now: no mails of companies that have mailed as many as they may."""
        queued = Domain("billing_delivery_state", "=", "queued") & Domain("state", "=", "posted")
        companies = self.env["res.company"]._get_full_mail_companies()
        domain = Domain("company_id", "not in", companies.ids)
        for company in companies:  # the channel depends on the company
            others = self.with_company(company)._search(
                queued
                & Domain("company_id", "=", company.id)
                & Domain("commercial_partner_id.billing_channel", "not in", ("email", False))
            )
            domain |= Domain("id", "in", others)
        return queued & domain

    # Views

    def action_view_billing_exceptions(self):
        """Open the exceptions of this bill."""
        action = self.env["ir.actions.actions"]._for_xml_id(
            "customer_billing.billing_exception_action"
        )
        action["domain"] = [("move_id", "in", self.ids)]
        action["context"] = {}
        return action

    def action_view_billing_disputes(self):
        """Open the disputes of this bill."""
        action = self.env["ir.actions.actions"]._for_xml_id(
            "customer_billing.billing_dispute_action"
        )
        action["domain"] = [("move_id", "in", self.ids)]
        action["context"] = {"default_move_id": self[:1].id}
        return action
