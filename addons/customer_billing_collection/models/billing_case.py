from odoo import api, fields, models
from odoo.exceptions import UserError

CLOSED = ("closed", "written_off")
SETTLED = ("paid", "credited")  # reasons of cases in which nothing is due any more


class BillingCase(models.Model):
    """All collection work for one customer, company and currency, from the first overdue item until all is paid.

    The facts live on the items: a dispute, promise or instalment takes its items out of dunning, the others go on. The
    state sums them up: legal > hold > disputed > instalment > promised > open.
    """

    _name = "billing.case"
    _description = "Collection Case"
    _inherit = ["billing.protected.mixin", "portal.mixin", "mail.thread", "mail.activity.mixin"]
    _order = "priority desc, next_action_date, id"
    _check_company_auto = True
    _billing_protected = frozenset(
        (
            "name", "state", "partner_id", "company_id", "currency_id", "policy_id", "amount_overdue",
            "amount_overdue_company", "days_overdue", "amount_open", "next_step_id", "step_id", "priority",
            "priority_reason", "date_opened", "date_closed", "date_refreshed", "date_hold", "date_legal",
            "close_reason", "handover_partner_id", "handover_attachment_id", "handover_sha256",
            "step_days", "next_step_date", "next_action_manual", "error",
        )
    )  # fmt: skip

    name = fields.Char(readonly=True, default="/", copy=False)
    partner_id = fields.Many2one("res.partner", string="Customer", required=True, index=True, ondelete="restrict")
    company_id = fields.Many2one("res.company", required=True, index=True)
    currency_id = fields.Many2one("res.currency", required=True)
    company_currency_id = fields.Many2one(related="company_id.currency_id", string="Company Currency")
    state = fields.Selection(
        [
            ("open", "Open"),
            ("promised", "Promised"),
            ("instalment", "Instalments"),
            ("disputed", "Disputed"),
            ("hold", "Service hold"),
            ("legal", "Handed over"),
            ("written_off", "Written off"),
            ("closed", "Closed"),
        ],
        string="Status",
        default="open",
        required=True,
        readonly=True,
        index=True,
        copy=False,
        group_expand=True,
    )
    policy_id = fields.Many2one("billing.dunning.policy", readonly=True, ondelete="restrict", index=True)
    step_id = fields.Many2one(
        "billing.dunning.step", string="Last Step", readonly=True, ondelete="restrict", index=True,
        help="The highest step that was carried out; what was demanded with it never goes back before it.",
    )  # fmt: skip
    next_step_id = fields.Many2one("billing.dunning.step", readonly=True, ondelete="set null", index=True)
    step_days = fields.Integer(readonly=True, copy=False, help="Days of the last step when it was carried out.")
    next_step_date = fields.Date(string="Next Step On", readonly=True, copy=False)
    next_action_date = fields.Date(
        string="Next Action", index=True, tracking=True, copy=False,
        help="When somebody looks at the case: the day of the next step, or on which a promise is decided or a part of "
        "an agreement falls due, unless a person sets another one.",
    )  # fmt: skip
    next_action_manual = fields.Boolean(string="Date Set by a Person", readonly=True, copy=False)
    collector_id = fields.Many2one(
        "res.users", domain=[("share", "=", False)], index=True, tracking=True
    )
    amount_open = fields.Monetary(
        string="Balance", readonly=True, help="What the customer owed in all when the case was last looked at."
    )
    amount_overdue = fields.Monetary(
        string="Overdue", readonly=True, help="What of it was past its due date; unallocated credits are deducted."
    )
    amount_overdue_company = fields.Monetary(
        string="Overdue (Company Currency)", currency_field="company_currency_id", readonly=True
    )
    days_overdue = fields.Integer(readonly=True, aggregator="max", help="Of the oldest item.")
    priority = fields.Integer(readonly=True, index=True, aggregator="max", help="Amount × age × behaviour.")
    priority_reason = fields.Json(readonly=True)
    date_opened = fields.Date(readonly=True)
    date_closed = fields.Date(readonly=True, copy=False)
    date_refreshed = fields.Datetime(
        string="Looked At", readonly=True, copy=False,
        help="Empty: something has changed since; the job looks at it soon.",
    )
    error = fields.Char(readonly=True, copy=False, help="Why the nightly job could not work on the case.")
    date_hold = fields.Date(string="Service Held Since", readonly=True, copy=False)
    date_legal = fields.Date(string="Handed Over On", readonly=True, copy=False)
    close_reason = fields.Selection(
        [
            ("paid", "Paid"), ("credited", "Credited or cancelled"), ("written_off", "Written off"),
            ("merged", "Customer merged"), ("manual", "By hand"),
        ],
        readonly=True, copy=False,
    )  # fmt: skip
    notice_ids = fields.One2many("billing.dunning.notice", "case_id", readonly=True)
    promise_ids = fields.One2many("billing.promise", "case_id")
    instalment_ids = fields.One2many("billing.instalment", "case_id")
    interest_ids = fields.One2many("billing.interest", "case_id")
    writeoff_ids = fields.One2many("billing.writeoff", "case_id")

    _open_unique = models.UniqueIndex(
        "(partner_id, company_id, currency_id) WHERE state NOT IN ('closed', 'written_off')",
        "There is an open case for this customer, company and currency already.",
    )
    _collector_index = models.Index("(collector_id, next_action_date) WHERE state NOT IN ('closed', 'written_off')")

    @api.ondelete(at_uninstall=False)
    def _unlink_never(self):
        raise UserError(self.env._("Collection cases are kept: they close by themselves when all is paid."))

    def write(self, vals):
        if "next_action_date" in vals and not self.env.su:  # by a person
            super(BillingCase, self.sudo()).write({"next_action_manual": bool(vals["next_action_date"])})
        return super().write(vals)

    def _message_auto_subscribe_followers(self, updated_values, default_subtype_ids):
        """Whoever collects follows the case: customers answer to reminders."""
        found = super()._message_auto_subscribe_followers(updated_values, default_subtype_ids)
        user = self.env["res.users"].browse(updated_values.get("collector_id") or ()).filtered("active")
        return [*found, *((partner.id, default_subtype_ids, False) for partner in user.partner_id)]

    @api.depends("name", "partner_id")
    def _compute_display_name(self):
        for case in self:
            case.display_name = f"{case.partner_id.name or ''} · {case.name}"

    def _compute_access_url(self):
        super()._compute_access_url()
        for case in self:
            case.access_url = "/my/invoices"

    def _get_open_domain(self):
        """The domain of cases that are at work."""
        return [("state", "not in", CLOSED)]

    def _get_rounding(self):
        """The smallest amount of the case's currency."""
        return self.currency_id.rounding

    # Facts

    def _close(self, reason):
        """Close cases: nothing is due any more (``paid``, or ``credited`` when no money came), it was given up
        (``written_off``), ``merged`` or ``manual``.

        What waits to be sent is taken back, a service hold ends.
        """
        cases_sudo = self.sudo().filtered(lambda case: case.state not in CLOSED)  # protected fields
        for company, cases in cases_sudo.grouped("company_id").items():
            cases.with_context(tracking_disable=True).write(
                {
                    "state": "written_off" if reason == "written_off" else "closed",
                    "close_reason": reason,
                    "date_closed": company._get_billing_today(),
                    "next_step_id": False, "next_step_date": False, "next_action_date": False,
                    "next_action_manual": False, "error": False, "hold_requester_id": False,
                }
            )  # fmt: skip
        waiting = cases_sudo.notice_ids.filtered(lambda notice: notice.state in ("proposed", "queued", "failed"))
        waiting._leave_out(reason)
        cases_sudo.activity_unlink(["mail.mail_activity_data_call"])
        label = dict(self._fields["close_reason"]._description_selection(self.env))[reason]
        cases_sudo._message_log_batch(bodies={case.id: self.env._("Closed: %s", label) for case in cases_sudo})
        if held := cases_sudo.filtered("date_hold"):
            held._release_hold()

    def _note_action(self, date):
        """Note when a person has to look at these cases again; no date: on the day of the next step."""
        for case_sudo in self.sudo():  # protected field
            case_sudo.write({"next_action_date": date or case_sudo.next_step_date, "next_action_manual": bool(date)})

    def _merge_into(self, kept):
        """Close this case; what was agreed and sent goes on in ``kept``, a case of the customer that it is merged with.

        Called as superuser before the customers are merged.
        """
        self.ensure_one()
        self.notice_ids.filtered(lambda notice: notice.state in ("proposed", "queued", "failed"))._leave_out("merged")
        for name in ("promise_ids", "instalment_ids", "interest_ids", "writeoff_ids"):
            self[name].write({"case_id": kept.id})
        kept.write(
            {
                "step_days": max(kept.step_days, self.step_days),
                "step_id": (self if self.step_days > kept.step_days else kept).step_id.id,
                "date_refreshed": False,
            }
        )
        if self.date_legal and not kept.date_legal:
            names = (
                "date_legal", "handover_partner_id", "handover_attachment_id", "handover_sha256",
                "handover_known_move_ids", "handover_move_ids",
            )  # fmt: skip
            kept.write(self._convert_to_write({name: self[name] for name in names}))
        kept._message_log(body=self.env._("%s of the merged customer goes on here.", self.name))
        self._close("merged")
