import logging
import random
import time
from datetime import timedelta

from psycopg2 import OperationalError
from psycopg2.errors import UniqueViolation

from odoo import api, models
from odoo.exceptions import ConcurrencyError, UserError
from odoo.service.model import PG_CONCURRENCY_EXCEPTIONS_TO_RETRY
from odoo.tools import SQL, split_every

from odoo.addons.customer_billing.models.billing_job_mixin import MAX_TRIES

from ..tools import dunning
from .billing_case import CLOSED
from .billing_case_refresh import CHUNK_SIZE

_logger = logging.getLogger(__name__)

FAILED = "dunning_failed"  # the check of exceptions about customers without a case
WAITING = ("proposed", "queued", "failed")  # notices that may still go out
LOST_RACES = (UniqueViolation,)  # somebody else has just opened the case or proposed the step


class BillingCase(models.Model):
    """The nightly job: refresh the cases, propose the notices."""

    _name = "billing.case"
    _inherit = "billing.case"

    @api.model
    def _cron_nightly(self):
        """Refresh all cases and propose what is due, in every company, in chunks of customers that are commits.

        Where it was stopped it goes on with the next customer. However many nights were missed, a case gets the one
        highest step.
        """
        commit = self.env["ir.cron"]._commit_progress
        companies = self.env["res.company"].search([("parent_id", "=", False)], order="id")
        commit(remaining=len(companies))
        for company in companies:
            # What the job notes on cases is read by the company's people.
            lang = company.partner_id.lang or self.env.lang
            night = self.with_company(company).with_context(allowed_company_ids=company.ids, lang=lang)
            if not night._work_night(company):
                return
            commit(1)
        self.env.ref("customer_billing_collection.ir_cron_send").sudo()._trigger()

    @api.model
    def _work_night(self, company):
        """The night of one company, from where it stopped; returns whether there is time left."""
        commit = self.env["ir.cron"]._commit_progress
        today = company._get_billing_today()
        done = company.billing_dunning_partner if company.billing_dunning_date == today else 0
        self._before_night(company)
        customers = [partner for partner in self._get_customers(company, today) if partner > done]
        for partner_ids in split_every(CHUNK_SIZE, customers):
            self._retry_chunk(company, partner_ids)
            company.write({"billing_dunning_date": today, "billing_dunning_partner": partner_ids[-1]})
            if not commit(1, remaining=1):
                return False
        company.write({"billing_dunning_date": today})
        return True

    @api.model
    def _before_night(self, company):
        """Called before the cases of a company are looked at: decide here what dates decide, not payments."""

    @api.model
    def _get_customers(self, company, today):
        """Ids of the customers with an open case or with items that may be due or reminded, ascending."""
        policies = self.env["billing.dunning.policy"].search([("company_id", "=", company.id)])
        customers = set(self.search([*self._get_open_domain(), ("company_id", "=", company.id)]).partner_id.ids)
        if policies:
            horizon = max(kernel.horizon for kernel in policies._get_kernel_policies().values())
            accounts = self.env["account.account"].with_context(active_test=False).search(
                [("account_type", "=", "asset_receivable")]
            )  # fmt: skip
            self.env["billing.receivable"]._flush()
            customers.update(
                partner
                for [partner] in self.env.execute_query(
                    SQL(
                        """SELECT DISTINCT customer.commercial_partner_id
                             FROM account_move_line line JOIN res_partner customer ON customer.id = line.partner_id
                            WHERE line.account_id = ANY(%s) AND line.parent_state = 'posted'
                              AND line.reconciled IS NOT TRUE AND line.company_id = ANY(%s)
                              AND COALESCE(line.date_maturity, line.date) < %s AND line.amount_residual_currency > 0""",
                        accounts.ids,
                        self.env["res.company"].search([("id", "child_of", company.id)]).ids,
                        today + timedelta(days=horizon),
                    )
                )
            )
        return sorted(customers)

    @api.model
    def _retry_chunk(self, company, partner_ids):
        """``_attempt_chunk``, again when it collides with other work: a payment must not end the night."""
        for tries_left in reversed(range(MAX_TRIES)):
            try:
                self._attempt_chunk(company, partner_ids, raising=LOST_RACES if tries_left else ())
                self.env.flush_all()
                return
            except (OperationalError, ConcurrencyError, *LOST_RACES) as error:
                retry = isinstance(error, (ConcurrencyError, *LOST_RACES, *PG_CONCURRENCY_EXCEPTIONS_TO_RETRY))
                if not retry or not tries_left:
                    raise
                _logger.info("Dunning: customers are looked at again: %s", error)
                self.env.cr.rollback()
                time.sleep(random.uniform(0.0, 2 ** (MAX_TRIES - tries_left) / 10))

    @api.model
    def _attempt_chunk(self, company, partner_ids, raising=()):
        """Refresh and propose for customers; when that fails, one at a time, so that one stops no other.

        :param tuple raising: errors that are let through besides collisions
        """
        try:
            with self.env.cr.savepoint():
                items = self._refresh_customers(company, partner_ids)
                self.browse([case.id for case in items])._propose(items)
                self._get_failures(company, partner_ids)._close(self.env._("A later night went well."))
        except (OperationalError, ConcurrencyError, *raising):
            raise
        except Exception as error:
            self.env.invalidate_all(flush=False)
            if len(partner_ids) > 1:
                for partner in partner_ids:
                    self._attempt_chunk(company, [partner])
                return
            _logger.exception("Dunning: customer %s could not be worked on", partner_ids[0])
            domain = [*self._get_open_domain(), ("company_id", "=", company.id), ("partner_id", "in", partner_ids)]
            if cases := self.search(domain):
                cases.sudo().write({"error": str(error)})  # protected field
            else:
                self._report_failure(company, self.env["res.partner"].browse(partner_ids), str(error))

    # Customers without a case

    @api.model
    def _get_failures(self, company, partner_ids):
        """The open exceptions about customers that the night could not look at, as superuser."""
        return self.env["billing.exception"].sudo().search(  # engine-owned records
            [
                ("check_id.code", "=", FAILED),
                ("company_id", "=", company.id),
                ("partner_id", "in", partner_ids),
                ("state", "=", "open"),
            ]
        )

    @api.model
    def _report_failure(self, company, partner, message):
        """Open an exception with a task for a billing manager, as there is no case to write it on."""
        check = self.env["billing.check"]._get_event(FAILED, company)
        if not check or check.severity == "off":
            return
        if known := self._get_failures(company, partner.ids):
            known.write({"message": message})
            return
        managers = self.env.ref("customer_billing.group_billing_manager").sudo().user_ids  # sudo: whoever looks
        owner = managers.filtered(lambda user: user.active and company in user.company_ids)[:1] or self.env.user
        self.env["billing.exception"]._open(
            [
                {
                    "check_id": check.id, "partner_id": partner.id, "company_id": company.id, "message": message,
                    "contract_id": False, "run_id": False, "user_id": owner.id,
                }
            ]
        )  # fmt: skip

    # Proposals

    def action_propose(self):
        """Look at these cases now and propose what is due, as the nightly job does.

        :raises UserError: a case is closed
        """
        self.check_access("write")
        for case in self:
            if case.state in CLOSED:
                raise UserError(self.env._("%s is closed: nothing is demanded any more.", case.name))
        for company, cases in self.grouped("company_id").items():
            cases = cases._refresh()
            if cases:
                cases.with_company(company)._propose(cases._get_items(), any_day=True)
        return True

    def _propose(self, items, any_day=False):
        """Propose, or record as skipped with the reason, what is due in these cases today.

        Earlier proposals are brought up to date. The number of queries does not depend on the number of cases.

        :param dict items: as ``_get_items`` returns them
        :param bool any_day: also on days off
        :return: the notices that are due
        """
        demands = self._get_demands(items, any_day)
        known = {}
        # sudo: engine-owned records
        for notice in self.env["billing.dunning.notice"].sudo().search(
            [("case_id", "in", [case.id for case in demands]), ("state", "in", ("skipped", *WAITING))]
        ):
            known[notice.case_id.id, notice.step_id.id, notice.date_due or False] = notice
        create, update = [], []
        for case, found in demands.items():
            for demand in found:
                vals = case._prepare_notice(demand)
                if vals["reason_code"] == "transit":
                    vals["reason_values"]["payments"] = case._get_awaited(items[case])
                rows = case._get_demand_rows(demand, items[case])
                notice = known.pop((case.id, demand.step.key, demand.due or False), None)
                if notice:
                    update.append((notice, vals, rows))
                else:
                    create.append((vals, rows))
        self._drop_proposals(known, demands, items)
        notices = self.env["billing.dunning.notice"].sudo().browse()
        lines = {}
        for notice, vals, rows in update:
            if notice.state in ("skipped", "proposed"):
                if notice.state == vals["state"] == "proposed" or vals["state"] == "skipped" == notice.state:
                    vals = {name: vals[name] for name in ("amount", "reason_code", "reason_values")}
                notice.with_context(tracking_disable=True).write(vals)
                lines[notice.id] = rows
            notices |= notice
        created = notices.with_context(tracking_disable=True, mail_create_nosubscribe=True).create(
            [vals for vals, _rows in create]
        )
        lines.update({notice.id: rows for notice, (_vals, rows) in zip(created, create, strict=True)})
        (notices | created)._write_lines(lines)
        return (notices | created).sudo(False).filtered(lambda notice: notice.state != "skipped")

    def _get_demands(self, items, any_day=False):
        """What the kernel says is due today: {case: list of demands}; steps that were done are not among them.

        Cases that have a day off are not among them either: what waits goes on waiting.

        :param bool any_day: also on days off, for what a person sends
        """
        kernels = self.policy_id._get_kernel_policies()
        covered = self._get_reminded()
        result = {}
        for case in self:
            policy, today = kernels[case.policy_id], case.company_id._get_billing_today()
            if not any_day and not policy.calendar.is_working(today):
                continue
            rounding = case.currency_id.rounding
            kernel_items = self._get_kernel_items(items[case])
            demand = dunning.demand_overdue(
                kernel_items, policy, today, case.step_days, case._get_done_steps(), rounding
            )
            reminders = dunning.demand_reminders(kernel_items, policy, today, covered.get(case.id), rounding)
            result[case] = [*([demand] if demand else []), *reminders]
        return result

    def _get_reminded(self):
        """For each case id, the due dates that were reminded of, with the days of the last reminder; by an earlier case
        too, where the item is still open."""
        self.env["billing.dunning.notice"].flush_model()
        self.env["account.move.line"].flush_model(["reconciled"])
        covered = {}
        for case, due, days in self.env.execute_query(
            SQL(
                """SELECT own.id, line.date_maturity, MAX(step.days)
                     FROM billing_case own
                     JOIN billing_dunning_notice notice ON notice.partner_id = own.partner_id
                          AND notice.company_id = own.company_id AND notice.currency_id = own.currency_id
                     JOIN billing_dunning_step step ON step.id = notice.step_id AND step.days <= 0
                     JOIN billing_dunning_notice_line line ON line.notice_id = notice.id AND line.amount > 0
                     LEFT JOIN account_move_line item ON item.id = line.move_line_id
                    WHERE own.id = ANY(%s) AND line.date_maturity IS NOT NULL
                      AND (notice.case_id = own.id OR item.reconciled IS FALSE)
                      AND (notice.state = 'sent' OR notice.state = 'cancelled' AND notice.reason_code = 'manual')
                    GROUP BY own.id, line.date_maturity""",
                self.ids,
            )
        ):
            covered.setdefault(case, {})[due] = days
        return covered

    def _prepare_notice(self, demand):
        """The values of a notice; override to add more."""
        step_sudo = self.env["billing.dunning.step"].sudo().browse(demand.step.key)  # part of the policy
        reason = "legal" if self.date_legal else demand.reason
        waits = step_sudo.approval or step_sudo.policy_id.review
        return {
            "case_id": self.id,
            "step_id": step_sudo.id,
            "channel": step_sudo.channel,
            "collector_id": self.collector_id.id,
            "date": self.company_id._get_billing_today(),
            "date_due": demand.due or False,
            "preparer_id": self.env.uid,
            "approver_id": False,
            "state": "skipped" if reason else "proposed" if waits else "queued",
            "reason_code": reason or False,
            "reason_values": {"amount": self.currency_id.round(demand.amount)} if reason else False,
            "amount": self.currency_id.round(demand.amount),
            "error": False,
            "tries": 0,
        }

    def _get_demand_rows(self, demand, rows):
        """The items that a demand lists, with what of them is demanded."""
        by_line = {row["move_line_id"]: row for row in rows}
        return [by_line[key] for key in demand.keys]

    def _drop_proposals(self, known, demands, items):
        """Take back earlier proposals that are not due any more; those that were skipped are forgotten."""
        reasons = {}
        for (case_id, _step_id, _due), notice in known.items():
            case = self.browse(case_id)
            later = [demand.step.days for demand in demands[case] if demand.step.days > max(notice.step_id.days, 0)]
            if notice.state == "skipped":
                reasons.setdefault(None, []).append(notice.id)
            elif notice.step_id.days > 0 and later:
                reasons.setdefault("superseded", []).append(notice.id)
            else:
                reasons.setdefault(notice._get_reason_passed(), []).append(notice.id)
        notices_sudo = self.env["billing.dunning.notice"].sudo()  # engine-owned records
        for reason, ids in reasons.items():
            if reason:
                notices_sudo.browse(ids)._leave_out(reason)
            else:
                notices_sudo.browse(ids).unlink()
