from collections import defaultdict
from datetime import timedelta
from decimal import Decimal

from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError
from odoo.fields import Domain
from odoo.tools import SQL, format_date

from ..tools import usage

DAY = timedelta(days=1)
# What a charge was computed from: fixed once the record is charged.
FROZEN_FIELDS = frozenset(
    ("contract_line_id", "contract_id", "meter_id", "timestamp", "date", "quantity", "key",
     "reversed_id")
)  # fmt: skip


class BillingUsage(models.Model):
    """One measurement of a meter for a usage line.

    A record that is charged does not change any more. It is corrected by a reversing record
    (``reversed_id``): neither of the two counts then, whatever the meter's aggregation. For
    meters that sum up, a record with a negative quantity is a correction too."""

    _name = "billing.usage"
    _description = "Usage"
    _inherit = ["billing.protected.mixin", "billing.import.mixin"]
    _order = "timestamp desc, id desc"
    _check_company_auto = True
    _billing_protected = frozenset(("charge_id", "partner_id", "company_id", "date"))

    contract_line_id = fields.Many2one(
        "billing.contract.line",
        required=True,
        index=True,
        ondelete="cascade",
        domain=[("charge_type", "=", "usage")],
        help="Left out in an import: the usage line of the contract with this meter.",
    )
    contract_id = fields.Many2one(
        "billing.contract",
        compute="_compute_from_line",
        store=True,
        readonly=False,
        precompute=True,
        required=True,
        index=True,
        ondelete="cascade",
    )
    meter_id = fields.Many2one(
        "billing.meter",
        compute="_compute_from_line",
        store=True,
        readonly=False,
        precompute=True,
        required=True,
        ondelete="restrict",
    )
    partner_id = fields.Many2one(
        related="contract_id.partner_id", store=True, index=True, string="Customer"
    )
    company_id = fields.Many2one(related="contract_id.company_id", store=True)
    timestamp = fields.Datetime(
        string="Time", required=True, default=fields.Datetime.now, help="When it was used."
    )
    date = fields.Date(
        string="Day",
        compute="_compute_date",
        store=True,
        precompute=True,
        help="The day of use in the time zone of the company.",
    )
    quantity = fields.Float(
        required=True, digits=(16, 6), default=1.0, help="In the unit of the meter."
    )
    uom = fields.Char(related="meter_id.uom", string="Unit")
    key = fields.Char(help="What a meter counts that counts different keys: a user, a device.")
    external_id = fields.Char(
        string="Source Reference",
        copy=False,
        help="The record's own name in the system it comes from: it is never taken twice.",
    )
    reversed_id = fields.Many2one(
        "billing.usage",
        string="Reverses",
        copy=False,
        index="btree_not_null",
        ondelete="cascade",
        help="The record that this one takes back; neither counts.",
    )
    reversal_ids = fields.One2many("billing.usage", "reversed_id", string="Reversed By")
    charge_id = fields.Many2one(
        "billing.charge",
        readonly=True,
        copy=False,
        index="btree_not_null",
        ondelete="restrict",
        groups="base.group_user",
    )
    state = fields.Selection(
        [("open", "Not charged"), ("charged", "Charged"), ("uncharged", "Never charged")],
        string="Status",
        compute="_compute_state",
        search="_search_state",
        compute_sudo=True,
        help="Never charged: the day is paused, or was charged in another system.",
    )
    uncharged_reason = fields.Char(
        string="Why Not Charged", compute="_compute_state", compute_sudo=True
    )

    _external_id_unique = models.UniqueIndex(
        "(meter_id, external_id) WHERE external_id IS NOT NULL",
        "A record with this source reference was taken for this meter before.",
    )
    _reversed_unique = models.UniqueIndex(
        "(reversed_id) WHERE reversed_id IS NOT NULL", "This usage is reversed already."
    )
    _line_date_index = models.Index("(contract_line_id, date)")

    # Computes

    @api.depends("contract_line_id")
    def _compute_from_line(self):
        for record in self:
            if line := record.contract_line_id:
                record.contract_id = line.contract_id
                record.meter_id = line.meter_id

    @api.depends("timestamp", "contract_line_id")
    def _compute_date(self):
        for record in self:
            record.date = record.timestamp and record._get_local_day(
                record.contract_line_id.contract_id.company_id, record.timestamp
            )

    @api.depends_context("lang")
    @api.depends(
        "charge_id", "date", "contract_id.billed_through", "contract_id.pause_ids.date_uncharged",
        "contract_id.pause_ids.date_to",
    )  # fmt: skip
    def _compute_state(self):
        for record in self:
            record.uncharged_reason = record._get_uncharged_reason()
            if record.uncharged_reason:
                record.state = "uncharged"
            else:
                record.state = "charged" if record.charge_id else "open"

    def _get_uncharged_reason(self):
        """Why the day of this record is not charged, as a sentence; False when it is."""
        contract = self.contract_id
        if not self.date:
            return False
        if contract.billed_through and self.date <= contract.billed_through:
            return self.env._(
                "Charged in another system, up to %s.",
                format_date(self.env, contract.billed_through),
            )
        for pause in contract.pause_ids:
            if pause.date_uncharged <= self.date and (not pause.date_to or self.date <= pause.date_to):
                return self.env._("The contract is paused on this day: %s.", pause.display_name)
        return False

    @api.model
    def _search_state(self, operator, value):
        if operator not in ("in", "not in"):
            return NotImplemented
        uncharged = Domain(
            "id",
            "in",
            SQL(
                """(
                SELECT u.id
                  FROM billing_usage u
                  JOIN billing_contract c ON c.id = u.contract_id
                 WHERE u.date <= c.billed_through
                    OR EXISTS (
                        SELECT FROM billing_contract_pause p
                         WHERE p.contract_id = c.id AND p.date_uncharged <= u.date
                           AND COALESCE(p.date_to, u.date) >= u.date))"""
            ),
        )
        charged = Domain("charge_id", "!=", False)
        domains = {"uncharged": uncharged, "charged": ~uncharged & charged, "open": ~uncharged & ~charged}
        found = Domain.OR(domains[state] for state in value if state in domains)
        return found if operator == "in" else ~found

    @api.depends("quantity", "meter_id", "date")
    def _compute_display_name(self):
        for record in self:
            record.display_name = (
                f"{record.meter_id._format_quantity(record.quantity)}, {record.date}"
            )

    @api.model
    def _get_local_day(self, company, timestamp):
        """The day of a UTC time in the time zone of ``company``."""
        zone = company.sudo().partner_id.tz or "UTC"  # sudo: no rule on the company's own address
        return usage.local_day(timestamp, zone)

    # Constraints

    @api.constrains("contract_line_id", "meter_id", "contract_id", "timestamp")
    def _check_line(self):
        for record in self:
            line = record.contract_line_id
            if line.charge_type != "usage" or record.meter_id != line.meter_id:
                raise ValidationError(
                    self.env._(
                        "%(line)s is not charged by the meter %(meter)s.",
                        line=line.name,
                        meter=record.meter_id.display_name,
                    )
                )
            if record.contract_id != line.contract_id:
                raise ValidationError(
                    self.env._(
                        "%(line)s is not a line of %(contract)s.",
                        line=line.name,
                        contract=record.contract_id.name,
                    )
                )
            last_day = line._get_last_day()
            if record.date < line.date_start or (last_day and record.date > last_day):
                raise ValidationError(
                    self.env._(
                        "%(date)s is not a day of %(line)s (%(start)s to %(end)s): choose the "
                        "line that runs on that day.",
                        date=record.date,
                        line=line.name,
                        start=line.date_start,
                        end=last_day or "…",
                    )
                )

    @api.constrains("reversed_id", "quantity", "key", "timestamp", "contract_line_id")
    def _check_reversal(self):
        for record in self.filtered("reversed_id"):
            original = record.reversed_id
            same = all(
                record[name] == original[name] for name in ("contract_line_id", "timestamp", "key")
            )
            if original.reversed_id or not same or record.quantity != -original.quantity:
                raise ValidationError(
                    self.env._(
                        "A reversing record has the line, the time and the key of the record it "
                        "takes back, and its quantity with the other sign."
                    )
                )

    # Create, write, unlink: what should be charged changes

    @api.model_create_multi
    def create(self, vals_list):
        records = super().create(self._route(vals_list))
        records._propagate(records._get_touched_days())
        return records

    def write(self, vals):
        moving = self.env.su and self.env.context.get("billing_moving")  # see _move_to
        if moving or not FROZEN_FIELDS.intersection(vals):
            return super().write(vals)
        records = self.filtered(lambda record: record._has_changes(vals))
        if not self.env.su:
            records._check_not_charged()
        touched = records._get_touched_days()
        result = super().write(vals)
        for line, day in records._get_touched_days().items():
            touched[line] = min(day, touched.get(line, day))
        self._propagate(touched)
        return result

    def unlink(self):
        touched = self._get_touched_days()
        result = super().unlink()
        self._propagate(touched)
        return result

    @api.ondelete(at_uninstall=False)
    def _unlink_not_charged(self):
        self._check_not_charged()

    def action_reverse(self):
        """Take records back with reversing records; returns the new ids.

        :raises UserError: a record is reversed already or reverses another
        """
        if bad := self.filtered(lambda r: r.reversed_id or r.reversal_ids)[:1]:
            raise UserError(
                self.env._("%s is reversed already, or reverses another.", bad.display_name)
            )
        reversals = self.create(
            [
                {
                    "contract_line_id": record.contract_line_id.id,
                    "timestamp": record.timestamp,
                    "quantity": -record.quantity,
                    "key": record.key,
                    "reversed_id": record.id,
                }
                for record in self
            ]
        )
        return reversals.ids

    @api.model
    def _route(self, vals_list):
        """Give rows without a line the usage line of their contract, meter and day.

        A line that an amendment replaced passes rows on to the line that runs on their day.
        """
        contracts = self.env["billing.contract"].browse(
            {vals["contract_id"] for vals in vals_list if vals.get("contract_id")}
        )
        lines = self.env["billing.contract.line"]
        lines.browse(
            {vals["contract_line_id"] for vals in vals_list if vals.get("contract_line_id")}
        ).contract_id.line_ids.fetch(["date_start", "date_end", "previous_line_id"])
        contracts.line_ids.fetch(["meter_id", "charge_type"])
        return [self._route_vals(vals) for vals in vals_list]

    @api.model
    def _route_vals(self, vals):
        timestamp = fields.Datetime.to_datetime(vals.get("timestamp")) or fields.Datetime.now()
        vals = {**vals, "timestamp": timestamp}
        if line_id := vals.get("contract_line_id"):
            line = self.env["billing.contract.line"].browse(line_id)
            day = self._get_local_day(line.contract_id.company_id, timestamp)
            return {**vals, "contract_line_id": (line._get_line_of_day(day) or line).id}
        if not vals.get("contract_id") or not vals.get("meter_id"):
            raise UserError(self.env._("Name the contract and the meter, or the contract line."))
        contract = self.env["billing.contract"].browse(vals["contract_id"])
        meter = self.env["billing.meter"].browse(vals["meter_id"])
        line = self._find_line(contract, meter, timestamp)
        return {**vals, "contract_line_id": line.id}

    @api.model
    def _find_line(self, contract, meter, timestamp):
        """The usage line of ``contract`` with ``meter`` on the day of ``timestamp``.

        :raises UserError: there is none, or more than one
        """
        day = self._get_local_day(contract.company_id, timestamp)
        found = contract.line_ids.filtered(
            lambda line: line.charge_type == "usage"
            and line.meter_id == meter
            and line.date_start <= day
            and (not line._get_last_day() or line._get_last_day() >= day)
        )
        values = {"contract": contract.name, "meter": meter.display_name, "date": day}
        if not found:
            raise UserError(
                self.env._(
                    "%(contract)s has no usage line with the meter %(meter)s on %(date)s: check "
                    "the time, or amend the contract.",
                    **values,
                )
            )
        if len(found) > 1:
            raise UserError(
                self.env._(
                    "%(contract)s has several usage lines with the meter %(meter)s on %(date)s: "
                    "name the line.",
                    **values,
                )
            )
        return found

    def _has_changes(self, vals):
        """Whether ``vals`` changes what this record counts for: an import may repeat itself."""
        self.ensure_one()
        for name in FROZEN_FIELDS.intersection(vals):
            field = self._fields[name]
            value = field.convert_to_record(field.convert_to_cache(vals[name], self), self)
            if value != self[name]:
                return True
        return False

    def _check_not_charged(self):
        """Raise when one of these records is on a charge."""
        if record := self.filtered("charge_id")[:1]:
            raise UserError(
                self.env._(
                    "%s is charged and stays as it is. Correct it with a reversing record "
                    "(Reverse) and a new one.",
                    record.display_name,
                )
            )

    def _get_touched_days(self):
        """The first day of these records by line."""
        touched = {}
        for record in self:
            line = record.contract_line_id
            touched[line] = min(record.date, touched.get(line, record.date))
        return touched

    @api.model
    def _propagate(self, touched):
        """Let the engine look again at periods that are billed already.

        Usage of a period that is not billed yet needs no more than that a run at the same time
        notices. Contracts are touched together as far as they have the same first day.
        """
        contracts_sudo = self.env["billing.contract"].sudo().browse(
            {line.contract_id.id for line in touched}
        )  # sudo: engine-owned fields
        contracts_sudo._mark_changed()
        days = {}
        for line, day in touched.items():
            contract_sudo = line.sudo().contract_id
            days[contract_sudo] = min(day, days.get(contract_sudo, day))
        groups = defaultdict(contracts_sudo.browse)
        for contract_sudo, day in days.items():
            metered = contract_sudo.line_ids.filtered(
                lambda line: line.charge_type in ("usage", "minimum")
            )
            if any(line.recompute_from and line.recompute_from > day for line in metered):
                groups[contract_sudo.company_id, day] |= contract_sudo
        for (_company, day), group_sudo in groups.items():
            group_sudo._touch(day, wait=True)

    # For the engine

    @api.model
    def _load_days(self, from_days, until):
        """What the meters of lines counted by day: {line id: sorted usage.DayUsage}, one query.

        :param from_days: {line: first day}
        :param until: last day, inclusive
        """
        if not from_days:
            return {}
        self.flush_model()
        rows = self.env.execute_query(
            SQL(
                """
                SELECT u.contract_line_id, u.date,
                       CASE WHEN m.aggregation = 'unique' THEN COALESCE(u.key, '') ELSE '' END,
                       CASE MIN(m.aggregation)
                            WHEN 'max' THEN MAX(u.quantity)
                            WHEN 'last' THEN (ARRAY_AGG(
                                u.quantity ORDER BY u.timestamp DESC,
                                COALESCE(u.key, '') COLLATE "C" DESC, u.quantity DESC))[1]
                            ELSE SUM(u.quantity) END,
                       COUNT(*)
                  FROM UNNEST(%s::int[], %s::date[]) AS f(line_id, from_day)
                  JOIN billing_usage u
                    ON u.contract_line_id = f.line_id AND u.date BETWEEN f.from_day AND %s
                  JOIN billing_meter m ON m.id = u.meter_id
                 WHERE u.reversed_id IS NULL
                   AND NOT EXISTS (SELECT FROM billing_usage r WHERE r.reversed_id = u.id)
              GROUP BY 1, 2, 3
              ORDER BY 1, 2, 3
                """,
                [line.id for line in from_days],
                list(from_days.values()),
                until,
            )
        )
        found = defaultdict(list)
        for line_id, day, key, quantity, count in rows:
            found[line_id].append(usage.DayUsage(day, Decimal(quantity), key, count))
        return found

    @api.model
    def _claim(self, charges):
        """Mark the records that ``charges`` were computed from as charged."""
        self.flush_model()
        charges.flush_recordset()
        self.env.cr.execute(
            SQL(
                """
                UPDATE billing_usage u
                   SET charge_id = c.id
                  FROM billing_charge c
                 WHERE c.id IN %s
                   AND u.contract_line_id = c.contract_line_id
                   AND u.date >= c.slot_start
                   AND u.date < (c.trace -> 'slot' ->> 1)::date
                   AND EXISTS (
                        SELECT FROM JSONB_ARRAY_ELEMENTS(c.trace -> 'served') s
                         WHERE u.date >= (s ->> 0)::date AND u.date < (s ->> 1)::date)
                   AND u.charge_id IS NULL
                """,
                tuple(charges.ids),
            )
        )
        self.invalidate_model(["charge_id", "state"], flush=False)

    @api.model
    def _release(self, charges):
        """Charges are void: their records are charged anew."""
        self.flush_model(["charge_id"])
        self.env.cr.execute(
            SQL(
                "UPDATE billing_usage SET charge_id = NULL WHERE charge_id IN %s",
                tuple(charges.ids),
            )
        )
        self.invalidate_model(["charge_id", "state"], flush=False)

    @api.model
    def _move_to(self, line, previous):
        """Give ``line`` the usage of its days that was recorded on the line it replaces."""
        if line.charge_type != "usage" or line.meter_id != previous.meter_id:
            return
        last_day = line._get_last_day()
        domain = [("contract_line_id", "=", previous.id), ("date", ">=", line.date_start)]
        if last_day:
            domain.append(("date", "<=", last_day))
        # sudo: an amendment moves records, charged or not; the engine nets what they cost
        records_sudo = self.sudo().search(domain)
        records_sudo.with_context(billing_moving=True).write(
            {"contract_line_id": line.id, "charge_id": False}
        )
