from odoo import Command, api, fields, models
from odoo.exceptions import UserError


class BillingContractChange(models.TransientModel):
    """Amend, pause, resume or close contracts, after a look at what it costs."""

    _name = "billing.contract.change"
    _description = "Change Contract"

    contract_ids = fields.Many2many("billing.contract", required=True, string="Contracts")
    change = fields.Selection(
        [
            ("amend", "Change lines or plan"),
            ("pause", "Pause"),
            ("resume", "Resume"),
            ("close", "Close"),
        ],
        required=True,
        default="close",
    )
    date = fields.Date(
        required=True,
        default=lambda self: self.env.company._get_billing_today(),
        help="Amend: first day of the new terms. Pause: first day not charged. Resume: first "
        "day charged again. Close: last day charged.",
    )
    plan_id = fields.Many2one("billing.plan", string="New Plan")
    line_ids = fields.One2many(
        "billing.contract.change.line",
        "change_id",
        compute="_compute_line_ids",
        store=True,
        readonly=False,
    )
    close_reason_id = fields.Many2one("billing.close.reason", string="Close Reason")
    reason = fields.Char(help="Kept in the history of the contract.")
    bill_now = fields.Boolean(
        string="Do Not Wait for the Next Bill",
        help="What the change costs or gives back is billed by the next run instead of with the "
        "next regular bill.",
    )
    state = fields.Selection([("edit", "Edit"), ("preview", "Preview")], default="edit")
    preview_ids = fields.One2many("billing.contract.simulation", "change_id", readonly=True)
    currency_id = fields.Many2one(related="contract_ids.currency_id")
    amount_before = fields.Monetary(string="Next Bill Before", readonly=True)
    amount_after = fields.Monetary(string="Next Bill After", readonly=True)

    @api.depends("contract_ids", "change")
    def _compute_line_ids(self):
        for wizard in self:
            lines = self.env["billing.contract.line"]
            if wizard.change == "amend" and len(wizard.contract_ids) == 1:
                today = wizard.contract_ids._get_today()
                lines = wizard.contract_ids._origin.line_ids.filtered(
                    lambda line, today=today: not line._get_last_day()
                    or line._get_last_day() >= today
                )
            wizard.line_ids = [
                Command.clear(),
                *(
                    Command.create(
                        {
                            "line_id": line.id,
                            "product_id": line.product_id.id,
                            "name": line.name,
                            "charge_type": line.charge_type,
                            "meter_id": line.meter_id.id,
                            "quantity": line.quantity,
                            "price_unit": line.price_unit,
                            "discount": line.discount,
                        }
                    )
                    for line in lines
                ),
            ]

    def action_preview(self):
        """Show what the next bills look like before and after the change; changes nothing."""
        self.ensure_one()
        contracts = self.contract_ids
        contracts.check_access("write")
        before, after = contracts._preview_change(
            self.date, lambda _contracts: self.with_context(tracking_disable=True)._apply()
        )
        lines = set(contracts.line_ids.ids)
        self.preview_ids.unlink()
        self.write(
            {
                "state": "preview",
                "amount_before": sum(row["amount"] for row in before),
                "amount_after": sum(row["amount"] for row in after),
                "preview_ids": [
                    Command.create(
                        {**row, "line_id": row["line_id"] if row["line_id"] in lines else False}
                    )
                    for row in after
                ],
            }
        )
        return self._reopen()

    def action_back(self):
        """Return from the preview to the change."""
        self.state = "edit"
        return self._reopen()

    def action_confirm(self):
        """Carry the change out."""
        self.ensure_one()
        self._apply()
        return {"type": "ir.actions.act_window_close"}

    def _apply(self):
        """Do what the wizard says, through the public methods of the contract."""
        contracts = self.contract_ids
        if self.change == "amend":
            if len(contracts) != 1:
                raise UserError(self.env._("Amend one contract at a time."))
            changes = [row._prepare_amendment() for row in self.line_ids]
            contracts.action_amend(
                {
                    "lines": [change for change in changes if change],
                    "plan_id": self.plan_id.id,
                    "bill_now": self.bill_now,
                    "reason": self.reason,
                },
                self.date,
            )
            return
        if self.change == "pause":
            contracts.action_pause(self.date, self.reason)
        elif self.change == "resume":
            contracts.action_resume(self.date)
        else:
            if not self.close_reason_id:
                raise UserError(self.env._("Choose a reason for closing."))
            contracts.action_close(self.date, self.close_reason_id)
        if self.bill_now:
            contracts.charge_ids.filtered(lambda charge: charge.state == "pending")._bill_now()

    def _reopen(self):
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Change Contract"),
            "res_model": self._name,
            "res_id": self.id,
            "view_mode": "form",
            "target": "new",
        }
