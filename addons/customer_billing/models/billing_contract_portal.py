from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from odoo import models

from ..tools import charging, usage

DAY = timedelta(days=1)


class BillingContract(models.Model):
    """What the customer is shown of a contract before there is a bill."""

    _name = "billing.contract"
    _inherit = "billing.contract"

    def _get_report_base_filename(self):
        return self.name

    def _preview_next_bill(self):
        """The next bill of these contracts, by the code of the real run; books nothing.

        The caller has checked that the reader may see the contracts.

        :return: None when nothing is to be billed any more; else a dict: ``date``, the first day on which the bill
            may be made; ``items``, dicts as of ``simulate``; ``totals``, list of (currency, untaxed, tax)
        """
        contracts_sudo = self.sudo().filtered("next_bill_date")  # access was checked: the engine reads more
        if not contracts_sudo:
            return None
        date = max(min(contracts_sudo.mapped("next_bill_date")), self._get_today())
        due_sudo = contracts_sudo.filtered(lambda contract: contract.next_bill_date <= date)
        engine = self.env["billing.engine"].sudo()
        dues = [due for due in engine._compute_due(due_sudo, date) if not due.error]
        run = self.env["billing.run"].sudo().new({"invoice_date": date, "date": date})
        totals = {}
        for contract_id, (untaxed, tax) in engine._preview_amounts(engine._group(dues), run).items():
            currency = self.browse(contract_id).sudo().currency_id
            before = totals.get(currency, (0.0, 0.0))
            totals[currency] = (before[0] + untaxed, before[1] + tax)
        return {
            "date": date,
            "items": [row for due in dues for row in due.contract._describe_due(due)],
            "totals": [(currency, *map(currency.round, amounts)) for currency, amounts in totals.items()],
        }

    def _get_usage_to_date(self, today):
        """What the meters have counted in the running periods, and what it costs so far.

        The caller has checked that the reader may see the contracts.

        :return: list of dicts, one for each line: ``contract_id``, ``name``, ``date_from``, ``date_to`` (inclusive),
            ``quantity`` as text, ``amount`` before minimum commitments, ``currency``
        """
        # sudo: prices and meters, for the figures that a reader of the contract is shown
        metered_sudo = self.sudo().line_ids.filtered(lambda line: line.charge_type == "usage")
        lines_sudo = metered_sudo.filtered(  # access was checked: prices are closed to customers
            lambda line: line.date_start <= today
            and (not line._get_last_day() or line._get_last_day() >= today)
        )
        terms = {line: line._get_terms() for line in metered_sudo}
        starts = {line: charging.slot_start(terms[line], today) for line in metered_sudo}
        days = self.env["billing.usage"].sudo()._load_days(starts, today)
        for line in metered_sudo:
            terms[line] = replace(terms[line], days=tuple(days.get(line.id, ())))
        self.env["billing.engine"]._count_on(terms, {})
        found = []
        for line in lines_sudo:
            slot = next(charging.line_slots(terms[line], starts[line]), None)
            if not slot:
                continue
            inputs, _count = charging.slot_inputs(terms[line], slot, None)
            should = charging.entitlement(terms[line], slot, inputs)
            found.append(
                {
                    "contract_id": line.contract_id.id,
                    "name": line.name,
                    "date_from": slot.start,
                    "date_to": slot.end - DAY,
                    "quantity": line.meter_id._format_quantity(inputs.quantity),
                    "amount": float(should.full_amount),
                    "currency": line.currency_id,
                }
            )
        return found

    def _get_usage_history(self, spans):
        """What each meter of this contract counted in some spans of days, over all amendments.

        The caller has checked that the reader may see the contract.

        :param spans: list of half-open (first day, day after the last), ascending
        :return: {meter: list of quantities, one for each span}
        """
        self.ensure_one()
        lines_sudo = self.sudo().line_ids.filtered("meter_id")  # access was checked; meters of old lines too
        found = self.env["billing.usage"].sudo()._load_days(
            dict.fromkeys(lines_sudo, spans[0][0]), spans[-1][1] - DAY
        )
        history = {}
        for meter, lines in lines_sudo.grouped("meter_id").items():
            days = sorted((day for line in lines for day in found.get(line.id, ())), key=lambda day: day.day)
            history[meter] = [
                usage.of_days(meter.aggregation, days, [span])[0] if days else Decimal(0) for span in spans
            ]
        return history
