import json
import logging

from psycopg2 import OperationalError

from odoo import api, fields, models
from odoo.exceptions import ConcurrencyError
from odoo.tools import SQL, split_every

from ..tools import dunning
from .billing_case import CLOSED

_logger = logging.getLogger(__name__)

CHUNK_SIZE = 500  # customers that are looked at together
INLINE_REFRESHES = 20  # cases that are looked at in the transaction of a payment
HISTORY_DAYS = 365  # of bills that tell how a customer pays

# What a refresh writes, with the types of the columns.
REFRESHED = {
    "state": "varchar", "amount_open": "numeric", "amount_overdue": "numeric", "amount_overdue_company": "numeric",
    "days_overdue": "int", "next_step_id": "int", "next_step_date": "date", "next_action_date": "date",
    "priority": "int", "priority_reason": "jsonb", "error": "varchar",
}  # fmt: skip


COLLECTOR = ("collector_id", "collector_manual", "collector_amount")


class BillingCase(models.Model):
    """Cases open, change and close by what the ledger says."""

    _name = "billing.case"
    _inherit = "billing.case"

    @api.model
    def _refresh_customers(self, company, partner_ids):
        """Open, refresh and close the cases of customers, with a number of queries that does not depend on how many.

        :param company: a company without parent; its branches are included
        :param list partner_ids: ids of customers
        :return: the items of the cases that are open then, as ``_get_items`` returns them
        """
        today = company._get_billing_today()
        items = self._read_items(company, today, partner_ids)
        # sudo: opened and refreshed by facts, whoever has caused them
        cases_sudo = self.sudo().search(
            [*self._get_open_domain(), ("company_id", "=", company.id), ("partner_id", "in", partner_ids)]
        )
        cases_sudo |= cases_sudo._open(company, today, items, {(c.partner_id.id, c.currency_id.id) for c in cases_sudo})
        result = cases_sudo._refresh_from(items, today)
        cases_sudo = cases_sudo.browse([case.id for case in result])
        cases_sudo._follow_amounts(company, self._sum_overdue(items, cases_sudo.partner_id))
        return result

    def _refresh(self):
        """Look at these cases again: their amounts, state, next step and priority; close what is paid.

        :return: the cases that are open then, new ones among them
        """
        found = self.browse()
        for company, cases in self.sudo().filtered(lambda c: c.state not in CLOSED).grouped("company_id").items():
            today = company._get_billing_today()
            for ids in split_every(CHUNK_SIZE, cases.ids):
                chunk = self.sudo().browse(ids)
                items = chunk._refresh_from(self._read_items(company, today, chunk.partner_id.ids), today)
                found += self.browse([case.id for case in items])
        return found

    def _refresh_from(self, items, today):
        """Refresh with items by customer and currency, see ``_read_items``; returns ``{case: items}`` of those open."""
        by_case = {case: items.get((case.partner_id.id, case.currency_id.id), []) for case in self}
        self._before_refresh(by_case, today)
        self._exclude_protected(by_case)
        self._tell_overdue(by_case)
        behaviour = self._get_behaviour(self.company_id, self.partner_id.ids, today) if self else {}
        reached = self._take_over_steps(by_case)
        kernels = self.policy_id._get_kernel_policies()
        rows, paid = [], self.browse()
        for case, found in by_case.items():
            policy = kernels[case.policy_id]
            if not case._is_to_stay_open(found, policy, today):
                paid |= case
                continue
            rows.append({"id": case.id, **case._prepare_refreshed(found, policy, today, behaviour)})
        self._add_awaited_days(rows, by_case, today)
        settled = self._get_settled(rows, reached, today)
        settled |= self.browse([row["id"] for row in rows])._get_handover_settled(by_case)
        self._write_refreshed([row for row in rows if row["id"] not in settled.ids])
        (paid | settled)._close_settled(by_case)
        result = {case: found for case, found in by_case.items() if case not in paid | settled}
        return {**result, **settled._begin_anew(items, today)}

    def _before_refresh(self, items, today):
        """Called before states are derived, with the items of each case: decide here what payments decide."""

    # The debt that was demanded

    def _take_over_steps(self, items):
        """Let these cases go on after the highest step that was carried out for what is open, in an earlier case too.

        A case that was covered by credits is closed; when the credits are used otherwise, or a payment is taken back,
        another one finds items that were demanded before.

        :param dict items: the items by case, with exclusions
        :return: the days of that step by case; without those in which nothing is owed that was demanded
        """
        lines, moves = {}, {}
        for case, rows in items.items():
            # what is on its way has not arrived
            kernel_items = self._get_kernel_items({**row, "transit": 0.0} for row in rows)
            owed = {item.key for item in dunning.lasting_debts(kernel_items, case._get_rounding())}
            for row in rows:
                if row["move_line_id"] in owed:
                    lines[row["move_line_id"]] = moves[row["move_id"]] = case
        steps = {}
        for line, move, step, days in self._read_demanded(list(lines), list(moves)):
            steps[lines.get(line) or moves[move]] = step, days
        for case, (step, days) in steps.items():
            if days > case.step_days:
                case.with_context(tracking_disable=True).write({"step_id": step, "step_days": days})
        return {case: days for case, (_step, days) in steps.items()}

    @api.model
    def _read_demanded(self, move_line_ids, move_ids):
        """The steps after the due date that were carried out for items, the highest last: rows of item, document, step
        and its days at the time; the item is empty where it is gone, and its document was demanded."""
        if not move_line_ids:
            return []
        for name in ("billing.case", "billing.dunning.notice", "billing.dunning.notice.line", "billing.dunning.step"):
            self.env[name].flush_model()
        return self.env.execute_query(
            SQL(
                """SELECT line.move_line_id, line.move_id, step.id,
                          CASE WHEN step.id = demanding.step_id THEN demanding.step_days ELSE step.days END AS days
                     FROM billing_dunning_notice_line line
                     JOIN billing_dunning_notice notice ON notice.id = line.notice_id
                     JOIN billing_case demanding ON demanding.id = notice.case_id
                     JOIN billing_dunning_step step ON step.id = notice.step_id AND step.days > 0
                    WHERE (line.move_line_id = ANY(%s) OR line.move_line_id IS NULL AND line.move_id = ANY(%s))
                      AND line.amount > 0
                      AND (notice.state = 'sent' OR notice.state = 'cancelled' AND notice.reason_code = 'manual')
                    ORDER BY days, step.id""",
                move_line_ids,
                move_ids,
            )
        )

    def _get_settled(self, rows, reached, today):
        """The cases in which all is settled that was demanded with their step, though other items are due.

        The steps that were carried out belong to what was demanded with them. Cases stay as they are while anything is
        agreed or in dispute, or a notice waits that is still the right one.

        :param list rows: what ``_prepare_refreshed`` gives
        :param dict reached: what ``_take_over_steps`` gives
        """
        settled = self.browse()
        for case, row in zip(self.browse([row["id"] for row in rows]), rows, strict=True):
            if row["state"] != "open" or case.step_days <= reached.get(case, 0) or case._is_agreed():
                continue
            notices = case.notice_ids
            waiting = notices.filtered(lambda notice: notice.state in ("proposed", "queued", "failed"))
            if row["next_step_date"] == fields.Date.to_string(today) and row["next_step_id"] in waiting.step_id.ids:
                continue
            last = notices.filtered(lambda notice, step=case.step_id: notice.step_id == step and notice._is_done())
            # a step that a person left out while nothing was to be demanded settles nothing
            if not last or any(line.amount > 0 for line in last.line_ids):
                settled += case
        return settled

    def _begin_anew(self, items, today):
        """Open and refresh cases for what is due now at the customers of these closed cases; their collectors go on.

        :param dict items: the items by customer and currency
        :return: the items by new case
        """
        if not self:
            return {}
        self.flush_recordset()  # one open case for each customer and currency
        closed = {(case.partner_id.id, case.currency_id.id): case for case in self}
        own = {key: items[key] for key in closed}
        return self.browse()._open(self.company_id, today, own, set(), closed)._refresh_from(own, today)

    # Opening

    def _open(self, company, today, items, known, kept=None):
        """Open cases for customers and currencies with something to demand; returns them.

        :param set known: pairs of customer and currency that have a case
        :param dict kept: closed cases by customer and currency whose collectors go on
        """
        kept = kept or {}
        partners = self.env["res.partner"].sudo().browse({partner for partner, _c in items if partner})
        policies = self.env["billing.dunning.policy"]._get_for(partners, company)
        kernels = self.env["billing.dunning.policy"].union(*policies.values())._get_kernel_policies()
        found = []
        for (partner_id, currency_id), rows in items.items():
            partner = self.env["res.partner"].sudo().browse(partner_id or ())
            policy = policies.get(partner)
            if not policy or (partner_id, currency_id) in known:
                continue
            if self._is_to_open(rows, kernels[policy], today, currency_id):
                found.append((partner, currency_id, policy))
        if not found:
            return self.browse()
        names = self.env["ir.sequence"]._get_billing_numbers("billing.case", len(found), company)
        amounts = self._sum_overdue(items, [partner for partner, _c, _p in found])
        collectors = self._get_collectors(company, amounts)
        able = self._get_able_collectors(company)
        return self.with_context(tracking_disable=True, mail_create_nosubscribe=True).create(
            [
                {
                    "name": name,
                    "partner_id": partner.id,
                    "company_id": company.id,
                    "currency_id": currency_id,
                    "policy_id": policy.id,
                    "collector_id": collectors[partner].id,
                    "collector_amount": amounts[partner],
                    "date_opened": today,
                    **kept.get((partner.id, currency_id), self.browse())._get_collector_values(able),
                }
                for name, (partner, currency_id, policy) in zip(names, found, strict=True)
            ]
        )

    def _get_collector_values(self, able):
        """What a case that follows this one takes over of its collector, as far as it is one of ``able``."""
        if not self.collector_id & able:
            return {}
        return self._convert_to_write({name: self[name] for name in COLLECTOR})

    @api.model
    def _sum_overdue(self, items, partners):
        """What is overdue of customers in all, credits deducted, in company currency: {customer: amount}."""
        amounts = dict.fromkeys(partners, 0.0)
        for (partner_id, _currency), rows in items.items():
            partner = self.env["res.partner"].sudo().browse(partner_id or ())
            if partner in amounts:
                amounts[partner] += sum(
                    row["residual_company"] for row in rows if row["residual"] < 0 or row["days_overdue"] > 0
                )
        return amounts

    @api.model
    def _is_to_open(self, rows, policy, today, currency_id):
        """Whether there is something to demand: overdue, or due so soon that reminders begin; credits deducted."""
        items = self._get_kernel_items(rows)
        due = [
            item
            for item in items
            if item.amount > 0 and not item.excluded and (item.due < today or policy.is_reminded(item.due, today))
        ]
        credit = sum(item.amount for item in items if item.amount < 0)
        rounding = self.env["res.currency"].browse(currency_id).rounding
        return bool(due) and sum(item.amount for item in due) + credit >= rounding / 2

    def _is_to_stay_open(self, rows, policy, today):
        """Whether something is still owed that is due, or for which reminders have begun; excluded items count too."""
        due = sum(
            row["residual"]
            for row in rows
            if row["residual"] > 0 and (row["days_overdue"] > 0 or policy.is_reminded(row["date_maturity"], today))
        )
        credit = sum(row["residual"] for row in rows if row["residual"] < 0)
        return due + credit >= self.currency_id.rounding / 2

    # Refreshing

    def _prepare_refreshed(self, rows, policy, today, behaviour):
        """The values of a case that follow from its items."""
        kernel_items = self._get_kernel_items(rows)
        overdue = [row for row in rows if row["residual"] > 0 and row["days_overdue"] > 0]
        credits = [row for row in rows if row["residual"] < 0]
        overdue_company = max(sum(row["residual_company"] for row in overdue + credits), 0.0)
        days = max((row["days_overdue"] for row in overdue), default=0)
        late_share, broken_share = behaviour.get(self.partner_id.id, (0.0, 0.0))
        priority, age_factor, behaviour_factor = dunning.priority(overdue_company, days, late_share, broken_share)
        oldest = dunning.oldest_due(kernel_items, today, self._get_rounding())
        step, day = dunning.next_step(policy, oldest, today, self.step_days, self._get_done_steps())
        action_day = self._get_action_date(oldest, day, today)
        return {
            "state": dunning.case_state(
                bool(self.date_legal), bool(self.date_hold), {row["excluded"] for row in rows if row["excluded"]}
            ),
            "amount_open": self.currency_id.round(sum(row["residual"] for row in rows)),
            "amount_overdue": self.currency_id.round(max(sum(row["residual"] for row in overdue + credits), 0.0)),
            "amount_overdue_company": self.company_currency_id.round(overdue_company),
            "days_overdue": days,
            "next_step_id": step and step.key,
            "next_step_date": day and fields.Date.to_string(day),
            "next_action_date": action_day and fields.Date.to_string(action_day) or None,
            "priority": priority,
            "priority_reason": {
                "amount": self.company_currency_id.round(overdue_company),
                "days": days,
                "age_factor": age_factor,
                "late_share": round(late_share, 2),
                "broken_share": round(broken_share, 2),
                "behaviour_factor": behaviour_factor,
            },
            "error": None,
        }

    def _get_done_steps(self):
        """Ids of the steps that were carried out or left out by a person in this case, and of that taken over."""
        return set((self.notice_ids.filtered(lambda notice: notice._is_done()).step_id | self.step_id).ids)

    def _get_action_date(self, oldest, step_day, today):
        """The day on which somebody looks at the case: as a person has set it, or that of the next step.

        None while nothing is to be demanded; where no step is left somebody has to decide, from the first such day on.
        """
        if self.next_action_manual:
            return self.next_action_date
        if step_day or not oldest:
            return step_day
        return min(self.next_action_date or today, today)

    def _write_refreshed(self, rows):
        """Write what ``_prepare_refreshed`` gives, by one statement; log new states and lower balances."""
        if not rows:
            return
        cases = self.browse([row["id"] for row in rows])
        before = {case.id: (case.state, case.amount_open) for case in cases}
        cases.flush_recordset()
        columns = SQL(", ").join(SQL("%s = new.%s", SQL.identifier(n), SQL.identifier(n)) for n in REFRESHED)
        types = SQL(", ").join(SQL("%s %s", SQL.identifier(n), SQL(kind)) for n, kind in REFRESHED.items())
        self.env.execute_query(
            SQL(
                """UPDATE billing_case SET %s, date_refreshed = %s, write_date = %s, write_uid = %s
                     FROM jsonb_to_recordset(%s::jsonb) AS new (id int, %s)
                    WHERE billing_case.id = new.id RETURNING billing_case.id""",
                columns, fields.Datetime.now(), fields.Datetime.now(), self.env.uid, json.dumps(rows), types,
            )
        )  # fmt: skip
        cases.invalidate_recordset([*REFRESHED, "date_refreshed", "write_date", "write_uid"], flush=False)
        labels = dict(self._fields["state"]._description_selection(self.env))
        bodies = {}
        for case, row in zip(cases, rows, strict=True):
            state, amount = before[case.id]
            changes = [f"{labels[state]} → {labels[row['state']]}"] if row["state"] != state else []
            if case.currency_id.compare_amounts(row["amount_open"], amount) < 0:
                money = case.currency_id.format
                changes.append(
                    self.env._(
                        "Balance: %(before)s → %(after)s", before=money(amount), after=money(row["amount_open"])
                    )
                )
            if changes:
                bodies[case.id] = ". ".join(changes)
        if bodies:
            self.browse(bodies)._message_log_batch(bodies=bodies)

    @api.model
    def _get_behaviour(self, company, partner_ids, today):
        """How customers keep to dates: {customer id: (share of late bills, share of broken promises)}.

        Of the bills of the last year that were due, and of all promises that were decided.
        """
        self.env["billing.receivable"]._flush()
        accounts = self.env["account.account"].sudo().with_context(active_test=False).search(
            [("account_type", "=", "asset_receivable")]
        )  # fmt: skip
        late = self.env.execute_query(
            SQL(
                """SELECT customer.commercial_partner_id,
                          AVG(CASE WHEN line.reconciled AND paid.date <= line.date_maturity THEN 0.0 ELSE 1.0 END)
                     FROM account_move_line line
                     JOIN res_partner customer ON customer.id = line.partner_id
                     LEFT JOIN LATERAL (
                         SELECT MAX(max_date) AS date FROM account_partial_reconcile WHERE debit_move_id = line.id
                     ) paid ON TRUE
                    WHERE line.account_id = ANY(%s) AND line.parent_state = 'posted' AND line.balance > 0
                      AND line.company_id = ANY(%s) AND line.date_maturity >= %s AND line.date_maturity < %s
                      AND line.partner_id IN (SELECT id FROM res_partner WHERE commercial_partner_id = ANY(%s))
                    GROUP BY customer.commercial_partner_id""",
                accounts.ids,
                self.env["res.company"].sudo().search([("id", "child_of", company.ids)]).ids,
                fields.Date.subtract(today, days=HISTORY_DAYS),
                today,
                partner_ids,
            )
        )
        promises = {}
        for partner, state, count in self.env["billing.promise"].sudo()._read_group(
            [
                ("partner_id", "in", partner_ids),
                ("company_id", "in", company.ids),
                ("state", "not in", ("open", "cancelled")),
            ],
            ["partner_id", "state"],
            ["__count"],
        ):  # fmt: skip
            promises.setdefault(partner.id, {})[state] = count
        result = {partner: (float(share), 0.0) for partner, share in late}
        for partner, counts in promises.items():
            broken = counts.get("broken", 0) / sum(counts.values())
            result[partner] = (result.get(partner, (0.0, 0.0))[0], broken)
        return result

    # What happens in between

    @api.model
    def _note_changes(self, partner_ids):
        """Look at the cases of customers again before this transaction ends: something was paid, disputed or promised.

        A few are refreshed at once, more by the job; the cost does not depend on how often this is called.
        """
        noted = self.env.cr.precommit.data.setdefault("billing_case_partners", set())
        if not noted:
            self.env.cr.precommit.add(self.with_env(self.env(su=True))._refresh_noted)
        noted.update(partner_ids)

    def _refresh_noted(self):
        data = self.env.cr.precommit.data  # a savepoint empties it
        partner_ids, matches = data.pop("billing_case_partners", set()), data.pop("billing_case_matches", set())
        cases = self.search([*self._get_open_domain(), ("partner_id", "in", list(partner_ids))])
        if not cases:
            return
        if told := cases.filtered("date_legal") if matches else cases.browse():
            told._attempt_noted(lambda: told._tell_matches(matches))
        if len(cases) <= INLINE_REFRESHES and cases._attempt_noted(cases._refresh):
            return
        cases.write({"date_refreshed": False})
        self.env.ref("customer_billing_collection.ir_cron_refresh").sudo()._trigger()

    def _attempt_noted(self, method):
        """Call ``method``; returns whether it went well: a payment must not fail because of its case."""
        try:
            with self.env.cr.savepoint():
                method()
        except (OperationalError, ConcurrencyError):
            raise
        except Exception:  # the job refreshes again, and tells
            _logger.exception("Collection cases could not be refreshed")
            self.env.invalidate_all(flush=False)
            return False
        return True

    @api.model
    def _cron_refresh(self):
        """Look at the cases in which something has changed, chunk by chunk, each its own commit."""
        commit = self.env["ir.cron"]._commit_progress
        domain = [*self._get_open_domain(), ("date_refreshed", "=", False), ("error", "=", False)]
        commit(remaining=self.search_count(domain))
        while cases := self.search(domain, limit=CHUNK_SIZE, order="company_id, id"):
            company, cases = next(iter(cases.grouped("company_id").items()))
            cases.with_company(company)._attempt_refresh()
            if not commit(len(cases)):
                return

    def _attempt_refresh(self):
        """Refresh; when that fails, one case at a time, so that one stops no other."""
        try:
            with self.env.cr.savepoint():
                self._refresh()
        except (OperationalError, ConcurrencyError):
            raise
        except Exception as error:
            self.env.invalidate_all(flush=False)
            if len(self) > 1:
                for case in self:
                    case._attempt_refresh()
            else:
                _logger.exception("Collection case %s: the job could not work on it", self.name)
                self.sudo().write({"error": str(error)})  # protected field; the health page counts it
