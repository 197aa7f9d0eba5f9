from odoo import api, fields, models
from odoo.exceptions import ValidationError

from odoo.addons.customer_billing.tools.money import to_decimal

from ..tools.promise import covered
from .billing_case import CLOSED, SETTLED


class BillingCase(models.Model):
    """What promises, agreements and holds need of a case."""

    _name = "billing.case"
    _inherit = "billing.case"

    def _get_open_rows(self):
        """Return the open items of these cases today, the oldest due first: {case: list of dicts}.

        The dicts are those of ``_get_items``, with all exclusions but those of promises and agreements. Queries grow
        with companies, not with cases.
        """
        result = {case: [] for case in self}
        for company, cases in self.grouped("company_id").items():
            items = self._read_items(company, company._get_billing_today(), cases.partner_id.ids)
            for case in cases:
                rows = items.get((case.partner_id.id, case.currency_id.id), [])
                result[case] = sorted(rows, key=lambda row: (row["date_maturity"], row["move_line_id"]))
        return result

    def _get_promise_warning(self, amount, threshold, move_line_ids=()):
        """Why a promise of an amount makes not all items wait that it is about, as a text; False when it does.

        :param float amount: what is promised, in the case's currency
        :param float threshold: the share of an item from which it waits
        :param move_line_ids: ids of the items that are named; none: the oldest item that may be demanded
        """
        self.ensure_one()
        rows = [row for row in self._get_open_rows()[self] if row["residual"] > 0]
        named = [row for row in rows if row["move_line_id"] in move_line_ids]
        rows = named or [row for row in rows if row["excluded"] != "dispute"][:1]
        items = [(row["move_line_id"], to_decimal(row["residual"])) for row in rows]
        waiting = covered(items, to_decimal(amount), to_decimal(threshold))
        if len(waiting) == len(items):
            return False
        return self.env._(
            "%(amount)s is less than %(share)s %% of %(open)s: what is not covered is demanded all the same.",
            amount=self.currency_id.format(amount),
            share=f"{threshold * 100:g}",
            open=self.currency_id.format(sum(row["residual"] for row in rows)),
        )

    def _check_own_items(self, move_lines):
        """:raises ValidationError: a journal item is no receivable of this case's customer, company and currency"""
        self.ensure_one()
        for line in move_lines.sudo():  # ids that a person names, who may not read journal items
            if (
                line.account_type != "asset_receivable"
                or line.parent_state != "posted"
                or line.partner_id.commercial_partner_id != self.partner_id
                or line.currency_id != self.currency_id
                or self.company_id not in line.company_id.parent_ids
            ):
                raise ValidationError(
                    self.env._(
                        "%(item)s is not an item of %(case)s: choose items of this customer, company and currency.",
                        item=line.move_name or line.display_name,
                        case=self.name,
                    )
                )

    def _get_current_case(self):
        """The case of this customer, company and currency that is at work; this one when there is none."""
        self.ensure_one()
        key = ("partner_id", "company_id", "currency_id")
        domain = [*self._get_open_domain(), *((name, "=", self[name].id) for name in key)]
        return self.search(domain, limit=1) or self

    @api.model
    def _before_night(self, company):
        """What is left of closed cases is decided too: a payment may have been taken back, a credit matched later."""
        super()._before_night(company)
        domain = [("company_id", "=", company.id), ("case_id.state", "in", CLOSED)]
        for model, state in (("billing.promise", "open"), ("billing.instalment", "running")):
            records_sudo = self.env[model].sudo().search([*domain, ("state", "=", state)])  # protected fields
            records_sudo._evaluate_cases(records_sudo.case_id)

    def _is_agreed(self):
        """Whether a promise or an agreement is open or offered."""
        self.ensure_one()
        return "open" in self.promise_ids.mapped("state") or bool(
            {"offered", "running"}.intersection(self.instalment_ids.mapped("state"))
        )

    def _close_settled(self, items):
        """Close cases in which nothing is due any more: as paid where money came in since they were opened, or waits to
        be matched; else the bills were credited or cancelled. One query for all cases.

        :param dict items: the items by case
        """
        if not self:
            return
        paid = self.env["billing.promise"]._filter_paid(self)
        paid |= self.filtered(
            lambda case: any(row["residual"] < 0 and row["kind"] == "payment" for row in items[case])
        )
        paid._close("paid")
        (self - paid)._close("credited")

    def _close(self, reason):
        """Where nothing is left to pay, open promises and offers have no object any more."""
        cases_sudo = self.sudo()  # protected fields
        cases_sudo.promise_ids.filtered(lambda promise: promise.state == "open")._withdraw()
        ended = ("draft", "offered") if reason in SETTLED else ("draft", "offered", "running")
        cases_sudo.instalment_ids.filtered(lambda agreement: agreement.state in ended).write({"state": "cancelled"})
        return super()._close(reason)

    def _merge_into(self, kept):
        """A service hold goes on in the case that is kept."""
        if self.date_hold:
            self.hold_pause_ids.write({"case_id": kept.id})
            kept.date_hold = min(filter(None, (kept.date_hold, self.date_hold)))
            self.date_hold = False
        return super()._merge_into(kept)

    @api.model
    def _get_awaited_days(self, items, today):
        """The first day on which a promise is decided, or a part of an agreement falls due: {case: date}.

        Of cases in which one of them makes items wait; once a part is due, the day on which it is missed. The number of
        queries does not depend on the number of cases.

        :param dict items: the items by case, with exclusions
        """
        waiting = {kind: self.browse() for kind in ("promise", "instalment")}
        for kind, cases in waiting.items():
            ids = [case.id for case, rows in items.items() if any(row["excluded"] == kind for row in rows)]
            waiting[kind] = cases.browse(ids)
        days = self.env["billing.promise"]._get_decision_days(waiting["promise"])
        for case, day in self.env["billing.instalment"]._get_next_days(waiting["instalment"], today).items():
            days[case] = min(day, days.get(case, day))
        return days

    @api.model
    def _add_awaited_days(self, rows, items, today):
        """Let somebody look at cases on the day on which a promise is decided, or a part falls due, unless a person set
        another one or something comes before.

        :param list rows: what ``_prepare_refreshed`` gives
        :param dict items: the items by case, with exclusions
        """
        awaited = self._get_awaited_days(items, today)
        for case, row in zip(self.browse([row["id"] for row in rows]), rows, strict=True):
            # where no step is left somebody has to decide before
            follows_step = row["next_action_date"] == row["next_step_date"]
            if case in awaited and follows_step and not case.next_action_manual:
                day = fields.Date.to_string(awaited[case])
                row["next_action_date"] = min(day, row["next_action_date"] or day)

    def _before_refresh(self, items, today):
        """Payments and dates decide promises, agreements and holds, before the state is derived."""
        super()._before_refresh(items, today)
        self.env["billing.promise"]._evaluate_cases(self)
        self.env["billing.instalment"]._evaluate_cases(self)
        for case in self.filtered("date_hold"):
            if case.currency_id.compare_amounts(case._get_overdue(items[case]), 0) <= 0:
                case._release_hold()

    def _get_overdue(self, rows=None):
        """What is overdue today, credits deducted, in the currency of the case.

        :param list rows: the items of ``_get_items``; read when not given
        """
        self.ensure_one()
        rows = self._get_open_rows()[self] if rows is None else rows
        return self.currency_id.round(
            sum(row["residual"] for row in rows if row["residual"] < 0 or row["days_overdue"] > 0)
        )
