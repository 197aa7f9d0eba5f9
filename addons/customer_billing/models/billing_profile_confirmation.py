import logging

from psycopg2 import OperationalError

from odoo import api, fields, models
from odoo.exceptions import ConcurrencyError, UserError
from odoo.tools import plaintext2html
from odoo.tools.urls import urljoin

from .billing_profile_change import BANK, PROFILE_FIELDS

_logger = logging.getLogger(__name__)

MAX_REMINDERS = 2
LINK_DAYS = 60  # after the last mail with it
MAIL_BATCH = 200  # requests of one call of the job


class BillingProfileConfirmation(models.Model):
    """The customer is asked whether what we know about it is right, and what it answered.

    One open request at a time for each customer and company. What the customer corrects is applied at once, but for
    tax and bank data, which wait for an officer.
    """

    _name = "billing.profile.confirmation"
    _description = "Profile Confirmation"
    _inherit = ["billing.protected.mixin", "portal.mixin", "mail.thread", "mail.activity.mixin"]
    _order = "id desc"
    _check_company_auto = True
    _billing_protected = frozenset(
        (
            "partner_id", "company_id", "state", "date_asked", "date_reminded", "reminder_count", "date_answered",
            "answered_by", "answered_how", "answered_ip", "change_ids", "error",
        )
    )  # fmt: skip

    partner_id = fields.Many2one("res.partner", string="Customer", required=True, index=True, ondelete="cascade")
    company_id = fields.Many2one("res.company", required=True, index=True)
    state = fields.Selection(
        [("asked", "Asked"), ("waiting", "Changes to approve"), ("done", "Confirmed"), ("cancelled", "Cancelled")],
        string="Status",
        default="asked",
        required=True,
        index=True,
        tracking=True,
        group_expand=True,
    )
    date_asked = fields.Date(string="Asked On")
    date_reminded = fields.Date(string="Reminded On", groups="base.group_user")
    reminder_count = fields.Integer(string="Reminders", aggregator=None, groups="base.group_user")
    date_answered = fields.Datetime(string="Answered On")
    answered_by = fields.Char()
    answered_how = fields.Selection([("portal", "Portal"), ("staff", "Told us")], groups="base.group_user")
    answered_ip = fields.Char(string="IP Address", groups="base.group_user")
    error = fields.Char(string="What To Do", groups="base.group_user")
    change_ids = fields.One2many(
        "billing.profile.change", "confirmation_id", string="Changes", groups="base.group_user"
    )
    waiting_count = fields.Integer(
        compute="_compute_waiting_count", compute_sudo=True, string="To Approve", groups="base.group_user"
    )

    _open_unique = models.UniqueIndex(
        "(partner_id, company_id) WHERE state = 'asked'", "This customer has been asked already."
    )

    @api.depends("partner_id", "date_asked")
    def _compute_display_name(self):
        for record in self:
            record.display_name = self.env._("Profile of %s", record.partner_id.display_name or "")

    @api.depends("change_ids.state")
    def _compute_waiting_count(self):
        for record in self:
            record.waiting_count = len(record.change_ids.filtered(lambda change: change.state == "waiting"))

    def _compute_access_url(self):
        super()._compute_access_url()
        for record in self:
            record.access_url = f"/my/billing/profile/{record.id}"

    def _mail_get_partner_fields(self, introspect_fields=False):
        return ["partner_id"]

    # Ask

    @api.model
    def _ask(self, partners, company):
        """Ask customers for confirmation; those with an open request are left alone.

        :param partners: customers (commercial partners)
        :param company: the company that asks
        :return: the new requests; each is mailed, or says in ``error`` why not
        """
        asked = self.sudo()._get_asked(partners, company)  # sudo: one request for all, whoever asks
        records = self.sudo().create(  # engine-owned records
            [
                {"partner_id": partner.id, "company_id": company.id, "date_asked": company._get_billing_today()}
                for partner in partners - asked.partner_id
            ]
        )
        for record in records:
            if not record._mail("customer_billing.mail_template_profile"):
                record._escalate()
        return records.sudo(self.env.su)

    @api.model
    def _get_asked(self, partners, company):
        """The open requests to these customers."""
        return self.search(
            [("partner_id", "in", partners.ids), ("company_id", "=", company.id), ("state", "=", "asked")]
        )

    @api.model
    def _get_unfinished(self, customer, company):
        """What a customer has still to answer, or what an officer has still to approve; as superuser."""
        return self.search(
            [
                ("partner_id", "=", customer.id),
                ("company_id", "=", company.id),
                ("state", "in", ("asked", "waiting")),
            ],
            limit=1,
        )

    @api.model
    def _prepare_own(self, customer, company, make):
        """A request that the customer makes itself, so that it is answered at once; as superuser.

        :param str make: ``new`` for the page, ``create`` for the answer
        """
        vals = {"partner_id": customer.id, "company_id": company.id, "date_asked": company._get_billing_today()}
        return self.new(vals) if make == "new" else self.create(vals)

    def _get_recipients(self):
        """Who is asked: those who get the customer's bills."""
        self.ensure_one()
        contact = self.partner_id.browse(self.partner_id.address_get(["invoice"])["invoice"])
        return contact._get_billing_recipients("billing")

    def _mail(self, template_xmlid):
        """Mail a template; what stands against it is written on the record. Returns whether it was sent."""
        self.ensure_one()
        self._portal_ensure_token()
        if not self._get_recipients():
            self.error = self.env._(
                "No e-mail address: add one to %s and ask again, or note what the customer says on the telephone.",
                self.partner_id.display_name,
            )
            return False
        try:
            with self.env.cr.savepoint():
                self.env.ref(template_xmlid)._send_billing(
                    self, self.company_id, email_layout_xmlid="mail.mail_notification_light"
                )
        except (OperationalError, ConcurrencyError):
            raise
        except Exception as error:
            if not isinstance(error, UserError):
                _logger.exception("Profile confirmation %s could not be sent", self.id)
            self.error = str(error)
            return False
        self.error = False
        return True

    def _get_url(self):
        """The full address of the page, with its access token."""
        self.ensure_one()
        return urljoin(self.get_base_url(), self.get_portal_url())

    def _is_link_valid(self):
        """Whether the link of the mail still lets its holder answer: once, and not for ever."""
        self.ensure_one()
        sent = self.date_reminded or self.date_asked
        today = self.company_id._get_billing_today()
        return self.state == "asked" and bool(sent) and today <= fields.Date.add(sent, days=LINK_DAYS)

    def action_remind(self):
        """Mail the request again."""
        self.check_access("write")
        for record in self:
            record._check_open()
            record.sudo()._remind()  # protected fields
        return True

    def action_cancel(self):
        """Withdraw requests that are not answered."""
        self.check_access("write")
        for record in self:
            record._check_open()
        self.sudo().state = "cancelled"  # protected field
        return True

    def _check_open(self):
        if self.state != "asked":
            raise UserError(self.env._("%s is answered or cancelled.", self.display_name))

    def _remind(self):
        self._mail("customer_billing.mail_template_profile")
        self.write(
            {
                "reminder_count": self.reminder_count + 1,
                "date_reminded": self.company_id._get_billing_today(),
            }
        )

    @api.model
    def _cron_ask(self):
        """Ask the customers whose profile is old, remind those who have not answered; each its own commit."""
        commit = self.env["ir.cron"]._commit_progress
        self._note_refused_mails()
        for company in self.env["res.company"].search([("billing_profile_months", ">", 0)]):
            partners = self._get_due(company)[:MAIL_BATCH]
            reminders = self._get_to_remind(company)[:MAIL_BATCH]
            commit(remaining=len(partners) + len(reminders))
            for partner in partners:
                if not company._has_billing_mail_room():
                    break
                records = self.with_company(company)
                records._get_asked(partner, company).sudo().state = "cancelled"  # protected; asked anew
                records._ask(partner, company)
                if not commit(1):
                    return
            for record in reminders:
                if not company._has_billing_mail_room():
                    break
                record.with_company(company).sudo()._remind_or_escalate()  # protected fields
                if not commit(1):
                    return
            if not company._has_billing_mail_room():
                company._call_when_billing_mails_may_leave("customer_billing.ir_cron_profile")
                commit(remaining=0)

    @api.model
    def _note_refused_mails(self):
        """Mails that the mail server has refused: a person asks."""
        mails_sudo = self.env["mail.mail"].sudo().search(  # of all authors
            [
                ("model", "=", self._name),
                ("state", "=", "exception"),
                ("date", ">=", fields.Datetime.subtract(fields.Datetime.now(), days=7)),
            ]
        )
        for mail in mails_sudo:
            self.browse(mail.res_id).exists().sudo()._note_refused(mail.failure_reason)  # protected fields

    def _message_receive_bounce(self, email, partner):
        super()._message_receive_bounce(email, partner)
        for record_sudo in self.sudo():  # the mail gateway
            record_sudo._note_refused(self.env._("The mail to %s came back.", email))

    def _note_refused(self, reason):
        """The mail did not reach the customer: no more of them, but a task; as superuser."""
        if self.state == "asked" and not self.error:
            self.error = reason or self.env._("The mail could not be sent.")
            self._escalate()

    @api.model
    def _get_due(self, company):
        """The customers with running contracts whose last confirmation, else first contract, is too long ago."""
        limit = fields.Date.subtract(company._get_billing_today(), months=company.billing_profile_months)
        first = {}
        for partner, start in self.env["billing.contract"]._read_group(
            [("company_id", "=", company.id), ("state", "in", ("active", "paused"))],
            ["partner_id"],
            ["date_start:min"],
        ):
            customer = partner.commercial_partner_id
            first[customer] = min(start, first.get(customer, start))
        asked = dict(
            self._read_group(
                [("company_id", "=", company.id), ("date_asked", ">", limit)], ["partner_id"], ["date_asked:max"]
            )
        )
        partners = self.env["res.partner"].union(*first).with_company(company)
        return partners.filtered(
            lambda partner: partner.active
            and not partner.billing_profile_opt_out
            and partner not in asked
            and (partner.profile_confirm_date or first[partner]) <= limit
        ).sorted("id")

    @api.model
    def _get_to_remind(self, company):
        before = fields.Date.subtract(
            company._get_billing_today(), days=company.billing_profile_reminder_days
        )
        return self.search(
            [
                ("company_id", "=", company.id),
                ("state", "=", "asked"),
                ("date_asked", "<=", before),
                ("reminder_count", "<=", MAX_REMINDERS),
                ("partner_id.billing_profile_opt_out", "=", False),
                "|", ("date_reminded", "=", False), ("date_reminded", "<=", before),
            ],
            order="id",
        )  # fmt: skip

    def _remind_or_escalate(self):
        """The next reminder; after the last one, a task for whoever looks after the customer."""
        if self.reminder_count < MAX_REMINDERS and not self.error:
            self._remind()
            return
        self._escalate()

    def _escalate(self):
        """No mail any more: a person asks."""
        self.reminder_count = MAX_REMINDERS + 1
        owner = self._get_owner()
        self._schedule(owner.with_context(lang=owner.lang).env._("Ask the customer whether its data is right"))

    def _get_owner(self):
        """Who looks after this customer."""
        partner = self.partner_id.with_company(self.company_id)
        contracts = self.env["billing.contract"].search(
            [
                ("partner_id", "child_of", partner.id),
                ("company_id", "=", self.company_id.id),
                ("officer_id", "!=", False),
            ],
            limit=1,
        )
        return partner.billing_officer_id or contracts.officer_id or partner.user_id or self.env.user

    def _schedule(self, summary):
        self.activity_schedule(
            "mail.mail_activity_data_todo",
            summary=summary,
            user_id=self._get_owner().id,
            date_deadline=self.company_id._get_billing_today(),
        )

    # Answer

    def action_confirm(self, name):
        """Note that the customer confirmed its profile, by telephone or in writing.

        :param str name: who did
        :raises UserError: the request is answered, or there is no name
        """
        self.ensure_one()
        self.check_access("write")
        if not (name or "").strip():
            raise UserError(self.env._("Say who confirmed."))
        self.sudo()._answer({}, name, "staff")  # protected fields
        return True

    def action_confirm_customer(self):
        """Note that the customers told us that all is right."""
        for record in self:
            record.action_confirm(record.partner_id.name)
        return True

    def _answer(self, values, name, how, ip=False):
        """Record the answer. Callers check access; the record is superuser's.

        :param dict values: field of ``PROFILE_FIELDS`` or ``BANK`` -> the new value as text or id; others are not
            looked at
        :param str name: who answered
        :raises UserError: the request is closed, or a value is not valid: nothing is recorded
        """
        self.ensure_one()
        self._mark_changed()  # one at a time: a second click sees the first
        self._check_open()
        changes = self.env["billing.profile.change"]._prepare_changes(self, values)
        changes = self.env["billing.profile.change"].create(changes)
        changes._check_values()
        changes.filtered(lambda change: change.state == "applied")._apply()
        waiting = changes.filtered(lambda change: change.state == "waiting")
        self.write(
            {
                "state": "waiting" if waiting else "done",
                "date_answered": fields.Datetime.now(),
                "answered_by": name,
                "answered_how": how,
                "answered_ip": ip,
                "error": False,
            }
        )
        self.partner_id.with_company(self.company_id).profile_confirm_date = self.company_id._get_billing_today()
        self.partner_id._message_log(body=self._describe(changes, name, ip))
        self.activity_unlink(["mail.mail_activity_data_todo"])
        if waiting:
            owner = self._get_owner()
            self._schedule(owner.with_context(lang=owner.lang).env._("Approve or refuse what the customer changed"))

    def _stop(self, ip):
        """The customer does not want to be asked any more. Callers check access; the record is superuser's."""
        self.partner_id.billing_profile_opt_out = True
        self.partner_id._message_log(
            body=self.env._("Asked (%s) not to be asked about the profile any more.", ip)
        )
        if self.state == "asked":
            self.state = "cancelled"

    def _describe(self, changes, name, ip):
        """What was answered, for the customer's log."""
        lines = [
            self.env._("Profile confirmed by %(name)s (%(ip)s).", name=name, ip=ip)
            if ip
            else self.env._("Profile confirmed by %(name)s, noted by %(user)s.", name=name, user=self.env.user.name),
            *(
                f"{change.label}: {change.old_text or '–'} → {change.new_text or '–'}"
                + (self.env._(" (waits for approval)") if change.state == "waiting" else "")
                for change in changes
            ),
        ]
        return plaintext2html("\n".join(lines))

    def _close_decided(self):
        """Requests whose changes are all decided are done."""
        done = self.filtered(lambda record: record.state == "waiting" and not record.waiting_count)
        done.state = "done"
        done.activity_unlink(["mail.mail_activity_data_todo"])

    def _get_profile(self):
        """What the customer sees and may change: a list of dicts (name, label, value, choices, approval)."""
        self.ensure_one()
        partner = self.partner_id
        rows = []
        for name, approval in PROFILE_FIELDS.items():
            field, value = partner._fields[name], partner[name]
            row = {
                "name": name,
                "label": field.get_description(self.env, ["string"])["string"],
                "value": value.id if field.relational else value or "",
                "choices": None,
                "approval": approval,
            }
            if name == "country_id":
                row["choices"] = self.env["res.country"].search([("code", "!=", False)])
            elif name == "state_id":
                row["choices"] = partner.country_id.state_ids
                if not row["choices"]:
                    continue
            rows.append(row)
        account = partner.bank_ids[:1].acc_number or ""
        rows.append(
            {
                "name": BANK,
                "label": self.env._("Bank Account"),
                "value": "",
                "masked": f"•••• {account[-4:]}" if account else "",
                "choices": None,
                "approval": True,
            }
        )
        return rows
