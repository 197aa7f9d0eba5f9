from datetime import timedelta

from odoo import fields, models
from odoo.exceptions import UserError
from odoo.tools import format_date


class BillingCase(models.Model):
    """Service hold: the contracts of a customer who does not pay are paused, and go on when he has paid."""

    _name = "billing.case"
    _inherit = "billing.case"

    hold_allowed = fields.Boolean(related="policy_id.hold_allowed")
    hold_requester_id = fields.Many2one(
        "res.users", string="Hold Asked By", readonly=True, copy=False, tracking=True, index="btree_not_null"
    )
    hold_pause_ids = fields.One2many("billing.contract.pause", "case_id", string="Held Contracts", readonly=True)

    @property
    def _billing_protected(self):
        return super()._billing_protected | {"hold_requester_id"}

    def action_start_hold(self, reason=None):
        """Pause the contracts of these customers, as their policies allow.

        Where the policy's hold needs an approval, the first person asks for it, and a billing manager who is another
        person starts it by the same method.

        :param str reason: why; for staff
        :raises UserError: the policy or the contracts allow no hold, or another billing manager has to do it
        """
        self.check_access("write")
        for case in self:
            if case.date_hold or not case._is_hold_approved_by_two():
                case._start_hold(reason)
            elif case.hold_requester_id:
                case._check_approver(case.hold_requester_id)
                case._start_hold(reason)
            else:
                case._get_contracts_to_hold()
                case.sudo().hold_requester_id = self.env.user  # protected field
                case._message_log(body=case.env._("Service hold asked for: %s", reason or case.name))
        self._refresh()
        return True

    def action_release_hold(self):
        """End the holds of these cases: the contracts are charged again from today on."""
        self.check_access("write")
        self._release_hold()
        self._refresh()
        return True

    def action_new_promise(self):
        """Open the form of a promise of this case."""
        return self._open_new("billing.promise", self.env._("New Promise"), default_amount=self.amount_overdue)

    def action_new_instalment(self):
        """Open the form of an instalment agreement of this case."""
        return self._open_new("billing.instalment", self.env._("New Instalment Agreement"))

    def _open_new(self, model, name, **context):
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": name,
            "res_model": model,
            "view_mode": "form",
            "target": "new" if model == "billing.promise" else "current",
            "context": {"default_case_id": self.id, **context},
        }

    def _is_hold_approved_by_two(self):
        """Whether a hold needs a second person: the policy's hold step asks for it, and the company approves."""
        steps_sudo = self.policy_id.sudo().step_ids.filtered(lambda step: step.channel == "hold")
        return self.company_id.sudo().billing_approval and any(steps_sudo.mapped("approval"))  # sudo: settings

    def _start_hold(self, reason=None):
        """Pause the contracts billed to this customer in the currency of the case that may be held.

        Nothing that was paid is taken away: the hold of a contract begins after the last day of its periods that are
        paid. Nothing that was billed is credited: what a bill demands stays owed, and only days after the billed
        periods are not charged. A hold that is on already stays as it is.

        :param str reason: why; for staff
        :return: the contracts that are held
        :raises UserError: the policy allows no hold, no contract may be held, or all are paid to their end
        """
        self.ensure_one()
        if self.date_hold:
            return self.sudo().hold_pause_ids.filtered(lambda pause: not pause.date_to).contract_id.sudo(False)
        contracts_sudo = self._get_contracts_to_hold()
        today = self.company_id._get_billing_today()
        paid_through = self._get_billed_through(contracts_sudo, today, paid=True)
        billed_through = self._get_billed_through(contracts_sudo, today)
        vals_list = []
        for contract_sudo in contracts_sudo:
            start = max(today, paid_through.get(contract_sudo, today - timedelta(days=1)) + timedelta(days=1))
            if contract_sudo.date_end and start > contract_sudo.date_end:
                continue  # paid to its end
            uncharged = max(start, billed_through.get(contract_sudo, start - timedelta(days=1)) + timedelta(days=1))
            vals_list.append(
                {
                    "contract_id": contract_sudo.id,
                    "case_id": self.id,
                    "origin": "hold",
                    "date_from": start,
                    "date_uncharged": uncharged,
                    "reason": reason or self.name,
                }
            )
        if not vals_list:
            raise UserError(
                self.env._("All contracts of %s that may be held are paid to their end.", self.partner_id.display_name)
            )
        # sudo: collectors hold contracts by this method only
        pauses_sudo = self.env["billing.contract.pause"].sudo().create(vals_list)
        # protected fields
        self.sudo().write({"date_hold": min(pauses_sudo.mapped("date_from")), "hold_requester_id": False})
        self.message_post(
            body=self.env._(
                "Service hold: %s.",
                ", ".join(
                    self.env._("%(contract)s from %(date)s", contract=pause.contract_id.name,
                               date=format_date(self.env, pause.date_from))
                    for pause in pauses_sudo
                ),
            )
        )  # fmt: skip
        self._mail_customer(self, self.env.ref("customer_billing_collection.mail_template_hold"))
        return pauses_sudo.contract_id.sudo(False)

    def _get_contracts_to_hold(self):
        """``_get_hold_contracts``; :raises UserError: the policy allows no hold, or no contract may be held"""
        if not self.policy_id.sudo().hold_allowed:
            raise UserError(
                self.env._("The dunning policy of %s allows no service hold.", self.partner_id.display_name)
            )
        contracts_sudo = self._get_hold_contracts()
        if not contracts_sudo:
            raise UserError(self.env._("%s has no running contract that may be held.", self.partner_id.display_name))
        return contracts_sudo

    def _get_hold_contracts(self):
        """The running contracts that this case may hold, as superuser."""
        self.ensure_one()
        today = self.company_id._get_billing_today()
        return self.env["billing.contract"].sudo().search(  # sudo: collectors may not see all contracts
            [
                ("invoice_partner_id.commercial_partner_id", "=", self.partner_id.id),
                ("company_id", "child_of", self.company_id.id),
                ("currency_id", "=", self.currency_id.id),
                ("state", "in", ("active", "paused")),
                ("hold_allowed", "=", True),
                "|", ("date_end", "=", False), ("date_end", ">=", today),
            ]
        )  # fmt: skip

    def _get_billed_through(self, contracts, today, paid=False):
        """The last day of the periods on bills that reach into the future: {contract: date}; of paid bills only."""
        domain = [
            ("contract_id", "in", contracts.ids),
            ("state", "=", "billed"),
            ("amount", ">", 0),
            ("period_end", ">=", today),
            ("move_line_id.parent_state", "!=", "cancel"),
        ]
        if paid:
            domain.append(("move_line_id.move_id.payment_state", "in", ("paid", "in_payment")))
        return dict(
            self.env["billing.charge"].sudo()._read_group(domain, ["contract_id"], ["period_end:max"])
        )

    def _release_hold(self):
        """End the holds of these cases, and no other pause: the contracts are charged again from today on.

        A hold that has not begun yet leaves nothing.
        """
        for case in self.filtered("date_hold"):
            today = case.company_id._get_billing_today()
            # sudo: collectors release by this method only
            pauses_sudo = case.sudo().hold_pause_ids.filtered(lambda p, t=today: not p.date_to or p.date_to >= t)
            gone_sudo = pauses_sudo.filtered(lambda p, t=today: p.date_from >= t)
            names = ", ".join(pauses_sudo.contract_id.mapped("name"))
            (pauses_sudo - gone_sudo).write({"date_to": today - timedelta(days=1)})
            gone_sudo.unlink()
            case.sudo().date_hold = False  # protected field
            case.message_post(body=case.env._("The service hold has ended: %s.", names))
            case._mail_customer(case, self.env.ref("customer_billing_collection.mail_template_release"))

    def _get_held_names(self):
        """The contracts that are held, with the first day of the hold, for the customer: list of texts."""
        self.ensure_one()
        return [
            self.env._("%(contract)s from %(date)s", contract=pause.contract_id.name,
                       date=format_date(self.env, pause.date_from))
            for pause in self.sudo().hold_pause_ids.filtered(lambda pause: not pause.date_to)
        ]  # fmt: skip

    # Letters to the customer

    def _mail_customer(self, record, template):
        """Queue a mail about ``record`` to those who get reminders; without an address it becomes a call."""
        self.ensure_one()
        if self.partner_id._get_dunning_recipients():
            # sudo: collectors may not read what a template shows of bills and contracts
            for mail_sudo in template.sudo()._send_billing(record, self.company_id):
                if "data:image" in mail_sudo.body_html:
                    # mail programs show no data URIs; the message has made attachments of them
                    mail_sudo.body_html = mail_sudo.body
            return
        user = self.collector_id or self.env.user
        env = self.with_context(lang=user.lang).env
        self.activity_schedule(
            "mail.mail_activity_data_call",
            summary=env._("No e-mail address: tell the customer yourself"),
            note=template.sudo().with_env(env(su=True)).name,
            user_id=user.id,
        )
