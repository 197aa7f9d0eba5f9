from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError

from ..tools import recurrence

CYCLE_FIELDS = frozenset(
    ("interval", "interval_unit", "timing", "anchor", "anchor_day", "proration", "company_id")
)
# What customers may do by themselves in the portal.
SELF_SERVICE = [("no", "Not allowed"), ("request", "As a request"), ("direct", "Immediately")]
MONTHS_PER_UNIT = {"month": 1.0, "year": 12.0, "week": 12 * 7 / 365.25, "day": 12 / 365.25}


class BillingPlan(models.Model):
    """How often and how a contract is billed."""

    _name = "billing.plan"
    _description = "Billing Plan"
    _inherit = ["mail.thread"]
    _order = "sequence, name, id"

    name = fields.Char(required=True, translate=True, tracking=True)
    sequence = fields.Integer(default=10)
    active = fields.Boolean(default=True)
    company_id = fields.Many2one("res.company", help="Empty: for all companies.")
    interval = fields.Integer(
        string="Bill Every", default=1, required=True, tracking=True, aggregator=None
    )
    interval_unit = fields.Selection(
        [("day", "Days"), ("week", "Weeks"), ("month", "Months"), ("year", "Years")],
        string="Unit",
        default="month",
        required=True,
        tracking=True,
    )
    timing = fields.Selection(
        [("advance", "In advance"), ("arrears", "In arrears")],
        default="advance",
        required=True,
        tracking=True,
        help="In advance: billed when a period starts. In arrears: the day after it ends.",
    )
    anchor = fields.Selection(
        [
            ("start", "Start date of the contract"),
            ("day", "A day of the month"),
            ("month_end", "End of the calendar month"),
        ],
        string="Periods Follow",
        default="start",
        required=True,
        tracking=True,
    )
    anchor_day = fields.Integer(
        string="Day of Month",
        default=1,
        aggregator=None,
        help="1 to 31. Where a month has no such day, its last day.",
    )
    proration = fields.Selection(
        [
            ("actual", "By days of the period"),
            ("calendar", "By days of each calendar month"),
            ("thirty_360", "Months of 30 days (30/360)"),
            ("none", "None: full price for any part"),
        ],
        string="Partial Periods",
        default="actual",
        required=True,
        tracking=True,
    )
    invoice_policy = fields.Selection(
        [
            ("draft", "Prepare draft bills"),
            ("post", "Post the bills"),
            ("send", "Post and send the bills"),
        ],
        string="Nightly Job",
        default="draft",
        required=True,
        tracking=True,
        help="How far the nightly run goes by itself. "
        "Bills that need an approval always wait for it.",
    )
    lead_days = fields.Integer(
        default=0,
        aggregator=None,
        help="Bill this many days before the period starts (in advance only).",
    )
    catch_up = fields.Selection(
        [("merged", "On one bill"), ("separate", "On a bill each")],
        string="Missed Periods",
        default="merged",
        required=True,
    )
    renewal = fields.Selection(
        [
            ("none", "Runs until ended"),
            ("manual", "Fixed term, renewed by hand"),
            ("auto", "Fixed term, renews itself"),
        ],
        default="none",
        required=True,
    )
    term_interval = fields.Integer(string="Term", default=1, aggregator=None)
    term_unit = fields.Selection([("month", "Months"), ("year", "Years")], default="year")
    notice_days = fields.Integer(
        default=30,
        aggregator=None,
        help="Days before the end of a term on which it is renewed, or on which a person is "
        "asked to renew or close.",
    )
    description = fields.Text(
        string="Terms", translate=True, help="Shown to the customer with the contract."
    )
    contract_count = fields.Integer(compute="_compute_contract_count")
    self_quantity = fields.Selection(
        SELF_SERVICE, string="Change Quantities", default="no", required=True, tracking=True
    )
    self_switch = fields.Selection(
        SELF_SERVICE,
        string="Upgrade and Downgrade",
        default="no",
        required=True,
        tracking=True,
        help="To other published prices of the items below.",
    )
    switch_product_ids = fields.Many2many(
        "product.product",
        string="Items to Switch Between",
        domain=[("sale_ok", "=", True)],
        help="A line with one of these items can be switched to any published price of them.",
    )
    self_pause = fields.Selection(
        SELF_SERVICE,
        string="Pause and Resume",
        default="no",
        required=True,
        tracking=True,
        help="Customers end the pauses only that they began.",
    )
    self_close = fields.Selection(
        SELF_SERVICE,
        string="Cancel",
        default="no",
        required=True,
        tracking=True,
        help="A contract with a fixed term ends with its term.",
    )
    self_notice_days = fields.Integer(
        string="Days of Notice",
        default=0,
        aggregator=None,
        help="What customers change or cancel takes effect this many days later at the earliest.",
    )

    _interval_positive = models.Constraint(
        "CHECK (interval > 0)", "Bill every: the number must be 1 or more."
    )
    _term_positive = models.Constraint(
        "CHECK (renewal = 'none' OR term_interval > 0)", "A term has at least one month or year."
    )
    _lead_days_positive = models.Constraint(
        "CHECK (lead_days >= 0)", "Lead days cannot be negative."
    )

    _self_notice_days_positive = models.Constraint(
        "CHECK (self_notice_days >= 0)", "Days of notice cannot be negative."
    )

    def _compute_contract_count(self):
        counts = dict(
            self.env["billing.contract"]._read_group(
                [("plan_id", "in", self.ids)], ["plan_id"], ["__count"]
            )
        )
        for plan in self:
            plan.contract_count = counts.get(plan, 0)

    @api.constrains("interval_unit", "anchor", "anchor_day", "proration")
    def _check_cycle(self):
        for plan in self:
            if plan.interval_unit not in ("day", "week"):
                if plan.anchor == "day" and not 1 <= plan.anchor_day <= 31:
                    raise ValidationError(
                        self.env._("Day of month: enter a day from 1 to 31.")
                    )
                continue
            if plan.anchor != "start":
                raise ValidationError(
                    self.env._(
                        "Periods of days or weeks follow the start date of the contract. "
                        "Choose that, or a cycle of months or years."
                    )
                )
            if plan.proration in ("calendar", "thirty_360"):
                raise ValidationError(
                    self.env._(
                        "Partial periods of days or weeks are charged by days of the period, "
                        "or not prorated."
                    )
                )

    def write(self, vals):
        changed = CYCLE_FIELDS.intersection(vals)
        if changed:
            for plan in self:
                if any(
                    plan[name] != plan._fields[name].convert_to_record(
                        plan._fields[name].convert_to_cache(vals[name], plan), plan
                    )
                    for name in changed
                ):
                    plan._check_not_in_use()
        moved = self.filtered(lambda plan: plan.lead_days != vals.get("lead_days", plan.lead_days))
        result = super().write(vals)
        if moved:  # what is billed ahead is due on another day
            # sudo: contracts of other companies move too
            self.env["billing.contract"].sudo().with_context(active_test=False).search(
                [("plan_id", "in", moved.ids), ("state", "!=", "draft"), ("next_bill_date", "!=", False)]
            )._reschedule()
        return result

    def _check_not_in_use(self):
        """Raise when an active contract is billed by this plan: its past periods would move."""
        line = self.env["billing.contract.line"].sudo().search(
            [("plan_id", "=", self.id), ("contract_id.state", "!=", "draft")], limit=1
        )  # sudo: contracts of other companies count too
        if line:
            raise UserError(
                self.env._(
                    "The plan %(plan)s is in use (%(contract)s), so its cycle cannot change: "
                    "periods that are already billed would move. Duplicate the plan, change "
                    "the copy, and move contracts to it.",
                    plan=self.display_name,
                    contract=line.contract_id.name,
                )
            )

    def copy_data(self, default=None):
        vals_list = super().copy_data(default)
        for plan, vals in zip(self, vals_list, strict=True):
            if "name" not in (default or {}):
                vals["name"] = self.env._("%s (copy)", plan.name)
        return vals_list

    def _get_cycle(self):
        """The cycle of this plan for the kernels, as a ``recurrence.Cycle``."""
        self.ensure_one()
        return recurrence.Cycle(
            interval=self.interval,
            unit=self.interval_unit,
            anchor=self.anchor,
            anchor_day=self.anchor_day if self.anchor == "day" else 0,
        )

    def _get_months(self):
        """The length of a period in months (a mean for days and weeks), as a float."""
        self.ensure_one()
        return self.interval * MONTHS_PER_UNIT[self.interval_unit]

    def action_view_contracts(self):
        """Open the contracts of this plan."""
        action = self.env["ir.actions.actions"]._for_xml_id(
            "customer_billing.billing_contract_action"
        )
        action["domain"] = [("plan_id", "in", self.ids)]
        return action

    # Terms in words, for the customer

    def _describe_cycle(self):
        """How often and when a plan bills, in words: “Every 3 months, in advance”."""
        plan = self.sudo()  # read with the contract, which its reader may see
        if plan.interval == 1:
            cycle = {
                "day": self.env._("Every day"),
                "week": self.env._("Every week"),
                "month": self.env._("Every month"),
                "year": self.env._("Every year"),
            }[plan.interval_unit]
        else:
            number = plan.interval
            cycle = {
                "day": self.env._("Every %s days", number),
                "week": self.env._("Every %s weeks", number),
                "month": self.env._("Every %s months", number),
                "year": self.env._("Every %s years", number),
            }[plan.interval_unit]
        if plan.timing == "advance":
            return self.env._("%s, in advance", cycle)
        return self.env._("%s, in arrears", cycle)

    def _describe_periods(self):
        """Which days the periods of a plan run from and to."""
        plan = self.sudo()  # read with the contract, which its reader may see
        if plan.anchor == "day":
            return self.env._("From day %s of a month", plan.anchor_day)
        if plan.anchor == "month_end":
            return self.env._("To the end of a calendar month")
        return self.env._("From the day of the start")

    def _describe_proration(self):
        """What a part of a period costs."""
        plan = self.sudo()  # read with the contract, which its reader may see
        return dict(plan._fields["proration"]._description_selection(self.env))[plan.proration]

    def _describe_term(self):
        """The term of a plan and how it goes on; False where there is none."""
        plan = self.sudo()  # read with the contract, which its reader may see
        if plan.renewal == "none":
            return False
        number = plan.term_interval
        if plan.term_unit == "year":
            term = self.env._("1 year") if number == 1 else self.env._("%s years", number)
        else:
            term = self.env._("1 month") if number == 1 else self.env._("%s months", number)
        if plan.renewal == "manual":
            return self.env._("%s, not renewed by itself", term)
        return self.env._(
            "%(term)s, renewed by itself unless ended %(days)s days before",
            term=term,
            days=plan.notice_days,
        )
