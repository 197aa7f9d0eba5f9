from datetime import timedelta

from odoo import Command, api, fields, models
from odoo.exceptions import UserError, ValidationError
from odoo.tools import format_date

from ..tools import money, revision

CHUNK_SIZE = 200  # contract lines computed, told or amended together

RULE_FIELDS = frozenset(
    (
        "company_id", "method", "percent", "index_base", "index_current", "amount", "currency_id",
        "has_floor", "floor", "has_cap", "cap", "rounding", "date", "plan_ids", "product_ids",
        "partner_ids", "category_ids", "tier_ids", "industry_ids", "contract_ids",
    )
)  # fmt: skip
NOTICE_FIELDS = frozenset(("notice_days", "acknowledgement_required"))


class BillingPriceRevision(models.Model):
    """New prices for many contracts from a day on, told to the customers before.

    The new prices are dated amendments. They are written as soon as the customer was told, so
    that bills made ahead and simulations know them, and change nothing before their day.
    """

    _name = "billing.price.revision"
    _description = "Price Revision"
    _inherit = [
        "billing.protected.mixin", "billing.job.mixin", "mail.thread", "mail.activity.mixin"
    ]  # fmt: skip
    _order = "date desc, id desc"
    _check_company_auto = True
    _billing_protected = frozenset(
        ("state", "job", "preparer_ids", "notified_by_id", "date_notified", "line_ids", "notice_ids")
    )
    _job_cron = "customer_billing.ir_cron_price_revisions"

    name = fields.Char(string="Title", required=True, tracking=True, help="For you; customers do not see it.")
    company_id = fields.Many2one(
        "res.company", required=True, index=True, default=lambda self: self.env.company
    )
    company_currency_id = fields.Many2one(
        related="company_id.currency_id", string="Company Currency"
    )
    user_id = fields.Many2one(
        "res.users",
        string="Responsible",
        default=lambda self: self.env.user,
        domain=[("share", "=", False)],
        tracking=True,
        help="Answers objections where a contract has no billing officer.",
    )
    state = fields.Selection(
        [
            ("draft", "Draft"),
            ("notified", "Customers notified"),
            ("effective", "Effective"),
            ("cancelled", "Cancelled"),
        ],
        string="Status",
        default="draft",
        required=True,
        index=True,
        tracking=True,
        copy=False,
    )
    job = fields.Selection(
        [("compute", "Computing")],
        string="Background Job",
        readonly=True,
        copy=False,
        index=True,
        help="The background job is at work on this revision.",
    )
    method = fields.Selection(
        [("percent", "Percent"), ("index", "Index"), ("fixed", "Amount")],
        default="percent",
        required=True,
        tracking=True,
        help="Percent: of each price. Index: in the ratio of two values of an index, for instance "
        "of consumer prices. Amount: the same is added to each unit price.",
    )
    percent = fields.Float(string="Change in %", aggregator=None, tracking=True)
    index_name = fields.Char(string="Index", help="Named in the letter, for instance “Consumer prices, 2020 = 100”.")
    index_base = fields.Float(string="Base Value", digits=0, aggregator=None, tracking=True)
    index_current = fields.Float(string="Current Value", digits=0, aggregator=None, tracking=True)
    amount = fields.Monetary(
        string="Amount Added",
        aggregator=None,
        tracking=True,
        help="Added to each unit price; below zero to lower prices. Contracts in another currency "
        "are left out.",
    )
    currency_id = fields.Many2one(
        "res.currency", required=True, default=lambda self: self.env.company.currency_id
    )
    has_floor = fields.Boolean(string="At Least", help="Prices change by this at least.")
    floor = fields.Float(string="Least Change in %", aggregator=None, tracking=True)
    has_cap = fields.Boolean(string="At Most", help="Prices change by this at most.")
    cap = fields.Float(string="Greatest Change in %", aggregator=None, tracking=True)
    rounding = fields.Float(
        string="Round To",
        digits=0,
        aggregator=None,
        help="New unit prices are multiples of this, for instance 0.05 or 1, unless that breaks a "
        "limit. 0: as many decimals as the old price has, at least those of the currency.",
    )
    date = fields.Date(
        string="Effective From",
        required=True,
        default=lambda self: fields.Date.add(
            self.env.company._get_billing_today(), months=3, day=1
        ),
        tracking=True,
        copy=False,
        help="The first day of the new prices.",
    )
    notice_days = fields.Integer(
        default=lambda self: self.env.company.billing_price_notice_days,
        aggregator=None,
        tracking=True,
        help="Customers are told at least this many days before.",
    )
    deadline = fields.Date(
        string="Notify By", compute="_compute_deadline", help="The last day to tell customers."
    )
    acknowledgement_required = fields.Boolean(
        string="Only If Acknowledged",
        tracking=True,
        help="Apply the new price only to customers who acknowledged it. Otherwise silence is "
        "enough, as most contracts have it.",
    )
    plan_ids = fields.Many2many("billing.plan", string="Plans", help="Empty: all plans.", check_company=True)
    product_ids = fields.Many2many("product.product", string="Charge Items", help="Empty: all charge items.")
    partner_ids = fields.Many2many("res.partner", string="Customers", help="Empty: all customers.")
    category_ids = fields.Many2many("res.partner.category", string="Customer Tags", help="Empty: any.")
    tier_ids = fields.Many2many("billing.tier", string="Tiers", help="Empty: any.", check_company=True)
    industry_ids = fields.Many2many("res.partner.industry", string="Industries", help="Empty: any.")
    contract_ids = fields.Many2many(
        "billing.contract", string="Contracts", help="Empty: all contracts.", check_company=True
    )
    line_ids = fields.One2many("billing.price.revision.line", "revision_id", readonly=True)
    notice_ids = fields.One2many("billing.price.notice", "revision_id", readonly=True)
    preparer_ids = fields.Many2many(
        "res.users",
        "billing_price_revision_preparer_rel",
        string="Prepared By",
        readonly=True,
        copy=False,
        help="Where approval by a second person is on, none of them notifies the customers.",
    )
    notified_by_id = fields.Many2one("res.users", string="Released By", readonly=True, copy=False)
    date_notified = fields.Date(string="Released On", readonly=True, copy=False)
    line_count = fields.Integer(compute="_compute_line_counts", string="New Prices")
    applied_count = fields.Integer(compute="_compute_line_counts", string="Applied")
    problem_count = fields.Integer(compute="_compute_line_counts", string="Not Revised")
    yearly_effect = fields.Monetary(
        compute="_compute_line_counts",
        currency_field="company_currency_id",
        help="What the new prices bring in a year, at today's quantities.",
    )
    notice_count = fields.Integer(compute="_compute_notice_counts", string="Letters")
    queued_count = fields.Integer(compute="_compute_notice_counts", string="Letters to Send")
    unreached_count = fields.Integer(compute="_compute_notice_counts", string="Not Reached")
    acknowledged_count = fields.Integer(compute="_compute_notice_counts", string="Acknowledged")
    objection_count = fields.Integer(compute="_compute_notice_counts", string="Objections")

    _notice_days_positive = models.Constraint(
        "CHECK (notice_days >= 0)", "The days of notice cannot be negative."
    )

    # Computes

    @api.depends("date", "notice_days")
    def _compute_deadline(self):
        for record in self:
            record.deadline = record.date and record.date - timedelta(days=record.notice_days)

    def _compute_line_counts(self):
        counts = {record: {} for record in self}
        effects = dict.fromkeys(self, 0.0)
        for record, outcome, count, effect in self.env["billing.price.revision.line"]._read_group(
            [("revision_id", "in", self.ids)],
            ["revision_id", "outcome"],
            ["__count", "yearly_effect_company:sum"],
        ):
            counts[record][outcome] = count
            if outcome in ("proposed", "applied"):
                effects[record] += effect
        for record in self:
            values = counts[record]
            record.line_count = values.get("proposed", 0) + values.get("applied", 0)
            record.applied_count = values.get("applied", 0)
            record.problem_count = sum(values.values()) - record.line_count
            record.yearly_effect = effects[record]

    def _compute_notice_counts(self):
        counts = {record: {"all": 0, "queued": 0, "failed": 0, "read": 0, "objected": 0} for record in self}
        for record, state, read, objected, count in self.env["billing.price.notice"]._read_group(
            [("revision_id", "in", self.ids)],
            ["revision_id", "state", "is_acknowledged", "is_objected"],
            ["__count"],
        ):
            values = counts[record]
            values["all"] += count
            if state in values:
                values[state] += count
            values["read"] += count if read else 0
            values["objected"] += count if objected else 0
        for record in self:
            values = counts[record]
            record.notice_count = values["all"]
            record.queued_count = values["queued"]
            record.unreached_count = values["failed"]
            record.acknowledged_count = values["read"]
            record.objection_count = values["objected"]

    # Constraints and write guards

    @api.constrains(
        "method", "percent", "index_base", "index_current", "amount", "has_floor", "floor",
        "has_cap", "cap", "rounding",
    )  # fmt: skip
    def _check_rule(self):
        for record in self:
            problem = False
            if record.has_floor and record.has_cap and record.floor > record.cap:
                problem = self.env._("The least change is above the greatest.")
            elif record.rounding < 0:
                problem = self.env._("Prices are rounded to multiples of 0 or more.")
            elif record.method == "index" and min(record.index_base, record.index_current) < 0:
                problem = self.env._("Both values of the index must be above zero.")
            elif record.method == "percent" and record.percent <= -100:
                problem = self.env._("A price cannot fall by 100 % or more.")
            if problem:
                raise ValidationError(problem)

    @api.model_create_multi
    def create(self, vals_list):
        records = super().create(vals_list)
        records._note_preparer()
        return records

    def write(self, vals):
        fixed = (RULE_FIELDS | NOTICE_FIELDS).intersection(vals)
        if fixed and not self.env.su:
            for record in self:
                record._check_state("draft")
        result = super().write(vals)
        if fixed:
            self._note_preparer()
        if RULE_FIELDS.intersection(vals):  # what was computed is of another rule
            self.line_ids.filtered(lambda line: not line._is_by_hand()).sudo().unlink()
        return result

    @api.ondelete(at_uninstall=False)
    def _unlink_only_drafts(self):
        if told := self.filtered("notice_ids")[:1]:
            raise UserError(
                self.env._("%s was told to customers and stays as a record: cancel it instead.", told.name)
            )

    def _note_preparer(self):
        """Remember who worked on the new prices: none of them releases them."""
        self.sudo().preparer_ids = [Command.link(self.env.uid)]  # protected field

    # Compute

    def _get_rule(self):
        """The rule of this revision for the kernel.

        :raises UserError: the rule changes no price
        """
        self.ensure_one()
        if self.method == "index" and not (self.index_base and self.index_current):
            raise UserError(self.env._("Enter the value of the index then and now."))
        if self.method == "percent" and not self.percent and not (self.has_floor and self.floor):
            raise UserError(self.env._("Enter by how many percent prices change."))
        if self.method == "fixed" and not self.amount:
            raise UserError(self.env._("Enter the amount that is added to each unit price."))
        return revision.Rule(
            method=self.method,
            percent=money.to_decimal(self.percent),
            index_base=money.to_decimal(self.index_base or 1.0),
            index_current=money.to_decimal(self.index_current or 1.0),
            amount=money.to_decimal(self.amount),
            floor=money.to_decimal(self.floor) if self.has_floor else None,
            cap=money.to_decimal(self.cap) if self.has_cap else None,
            step=money.to_decimal(self.rounding),
        )

    def _get_contract_line_domain(self):
        """The contract lines of the selection that run on the day before and on the day itself.

        Lines that begin on the day or later have a price agreed for then; drafts and one-time
        charges are none of ours. Override to narrow the selection.
        """
        self.ensure_one()
        domain = [
            ("company_id", "=", self.company_id.id),
            ("contract_id.active", "=", True),
            ("contract_id.state", "in", ("active", "paused")),
            ("charge_type", "!=", "one_time"),
            ("date_start", "<", self.date),
            "|", ("date_end", "=", False), ("date_end", ">=", self.date),
            "|", "|", ("contract_id.date_end", "=", False), ("contract_id.date_end", ">=", self.date),
            "&", ("contract_id.plan_id.renewal", "=", "auto"), ("contract_id.close_reason_id", "=", False),
        ]  # fmt: skip
        if self.plan_ids:
            domain.append(("contract_id.plan_id", "in", self.plan_ids.ids))
        if self.product_ids:
            domain.append(("product_id", "in", self.product_ids.ids))
        if self.partner_ids:
            domain += [
                "|",
                ("contract_id.partner_id", "child_of", self.partner_ids.ids),
                ("contract_id.invoice_partner_id", "child_of", self.partner_ids.ids),
            ]
        if self.category_ids:
            domain.append(("contract_id.partner_id.category_id", "in", self.category_ids.ids))
        if self.tier_ids:
            domain.append(("contract_id.tier_id", "in", self.tier_ids.ids))
        if self.industry_ids:
            domain.append(("contract_id.partner_id.industry_id", "in", self.industry_ids.ids))
        if self.contract_ids:
            domain.append(("contract_id", "in", self.contract_ids.ids))
        return domain

    def action_compute(self):
        """Compute the new price of every contract line of the selection; changes no contract.

        Lines that were excluded, or whose new price was set by hand, stay as they are.

        :raises UserError: the rule changes no price, or nothing is selected by it
        """
        for record in self:
            record._check_state("draft")
            record._get_rule()
            record._note_preparer()
            found = record._get_contract_lines_left(everything=True)
            if not found:
                raise UserError(
                    self.env._(
                        "No running contract has a price that goes on after %s in this selection.",
                        format_date(self.env, record.date),
                    )
                )
            record.line_ids.filtered(
                lambda line, found=found: not line._is_by_hand() or line.contract_line_id not in found
            ).sudo().unlink()  # engine-owned records
            for line_sudo in record.line_ids.sudo():  # by hand: protected field
                line_sudo.date = line_sudo.contract_line_id._get_amendment_date(record.date)
            if not record._hand_over("compute", len(found)):
                record._compute_lines(record._get_contract_lines_left())
        return True

    def _get_contract_lines_left(self, everything=False):
        """The contract lines of the selection that have no line here yet (or all)."""
        lines = self.env["billing.contract.line"].search(self._get_contract_line_domain(), order="id")
        return lines if everything else lines - self.line_ids.contract_line_id

    def _compute_lines(self, contract_lines):
        """Write a line with the new price, or with the reason for none, per contract line."""
        lines = self.env["billing.price.revision.line"]
        lines.sudo().create(lines._prepare_lines(self, contract_lines))  # engine-owned records

    # Notify

    def action_notify(self):
        """Release the new prices: tell the customers, and write the dated amendments.

        :raises UserError: it is too late for the effective date, there is nothing to tell, or
            another person must release it
        """
        for record in self:
            record._check_state("draft")
            record._check_may_notify()
            record._check_notice_days()
            record.line_ids.filtered(lambda line: line.outcome == "proposed")._block_changed()
            proposed = record.line_ids.filtered(lambda line: line.outcome == "proposed")
            if not proposed:
                raise UserError(
                    self.env._("There is no new price to tell: compute, and look at the reasons.")
                )
            record.sudo().write(  # protected fields
                {
                    "state": "notified",
                    "notified_by_id": self.env.uid,
                    "date_notified": record.company_id._get_billing_today(),
                }
            )
            if len(proposed) <= record._job_inline_limit:
                record._make_notices(proposed)
            record._trigger_job()
        return True

    def _check_may_notify(self):
        """Raise when a second person must release the new prices."""
        if not self.company_id.billing_approval:
            return
        if not self.env.user.has_group("customer_billing.group_billing_manager"):
            raise UserError(
                self.env._("A billing manager releases new prices: ask one to notify the customers.")
            )
        if self.env.user in self.sudo().preparer_ids:
            raise UserError(
                self.env._(
                    "You prepared %s: another billing manager must notify the customers. A firm of "
                    "one person can switch the approval off in the settings.",
                    self.name,
                )
            )

    def _check_notice_days(self):
        """Raise when customers told today would be told too late."""
        today = self.company_id._get_billing_today()
        if today > self.deadline:
            raise UserError(
                self.env._(
                    "Customers must know %(days)s days before: told today, new prices can begin on "
                    "%(first)s at the earliest. Change the effective date and compute again.",
                    days=self.notice_days,
                    first=format_date(self.env, today + timedelta(days=self.notice_days)),
                )
            )

    def _make_notices(self, lines):
        """Prepare one letter per bill-to contact for ``lines``.

        No unique index says so: contacts that are merged later keep the letters they got.
        """
        self.ensure_one()
        notices_sudo = self.env["billing.price.notice"].sudo()  # engine-owned records
        known = {notice.partner_id: notice for notice in self.notice_ids.sudo()}
        by_partner = lines.sudo().grouped(lambda line: line.contract_id.invoice_partner_id)
        missing = [partner for partner in by_partner if partner not in known]
        made = notices_sudo.with_context(mail_create_nolog=True, tracking_disable=True).create(
            [{"revision_id": self.id, "partner_id": partner.id} for partner in missing]
        )
        known.update(zip(missing, made, strict=True))
        for partner, lines_sudo in by_partner.items():
            lines_sudo.notice_id = known[partner]
        made._check_reachable()

    # Effective

    def _get_ready_lines(self):
        """The lines whose customers were told (and said yes, where that is asked for)."""
        domain = [
            ("revision_id", "=", self.id),
            ("outcome", "=", "proposed"),
            ("notice_id.state", "in", ("sent", "letter")),
        ]
        if self.acknowledgement_required:
            domain.append(("notice_id.is_acknowledged", "=", True))
        lines = self.env["billing.price.revision.line"].search(domain, order="contract_id, id")
        return lines.filtered(lambda line: not line._waits_for_renewal())

    def _apply_ready(self):
        """Write the amendments that can be written, now or in the background."""
        for record in self.filtered(lambda record: record.state == "notified"):
            ready = record._get_ready_lines()
            if len(ready) <= record._job_inline_limit:
                ready._apply()
            else:
                record._trigger_job()

    def _finish(self):
        """Give up what was not told in time or not acknowledged; effective from its day on."""
        self.ensure_one()
        if self.state != "notified":
            return
        today = self.company_id._get_billing_today()
        open_lines = self.line_ids.filtered(lambda line: line.outcome == "proposed").sudo()
        if today > self.deadline:
            late = open_lines.filtered(lambda line: line.notice_id.state not in ("sent", "letter"))
            late._skip(
                self.env._("Not notified in time: the last day was %s.", format_date(self.env, self.deadline))
            )
            open_lines -= late
        if today >= self.date:
            waiting = open_lines.filtered(lambda line: line._waits_for_renewal())
            waiting._skip(self.env._("The contract was not renewed."))
            (open_lines - waiting)._skip(self.env._("Not acknowledged by the customer."))
            self.sudo().state = "effective"  # protected field

    # Cancel

    def action_cancel(self):
        """Take the new prices back, before their day; the contracts are as before.

        :raises UserError: the prices are in effect: they are changed by another revision
        """
        for record in self:
            record._check_state("draft", "notified")
            record._check_not_begun()
            record.sudo().state = "cancelled"  # protected field
            record.line_ids.filtered(lambda line: line.outcome == "proposed")._withdraw(
                self.env._("Cancelled by %s.", self.env.user.name)
            )
            applied = record.line_ids.filtered(lambda line: line.outcome == "applied")
            if len(applied) <= record._job_inline_limit:
                record._take_back(applied)
            else:
                record._trigger_job()
        return True

    def _check_not_begun(self):
        if self.state != "draft" and self.company_id._get_billing_today() >= self.date:
            raise UserError(
                self.env._(
                    "The prices of %s are in effect. Make another revision to change them from a "
                    "later day on.",
                    self.name,
                )
            )

    def _take_back(self, lines):
        lines._take_back(self.env._("Cancelled by %s.", self.env.user.name), "withdrawn")

    def action_draft(self):
        """Take a cancelled revision that nobody was told about back to draft."""
        for record in self:
            record._check_state("cancelled")
            if record.notice_ids:
                raise UserError(
                    self.env._("Customers were told about %s: make a new revision.", record.name)
                )
            record.sudo().state = "draft"  # protected field
            record.line_ids.filtered(lambda line: line.outcome == "withdrawn").sudo().unlink()
        return True

    # Background job

    @api.model
    def _cron_work(self):
        """Go on with all revisions, chunk by chunk, each chunk its own commit."""
        self._cron_run_jobs()

    @api.model
    def _get_job_domain(self):
        return [
            "|", "|",
            ("job", "!=", False),
            ("state", "=", "notified"),
            "&", ("state", "=", "cancelled"), ("line_ids.outcome", "=", "applied"),
        ]  # fmt: skip

    def _with_job_user(self):
        """This revision as the user whose work it is, in its company."""
        user = self.notified_by_id or self.sudo().preparer_ids[-1:] or self.env.user
        return super()._with_job_user().with_user(user)

    def _work_jobs(self):
        """Do what is to be done now, once: some of it waits for other days or for answers."""
        return self._work_job()

    def _get_job_steps(self):
        return self._get_steps(), self._finish

    def _get_steps(self):
        """Yield (method, records) for each chunk; each kind is searched when its turn comes."""
        self.ensure_one()
        if self.job == "compute":
            yield from self._split_step(
                self._compute_lines, self._get_contract_lines_left(), CHUNK_SIZE
            )
        elif self.state == "notified":
            lines = self.line_ids.filtered(lambda l: l.outcome == "proposed" and not l.notice_id)
            yield from self._split_step(self._make_notices, lines, CHUNK_SIZE)
            queued = self.notice_ids.filtered(lambda notice: notice.state == "queued")
            yield from self._split_step(lambda notice: notice._send(), queued, 1)
            ready = self._get_ready_lines()
            yield from self._split_step(lambda lines: lines._apply(), ready, CHUNK_SIZE)
        elif self.state == "cancelled":
            applied = self.line_ids.filtered(lambda line: line.outcome == "applied")
            yield from self._split_step(self._take_back, applied, CHUNK_SIZE)

    # Views

    def _get_action(self, xmlid, domain=(), context=None):
        action = self.env["ir.actions.actions"]._for_xml_id(f"customer_billing.{xmlid}")
        action["domain"] = [("revision_id", "in", self.ids), *domain]
        action["context"] = {"create": False, **(context or {})}
        return action

    def action_view_lines(self):
        """Open the new prices of this revision."""
        return self._get_action("billing_price_revision_line_action")

    def action_view_problems(self):
        """Open what is not revised, with the reasons."""
        return self._get_action(
            "billing_price_revision_line_action", [("outcome", "not in", ("proposed", "applied"))]
        )

    def action_view_notices(self):
        """Open the letters to the customers."""
        return self._get_action("billing_price_notice_action")

    def action_view_unreached(self):
        """Open the letters that reached nobody."""
        return self._get_action("billing_price_notice_action", [("state", "=", "failed")])

    def action_view_objections(self):
        """Open the letters that customers objected to."""
        return self._get_action("billing_price_notice_action", [("is_objected", "=", True)])
