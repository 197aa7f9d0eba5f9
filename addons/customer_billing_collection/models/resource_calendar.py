from datetime import timedelta

import pytz

from odoo import fields, models

from ..tools import dunning

PAST_DAYS, COMING_DAYS = 800, 400  # holidays that are looked at, around today


class ResourceCalendar(models.Model):
    _inherit = "resource.calendar"

    def _get_billing_calendar(self):
        """The working days and public holidays of this calendar, as the kernel knows them."""
        self.ensure_one()
        weekdays = set()
        for attendance in self.attendance_ids.filtered(lambda a: not a.display_type):
            kinds = (int(attendance.week_type),) if self.two_weeks_calendar and attendance.week_type else (0, 1)
            weekdays.update((kind, int(attendance.dayofweek)) for kind in kinds)
        return dunning.Calendar(frozenset(weekdays), frozenset(self._get_billing_holidays()))

    def _get_billing_holidays(self):
        """The days that lie, at noon, in time off for everybody."""
        now, zone = fields.Datetime.now(), pytz.timezone(self.tz or "UTC")
        leaves = self.env["resource.calendar.leaves"].search(
            [
                ("resource_id", "=", False),
                ("calendar_id", "in", (self.id, False)),
                ("company_id", "in", (self.company_id.id or self.env.company.id, False)),
                ("date_to", ">=", now - timedelta(days=PAST_DAYS)),
                ("date_from", "<=", now + timedelta(days=COMING_DAYS)),
            ]
        )
        for leave in leaves:
            start, end = (
                pytz.utc.localize(moment).astimezone(zone).replace(tzinfo=None)
                for moment in (leave.date_from, leave.date_to)
            )
            noon = start.replace(hour=12, minute=0, second=0, microsecond=0)
            while noon <= end:
                if noon >= start:
                    yield noon.date()
                noon += timedelta(days=1)
