import base64
import hashlib
import logging
from datetime import timedelta

from psycopg2 import OperationalError

from odoo import api, fields, models
from odoo.exceptions import ConcurrencyError, UserError
from odoo.tools.urls import urljoin

from .billing_statement import ISSUED

_logger = logging.getLogger(__name__)

DELIVERY_BATCH = 50
INLINE_DELIVERIES = 10  # statements that are rendered and mailed at once on a click
MAX_TRIES = 3


class BillingStatement(models.Model):
    """Issuing, sending and reminding."""

    _name = "billing.statement"
    _inherit = "billing.statement"

    def _issue(self):
        """Render and store the files of checked statements, with their hashes."""
        for statement_sudo in self.sudo():  # protected fields
            if statement_sudo.date_sent:
                continue
            pdf, xlsx = statement_sudo._render_pdf(), statement_sudo._render_xlsx()
            statement_sudo.write(
                {
                    "pdf": base64.b64encode(pdf),
                    "xlsx": base64.b64encode(xlsx),
                    "sha256": hashlib.sha256(pdf).hexdigest(),
                    "sha256_xlsx": hashlib.sha256(xlsx).hexdigest(),
                }
            )
            statement_sudo.write(
                {
                    "state": "sent",
                    "date_sent": fields.Datetime.now(),
                    "date_due": statement_sudo._get_answer_date(),
                }
            )
            if statement_sudo.supersedes_id:
                statement_sudo.supersedes_id.dispute_ids._follow(statement_sudo)

    # Send

    def action_send(self):
        """Issue checked statements and mail them, or mail issued ones again.

        A few are sent at once; more are left to the background job.

        :raises UserError: a draft; or the ledger has changed since the check
        """
        self._check_state("checked", "sent", "disputed")
        self._check_fresh()
        self._queue_delivery()
        if len(self) <= INLINE_DELIVERIES:
            self._deliver()
            self.run_id._refresh_outcomes()
        else:
            self.env.ref("customer_billing_statement.ir_cron_deliver").sudo()._trigger()
        return True

    def action_mark_sent(self):
        """Issue checked statements that a person delivers by hand or by post."""
        self._check_state("checked", "sent", "disputed")
        self._check_fresh()
        self._issue()
        self.sudo().write({"delivery_state": "manual", "delivery_error": False})  # protected fields
        self.run_id._refresh_outcomes()
        return True

    def _check_fresh(self):
        """Raise when the ledger has changed since a statement was checked."""
        if stale := self.filtered(lambda s: s.state == "checked")._get_stale()[:1]:
            raise UserError(
                self.env._(
                    "The ledger has changed since %s was checked: take it back to draft and check "
                    "it again.",
                    stale.name,
                )
            )

    def _queue_delivery(self):
        """Put statements in the delivery queue."""
        self.sudo().write(  # protected fields
            {"delivery_state": "queued", "delivery_error": False, "delivery_tries": 0}
        )

    def _deliver(self):
        """Issue and mail queued statements one by one. A failure is written on the statement and
        tried again by the queue, ``MAX_TRIES`` times in all. Mails above the company's limit per hour stay in the
        queue."""
        stale = self.filtered(lambda s: s.state == "checked")._get_stale()
        for statement in self:
            if statement in stale:
                statement._fail_delivery(
                    self.env._("The ledger has changed since the check: check it again."), final=True
                )
                continue
            if not statement._get_recipients():
                statement._fail_delivery(statement._describe_no_recipient(), final=True)
                continue
            if not statement.company_id._has_billing_mail_room():
                continue
            started = fields.Datetime.now()
            try:
                with self.env.cr.savepoint():
                    statement._issue()
                    statement._mail("customer_billing_statement.mail_template_statement")
                    statement.sudo().write(  # protected fields
                        {
                            "delivery_state": "sent",
                            "delivery_error": False,
                            "delivery_date": started,
                        }
                    )
            except (OperationalError, ConcurrencyError):
                raise
            except Exception as error:
                if not isinstance(error, UserError):
                    _logger.exception("Statement %s could not be sent", statement.name)
                statement._fail_delivery(str(error))

    def _fail_delivery(self, message, final=False):
        tries = self.delivery_tries + 1
        self.sudo().write(  # protected fields
            {
                "delivery_state": "failed" if final or tries >= MAX_TRIES else "queued",
                "delivery_error": message,
                "delivery_tries": tries,
            }
        )

    def _describe_no_recipient(self):
        """Why nobody can get a mail, and what to do."""
        if not self.partner_id.active:
            return self.env._(
                "%s is archived and gets no mail: restore it, then send again; or print the statement "
                "and mark it as delivered.",
                self.partner_id.display_name,
            )
        return self.env._(
            "No e-mail address: add one to %s, then send again; or print the statement "
            "and mark it as delivered.",
            self.partner_id.display_name,
        )

    def _get_recipients(self):
        """The contacts with an e-mail address that the statement goes to: those who get the customer's bills."""
        self.ensure_one()
        return self._map_recipients()[self]

    def _map_recipients(self):
        """The recipients of many statements, in a number of queries that does not depend on how many.

        Override to send them to others.

        :return: {statement: contacts}
        """
        customers_sudo = self.partner_id.sudo()  # addresses, whoever sends
        contacts_sudo = {
            customer: customer.browse(customer.address_get(["invoice"])["invoice"])
            for customer in customers_sudo
        }
        named_sudo = customers_sudo.union(*contacts_sudo.values())._map_billing_recipients("billing")
        return {
            statement: named_sudo[contacts_sudo[statement.partner_id.sudo()]].sudo(self.env.su) for statement in self
        }

    def _get_statement_url(self):
        """The full address of the portal page of this statement, with its access token."""
        self.ensure_one()
        return urljoin(self.get_base_url(), self.get_portal_url())

    def _mail(self, template_xmlid, **options):
        """Post the mail of a template to the customer, with the PDF that was issued: a message for each language of the
        recipients.

        :param options: of ``message_post``
        """
        self.ensure_one()
        template = self.env.ref(template_xmlid).sudo()  # the template is not the user's
        for lang, contacts in self._get_recipients()._group_by_billing_lang(self.partner_id.lang).items():
            self._mail_in(lang, contacts, template.with_context(lang=lang), **options)

    def _mail_in(self, lang, contacts, template, **options):
        """Post the mail to those who read one language."""
        statement = self.with_context(lang=lang)
        [subject] = template._render_field("subject", self.ids, set_lang=lang).values()
        [body] = template._render_field(
            "body_html", self.ids, set_lang=lang, options={"post_process": True}
        ).values()
        author = self.user_id.partner_id or self.company_id.partner_id
        statement.message_post(
            subject=subject,
            body=body,
            partner_ids=contacts.ids,
            attachments=[(self.pdf_name, self._get_file("pdf"))],
            author_id=author.id,
            email_from=author.email_formatted or self.company_id.email_formatted,
            message_type="comment",
            subtype_xmlid="mail.mt_comment",
            email_layout_xmlid="mail.mail_notification_light",
            email_add_signature=False,
            **options,
        )

    @api.model
    def _cron_deliver(self):
        """Deliver queued statements, each its own commit, and note mails that came back."""
        self._note_delivery_failures()
        commit = self.env["ir.cron"]._commit_progress
        domain = [
            ("delivery_state", "=", "queued"),
            ("state", "in", ("checked", "sent", "disputed")),
            ("company_id", "not in", self.env["res.company"]._get_full_mail_companies().ids),
        ]
        # What failed waits for the next time: three tries at once would be one.
        commit(remaining=self.search_count([*domain, ("delivery_tries", "=", 0)]))
        statements = self.search(domain, order="delivery_tries, id", limit=DELIVERY_BATCH)
        for statement in statements:
            statement = statement.try_lock_for_update(allow_referencing=True)
            if statement.delivery_state == "queued":
                statement.with_company(statement.company_id)._deliver()
            if not commit(1):
                break
        statements.run_id._refresh_outcomes()
        commit()

    @api.model
    def _note_delivery_failures(self):
        """Mails that the server refused or that came back: the statement says so, and the one
        responsible gets a task."""
        for notification in self.env["mail.notification"]._get_billing_failures(self._name):
            message = notification.mail_message_id
            statement = self.browse(message.res_id).exists()
            if statement.state not in ISSUED or statement.delivery_state != "sent":
                continue
            if message.date < statement.delivery_date:  # of a delivery before
                continue
            statement._fail_delivery(
                self.env._(
                    "The mail to %(partner)s failed: %(reason)s",
                    partner=notification.res_partner_id.email or "",
                    reason=notification.failure_reason or notification.format_failure_reason(),
                ),
                final=True,
            )
            user = statement._get_task_owner()
            statement._schedule_task(
                user.with_context(lang=user.lang).env._("The statement did not reach the customer")
            )

    def _get_task_owner(self):
        return self.user_id or self.env.user

    def _schedule_task(self, summary):
        self.activity_schedule(
            "mail.mail_activity_data_todo",
            summary=summary,
            user_id=self._get_task_owner().id,
            date_deadline=self.company_id._get_billing_today(),
        )

    # Remind

    def action_remind(self):
        """Remind the customers of statements that wait for an answer, now.

        :raises UserError: a customer has no address
        """
        self._check_state("sent")
        if unreachable := self.filtered(lambda statement: not statement._get_recipients())[:1]:
            raise UserError(unreachable._describe_no_recipient())
        for statement in self:
            statement._remind()
        return True

    def _remind(self):
        self._mail("customer_billing_statement.mail_template_reminder", **self.company_id._get_billing_mail_delay())
        self.sudo().write(  # protected fields
            {"date_reminded": fields.Datetime.now(), "reminder_count": self.reminder_count + 1}
        )

    @api.model
    def _cron_remind(self):
        """Remind the customers who have not answered; after the last reminder the person
        responsible gets a task."""
        commit = self.env["ir.cron"]._commit_progress
        now = fields.Datetime.now()
        due = self.browse()
        for company in self.env["res.company"].search([("billing_statement_reminder_days", ">", 0)]):
            before = now - timedelta(days=company.billing_statement_reminder_days)
            due |= self.search(
                [
                    ("company_id", "=", company.id),
                    ("state", "=", "sent"),
                    ("delivery_state", "in", ("sent", "manual")),
                    ("date_escalated", "=", False),
                    ("date_sent", "<=", before),
                    "|",
                    ("date_reminded", "=", False),
                    ("date_reminded", "<=", before),
                ],
                order="id",
            )
        commit(remaining=len(due))
        full = self.env["res.company"]
        for statement in due:
            statement = statement.try_lock_for_update(allow_referencing=True)
            if statement.state == "sent" and not statement.company_id._has_billing_mail_room():
                full |= statement.company_id
            elif statement.state == "sent":
                statement.with_company(statement.company_id)._remind_or_escalate()
            if not commit(1):
                break
        full._call_when_billing_mails_may_leave("customer_billing_statement.ir_cron_remind")

    def _remind_or_escalate(self):
        """The next reminder, or a task when all were sent; a reminder that fails is a task too."""
        if self.reminder_count < self.company_id.billing_statement_reminder_max:
            try:
                with self.env.cr.savepoint():
                    if self._get_recipients():
                        self._remind()
                        return
            except (OperationalError, ConcurrencyError):
                raise
            except Exception:
                _logger.exception("The reminder for statement %s could not be sent", self.name)
        self.sudo().date_escalated = self.company_id._get_billing_today()  # protected field
        user = self._get_task_owner()
        self._schedule_task(
            user.with_context(lang=user.lang).env._("Ask the customer: the statement is not answered")
        )
