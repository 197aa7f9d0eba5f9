import hashlib
import json
import logging
from collections import Counter
from datetime import timedelta

from dateutil.relativedelta import relativedelta

from odoo import Command, api, fields, models
from odoo.exceptions import UserError, ValidationError
from odoo.tools import format_date, split_every

# What the periods of every line are cut by; fixed once the contract is active.
FROZEN_FIELDS = frozenset(
    ("date_start", "plan_id", "currency_id", "company_id", "partner_id", "billed_through")
)

_logger = logging.getLogger(__name__)

SWEEP_LIMIT = 2000  # contracts compared in one night
SWEEP_SIZE = 100  # contracts compared together


class BillingContract(models.Model):
    """What a customer has agreed to pay for, again and again."""

    _name = "billing.contract"
    _description = "Billing Contract"
    _inherit = [
        "billing.protected.mixin",
        "billing.import.mixin",
        "billing.money.mixin",
        "portal.mixin",
        "mail.thread",
        "mail.activity.mixin",
    ]
    _order = "date_start desc, id desc"
    _check_company_auto = True
    _rec_names_search = ["name", "client_ref", "partner_id.name"]
    _billing_money = frozenset(("access_token",))
    _billing_protected = frozenset(
        ("state", "next_bill_date", "close_reason_id", "move_ids", "last_sweep_date", "mrr", "tier_id")
    )

    name = fields.Char(
        string="Contract", required=True, readonly=True, copy=False, default=lambda self: self.env._("New")
    )
    partner_id = fields.Many2one(
        "res.partner",
        string="Customer",
        required=True,
        index=True,
        tracking=True,
        check_company=True,
        ondelete="restrict",
    )
    invoice_partner_id = fields.Many2one(
        "res.partner",
        string="Bill To",
        compute="_compute_invoice_partner_id",
        store=True,
        readonly=False,
        precompute=True,
        required=True,
        index=True,
        check_company=True,
        ondelete="restrict",
    )
    company_id = fields.Many2one(
        "res.company", required=True, index=True, default=lambda self: self.env.company
    )
    currency_id = fields.Many2one(
        "res.currency",
        compute="_compute_currency_id",
        store=True,
        readonly=False,
        precompute=True,
        required=True,
    )
    plan_id = fields.Many2one(
        "billing.plan",
        required=True,
        index=True,
        tracking=True,
        check_company=True,
        ondelete="restrict",
    )
    date_start = fields.Date(
        string="Start", required=True, default=fields.Date.context_today, tracking=True, copy=False
    )
    date_end = fields.Date(string="End", tracking=True, copy=False, help="The last day that is charged.")
    billed_through = fields.Date(
        copy=False,
        help="For contracts brought over from another system: days up to this one were "
        "charged there and are not billed here.",
    )
    state = fields.Selection(
        [("draft", "Draft"), ("active", "Active"), ("paused", "Paused"), ("ended", "Ended")],
        string="Status",
        default="draft",
        required=True,
        index=True,
        tracking=True,
        copy=False,
    )
    user_id = fields.Many2one(
        "res.users",
        string="Salesperson",
        compute="_compute_user_id",
        store=True,
        readonly=False,
        precompute=True,
        tracking=True,
        index=True,
        domain=[("share", "=", False)],
    )
    officer_id = fields.Many2one(
        "res.users",
        string="Billing Officer",
        compute="_compute_officer_id",
        store=True,
        readonly=False,
        precompute=True,
        tracking=True,
        domain=[("share", "=", False)],
        groups="base.group_user",
    )
    payment_term_id = fields.Many2one(
        "account.payment.term",
        string="Payment Terms",
        compute="_compute_payment_term_id",
        store=True,
        readonly=False,
        precompute=True,
        check_company=True,
    )
    journal_id = fields.Many2one(
        "account.journal",
        domain=[("type", "=", "sale")],
        check_company=True,
        help="Empty: the first sales journal of the company.",
        groups="base.group_user",
    )
    pricelist_id = fields.Many2one(
        "product.pricelist",
        compute="_compute_pricelist_id",
        store=True,
        readonly=False,
        precompute=True,
        check_company=True,
        groups="base.group_user",
    )
    tier_id = fields.Many2one(
        "billing.tier",
        compute="_compute_tier_id",
        store=True,
        index=True,
        ondelete="restrict",
        groups="base.group_user",
        help="The tier of the customer.",
    )
    industry_id = fields.Many2one(related="partner_id.industry_id", groups="base.group_user")
    billing_size = fields.Selection(related="partner_id.billing_size", groups="base.group_user")
    billing_source = fields.Selection(related="partner_id.billing_source", groups="base.group_user")
    client_ref = fields.Char(
        string="Customer Reference", tracking=True, help="Purchase order; printed on the bills."
    )
    note = fields.Html(string="Terms and Conditions")
    line_ids = fields.One2many("billing.contract.line", "contract_id", copy=True)
    pause_ids = fields.One2many("billing.contract.pause", "contract_id")
    charge_ids = fields.One2many("billing.charge", "contract_id")
    move_ids = fields.Many2many(
        "account.move",
        "billing_contract_move_rel",
        "contract_id",
        "move_id",
        string="Bills",
        copy=False,
        groups="base.group_user",
    )
    next_bill_date = fields.Date(
        string="Next Bill", readonly=True, copy=False, help="The first day on which something may be billed."
    )
    mrr = fields.Monetary(
        string="Monthly Revenue",
        compute="_compute_mrr",
        store=True,
        groups="base.group_user",
        help="Recurring price per month of the lines that are charged now.",
    )
    close_reason_id = fields.Many2one("billing.close.reason", readonly=True, copy=False)
    renewal = fields.Selection(related="plan_id.renewal")
    bill_count = fields.Integer(compute="_compute_counts", groups="base.group_user")
    usage_count = fields.Integer(compute="_compute_counts", groups="base.group_user")
    has_usage = fields.Boolean(compute="_compute_has_usage")
    charge_count = fields.Integer(compute="_compute_counts", groups="base.group_user")
    last_sweep_date = fields.Date(
        string="Compared On",
        readonly=True,
        copy=False,
        groups="base.group_user",
        help="The last night on which all that was ever charged was compared with the terms.",
    )

    _sweep_index = models.Index("(last_sweep_date NULLS FIRST, id) WHERE state <> 'draft'")
    active = fields.Boolean(default=True)

    _name_unique = models.UniqueIndex(
        "(name, company_id)", "A contract with this number already exists in this company."
    )
    _due_index = models.Index("(company_id, next_bill_date) WHERE next_bill_date IS NOT NULL")
    _date_order = models.Constraint(
        "CHECK (date_end IS NULL OR date_end >= date_start)",
        "The last day of a contract cannot be before its first.",
    )

    # Computes

    @api.depends("partner_id")
    def _compute_invoice_partner_id(self):
        for contract in self:
            contract.invoice_partner_id = contract.partner_id.address_get(["invoice"]).get(
                "invoice"
            )

    @api.depends("pricelist_id", "company_id")
    def _compute_currency_id(self):
        for contract in self:
            if contract.state != "draft" and contract.currency_id:
                continue
            contract.currency_id = (
                contract.pricelist_id.currency_id
                or contract.company_id.currency_id
                or self.env.company.currency_id
            )

    @api.depends("partner_id")
    def _compute_user_id(self):
        for contract in self:
            contract.user_id = (
                contract.partner_id.user_id
                or contract.partner_id.commercial_partner_id.user_id
                or contract.user_id
                or self.env.user
            )

    @api.depends("partner_id", "company_id")
    def _compute_officer_id(self):
        for contract in self:
            partner = contract.partner_id.commercial_partner_id
            contract.officer_id = (
                partner.with_company(contract.company_id).billing_officer_id
                or contract.officer_id
            )

    @api.depends("invoice_partner_id", "company_id")
    def _compute_payment_term_id(self):
        for contract in self:
            partner = contract.invoice_partner_id.with_company(contract.company_id)
            contract.payment_term_id = partner.property_payment_term_id

    @api.depends("partner_id", "company_id")
    def _compute_pricelist_id(self):
        for contract in self:
            if contract.state != "draft":
                continue
            partner = contract.partner_id.with_company(contract.company_id)
            contract.pricelist_id = (
                partner.property_product_pricelist if partner.specific_property_product_pricelist
                else contract._get_tier().pricelist_id
            )

    @api.depends("partner_id.commercial_partner_id.billing_tier_id", "company_id")
    def _compute_tier_id(self):
        for contract in self:
            contract.tier_id = contract._get_tier()

    def _get_tier(self):
        """The tier of the customer in the company of this contract, as superuser."""
        self.ensure_one()
        # sudo: what a tier brings does not depend on who writes the contract
        customer_sudo = self.partner_id.commercial_partner_id.sudo()
        return customer_sudo.with_company(self.company_id).billing_tier_id

    @api.depends("state", "line_ids.mrr", "line_ids.is_current")
    def _compute_mrr(self):
        for contract in self:
            contract.mrr = (
                sum(line.mrr for line in contract.line_ids if line.is_current)
                if contract.state in ("draft", "active")
                else 0.0
            )

    @api.depends("line_ids.charge_type")
    def _compute_has_usage(self):
        for contract in self:
            contract.has_usage = any(line.charge_type == "usage" for line in contract.line_ids)

    def _compute_counts(self):
        moves = dict(
            self.env["account.move"]._read_group(
                [("billing_contract_ids", "in", self.ids)],
                ["billing_contract_ids"],
                ["__count"],
            )
        )
        charges = dict(
            self.env["billing.charge"]._read_group(
                [("contract_id", "in", self.ids)], ["contract_id"], ["__count"]
            )
        )
        usage = dict(
            self.env["billing.usage"]._read_group(
                [("contract_id", "in", self.ids)], ["contract_id"], ["__count"]
            )
        )
        for contract in self:
            contract.usage_count = usage.get(contract, 0)
            contract.bill_count = moves.get(contract, 0)
            contract.charge_count = charges.get(contract, 0)

    def _compute_access_url(self):
        super()._compute_access_url()
        for contract in self:
            contract.access_url = f"/my/contracts/{contract.id}"

    # Constraints and write guards

    @api.constrains("partner_id", "company_id", "line_ids", "plan_id")
    def _check_active_has_lines(self):
        for contract in self:
            if contract.state != "draft" and not contract.line_ids:
                raise ValidationError(
                    self.env._("Contract %s needs at least one line.", contract.name)
                )

    @api.model_create_multi
    def create(self, vals_list):
        for vals in vals_list:
            if vals.get("name", self.env._("New")) == self.env._("New"):
                company = self.env["res.company"].browse(vals.get("company_id")) or self.env.company
                vals["name"] = self.env["ir.sequence"].with_company(company).next_by_code(
                    "billing.contract"
                ) or self.env._("New")
        return super().create(vals_list)

    def copy_data(self, default=None):
        """A copy starts with the latest terms: lines that an amendment replaced stay behind."""
        vals_list = super().copy_data(default)
        for contract, vals in zip(self, vals_list, strict=True):
            if vals.get("line_ids") and "line_ids" not in (default or {}):
                lines = contract.line_ids.sorted("id")  # the order of the values
                replaced = lines.previous_line_id
                vals["line_ids"] = [
                    command
                    for line, command in zip(lines, vals["line_ids"], strict=True)
                    if line not in replaced
                    and not (line.date_end and line.date_end < line.date_start)
                ]
        return vals_list

    def write(self, vals):
        frozen = not self.env.su and FROZEN_FIELDS.intersection(vals)
        if frozen:
            for contract in self.filtered(lambda c: c.state != "draft"):
                for name in frozen:
                    field = self._fields[name]
                    new = field.convert_to_write(
                        field.convert_to_record(
                            field.convert_to_cache(vals[name], contract), contract
                        ),
                        contract,
                    )
                    if new != field.convert_to_write(contract[name], contract):
                        raise UserError(
                            self.env._(
                                "%(contract)s is active: its %(field)s is what past and future "
                                "periods are cut by and cannot change here. Use “Amend…” for another "
                                "plan; for the rest, close this contract and start another one.",
                                contract=contract.name,
                                field=field.get_description(self.env, ["string"])["string"],
                            )
                        )
        if vals.get("active") is False and (
            running := self.filtered(lambda c: c.state in ("active", "paused"))[:1]
        ):
            raise UserError(self.env._("%s is billed: close it before you archive it.", running.name))
        ends_before = {contract: contract.date_end for contract in self}
        result = super().write(vals)
        if "date_end" in vals:
            for contract, before in ends_before.items():
                ends = [day for day in (before, contract.date_end) if day]
                if contract.state != "draft" and before != contract.date_end:
                    contract._touch(min(ends))
                    contract._refresh_state()
        return result

    @api.ondelete(at_uninstall=False)
    def _unlink_only_drafts(self):
        if self.filtered(lambda contract: contract.state != "draft" or contract.charge_ids):
            raise UserError(
                self.env._(
                    "A contract that has been active stays as part of the books. Close it, and "
                    "archive it if you do not want to see it."
                )
            )

    # Actions

    def action_activate(self):
        """Make draft contracts active, so that runs bill them.

        The checks of customers come first. With ``billing_ask`` in the context, as the button has it, warnings are
        shown first and nothing is activated; else they are kept in the history of the contracts.

        :return: True, or the action that asks about the warnings
        :raises UserError: a contract has no line, a line has no price, or a blocking check finds something
        """
        self.check_access("write")
        drafts = self.filtered(lambda c: c.state == "draft")
        for contract in drafts:
            if not contract.line_ids:
                raise UserError(
                    self.env._(
                        "Add at least one line to %s: what is charged, how many, at what price.",
                        contract.name,
                    )
                )
        warnings = drafts._check_customers()
        if warnings and self.env.context.get("billing_ask"):
            return drafts._ask_about(warnings)
        for contract in drafts:
            if contract.plan_id.renewal != "none" and not contract.date_end:
                contract.date_end = contract._get_term_end(after=contract._get_today())
            contract.line_ids._freeze()
            contract_sudo = contract.sudo()  # protected fields are set by the engine only
            contract_sudo.state = "active"
            contract_sudo._reschedule()
        for company, activated in drafts.grouped("company_id").items():
            (activated.partner_id | activated.invoice_partner_id)._open_billing_companies(company)
        self._refresh_state()
        if warnings:
            self._message_log_batch(
                bodies={contract.id: " ".join(texts) for contract, texts in warnings.items()}
            )
        return True

    def _check_customers(self):
        """What the checks say about the customers of these drafts: {contract: list of warnings}.

        :raises UserError: a blocking check finds something
        """
        findings = self.env["billing.check"]._run_contract_checks(self)
        blocking, warnings = [], {}
        for (contract, check), message in findings.items():
            text = f"{check.sudo().name}: {message}"  # who may activate may know why not
            if check.sudo().severity == "blocking":
                blocking.append(f"{contract.name}: {text}")
            else:
                warnings.setdefault(contract, []).append(text)
        if blocking:
            raise UserError("\n".join(blocking))
        return warnings

    def _ask_about(self, warnings):
        """Open the wizard that shows warnings and activates these contracts when they are confirmed."""
        wizard = self.env["billing.contract.activation"].create(
            {
                "contract_ids": [Command.set(self.ids)],
                "message": "\n\n".join(
                    f"{contract.name}, {contract.partner_id.display_name}\n" + "\n".join(texts)
                    for contract, texts in warnings.items()
                ),
            }
        )
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Activate"),
            "res_model": wizard._name,
            "res_id": wizard.id,
            "view_mode": "form",
            "target": "new",
        }

    def action_pause(self, date=None, reason=None):
        """Stop charging from ``date`` on (first day not charged; default today)."""
        self.check_access("write")
        return self._pause(fields.Date.to_date(date) or self._get_today(), reason, "staff")

    def _pause(self, date, reason, origin):
        if bad := self.filtered(lambda c: c.state not in ("active", "paused")):
            raise UserError(
                self.env._("Only active contracts can be paused: %s.", bad[0].display_name)
            )
        self.env["billing.contract.pause"].create(
            [
                {
                    "contract_id": contract.id,
                    "date_from": date,
                    "origin": origin,
                    "reason": reason,
                }
                for contract in self
            ]
        )
        return True

    def action_resume(self, date=None):
        """Charge again from ``date`` on (first day charged; default today).

        Ends the open pauses that staff or the customer started; a hold ends by its own release.
        """
        self.check_access("write")
        date = fields.Date.to_date(date) or self._get_today()
        pauses = self.pause_ids.filtered(
            lambda p: p.origin != "hold" and (not p.date_to or p.date_to >= date)
        )
        if not pauses:
            raise UserError(self.env._("There is no open pause to end."))
        gone = pauses.filtered(lambda p: p.date_from >= date)
        (pauses - gone).write({"date_to": date - timedelta(days=1)})
        gone.unlink()
        return True

    def action_close(self, date=None, reason_id=None):
        """End contracts: ``date`` is the last day charged (default today).

        :param reason_id: a ``billing.close.reason`` record or its id; "Other" when not given
        :raises UserError: the contract is a draft, or would end before it starts
        """
        self.check_access("write")
        date = fields.Date.to_date(date) or self._get_today()
        reason = reason_id or self.env.ref("customer_billing.billing_close_reason_other")
        if not isinstance(reason, models.BaseModel):
            reason = self.env["billing.close.reason"].browse(reason)
        for contract in self:
            if contract.state == "draft":
                raise UserError(
                    self.env._("%s is a draft: delete or archive it.", contract.name)
                )
            if date < contract.date_start:
                raise UserError(
                    self.env._(
                        "%(contract)s starts on %(start)s and cannot end before.",
                        contract=contract.name,
                        start=contract.date_start,
                    )
                )
            contract.date_end = date
        self.sudo().close_reason_id = reason  # protected field
        self._refresh_state()
        return True

    def action_renew(self):
        """Prolong contracts with a fixed term by one more term.

        :raises UserError: the contract has no fixed term, or is closed
        """
        self.check_access("write")
        for contract in self:
            if contract.plan_id.renewal == "none" or not contract.date_end:
                raise UserError(
                    self.env._("%s runs until it is ended: there is no term.", contract.name)
                )
            if contract.close_reason_id or contract.state not in ("active", "paused"):
                raise UserError(
                    self.env._("%s is not running or is closed on its last day.", contract.name)
                )
            contract._renew()
        return True

    def _renew(self):
        """Move the last day to the end of the next term, counted from the start."""
        self.ensure_one()
        self.date_end = self._get_term_end(after=self.date_end)
        self.message_post(
            body=self.env._("Renewed until %s.", format_date(self.env, self.date_end))
        )
        self._refresh_state()

    def _get_term_end(self, after=None):
        """The last day of the first term (or of the first that ends after ``after``).

        Terms are counted from the start of the contract, so that month ends do not drift.
        """
        self.ensure_one()
        plan = self.plan_id
        months = plan.term_interval * (12 if plan.term_unit == "year" else 1)
        count = 0
        while True:
            count += 1
            end = self.date_start + relativedelta(months=months * count, days=-1)
            if not after or end > after:
                return end

    def action_open_change(self):
        """Open the wizard that amends, pauses, resumes or closes, with a preview of the money."""
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Change Contract"),
            "res_model": "billing.contract.change",
            "view_mode": "form",
            "target": "new",
            "context": {
                "default_contract_ids": [Command.set(self.ids)],
                "default_change": self.env.context.get("billing_change") or "close",
            },
        }

    def action_view_bills(self):
        """Open the bills of these contracts."""
        action = self.env["ir.actions.actions"]._for_xml_id(
            "customer_billing.account_move_action_bills"
        )
        action["domain"] = [("billing_contract_ids", "in", self.ids)]
        action["context"] = {"create": False}
        return action

    def action_view_charges(self):
        """Open the billing ledger of these contracts."""
        action = self.env["ir.actions.actions"]._for_xml_id(
            "customer_billing.billing_charge_action"
        )
        action["domain"] = [("contract_id", "in", self.ids)]
        action["context"] = {"create": False}
        return action

    def action_view_usage(self):
        """Open the usage records of these contracts."""
        action = self.env["ir.actions.actions"]._for_xml_id(
            "customer_billing.billing_usage_action"
        )
        action["domain"] = [("contract_id", "in", self.ids)]
        lines = self.line_ids.filtered(lambda line: line.charge_type == "usage" and line.is_current)
        action["context"] = {"default_contract_line_id": lines[:1].id}
        return action

    def action_bill_now(self):
        """Propose a run for these contracts up to today and open it."""
        run = self.env["billing.run"].create(
            {
                "company_id": self.company_id[:1].id,
                "contract_ids": [Command.set(self.ids)],
            }
        )
        run.action_propose()
        return run._get_form_action()

    # Scheduling

    def _get_today(self):
        """Today in the time zone of the contracts' company, read once."""
        return (self.company_id[:1] or self.env.company)._get_billing_today()

    def _refresh_state(self, today=None):
        """Derive the state from the dates and the pauses of ``today``."""
        for contract in self.sudo():  # protected field
            if contract.state == "draft":
                continue
            day = today or contract._get_today()
            if contract.date_end and contract.date_end < day:
                state = "ended"
            elif contract.pause_ids.filtered(
                lambda p, day=day: p.date_from <= day and (not p.date_to or p.date_to >= day)
            ):
                state = "paused"
            else:
                state = "active"
            if contract.state != state:
                contract.state = state

    def _touch(self, day, wait=False):
        """Note that what should be charged may have changed from ``day`` on.

        Lowers ``recompute_from`` of the lines and the next bill date: the next run finds and
        books the difference. With ``wait`` the difference is booked now and waits for the next
        regular bill, so that ten changes make one bill.
        """
        self._mark_changed()
        for line in self.line_ids.sudo():  # engine-owned field
            if line.recompute_from and line.recompute_from > day:
                line.recompute_from = day
        active = self.filtered(lambda c: c.state != "draft")
        if wait:
            today = active._get_today()
            ahead = active.filtered(lambda c: c.next_bill_date and c.next_bill_date > today)
            self.env["billing.engine"]._book_pending(ahead)
            active -= ahead
        active._reschedule()

    def _reschedule(self):
        """Set the next bill date to that of the first slot that may need an entry."""
        engine = self.env["billing.engine"]
        for contract in self.sudo():  # protected field
            contract.next_bill_date = engine._get_next_bill_date(contract)

    @api.model
    def _cron_refresh_states(self):
        """Nightly: contracts that begin or end a pause, or end, today change their state; logins see our companies."""
        self.env["res.partner"]._open_all_billing_companies()
        for company in self.env["res.company"].search([("active", "=", True)]):
            today = company._get_billing_today()
            contracts = self.search(
                [
                    ("company_id", "=", company.id),
                    ("state", "in", ("active", "paused")),
                    "|",
                    ("date_end", "<", today),
                    ("pause_ids", "!=", False),
                ]
            )
            contracts._refresh_state(today)
            lines = self.env["billing.contract.line"].search(
                [
                    ("contract_id.company_id", "=", company.id),
                    ("contract_id.state", "!=", "draft"),
                    "|",
                    "|",
                    "&",
                    ("is_current", "=", False),
                    ("date_start", "<=", today),
                    "&",
                    ("is_current", "=", True),
                    "|",
                    ("date_end", "<", today),
                    ("contract_id.date_end", "<", today),
                    "&",
                    ("max_slots", ">", 0),
                    ("is_current", "=", True),
                ]
            )
            lines.sudo()._compute_is_current()  # engine-owned field
            lines.contract_id._follow_plan()
            self._renew_due(company, today)

    @api.model
    def _renew_due(self, company, today):
        """Renew contracts whose notice day has come; ask about those renewed by hand."""
        for plan in self.env["billing.plan"].search([("renewal", "!=", "none")]):
            notice_day = today + timedelta(days=plan.notice_days)
            contracts = self.search(
                [
                    ("company_id", "=", company.id),
                    ("plan_id", "=", plan.id),
                    ("state", "!=", "draft"),
                    ("close_reason_id", "=", False),
                    ("date_end", "<=", notice_day),
                ]
            )
            if plan.renewal == "manual":
                contracts = contracts.filtered(
                    lambda c: c.date_end >= today and not c.activity_ids
                )
            for contract in contracts:
                if plan.renewal == "auto":
                    while contract.date_end <= notice_day:  # nights may have been missed
                        contract._renew()
                else:
                    owner = contract.officer_id or contract.user_id or self.env.user
                    contract.activity_schedule(
                        "mail.mail_activity_data_todo",
                        date_deadline=contract.date_end,
                        summary=owner.with_context(lang=owner.lang).env._("Renew or close: the term ends"),
                        user_id=owner.id,
                    )

    @api.model
    def get_import_templates(self):
        """The file to fill in for Odoo's import."""
        return [
            {
                "label": self.env._("Import Template for Contracts"),
                "template": "/customer_billing/static/xls/contract_import_template.xlsx",
            }
        ]

    @api.model
    def _identify_rows(self, data_list):
        """A row without an id is known by what it says: the same row again is the same contract.

        Equal rows in one file are as many contracts.
        """
        counts, rows = Counter(), []
        for data in data_list:
            values = data["values"]
            if not data.get("xml_id") and not values.get("id") and not values.get("name"):
                text = json.dumps([self.env.company.id, values], default=str, sort_keys=True)
                digest = hashlib.sha256(text.encode()).hexdigest()[:40]
                counts[digest] += 1
                data = {**data, "xml_id": f"__import__.billing_contract_{digest}_{counts[digest]}"}
            rows.append(data)
        return rows

    @api.model
    def _get_known_records(self, data_list):
        """Contracts are known by their number too."""
        known = super()._get_known_records(data_list)
        companies = [data["values"].get("company_id") or self.env.company.id for data in data_list]
        names = [data["values"].get("name") for data in data_list]
        found = self.with_context(active_test=False).search(
            [("name", "in", [name for name in names if name]), ("company_id", "in", companies)]
        )
        by_number = {(contract.name, contract.company_id.id): contract for contract in found}
        for index, key in enumerate(zip(names, companies, strict=True)):
            if key in by_number:
                known.setdefault(index, by_number[key])
        return known

    # Mail

    def _mail_get_partner_fields(self, introspect_fields=False):
        return ["invoice_partner_id", "partner_id"]

    def _get_portal_lines(self):
        """The lines to show to the customer: those that run or will run."""
        self.ensure_one()
        today = self._get_today()
        return self.line_ids.filtered(
            lambda l: not l._get_last_day() or l._get_last_day() >= max(today, l.date_start)
        )

    # Nightly comparison of everything with the ledger

    @api.model
    def _cron_sweep(self):
        """Compare contracts with the ledger in full, those compared longest ago first.

        Each chunk is its own commit, so stopping anywhere loses at most one.
        """
        commit = self.env["ir.cron"]._commit_progress
        contracts = self.with_context(active_test=False).search(
            [("state", "!=", "draft")], order="last_sweep_date NULLS FIRST, id", limit=SWEEP_LIMIT
        )
        commit(remaining=len(contracts))
        for company_contracts in contracts.grouped("company_id").values():
            for ids in split_every(SWEEP_SIZE, company_contracts.ids):
                self.browse(ids)._sweep()
                if not commit(len(ids)):
                    return

    def _sweep(self):
        """Compare contracts of one company with the ledger, from the first day of their lines.

        Runs look at a line from ``recompute_from`` on and at a contract from ``next_bill_date``
        on. A difference outside of these is drift: no run would ever find it. It means that a
        write which changes what should be charged did not say so, or that the ledger was touched
        by hand. Drift is not billed here: the dates are set back, so that the next run bills it
        with its checks and approval, and an exception tells a person, who finds out how it came
        about and closes it. Contracts that another process works on are left for another night.
        """
        contracts = self.sudo().try_lock_for_update(allow_referencing=True)  # the engine's work
        if not contracts:
            return
        today = contracts._get_today()
        drift, errors = {}, {}
        for due in contracts._compute_due_in_full(today):
            if due.error:
                errors[due.contract] = due.error
            elif items := due.contract._get_drift(due.items, today):
                drift[due.contract] = items
        for contract, items in drift.items():
            contract._touch(min(item.difference.slot.start for item in items))
        exceptions = self.env["billing.exception"]
        exceptions._report("drift", {c: c._describe_drift(items) for c, items in drift.items()})
        exceptions._report("failed", errors)
        contracts.last_sweep_date = today
        if drift:
            _logger.warning("Drift in contracts: %s", ", ".join(c.name for c in drift))

    def _compute_due_in_full(self, until):
        """What the engine finds for contracts when it looks at each line from its first day on.

        The lines keep their ``recompute_from``: the engine sees another one in memory only.
        """
        lines = self.line_ids
        self.env.flush_all()
        lines.fetch(["recompute_from", "date_start"])
        field = lines._fields["recompute_from"]
        try:
            for line in lines:
                field._update_cache(line, line.date_start)
            return self.env["billing.engine"]._compute_due(self, until)
        finally:
            lines.invalidate_recordset(["recompute_from"], flush=False)

    def _get_drift(self, items, today):
        """Those of ``items`` that no run would find."""
        self.ensure_one()
        is_due = self.next_bill_date and self.next_bill_date <= today
        return [
            item
            for item in items
            if item.amount
            and item.difference
            and not (is_due and item.difference.slot.start >= item.line._get_looked_at_from())
        ]

    def _describe_drift(self, items):
        """The periods and amounts that no run would have found, as a sentence."""
        self.ensure_one()
        texts = [
            f"{item.line.name}, {format_date(self.env, item.period_start)} – "
            f"{format_date(self.env, item.period_end)}: "
            f"{self.currency_id.format(float(item.amount))}"
            for item in items
        ]
        return self.env._("No run would have billed: %s.", "; ".join(texts))
