from odoo import api, fields, models


class BillingContractPause(models.Model):
    """Days on which a contract is not charged. Pauses may overlap; each ends on its own."""

    _name = "billing.contract.pause"
    _description = "Contract Pause"
    _order = "date_from desc, id desc"

    contract_id = fields.Many2one(
        "billing.contract", required=True, index=True, ondelete="cascade"
    )
    company_id = fields.Many2one(related="contract_id.company_id", store=True)
    date_from = fields.Date(string="From", required=True, help="The first day not charged.")
    date_to = fields.Date(string="To", help="The last day not charged; empty: until resumed.")
    date_uncharged = fields.Date(
        string="Not Charged From", compute="_compute_date_uncharged", store=True, readonly=False, precompute=True,
        help="The first day that is not charged: of a service hold, after the days that are billed already.",
    )  # fmt: skip
    origin = fields.Selection(
        [("staff", "Staff"), ("customer", "Customer"), ("hold", "Service hold")],
        default="staff",
        required=True,
    )
    reason = fields.Char(groups="base.group_user")

    _date_order = models.Constraint(
        "CHECK (date_to IS NULL OR date_to >= date_from)",
        "The last day of a pause cannot be before its first.",
    )
    _uncharged_order = models.Constraint(
        "CHECK (date_uncharged >= date_from)", "The first day that is not charged is a day of the pause or after it."
    )

    @api.depends("date_from")
    def _compute_date_uncharged(self):
        for pause in self:
            given = pause.date_uncharged if pause.origin == "hold" else pause.date_from
            pause.date_uncharged = max(given or pause.date_from, pause.date_from) if pause.date_from else False

    @api.depends("date_from", "date_to")
    def _compute_display_name(self):
        for pause in self:
            pause.display_name = f"{pause.date_from} – {pause.date_to or '…'}"

    @api.model_create_multi
    def create(self, vals_list):
        pauses = super().create(vals_list)
        pauses._propagate({pause.contract_id: pause.date_from for pause in pauses})
        return pauses

    def write(self, vals):
        touched = self._get_touched_days()
        result = super().write(vals)
        for contract, day in self._get_touched_days().items():
            touched[contract] = min(day, touched.get(contract, day))
        self._propagate(touched)
        return result

    def unlink(self):
        touched = self._get_touched_days()
        result = super().unlink()
        self._propagate(touched)
        return result

    def _get_uncharged_days(self):
        """The days that are not charged because of these pauses: list of [first, day after the last or None)."""
        return [
            (pause.date_uncharged, pause.date_to and fields.Date.add(pause.date_to, days=1) or None)
            for pause in self
            if not pause.date_to or pause.date_to >= pause.date_uncharged
        ]

    def _get_touched_days(self):
        """First paused day by contract."""
        touched = {}
        for pause in self:
            day = touched.get(pause.contract_id, pause.date_from)
            touched[pause.contract_id] = min(day, pause.date_from)
        return touched

    def _propagate(self, touched):
        for contract, day in touched.items():
            contract._touch(day, wait=True)
            contract._refresh_state()
