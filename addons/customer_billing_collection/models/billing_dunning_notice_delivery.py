import base64
import logging

from markupsafe import escape
from psycopg2 import OperationalError

from odoo import Command, api, fields, models
from odoo.exceptions import AccessError, ConcurrencyError, UserError

from .billing_case import CLOSED

_logger = logging.getLogger(__name__)

DELIVERY_BATCH = 100
INLINE_DELIVERIES = 10  # notices that go out at once on a click
MAX_TRIES = 3
MANAGER = "customer_billing.group_billing_manager"


class BillingDunningNotice(models.Model):
    """Releasing, approving, sending and printing."""

    _name = "billing.dunning.notice"
    _inherit = "billing.dunning.notice"

    # Decisions of people

    def action_approve(self):
        """Approve notices of hard steps, and let them go out.

        :raises AccessError: only billing managers approve
        :raises UserError: the user has proposed it; or a notice does not wait for approval
        """
        self.check_access("write")
        if not self.env.user.has_group(MANAGER):
            raise AccessError(self.env._("Only billing managers approve reminders of this kind."))
        for notice in self:
            if not notice.needs_approval:
                raise UserError(self.env._("%s does not wait for an approval.", notice.display_name))
            if notice.preparer_id == self.env.user:
                raise UserError(
                    self.env._("You have proposed %s: somebody else has to approve it.", notice.display_name)
                )
        self.sudo().write({"approver_id": self.env.uid})  # protected field
        return self.action_send()

    def action_send(self):
        """Let notices go out that wait or have failed. A few are sent at once, more by the job; letters are printed.

        :raises UserError: a notice is out already, or waits for an approval
        """
        self.check_access("write")
        for notice in self:
            if notice.state not in ("proposed", "queued", "failed"):
                raise UserError(self.env._("%s does not wait to be sent.", notice.display_name))
            if notice.needs_approval:
                raise UserError(
                    self.env._("%s needs the approval of a billing manager.", notice.display_name)
                )
        self.sudo().write({"state": "queued", "tries": 0, "error": False})  # protected fields
        mailed = self.filtered(lambda notice: notice.channel != "letter")._add_joint(("queued",))
        if len(mailed) <= INLINE_DELIVERIES:
            mailed._deliver()
        else:
            self.env.ref("customer_billing_collection.ir_cron_send").sudo()._trigger()
        return True

    def action_cancel(self):
        """Leave these notices out: the step counts as done, the case goes on with the next one.

        :raises UserError: a notice is out already
        """
        self.check_access("write")
        for notice in self:
            if notice.state not in ("proposed", "queued", "failed", "skipped"):
                raise UserError(self.env._("%s does not wait to be sent.", notice.display_name))
        self._leave_out("manual", name=self.env.user.name)
        for notice_sudo in self.sudo():  # protected fields
            notice_sudo._advance_case()
        self.case_id._refresh()
        return True

    def action_print(self):
        """Print the letters among these notices: those that are still right go out, as one PDF. A letter in another
        currency of the same customer and step that waits too is the same document. What went wrong with one of several
        is told on it.

        :return: the action that downloads the PDF, False when nothing is to be printed
        :raises UserError: there is no letter among them
        """
        self.check_access("write")
        letters = self.filtered(lambda notice: notice.channel == "letter" and notice.state in ("queued", "sent"))
        if not letters:
            raise UserError(self.env._("There is no letter to print among these: release them first."))
        is_single = len(letters) == 1
        letters = letters._add_joint(("queued",))
        letters.filtered(lambda notice: notice.state == "queued")._deliver(raising=is_single)
        printed = letters.filtered(lambda notice: notice.state == "sent")
        if not printed:
            return False
        return self.env.ref("customer_billing_collection.report_dunning_letter_action").report_action(
            printed, config=False
        )

    # Sending

    @api.model
    def _cron_send(self):
        """Send queued notices message by message, each its own commit; on days off of their policy they wait."""
        self._note_delivery_failures()
        commit = self.env["ir.cron"]._commit_progress
        domain = [
            ("state", "=", "queued"),
            ("channel", "!=", "letter"),
            ("step_id.policy_id", "not in", self._get_resting_policies().ids),
            *self._get_room_domain(),
        ]
        commit(remaining=self.search_count(domain))
        batch = self.search(domain, order="tries, id", limit=DELIVERY_BATCH)
        batch += self.search([*domain, ("partner_id", "in", batch.partner_id.ids), ("id", "not in", batch.ids)])
        for notices in batch._group_joint():
            try:
                locked = notices.try_lock_for_update(allow_referencing=True)
                if queued := locked.filtered(lambda notice: notice.state == "queued"):
                    queued.with_company(queued.company_id)._deliver()
            except (OperationalError, ConcurrencyError) as error:
                self.env.cr.rollback()
                _logger.info("Notices %s are sent later: %s", notices.ids, error)
            if not commit(len(notices)):
                return
        if self.search_count([*domain, *self._get_room_domain(), ("tries", "=", 0)], limit=1):
            self.env.ref("customer_billing_collection.ir_cron_send").sudo()._trigger()

    @api.model
    def _get_room_domain(self):
        """No mails of companies that have mailed as many in this hour as they may."""
        full = self.env["res.company"]._get_full_mail_companies()
        return ["|", ("channel", "!=", "email"), ("company_id", "not in", full.ids)]

    @api.model
    def _get_resting_policies(self):
        """The policies that have a day off today."""
        policies = self.env["billing.dunning.policy"].with_context(active_test=False).search(
            [("step_ids.notice_ids.state", "=", "queued")]
        )
        kernels = policies._get_kernel_policies()
        return policies.filtered(
            lambda policy: not kernels[policy].calendar.is_working(policy.company_id._get_billing_today())
        )

    def _deliver(self, raising=False):
        """Send queued notices, each after a look at what is open now; those of a customer and step as one message.

        What is recorded and the mail that waits for the mail server are one transaction: stopping at any moment sends
        nothing twice. A failure is written on the notice and tried again by the job, ``MAX_TRIES`` times in all. Mails
        above the company's limit per hour stay queued.

        :param bool raising: let errors through instead
        """
        for notices in self._group_joint():
            if notices[0].channel == "email" and not notices[0].company_id._has_billing_mail_room():
                continue
            try:
                with self.env.cr.savepoint():
                    notices._send()
            except (OperationalError, ConcurrencyError):
                raise
            except Exception as error:
                if raising:
                    raise
                if not isinstance(error, UserError):
                    _logger.exception("Notices %s could not be sent", notices.ids)
                self.env.invalidate_all(flush=False)
                for notice in notices:
                    notice._fail(str(error))

    def _fail(self, message, final=False):
        tries = self.tries + 1
        failed = final or tries >= MAX_TRIES
        self.sudo().write(  # protected fields
            {"state": "failed" if failed else "queued", "error": message, "tries": tries}
        )
        if failed:
            notice = self._in_caller_lang()
            self._schedule_call(notice.env._("A reminder could not be sent: %s", notice.step_id.name), message)

    def _send(self):
        """Send notices of one customer and step as one message by ``_send_<channel>``, as far as they are still right.

        A module adds a channel with an option of ``billing.dunning.step.channel`` and a method
        ``_send_<channel>(self)`` for one notice; ``_get_joint`` has those that go out with it, where the channel is one
        of ``_get_joint_channels``. It returns values of the notices that say how they went another way, or None; it
        raises what went wrong.
        """
        demands = {}
        for notice in self:
            demand, rows = notice._recheck()
            if demand is not None:
                demands[notice] = demand
                notice._prepare_to_send(demand, rows)
        if not demands:
            return
        notices = self.browse([notice.id for notice in demands])
        first = notices[0].with_context(billing_dunning_joint=notices.ids)
        values = getattr(first, f"_send_{first.channel}")() or {}
        for notice, demand in demands.items():
            notice.sudo().write(  # engine-owned records
                {"state": "sent", "date_sent": fields.Datetime.now(), "error": False, "date_due": demand.due, **values}
            )
            notice._advance_case()
            notice.case_id._refresh()
        if values.get("mail_message_id"):
            notices._log_joint()

    def _prepare_to_send(self, demand, rows):
        """Bring a notice up to date with what is demanded now."""
        self.sudo().write(  # engine-owned records
            {
                "amount": self.currency_id.round(demand.amount),
                "name": self._get_number() if self.name == "/" else self.name,
                "reason_code": False,
                "reason_values": False,
            }
        )
        self._write_lines({self.id: rows})

    def _get_number(self):
        [number] = self.env["ir.sequence"]._get_billing_numbers("billing.dunning.notice", 1, self.company_id)
        return number

    def _advance_case(self):
        """Note on the case that it has reached this step; reminders before the due date do not count."""
        case_sudo, step_sudo = self.case_id.sudo(), self.step_id.sudo()  # protected fields
        if step_sudo.days > max(case_sudo.step_days, 0):
            case_sudo.with_context(tracking_disable=True).write(
                {"step_id": step_sudo.id, "step_days": step_sudo.days}
            )

    def _recheck(self):
        """Read again what is open, disputed, promised, agreed and on its way: the demand and its items, or (None, None)
        when the notice does not go out any more, which is recorded with the reason."""
        case = self.case_id.sudo()  # a case as a whole
        if case.state in CLOSED or case.date_legal:
            self._leave_out("legal" if case.state not in CLOSED else case.close_reason or "paid")
            return None, None
        items = case._get_items()
        case._take_over_steps(items)
        demands = case._get_demands(items, any_day=True)[case]
        step = self.step_id.sudo()
        demand = next((demand for demand in demands if demand.step.key == step.id), None)
        if not step.active:
            reason = "archived"
        elif demand is not None:
            reason = demand.reason
        elif step.days > 0 and any(demand.step.days > step.days for demand in demands):
            reason = "superseded"
        else:
            reason = self._get_reason_gone(items[case])
        if reason:
            values = {"amount": self.currency_id.round(demand.amount) if demand else 0.0}
            if reason == "transit":
                values["payments"] = case._get_awaited(items[case])
            self._leave_out(reason, **values)
            case._refresh()
            return None, None
        return demand, case._get_demand_rows(demand, items[case])

    def _get_reason_gone(self, rows):
        """Why a step is not due any more, by the items of its case."""
        listed = set(self.line_ids.move_line_id.ids)
        left = [row for row in rows if row["move_line_id"] in listed and row["residual"] > 0]
        if not left:
            return "paid"
        return next((row["excluded"] for row in left if row["excluded"]), None) or self._get_reason_passed()

    def _get_reason_passed(self):
        """Why a step is not due any more although its items are open and may be demanded."""
        if self.step_id.days <= 0:
            return "date_passed"
        return "done" if self.case_id.step_days >= self.step_id.days else "not_due"

    # Channels

    def _send_email(self):
        """Mail the text of the step with the list of items to the customer's contacts; without an address: a call."""
        recipients = self.case_id.partner_id._get_dunning_recipients()
        if not recipients:
            return self._send_call_instead("no_address")
        groups = recipients._group_by_billing_lang(self.partner_id.lang)
        messages = [self._post_mail(lang, contacts) for lang, contacts in groups.items()]
        self.case_id.message_subscribe(self.case_id.collector_id.partner_id.ids)  # who gets the answers
        self.env.ref("mail.ir_cron_mail_scheduler_action").sudo()._trigger()
        first, *others = [message.id for message in messages]
        return {"mail_message_id": first, "other_message_ids": [Command.set(others)]}

    def _post_mail(self, lang, recipients):
        """Mail the notice to those who read one language; returns the message."""
        template_sudo = self._get_template().with_context(lang=lang)
        notice = self.with_context(lang=lang)
        [subject] = template_sudo._render_field("subject", notice.ids, set_lang=lang).values()
        [body] = template_sudo._render_field(
            "body_html", notice.ids, set_lang=lang, options={"post_process": True}
        ).values()
        author = self.collector_id.partner_id or self.company_id.partner_id
        # through the queue: the mail leaves after this transaction is committed, or never
        return self.case_id.with_context(lang=lang, mail_notify_force_send=False).message_post(
            subject=subject,
            body=body,
            partner_ids=recipients.ids,
            author_id=author.id,
            email_from=author.email_formatted or self.company_id.email_formatted,
            message_type="comment",
            subtype_xmlid="mail.mt_comment",
            email_layout_xmlid="mail.mail_notification_light",
            email_add_signature=False,
            # the customer's words: not “Your Collection Case”
            model_description=notice.env._("account"),
            force_record_name=self.name,
            force_email_lang=lang,
        )

    def _get_messages(self):
        """The messages by which these notices went out, one for each language."""
        return self.mail_message_id | self.other_message_ids

    def _send_call(self):
        """A task for the collector."""
        self._schedule_call(self._in_caller_lang().step_id.name)

    def _send_call_instead(self, reason):
        """A task for the collector, as the customer cannot be reached by the channel of the step."""
        for notice in self._get_joint():
            localized = notice._in_caller_lang()
            text = localized._get_reason_texts()[reason] % {"name": self.partner_id.display_name}
            notice._schedule_call(localized.step_id.name, text)
        return {"channel": "call", "reason_code": reason, "reason_values": {"name": self.partner_id.display_name}}

    def _send_letter(self):
        """The PDF, kept as it was printed."""
        pdf = base64.b64encode(self._render_letter())
        for notice in self._get_joint():
            # sudo: the proof of what was sent
            attachment = self.env["ir.attachment"].sudo().create(
                {
                    "name": f"{self.name.replace('/', '-')}.pdf",
                    "res_model": self._name,
                    "res_id": notice.id,
                    "datas": pdf,
                    "mimetype": "application/pdf",
                }
            )
            copy = attachment.copy({"res_model": "billing.case", "res_id": notice.case_id.id})
            notice.case_id.message_post(
                body=self.env._("Letter printed: %s", self.step_id.name), attachment_ids=copy.ids
            )
        return {"date_printed": fields.Datetime.now()}

    def _send_hold(self):
        """Pause the customer's contracts."""
        self.case_id._start_hold(self.step_id.name)

    def _get_caller(self):
        """Who calls the customer."""
        return self.case_id.collector_id or self.collector_id or self.env.user

    def _in_caller_lang(self):
        """This notice in the language of who calls: the job that writes the task has another one."""
        return self.with_context(lang=self._get_caller().lang)

    def _schedule_call(self, summary, note=None):
        """Give the collector a task on the case, for today."""
        self.case_id.activity_schedule(
            "mail.mail_activity_data_call",
            summary=summary,
            note=note and escape(note),
            user_id=self._get_caller().id,
            date_deadline=self.company_id._get_billing_today(),
        )
        self.case_id._note_action(self.company_id._get_billing_today())

    @api.model
    def _note_delivery_failures(self):
        """Mails that the server refused or that came back: the notice has failed, and the collector calls."""
        failed = self.env["mail.notification"]._get_billing_failures("billing.case").grouped("mail_message_id")
        messages = self.env["mail.message"].sudo().browse([message.id for message in failed])
        sent = ["|", ("mail_message_id", "in", messages.ids), ("other_message_ids", "in", messages.ids)]
        for notice in self.search([*sent, ("error", "=", False)]):
            notification = failed[(notice._get_messages().sudo() & messages)[0]][:1]
            error = self.env._(
                "The mail to %(partner)s failed: %(reason)s",
                partner=notification.res_partner_id.email or "",
                reason=notification.failure_reason or notification.format_failure_reason(),
            )
            notice.sudo().error = error  # protected field; the step was carried out
            notice._schedule_call(notice._in_caller_lang().env._("The mail did not reach the customer"), error)
