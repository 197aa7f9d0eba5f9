import base64
import io
import logging

import qrcode
from psycopg2 import OperationalError

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools.urls import urljoin

_logger = logging.getLogger(__name__)

DELIVERY_BATCH = 50
MAX_TRIES = 3


class AccountMove(models.Model):
    _inherit = "account.move"

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
    billing_delivery_state = fields.Selection(
        [
            ("queued", "Waiting to be sent"),
            ("sent", "Sent"),
            ("manual", "Delivered by hand"),
            ("failed", "Failed"),
        ],
        string="Delivery",
        readonly=True,
        copy=False,
        index="btree_not_null",
    )
    billing_delivery_error = fields.Char(string="Delivery Problem", readonly=True, copy=False)
    billing_delivery_tries = fields.Integer(readonly=True, copy=False, aggregator=None)
    billing_dispute_ids = fields.One2many("billing.dispute", "move_id", string="Disputes")
    billing_dispute_count = fields.Integer(
        compute="_compute_billing_dispute_count", string="Open Disputes"
    )

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
        charges = self.invoice_line_ids.sudo().billing_charge_ids  # engine-owned records
        result = super().unlink()
        if charges:
            charges._void()
        return result

    def button_cancel(self):
        result = super().button_cancel()
        cancelled = self.filtered(lambda move: move.state == "cancel")
        charges = cancelled.invoice_line_ids.sudo().billing_charge_ids  # engine-owned records
        if charges:
            charges._void()
        return result

    def button_draft(self):
        if void := self.filtered(lambda move: move.state == "cancel" and move.billing_run_id)[:1]:
            raise UserError(
                self.env._(
                    "%s was made by a billing run and cancelled: its periods are billed again "
                    "by the next run, so it cannot come back.",
                    void.display_name,
                )
            )
        return super().button_draft()

    # Address and QR code

    def _get_billing_url(self):
        """The full address of the portal page of this bill, with its access token."""
        self.ensure_one()
        return urljoin(self.get_base_url(), self.get_portal_url())

    def _get_payment_url(self):
        """Where these bills can be paid: the page of the first one.

        Payment modules override this to pay all of ``self`` at once.
        """
        return self[:1]._get_billing_url()

    def _get_billing_qr_code(self):
        """The QR code of the bill's address, as a PNG data URI."""
        self.ensure_one()
        code = qrcode.QRCode(
            error_correction=qrcode.constants.ERROR_CORRECT_M, box_size=6, border=2
        )
        code.add_data(self._get_billing_url())
        code.make(fit=True)
        buffer = io.BytesIO()
        code.make_image().save(buffer, format="PNG")
        return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()

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

    # Delivery

    def _queue_delivery(self):
        """Put posted bills in the delivery queue."""
        self.filtered(lambda move: move.state == "posted").write(
            {
                "billing_delivery_state": "queued",
                "billing_delivery_error": False,
                "billing_delivery_tries": 0,
            }
        )

    def _deliver(self):
        """Render and mail queued bills one by one. A failure is written on the bill and tried
        again by the queue, ``MAX_TRIES`` times in all."""
        send = self.env["account.move.send"]
        for move in self:
            if not move._get_delivery_emails():
                move.write(
                    {
                        "billing_delivery_state": "failed",
                        "billing_delivery_error": self.env._(
                            "No e-mail address: add one to %s, then send again; or print the bill "
                            "and mark it as delivered.",
                            move.partner_id.display_name,
                        ),
                    }
                )
                continue
            try:
                with self.env.cr.savepoint():
                    send._generate_and_send_invoices(
                        move, allow_raising=True, sending_methods=["email"]
                    )
            except OperationalError:
                raise
            except Exception as error:
                if not isinstance(error, UserError):
                    _logger.exception("Bill %s could not be delivered", move.name)
                tries = move.billing_delivery_tries + 1
                move.write(
                    {
                        "billing_delivery_state": "failed" if tries >= MAX_TRIES else "queued",
                        "billing_delivery_error": str(error),
                        "billing_delivery_tries": tries,
                    }
                )
            else:
                move.write({"billing_delivery_state": "sent", "billing_delivery_error": False})

    def _get_delivery_emails(self):
        """The e-mail addresses that this bill goes to."""
        self.ensure_one()
        return [partner.email for partner in self.partner_id if partner.email]

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
        self.write({"billing_delivery_state": "manual", "billing_delivery_error": False})
        self.billing_run_id._refresh_sent_state()
        return True

    @api.model
    def _cron_deliver(self):
        """Deliver queued bills, oldest first, each its own commit."""
        commit = self.env["ir.cron"]._commit_progress
        domain = [("billing_delivery_state", "=", "queued"), ("state", "=", "posted")]
        commit(remaining=self.search_count(domain))
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

    # Views

    def action_view_billing_disputes(self):
        """Open the disputes of this bill."""
        action = self.env["ir.actions.actions"]._for_xml_id(
            "customer_billing.billing_dispute_action"
        )
        action["domain"] = [("move_id", "in", self.ids)]
        action["context"] = {"default_move_id": self[:1].id}
        return action
