import contextlib
from datetime import timedelta

from odoo import fields, models
from odoo.exceptions import AccessError, UserError

DAY = timedelta(days=1)
# What an amendment may change of a line; everything else follows the line it replaces.
AMENDABLE_FIELDS = frozenset(
    ("product_id", "name", "quantity", "price_id", "price_unit", "discount", "tax_ids",
     "charge_type", "date_end", "meter_id", "max_slots")
)  # fmt: skip


class PreviewDone(Exception):
    """Ends the savepoint in which a preview applied the change."""


class BillingContract(models.Model):
    _inherit = "billing.contract"

    def action_amend(self, values, date=None):
        """Change the terms of a running contract from ``date`` on.

        A changed line ends the day before and another one starts: the past stays as it is.
        What the change costs in periods that are billed already waits for the next bill.

        :param values: ``lines``: list of dicts of new values; with ``line_id`` they replace that
            line, with ``end`` true they end it, without ``line_id`` they are a new line.
            ``plan_id``: another plan for all recurring lines. ``bill_now``: do not wait for the
            next regular bill. ``reason``: a text for the history.
        :param date: first day of the new terms (default today)
        :return: ids of the charges that wait for the next bill
        :raises UserError: the contract does not run, the date is outside of it, or a line is not
            one of its current lines
        """
        self.ensure_one()
        self.check_access("write")
        date = fields.Date.to_date(date) or self._get_today()
        self._check_amendable(values, date)
        changes = list(values.get("lines") or [])
        if plan_id := values.get("plan_id"):
            changes = self._add_plan_changes(changes, date)
        plan = self.env["billing.plan"].browse(plan_id) or self.plan_id
        summary = [self._amend_line(dict(change), date, plan) for change in changes]
        self.invalidate_recordset(["line_ids"])
        self._touch(date - DAY, wait=True)
        self._follow_plan()
        pending = self.charge_ids.filtered(lambda charge: charge.state == "pending")
        if values.get("bill_now"):
            pending._bill_now()
        self.message_post(
            body=self.env._(
                "Amended from %(date)s: %(changes)s %(reason)s",
                date=fields.Date.to_string(date),
                changes="; ".join(summary),
                reason=values.get("reason") or "",
            ).strip()
        )
        return pending.ids

    def _check_amendable(self, values, date):
        """Raise when the contract cannot be amended from ``date`` on."""
        unknown = set(values) - {"lines", "plan_id", "bill_now", "reason"}
        for change in values.get("lines") or []:
            unknown |= set(change) - AMENDABLE_FIELDS - {"line_id", "end"}
        if unknown:
            raise UserError(
                self.env._("An amendment cannot change: %s.", ", ".join(sorted(unknown)))
            )
        if not values.get("lines") and not values.get("plan_id"):
            raise UserError(self.env._("Nothing is changed: alter, add or end at least one line."))
        for change in values.get("lines") or []:
            if not change.get("line_id") and not change.get("product_id"):
                raise UserError(
                    self.env._("A new line needs a product, a changed one the id of its line.")
                )
        if self.state not in ("active", "paused"):
            raise UserError(
                self.env._("%s does not run: only active contracts are amended.", self.name)
            )
        if date < self.date_start or (self.date_end and date > self.date_end):
            raise UserError(
                self.env._(
                    "%(date)s is outside of %(contract)s, which runs from %(start)s to %(end)s.",
                    date=date,
                    contract=self.name,
                    start=self.date_start,
                    end=self.date_end or "…",
                )
            )
        if self.billed_through and date <= self.billed_through:
            raise UserError(
                self.env._(
                    "Days up to %s were charged in another system and cannot be changed here.",
                    self.billed_through,
                )
            )

    def _add_plan_changes(self, changes, date):
        """A change of plan replaces every line by period that still runs."""
        named = {change.get("line_id") for change in changes}
        running = self.line_ids.filtered(
            lambda line: line.charge_type != "one_time"
            and (not line._get_last_day() or line._get_last_day() >= max(date, line.date_start))
        )
        return changes + [{"line_id": line.id} for line in running if line.id not in named]

    def _follow_plan(self):
        """A contract is on the plan that its current recurring lines are billed by."""
        for contract in self.sudo():  # frozen for people, changed by amendments
            plans = contract.line_ids.filtered(
                lambda line: line.is_current and line.charge_type == "recurring"
            ).plan_id
            if len(plans) == 1 and plans != contract.plan_id:
                contract.plan_id = plans

    def _amend_line(self, change, date, plan):
        """Apply one change; returns it in words."""
        line = self.env["billing.contract.line"].browse(change.pop("line_id", False) or ())
        end = change.pop("end", False)
        lines_sudo = self.env["billing.contract.line"].sudo()  # frozen for people
        if not line:
            new = lines_sudo.create({**change, "contract_id": self.id, "date_start": date})
            new._freeze(plan)
            return self.env._("added %(line)s, %(terms)s", line=new.name, terms=new._get_terms_text())
        if line not in self.line_ids or (line._get_last_day() and line._get_last_day() < date):
            raise UserError(
                self.env._("Line %s is not one of the current lines of this contract.", line.id)
            )
        start = line._get_amendment_date(date)
        old_text, old_end = line._get_terms_text(), line.date_end
        line_sudo = line.sudo()
        new_values = {
            name: change[name] if name in change else line_sudo._fields[name].convert_to_write(
                line_sudo[name], line_sudo)
            for name in AMENDABLE_FIELDS
        }  # fmt: skip
        if line.max_slots and "max_slots" not in change:
            new_values["max_slots"] = line._get_slots_left(start)
        line_sudo.date_end = start - DAY
        if end:
            return self.env._("ended %(line)s", line=line.name)
        if "price_id" in change and "price_unit" not in change:
            new_values.pop("price_unit")
        if "product_id" in change:
            for name in ("name", "price_id", "price_unit", "tax_ids"):
                if name not in change:
                    new_values.pop(name, None)
        if not {"price_id", "product_id"} & change.keys():
            new_values["tax_factor"] = line_sudo._get_tax_factor()
        new = lines_sudo.create(
            {
                **new_values,
                "contract_id": self.id,
                "date_start": start,
                "date_end": change.get("date_end", old_end),
                "sequence": line.sequence,
                "previous_line_id": line.id,
            }
        )
        new._freeze(plan)
        later = self.line_ids.filtered(
            lambda other: other.previous_line_id == line and other.date_start > start
        )
        later.sudo().previous_line_id = new  # the chain follows the calendar
        if line.charge_type == "usage":
            self.env["billing.usage"]._move_to(new, line)
        return self.env._(
            "%(line)s: %(old)s → %(new)s", line=new.name, old=old_text, new=new._get_terms_text()
        )

    def _take_back_lines(self, lines, reason):
        """Undo amendments that have not begun: the lines before ``lines`` go on in their place.

        :raises UserError: a line has begun, or was amended itself
        """
        self.ensure_one()
        today = self._get_today()
        first = min(lines.mapped("date_start"))
        for line in lines:
            before = line.previous_line_id
            if (
                line.date_start <= today
                or line in self.line_ids.previous_line_id
                or before.date_end != line.date_start - DAY
            ):
                raise UserError(
                    self.env._(
                        "%(line)s of %(contract)s has begun or was amended since: set its price by "
                        "another amendment.",
                        line=line.name,
                        contract=self.name,
                    )
                )
            before_sudo, line_sudo = before.sudo(), line.sudo()  # frozen for people
            before_sudo.date_end = line.date_end
            self.env["billing.usage"]._move_to(before_sudo, line_sudo)
            if line_sudo.charge_ids:  # part of the books: it stays, without a day
                line_sudo.write({"date_end": line.date_start - DAY, "previous_line_id": False})
            else:
                line_sudo.unlink()
        self.invalidate_recordset(["line_ids"])
        self._touch(first - DAY, wait=True)
        self.message_post(body=self.env._("An amendment was taken back: %s", reason))

    def simulate(self, date):
        """What will be billed up to ``date``, by the code of the real run; books nothing.

        :param date: last bill date looked at (a date or its string)
        :return: list of dicts, by bill date: ``contract_id, line_id, name, bill_date,
            period_start, period_end, quantity, price_unit, amount, currency_id``; dates as
            strings, amounts in the currency of the contract and the basis of its price
        :raises AccessError: the user may not read the contract, or is not shown what it costs
        """
        self.check_access("read")
        if not self.env.su and not self.env.user._sees_bills():
            raise AccessError(self.env._("You see this contract, but not what it costs: ask those who get the bills."))
        date = fields.Date.to_date(date)
        found = []
        for due in self.env["billing.engine"]._compute_due(self, date):
            if due.error:
                raise UserError(
                    self.env._("%(name)s: %(reason)s", name=due.contract.name, reason=due.error)
                )
            found += due.contract._describe_due(due)
        return sorted(found, key=lambda row: (row["bill_date"], row["contract_id"]))

    def _preview_change(self, date, change):
        """What these contracts will be billed up to the next regular bill, before and after a change.

        :param date: the day of the change
        :param change: called with these contracts; what it does is rolled back
        :return: (rows before, rows after), as of ``simulate``
        """
        days = [day for day in self.mapped("next_bill_date") if day]
        until = max([self._get_today(), date, *days])
        before, after = self.simulate(until), []
        with contextlib.suppress(PreviewDone), self.env.cr.savepoint():
            change(self.with_context(tracking_disable=True))
            after = self.simulate(until)
            raise PreviewDone
        return before, after

    def _describe_due(self, due):
        """What the engine found for this contract, as dicts like those of ``simulate``."""
        return [
            {
                "contract_id": self.id,
                "line_id": item.line.id,
                "name": item.line.name,
                "bill_date": fields.Date.to_string(item.bill_date),
                "period_start": fields.Date.to_string(item.period_start),
                "period_end": fields.Date.to_string(item.period_end),
                "quantity": float(item.quantity),
                "price_unit": float(item.price_unit),
                "amount": float(item.amount),
                "currency_id": self.currency_id.id,
            }
            for item in due.items
        ]

    def action_view_simulation(self):
        """Open what these contracts will be billed in the next twelve months."""
        today = self._get_today()
        rows = self.env["billing.contract.simulation"]
        rows.search([("create_uid", "=", self.env.uid), ("change_id", "=", False)]).unlink()
        rows.create(self.simulate(fields.Date.add(today, months=12)))
        title = self.env._("Next Twelve Months")
        return {
            "type": "ir.actions.act_window",
            "name": title,
            "res_model": "billing.contract.simulation",
            "view_mode": "pivot,list,graph",
            "domain": [("create_uid", "=", self.env.uid), ("change_id", "=", False)],
            "context": {"create": False},
        }
