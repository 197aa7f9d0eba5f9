import logging

from psycopg2 import OperationalError

from odoo import api, fields, models
from odoo.exceptions import ConcurrencyError, UserError
from odoo.tools import format_date
from odoo.tools.urls import urljoin

from odoo.addons.base.models.ir_qweb_fields import nl2br

_logger = logging.getLogger(__name__)

MAX_TRIES = 3  # to send a letter
GIVEN = ("sent", "letter")


class BillingPriceNotice(models.Model):
    """The letter to one customer about the new prices of a revision, and the answer to it."""

    _name = "billing.price.notice"
    _description = "Price Change Letter"
    _inherit = ["billing.protected.mixin", "portal.mixin", "mail.thread", "mail.activity.mixin"]
    _order = "date_effective desc, id"
    _billing_protected = frozenset(
        (
            "revision_id", "partner_id", "state", "date", "error", "tries", "is_acknowledged",
            "date_acknowledged", "acknowledged_by", "acknowledged_how", "acknowledged_ip",
            "is_objected", "date_objected", "objection", "objected_by", "line_ids",
            "company_id", "date_effective",
        )
    )  # fmt: skip

    revision_id = fields.Many2one(
        "billing.price.revision",
        required=True,
        index=True,
        ondelete="cascade",
        groups="base.group_user",
    )
    company_id = fields.Many2one(related="revision_id.company_id", store=True, index=True)
    partner_id = fields.Many2one(
        "res.partner", string="Customer", required=True, index=True, ondelete="restrict"
    )
    email = fields.Char(compute="_compute_email", string="E-mail", groups="base.group_user")
    line_ids = fields.One2many("billing.price.revision.line", "notice_id", groups="base.group_user")
    date_effective = fields.Date(related="revision_id.date", store=True, string="Effective From")
    state = fields.Selection(
        [
            ("queued", "To send"),
            ("sent", "Sent"),
            ("letter", "By letter"),
            ("failed", "Not reached"),
        ],
        string="Status",
        default="queued",
        required=True,
        index=True,
        tracking=True,
    )
    date = fields.Date(string="Notified On", tracking=True)
    error = fields.Char(string="What To Do", groups="base.group_user")
    tries = fields.Integer(aggregator=None, groups="base.group_user")
    is_acknowledged = fields.Boolean(string="Acknowledged", tracking=True)
    date_acknowledged = fields.Datetime(string="Acknowledged On")
    acknowledged_by = fields.Char()
    acknowledged_how = fields.Selection([("portal", "Portal"), ("staff", "Told us")])
    acknowledged_ip = fields.Char(string="IP Address", groups="base.group_user")
    is_objected = fields.Boolean(string="Objection", tracking=True)
    date_objected = fields.Datetime(string="Objected On")
    objection = fields.Text(string="What the Customer Says")
    objected_by = fields.Char()

    @api.depends("partner_id", "date_effective")
    def _compute_display_name(self):
        for notice in self:
            notice.display_name = self.env._(
                "%(customer)s: prices from %(date)s",
                customer=notice.partner_id.display_name or "",
                date=format_date(self.env, notice.date_effective) if notice.date_effective else "",
            )

    @api.depends("partner_id")
    def _compute_email(self):
        """Where the letter goes: the addresses of those who get bills."""
        recipients = self.partner_id._map_billing_recipients("billing")
        for notice in self:
            notice.email = ", ".join(recipients[notice.partner_id].mapped("email")) if notice.partner_id else False

    def _get_recipients(self):
        """Who gets the letter: those who get the bills of this customer."""
        self.ensure_one()
        return self.partner_id._get_billing_recipients("billing")

    def _compute_access_url(self):
        super()._compute_access_url()
        for notice in self:
            notice.access_url = f"/my/price-changes/{notice.id}"

    def _mail_get_partner_fields(self, introspect_fields=False):
        return ["partner_id"]

    # Send

    def _check_reachable(self):
        """Letters without an address say what to do."""
        recipients = self.partner_id._map_billing_recipients("billing")
        for notice in self.filtered(lambda notice: not recipients[notice.partner_id]):
            notice._set_failed(notice._get_address_text())

    def _get_address_text(self):
        return self.env._(
            "No valid e-mail address: correct it on %s and send again; or send a letter and mark it "
            "as notified by letter.",
            self.partner_id.display_name,
        )

    def _set_failed(self, error):
        self.sudo().write({"state": "failed", "error": error})  # protected fields

    def _is_too_late(self, date):
        return date > self.revision_id.deadline

    def _send(self):
        """Mail queued letters. A failure is written on the letter and tried again by the next
        call, ``MAX_TRIES`` times in all. Letters above the company's limit of mails per hour stay queued."""
        template = self.env.ref("customer_billing.mail_template_price_notice")
        for notice in self.filtered(lambda notice: notice.state == "queued"):
            today = notice.company_id._get_billing_today()
            if notice._is_too_late(today):
                notice._set_failed(notice._get_late_text(today))
                continue
            if not notice.company_id._has_billing_mail_room():
                continue
            try:
                with self.env.cr.savepoint():
                    notice._portal_ensure_token()
                    mails_sudo = template._send_billing(
                        notice, notice.company_id, force_send=True, email_layout_xmlid="mail.mail_notification_light"
                    )
                    refused_sudo = mails_sudo.filtered(lambda mail: mail.state == "exception")
                    if refused_sudo == mails_sudo:  # who has got it does not get it again
                        raise UserError(refused_sudo[0].failure_reason or notice._get_address_text())
                    for mail_sudo in refused_sudo:
                        notice._message_log(body=notice._get_refused_text(mail_sudo))
            except (OperationalError, ConcurrencyError):
                raise
            except Exception as error:
                if not isinstance(error, UserError):
                    _logger.exception("Letter %s could not be sent", notice.id)
                tries = notice.tries + 1
                notice.sudo().write(  # protected fields
                    {
                        "state": "failed" if tries >= MAX_TRIES else "queued",
                        "error": str(error),
                        "tries": tries,
                    }
                )
            else:
                notice.sudo().write({"state": "sent", "date": today, "error": False})  # protected

    def _get_refused_text(self, mail):
        return self.env._(
            "The mail to %(partner)s failed: %(reason)s",
            partner=", ".join(mail.recipient_ids.mapped("email")),
            reason=mail.failure_reason or "",
        )

    def _get_late_text(self, date):
        record = self.revision_id
        first = fields.Date.add(date, days=record.notice_days)
        return self.env._(
            "Too late: told on %(date)s, the customer can get new prices from %(first)s at the "
            "earliest, not from %(effective)s.",
            date=format_date(self.env, date),
            first=format_date(self.env, first),
            effective=format_date(self.env, record.date),
        )

    def _check_running(self):
        self.check_access("write")
        for record in self.revision_id:
            record._check_state("notified")

    def action_send_again(self):
        """Send these letters (again), for instance after an address was added."""
        self._check_running()
        again = self.filtered(lambda notice: notice.state == "failed")
        again.sudo().write({"state": "queued", "error": False, "tries": 0})  # protected fields
        again._check_reachable()
        again.revision_id._trigger_job()
        return True

    def action_letter(self, date=None):
        """Note that customers were told by letter, handed over on ``date`` (default today).

        :raises UserError: the letter is too late for the effective date, or lies in the future
        """
        self._check_running()
        for notice in self.filtered(lambda notice: notice.state not in GIVEN):
            today = notice.company_id._get_billing_today()
            day = fields.Date.to_date(date) or today
            if day > today:
                raise UserError(self.env._("A letter is noted when the customer has it, not before."))
            if notice._is_too_late(day):
                raise UserError(notice._get_late_text(day))
            notice.sudo().write({"state": "letter", "date": day, "error": False})  # protected
        self.revision_id._apply_ready()
        return True

    def _message_receive_bounce(self, email, partner):
        """A letter that comes back was not given: the prices wait again, and somebody is told."""
        super()._message_receive_bounce(email, partner)
        for notice_sudo in self.sudo().filtered(lambda notice: notice.state == "sent"):  # mail gateway
            record = notice_sudo.revision_id
            notice_sudo._set_failed(
                self.env._(
                    "The mail came back: correct the address of %s and send again; or send a letter "
                    "and mark it as notified by letter.",
                    notice_sudo.partner_id.display_name,
                )
            )
            owner = notice_sudo._get_owner() or self.env.user
            notice_sudo._schedule(
                owner.with_context(lang=owner.lang).env._("The letter about new prices did not reach the customer")
            )
            if record.state == "notified" and record.company_id._get_billing_today() < record.date:
                notice_sudo.line_ids.filtered(lambda line: line.outcome == "applied")._take_back(
                    self.env._("The letter came back."), "proposed"
                )

    def _get_owner(self):
        """Who answers the customer."""
        record = self.revision_id
        return self.line_ids.contract_id.officer_id[:1] or record.user_id or record.notified_by_id

    def _schedule(self, summary, note=False):
        self.activity_schedule(
            "mail.mail_activity_data_todo",
            summary=summary,
            note=note,
            user_id=self._get_owner().id or self.env.uid,
        )

    # Answer

    def action_acknowledge(self, name=None):
        """Note that customers acknowledged the new prices, by telephone or in writing.

        :param name: who did; default the customer
        """
        self._check_running()
        for notice in self:
            notice._acknowledge(name or notice.partner_id.name, "staff")
        self.revision_id._apply_ready()
        return True

    def _acknowledge(self, name, how, ip=False):
        """Log an acknowledgement; the first one counts. Callers check access."""
        self.ensure_one()
        if self.is_acknowledged:
            return
        self.sudo().write(  # protected fields
            {
                "is_acknowledged": True,
                "date_acknowledged": fields.Datetime.now(),
                "acknowledged_by": name,
                "acknowledged_how": how,
                "acknowledged_ip": ip,
            }
        )
        self.sudo()._message_log(  # part of the record, whoever says so
            body=self.env._("Acknowledged by %(name)s (%(ip)s).", name=name, ip=ip)
            if ip
            else self.env._("Acknowledged by %(name)s, noted by %(user)s.", name=name, user=self.env.user.name)
        )

    def _object(self, text, name, ip):
        """Log an objection or a question, and give it to who answers. Callers check access."""
        self.ensure_one()
        notice_sudo = self.sudo()  # protected fields, and an activity for staff
        if text in (notice_sudo.objection or "").split("\n\n"):  # clicked twice
            return
        notice_sudo.write(
            {
                "is_objected": True,
                "date_objected": fields.Datetime.now(),
                "objection": "\n\n".join(filter(None, (notice_sudo.objection, text))),
                "objected_by": name,
            }
        )
        notice_sudo._message_log(
            body=self.env._("%(name)s (%(ip)s) objects or asks: %(text)s", name=name, ip=ip, text=text)
        )
        owner = notice_sudo._get_owner() or self.env.user
        summary = owner.with_context(lang=owner.lang).env._("Answer: the customer objects to new prices, or asks")
        notice_sudo._schedule(summary, nl2br(text))

    def _is_open(self):
        """Whether the customer can still answer."""
        record = self.sudo().revision_id  # the letter's reader may know
        return record.state == "notified" and self.state in GIVEN

    # In words

    def _get_url(self):
        """The full address of the letter's page, with its access token."""
        self.ensure_one()
        return urljoin(self.get_base_url(), self.get_portal_url())

    def _get_changes(self):
        """What the letter says, in the language of the environment: a list of dicts (contract,
        lines: dicts of name, date, amounts, change)."""
        self.ensure_one()
        lines = self.sudo().line_ids.filtered(  # the letter's reader may see what it is about
            lambda line: line.outcome in ("proposed", "applied", "failed")
        )
        return [
            {
                "contract": contract.name,
                "lines": [
                    {
                        "name": line.contract_line_id.name,
                        "date": line.date,
                        "amounts": line._get_amounts(),
                        "change": f"{line.change_percent:+.2f}".rstrip("0").rstrip("."),
                    }
                    for line in same
                ],
            }
            for contract, same in lines.grouped("contract_id").items()
        ]

    def _get_why(self):
        """The reason for the new prices that customers are told; empty but for an index."""
        record = self.sudo().revision_id
        if record.method != "index":
            return ""
        return self.env._(
            "%(index)s: from %(base)s to %(current)s.",
            index=record.index_name or self.env._("Index"),
            base=f"{record.index_base:g}",
            current=f"{record.index_current:g}",
        )
