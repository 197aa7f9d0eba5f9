import logging

from markupsafe import Markup, escape
from psycopg2 import OperationalError

from odoo import api, models
from odoo.exceptions import ConcurrencyError

_logger = logging.getLogger(__name__)


class BillingCase(models.Model):
    """Failed charges are handed over."""

    _name = "billing.case"
    _inherit = "billing.case"

    @api.model
    def _take_over_charges(self, moves):
        """Open the cases of bills whose automatic payment has failed, tell it on them, give the collectors a task.

        An error is logged and does not stop the recording of what the provider said: the night opens the case then.
        """
        for company, bills in moves.grouped(lambda move: move.company_id.root_id).items():
            # sudo: cases open by facts, whoever brings them
            cases_sudo = self.env["billing.case"].sudo().with_company(company)
            try:
                with self.env.cr.savepoint():
                    items = cases_sudo._refresh_customers(company, bills.commercial_partner_id.ids)
                    for case, rows in items.items():
                        failed = {row["move_id"] for row in case._get_failed_rows(rows)} & set(bills.ids)
                        if failed:
                            case._ask_for_charge(bills.browse(failed))
            except (OperationalError, ConcurrencyError):
                raise
            except Exception:
                _logger.exception("Collections could not take over %s", bills.mapped("name"))
                self.env.invalidate_all(flush=False)

    def _ask_for_charge(self, bills):
        """Note the failed charges of these bills on the case, with a task for today."""
        attempts_sudo = bills.sudo().billing_attempt_ids  # engine-owned records
        lines = []
        for bill in bills.sudo():
            attempt = attempts_sudo.filtered(lambda attempt, bill=bill: attempt.move_id == bill).sorted("number")[-1:]
            lines.append(f"{bill.name}: {attempt.message}" if attempt.message else bill.name)
        declined = Markup("<br/>").join(escape(line) for line in lines)
        company = self.with_context(lang=self.company_id.partner_id.lang)
        self._message_log(
            body=Markup("%s<br/>%s") % (company.env._("Automatic payment declined, not tried again:"), declined)
        )
        today = self.company_id._get_billing_today()
        user = self.collector_id or self.env.user
        self.activity_schedule(
            "mail.mail_activity_data_call",
            summary=user.with_context(lang=user.lang).env._("Automatic payment declined"),
            note=declined,
            user_id=user.id,
            date_deadline=today,
        )
        self._note_action(today)
