from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import format_date


class BillingInterest(models.Model):
    """The ledger of late interest and fees: an entry for each item and stretch of days, and one for each fee.

    Interest is computed for all days from the due date on and compared with the entries that exist; only the difference
    is booked. Days without an entry get one (revision 0). When a payment or credit of an earlier day comes to light,
    the days that have an entry get another one with the difference (revision 1 and up), at the rate of the first one.
    Accrued-through of an item is its last ``date_to``.
    """

    _name = "billing.interest"
    _description = "Late Interest"
    _inherit = ["billing.protected.mixin"]
    _order = "date_to desc, id desc"
    _check_company_auto = True
    _billing_protected = frozenset(
        (
            "case_id", "kind", "move_line_id", "notice_id", "date_from", "date_to", "revision", "amount", "trace",
            "state", "invoice_line_id", "waive_reason", "waive_requester_id", "waive_approver_id", "partner_id",
            "company_id", "currency_id",
        )
    )  # fmt: skip

    case_id = fields.Many2one("billing.case", required=True, index=True, ondelete="restrict")
    partner_id = fields.Many2one(related="case_id.partner_id", store=True, index=True, precompute=True)
    company_id = fields.Many2one(related="case_id.company_id", store=True, index=True, precompute=True)
    currency_id = fields.Many2one(related="case_id.currency_id", store=True, precompute=True)
    kind = fields.Selection(
        [("interest", "Interest"), ("fee", "Fee")], default="interest", required=True, readonly=True
    )
    move_line_id = fields.Many2one(
        "account.move.line", string="Item", index=True, ondelete="set null", readonly=True, help="Empty for fees."
    )
    move_id = fields.Many2one(related="move_line_id.move_id", string="Bill")
    notice_id = fields.Many2one(
        "billing.dunning.notice", index="btree_not_null", ondelete="restrict", readonly=True,
        help="The notice of a fee.",
    )  # fmt: skip
    date_from = fields.Date(string="From", readonly=True, help="First day that bears interest.")
    date_to = fields.Date(
        string="Through", readonly=True, help="Last day that bears interest: accrued through this day."
    )
    days = fields.Integer(compute="_compute_days", help="Calendar days of the entry.")
    revision = fields.Integer(
        default=0, required=True, readonly=True, aggregator=None,
        help="0: the first entry for these days; above: a correction of it.",
    )  # fmt: skip
    amount = fields.Monetary(readonly=True)
    trace = fields.Json(
        string="Calculation", readonly=True, help="Terms, and stretches of days with residual, rate and interest."
    )
    state = fields.Selection(
        [("pending", "To bill"), ("billed", "Billed"), ("waived", "Waived"), ("void", "Void")],
        string="Status", default="pending", required=True, readonly=True, index=True, copy=False,
    )  # fmt: skip
    invoice_line_id = fields.Many2one("account.move.line", index="btree_not_null", ondelete="set null", readonly=True)
    invoice_id = fields.Many2one(related="invoice_line_id.move_id", string="Billed On")
    explanation = fields.Text(compute="_compute_explanation", string="How It Was Computed")
    waive_reason = fields.Char(string="Reason of the Waiver", readonly=True, copy=False)
    waive_requester_id = fields.Many2one("res.users", string="Waiver Asked By", readonly=True, copy=False)
    waive_approver_id = fields.Many2one("res.users", string="Waiver Approved By", readonly=True, copy=False)

    # One range of numbers for each item, one number for each of its days: no two entries may share one.
    _day_once = models.Constraint(
        """EXCLUDE USING gist (int8range(
               move_line_id::bigint * 4194304 + (date_from - DATE '2000-01-01'),
               move_line_id::bigint * 4194304 + (date_to - DATE '2000-01-01'), '[]') WITH &&)
           WHERE (kind = 'interest' AND revision = 0 AND state <> 'void')""",
        "Interest has been charged for these days of the item already.",
    )
    _revision_unique = models.UniqueIndex(
        "(move_line_id, date_from, revision) WHERE kind = 'interest' AND state <> 'void'",
        "This correction of interest has been booked already.",
    )
    _notice_unique = models.UniqueIndex(
        "(notice_id) WHERE kind = 'fee' AND state <> 'void'", "The fee of this notice has been charged already."
    )
    _days_valid = models.Constraint("CHECK (date_from <= date_to)", "The first day is after the last one.")

    @api.depends("date_from", "date_to", "kind")
    def _compute_days(self):
        for entry in self:
            is_span = entry.kind == "interest" and entry.date_from and entry.date_to
            entry.days = (entry.date_to - entry.date_from).days + 1 if is_span else 0

    @api.depends("kind", "move_line_id", "date_from", "date_to")
    def _compute_display_name(self):
        for entry in self:
            about = entry.sudo().notice_id.step_id.name if entry.kind == "fee" else entry.sudo().move_id.name
            span = f"{format_date(self.env, entry.date_from)} – {format_date(self.env, entry.date_to)}"
            entry.display_name = f"{about or ''} {span}" if entry.date_from else about or ""

    @api.depends("trace")
    def _compute_explanation(self):
        for entry in self:
            entry.explanation = "\n".join(entry._get_stretch_texts()) if entry.trace else False

    # Fees

    @api.model
    def _add_fee(self, notices):
        """Charge the fees of notices that were sent, once for each; returns the new entries.

        :param notices: notices whose step may have a fee; in company currency, converted to that of the case
        """
        # sudo: entries are made by this method alone
        charged = self.sudo().search([("notice_id", "in", notices.ids), ("kind", "=", "fee"), ("state", "!=", "void")])
        vals_list = []
        for notice in notices - charged.notice_id:
            case, fee = notice.case_id, notice.step_id.fee_amount
            if not fee:
                continue
            day = notice.date
            vals_list.append(
                {
                    "case_id": case.id,
                    "kind": "fee",
                    "notice_id": notice.id,
                    "date_from": day,
                    "date_to": day,
                    "amount": case.company_id.currency_id._convert(fee, case.currency_id, case.company_id, day),
                }
            )
        return self.sudo().create(vals_list).sudo(self.env.su)

    # Waive

    def action_waive(self, reason):
        """Give up entries that are not billed. Above the limit of the company another manager approves.

        :param str reason: why
        :raises UserError: without a reason, or when an entry is billed or waived
        """
        self.check_access("write")
        if not (reason or "").strip():
            raise UserError(self.env._("Say why the interest is waived."))
        if other := self.filtered(lambda entry: entry.state != "pending")[:1]:
            raise UserError(
                self.env._(
                    "“%s” is not waiting to be billed. What is billed is taken back by a credit note for its bill.",
                    other.display_name,
                )
            )
        for case, entries in self.grouped("case_id").items():
            values = {"waive_reason": reason, "waive_requester_id": self.env.user.id}
            if not entries._needs_approval(case):
                values["state"] = "waived"
            entries.sudo().write(values)  # protected fields
        return True

    def _needs_approval(self, case):
        """Whether these and what was waived of the case without approval are above the limit."""
        waived = case.interest_ids.filtered(lambda entry: entry.state == "waived" and not entry.waive_approver_id)
        total = sum((waived.filtered("waive_requester_id") | self).mapped("amount"))
        return case._exceeds_approval_limit(total)

    def action_approve_waiver(self):
        """Approve waivers that another person asked for.

        :raises UserError: when the user asked for one, or there is nothing to approve
        """
        self._check_waiver_asked()
        self.env["billing.case"]._check_approver(self.waive_requester_id)
        self.sudo().write({"state": "waived", "waive_approver_id": self.env.user.id})  # protected fields
        return True

    def action_refuse_waiver(self):
        """Do not waive: the entries are billed as ever."""
        self._check_waiver_asked()
        self.sudo().write({"waive_requester_id": False, "waive_reason": False})  # protected fields
        return True

    def _check_waiver_asked(self):
        self.check_access("write")
        if other := self.filtered(lambda entry: entry.state != "pending" or not entry.waive_requester_id)[:1]:
            raise UserError(self.env._("Nobody has asked to waive “%s”.", other.display_name))
