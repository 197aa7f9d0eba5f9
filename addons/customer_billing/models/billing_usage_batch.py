import math
from datetime import UTC, datetime

from psycopg2.errors import UniqueViolation

from odoo import api, models
from odoo.exceptions import UserError
from odoo.tools import mute_logger

MAX_ROWS = 10_000
FIRST_YEAR, LAST_YEAR = 1900, 2999
COLUMNS = frozenset(
    ("contract", "contract_id", "line_id", "meter", "timestamp", "quantity", "external_id", "key")
)


class RowError(Exception):
    """What is wrong in one column of a row, in words for people."""

    def __init__(self, column, message):
        super().__init__(message)
        self.column = column


class BillingUsage(models.Model):
    _inherit = "billing.usage"

    @api.model
    def get_import_templates(self):
        """The file to fill in for Odoo's import."""
        return [
            {
                "label": self.env._("Import Template for Usage"),
                "template": "/customer_billing/static/xls/usage_import_template.xlsx",
            }
        ]

    @api.model
    def record_batch(self, rows):
        """Record usage; the same rows again add nothing, and a bad row loses no other.

        :param rows: list of dicts: ``external_id`` (the record's own name, taken once per meter),
            ``meter`` (its code), ``contract`` (number) or ``contract_id`` or ``line_id``,
            ``timestamp`` (``2026-01-31 23:59:00`` in UTC, or ISO 8601 with an offset),
            ``quantity`` (number in the unit of the meter), ``key`` (optional text: what a meter
            of different keys counts). At most 10,000 rows.
        :return: list of dicts in the order of ``rows``: ``row`` (from 1), ``status``
            (``created | duplicate | error``), ``id`` of the record or False, and for an error
            ``column`` and ``message`` (what to do)
        :raises UserError: too many rows
        """
        self.check_access("create")
        if not isinstance(rows, list) or len(rows) > MAX_ROWS:
            raise UserError(self.env._("Send a list of at most %s rows at a time.", MAX_ROWS))
        rows = [self._clean_row(row) if isinstance(row, dict) else {} for row in rows]
        lookup = self._get_batch_lookup(rows)
        results, new = [], []
        for number, row in enumerate(rows, start=1):
            result = {"row": number, "status": "created", "id": False, "column": "", "message": ""}
            results.append(result)
            try:
                vals = self._prepare_batch_vals(row, lookup)
                key = (vals["meter_id"], vals["external_id"])
                if key in lookup["known"]:
                    self._report_duplicate(result, vals, lookup["known"][key])
                else:
                    lookup["known"][key] = self.browse()
                    new.append((result, vals))
            except RowError as error:
                result.update(status="error", column=error.column, message=str(error))
            except UserError as error:
                result.update(status="error", column="contract", message=str(error))
        self._create_batch(new)
        return results

    @api.model
    def _clean_row(self, row):
        """A row without what no text of the database can hold."""
        return {
            column: value.replace("\x00", "") if isinstance(value, str) else value
            for column, value in row.items()
        }

    @api.model
    def _create_batch(self, new):
        """Create the records of ``new``, a list of (result, values): all at once, and one by one
        only when that fails."""
        if not new:
            return
        try:
            with self.env.cr.savepoint(), mute_logger("odoo.sql_db"):
                records = self.create([vals for _result, vals in new])
                self.env.flush_all()
        except (UniqueViolation, UserError) as error:
            if len(new) > 1:
                for item in new:
                    self._create_batch([item])
            elif isinstance(error, UniqueViolation):  # another process was faster
                new[0][0].update(status="duplicate")
            else:
                new[0][0].update(status="error", column="timestamp", message=str(error))
            return
        for (result, _vals), record in zip(new, records, strict=True):
            result["id"] = record.id

    @api.model
    def _get_batch_lookup(self, rows):
        """Everything that the rows name, read with a few queries.

        :return: dict: ``meters`` by code and company id, ``names`` contracts by number,
            ``contracts`` by id, ``lines`` by id, ``known`` records by (meter id, external id)
        """
        companies = [("company_id", "in", self.env.companies.ids)]
        names = self._get_texts(rows, "contract")
        ids = self._get_numbers(rows, "contract_id")
        line_ids = self._get_numbers(rows, "line_id")
        contracts = self.env["billing.contract"].with_context(active_test=False).search(
            [*companies, "|", ("name", "in", names), ("id", "in", ids)]
        )
        lines = self.env["billing.contract.line"].search([*companies, ("id", "in", line_ids)])
        meters = self.env["billing.meter"].search(
            [
                ("code", "in", self._get_texts(rows, "meter")),
                ("company_id", "in", [False, *self.env.companies.ids]),
            ]
        )
        known = self.search(
            [
                ("external_id", "in", self._get_texts(rows, "external_id")),
                ("meter_id", "in", meters.ids),
            ]
        )
        return {
            "meters": {(meter.code, meter.company_id.id): meter for meter in meters},
            "names": contracts.grouped("name"),
            "contracts": {contract.id: contract for contract in contracts},
            "lines": {line.id: line for line in lines},
            "known": {(record.meter_id.id, record.external_id): record for record in known},
        }

    @api.model
    def _get_texts(self, rows, column):
        return list({str(row[column]).strip() for row in rows if row.get(column)})

    @api.model
    def _get_numbers(self, rows, column):
        found = (row.get(column) for row in rows)
        return list({value for value in found if isinstance(value, int) and 0 < value < 2**31})

    @api.model
    def _prepare_batch_vals(self, row, lookup):
        """The values of one row; raises ``RowError`` with its column."""
        if unknown := set(row) - COLUMNS:
            raise RowError(
                min(unknown),
                self.env._("Leave this column out, or use: %s.", ", ".join(sorted(COLUMNS))),
            )
        external_id = str(row.get("external_id") or "").strip()
        if not external_id:
            raise RowError(
                "external_id",
                self.env._("Give each record its own name, so that it is never taken twice."),
            )
        contract, line = self._get_batch_target(row, lookup)
        code = str(row.get("meter") or "").strip()
        meter = lookup["meters"].get((code, contract.company_id.id)) or lookup["meters"].get(
            (code, False)
        )
        if not meter:
            raise RowError("meter", self.env._("There is no meter with the code “%s”.", code))
        timestamp = self._parse_timestamp(row.get("timestamp"))
        if line:
            day = self._get_local_day(contract.company_id, timestamp)
            line = line._get_line_of_day(day) or line
            if line.meter_id != meter:
                raise RowError("line_id", self.env._("%s is not charged by this meter.", line.name))
        else:
            line = self._find_line(contract, meter, timestamp)
        return {
            "external_id": external_id,
            "meter_id": meter.id,
            "contract_line_id": line.id,
            "timestamp": timestamp,
            "quantity": self._parse_quantity(row.get("quantity")),
            "key": str(row.get("key") or "") or False,
        }

    @api.model
    def _get_batch_target(self, row, lookup):
        """The contract that a row names, and its line when the row names one."""
        if row.get("line_id"):
            number = row["line_id"]
            line = lookup["lines"].get(number) if isinstance(number, int) else None
            if not line:
                raise RowError(
                    "line_id", self.env._("There is no contract line %s.", row["line_id"])
                )
            return line.contract_id, line
        if row.get("contract_id"):
            number = row["contract_id"]
            contract = lookup["contracts"].get(number) if isinstance(number, int) else None
        else:
            contract = lookup["names"].get(str(row.get("contract") or "").strip())
        if not contract:
            named = row.get("contract") or row.get("contract_id") or ""
            raise RowError("contract", self.env._("There is no contract “%s”.", named))
        if len(contract) > 1:
            raise RowError(
                "contract",
                self.env._("Several companies have this contract number: give contract_id."),
            )
        return contract, self.env["billing.contract.line"]

    @api.model
    def _parse_timestamp(self, value):
        """A UTC time without zone from ISO 8601; without an offset it is UTC."""
        try:
            timestamp = datetime.fromisoformat(str(value).strip())
            if timestamp.tzinfo:
                timestamp = timestamp.astimezone(UTC).replace(tzinfo=None)
            if not FIRST_YEAR <= timestamp.year <= LAST_YEAR:  # days in other zones must be days
                raise ValueError(value)
        except (ValueError, OverflowError):
            raise RowError(
                "timestamp",
                self.env._(
                    "“%s” is not a time: write 2026-01-31 23:59:00 (UTC) or "
                    "2026-01-31T23:59:00+01:00.",
                    value or "",
                ),
            )
        return timestamp.replace(microsecond=0)

    @api.model
    def _parse_quantity(self, value):
        try:
            quantity = float(value)
        except (TypeError, ValueError, OverflowError):
            quantity = math.nan
        if not math.isfinite(quantity):
            raise RowError("quantity", self.env._("“%s” is not a number: write 12.5.", value))
        return quantity

    @api.model
    def _report_duplicate(self, result, vals, record):
        """The row is known: say so, and when it was taken with other values."""
        result.update(status="duplicate", id=record.id)
        if record and (
            abs(record.quantity - vals["quantity"]) > 1e-6
            or record.timestamp != vals["timestamp"]
        ):
            result["message"] = self.env._(
                "It was taken before with %(quantity)s at %(time)s and stays so: reverse that "
                "record and send the right one with another external_id.",
                quantity=record.quantity,
                time=record.timestamp,
            )

    @api.model
    def _get_known_records(self, data_list):
        known = super()._get_known_records(data_list)
        values = [data["values"] for data in data_list]
        meters = [self._get_row_meter(vals) for vals in values]
        found = self.search(
            [
                ("external_id", "in", [v["external_id"] for v in values if v.get("external_id")]),
                ("meter_id", "in", meters),
            ]
        )
        records = {(record.meter_id.id, record.external_id): record for record in found}
        for index, (vals, meter_id) in enumerate(zip(values, meters, strict=True)):
            if not vals.get("external_id"):
                continue
            key = (meter_id, vals["external_id"])
            if key in records:
                known.setdefault(index, records[key])
            else:
                records[key] = self.browse()  # repeated further down in the file
        return known

    @api.model
    def _get_row_meter(self, vals):
        line = self.env["billing.contract.line"].browse(vals.get("contract_line_id") or ())
        return vals.get("meter_id") or line.meter_id.id
