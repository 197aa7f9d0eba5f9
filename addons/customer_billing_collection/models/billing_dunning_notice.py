import json

from odoo import api, fields, models
from odoo.tools import SQL


class BillingDunningNotice(models.Model):
    """One executed (or proposed, or skipped) step for one case: what was demanded, how, and what came of it."""

    _name = "billing.dunning.notice"
    _description = "Dunning Notice"
    _inherit = ["billing.protected.mixin", "mail.thread"]
    _order = "date desc, id desc"
    _check_company_auto = True
    _billing_protected = frozenset(
        ("case_id", "step_id", "state", "reason_code", "reason_values", "amount", "error", "tries", "date_sent",
         "approver_id", "mail_message_id", "other_message_ids",
        "preparer_id", "channel", "date", "date_due", "line_ids", "date_printed",
         "name", "partner_id", "company_id", "currency_id")
    )  # fmt: skip

    name = fields.Char(readonly=True, default="/", copy=False)
    case_id = fields.Many2one("billing.case", required=True, index=True, ondelete="restrict")
    partner_id = fields.Many2one(related="case_id.partner_id", store=True, index=True)
    company_id = fields.Many2one(related="case_id.company_id", store=True, index=True)
    currency_id = fields.Many2one(related="case_id.currency_id", store=True)
    collector_id = fields.Many2one("res.users", index=True, help="The collector at the time.")
    step_id = fields.Many2one("billing.dunning.step", required=True, index=True, ondelete="restrict")
    channel = fields.Selection(
        selection=lambda self: self.env["billing.dunning.step"]._fields["channel"]._description_selection(self.env),
        required=True,
        readonly=True,
        help="That of the step; a call where the customer cannot be reached by it.",
    )
    date = fields.Date(required=True, readonly=True, help="The day of the proposal.")
    date_due = fields.Date(
        string="Due Date", readonly=True, help="Of a reminder in advance: the last due date among its items."
    )
    preparer_id = fields.Many2one("res.users", string="Proposed By", readonly=True, copy=False)
    needs_approval = fields.Boolean(compute="_compute_needs_approval", search="_search_needs_approval")
    state = fields.Selection(
        [
            ("proposed", "Proposed"),
            ("queued", "Queued"),
            ("sent", "Sent"),
            ("skipped", "Skipped"),
            ("failed", "Failed"),
            ("cancelled", "Cancelled"),
        ],
        string="Status",
        default="proposed",
        required=True,
        readonly=True,
        index=True,
        tracking=True,
        copy=False,
    )
    reason_code = fields.Selection(
        [
            ("paid", "Paid"),
            ("credited", "Credited or cancelled"),
            ("credits", "Covered by credits"),
            ("minimum", "Below the minimum"),
            ("dispute", "In dispute"),
            ("promise", "Promised"),
            ("instalment", "Instalments"),
            ("transit", "Payment on its way"),
            ("not_due", "Not due any more"),
            ("legal", "Handed over"),
            ("superseded", "A later step"),
            ("done", "Done already"),
            ("date_passed", "Date passed"),
            ("archived", "Step archived"),
            ("no_address", "No address"),
            ("no_contact", "No way to reach"),
            ("written_off", "Written off"),
            ("merged", "Customer merged"),
            ("manual", "By hand"),
        ],
        string="Kind of Reason",
        readonly=True,
        help="Why it was skipped, or taken back, or done in another way.",
    )
    reason_values = fields.Json(readonly=True)
    reason = fields.Char(compute="_compute_reason")
    amount = fields.Monetary(readonly=True, help="Demanded in all, credits deducted.")
    line_ids = fields.One2many("billing.dunning.notice.line", "notice_id", readonly=True)
    approver_id = fields.Many2one("res.users", readonly=True, copy=False)
    date_sent = fields.Datetime(string="Sent On", readonly=True, copy=False)
    mail_message_id = fields.Many2one("mail.message", readonly=True, copy=False, index="btree_not_null")
    other_message_ids = fields.Many2many(
        "mail.message",
        "billing_dunning_notice_message_rel",
        string="Mails in Other Languages",
        readonly=True,
        copy=False,
    )
    error = fields.Char(readonly=True, copy=False)
    tries = fields.Integer(readonly=True, copy=False)
    date_printed = fields.Datetime(string="Printed On", readonly=True, copy=False)

    _step_unique = models.UniqueIndex(
        "(case_id, step_id, COALESCE(date_due, DATE '1970-01-01')) WHERE state <> 'cancelled'",
        "This step was proposed for this case already.",
    )
    _queue_index = models.Index("(tries, id) WHERE state = 'queued'")

    @api.depends("name", "step_id", "partner_id")
    def _compute_display_name(self):
        for notice in self:
            name = notice.name if notice.name != "/" else notice.step_id.name
            notice.display_name = f"{name} · {notice.partner_id.name or ''}"

    # Why

    @api.depends_context("lang")
    @api.depends("reason_code", "reason_values")
    def _compute_reason(self):
        texts = self._get_reason_texts()
        for notice in self:
            reason = notice.reason_code and texts[notice.reason_code] % notice._get_reason_values()
            describe = self.env["billing.case"]._describe_payment
            awaited = [describe(payment, notice.currency_id) for payment in notice._get_awaited()]
            notice.reason = " ".join([reason, *awaited]) if reason else False

    @api.model
    def _get_reason_texts(self):
        """The text of each code, in the language of the reader. Modules add those of theirs."""
        return {
            "paid": self.env._("Nothing of it is open any more."),
            "credited": self.env._("It was credited or cancelled."),
            "credits": self.env._("Credits that are not matched cover it: match them, or pay them out."),
            "minimum": self.env._("Only %(amount)s to demand: below the minimum."),
            "dispute": self.env._("What is overdue is in dispute."),
            "promise": self.env._("The customer has promised to pay."),
            "instalment": self.env._("An instalment agreement is running."),
            "transit": self.env._("A payment is on its way."),
            "not_due": self.env._("What is left is not overdue long enough for this step."),
            "legal": self.env._("The case was handed over."),
            "superseded": self.env._("A later step is due now."),
            "done": self.env._("This step, or a later one, was carried out already."),
            "date_passed": self.env._("The due date has passed, or was reminded of already."),
            "archived": self.env._("The step was archived."),
            "no_address": self.env._("No e-mail address at %(name)s: call instead, and add one."),
            "no_contact": self.env._("%(name)s cannot be reached this way: call instead."),
            "written_off": self.env._("The debt was written off."),
            "merged": self.env._("The customer was merged with another one."),
            "manual": self.env._("Left out by %(name)s."),
        }

    def _get_awaited(self):
        """The payments that were on their way when this was left out, as ``billing.case._get_awaited`` tells them."""
        self.ensure_one()
        return (self.reason_values or {}).get("payments", [])

    def _get_reason_values(self):
        """What the text of a reason names, as the reader writes it."""
        values = {"name": "", **(self.reason_values or {})}
        values["amount"] = self.currency_id.format(values.get("amount", self.amount))
        return values

    # Approval

    @api.depends("state", "step_id.approval", "approver_id")
    def _compute_needs_approval(self):
        for notice in self:
            notice.needs_approval = notice.state == "proposed" and notice.step_id.approval and not notice.approver_id

    @api.model
    def _search_needs_approval(self, operator, value):
        if operator != "in":
            return NotImplemented
        domain = [("state", "=", "proposed"), ("step_id.approval", "=", True), ("approver_id", "=", False)]
        return fields.Domain(domain) if True in value else ~fields.Domain(domain)
    # What happened

    def _is_done(self):
        """Whether the step counts as carried out: it was, or a person has left it out."""
        self.ensure_one()
        return self.state == "sent" or (self.state == "cancelled" and self.reason_code == "manual")

    def _leave_out(self, reason, **values):
        """Record that these notices do not go out: an item of ``reason_code`` and what its text names."""
        for notice_sudo in self.sudo():  # protected fields
            notice_sudo.with_context(tracking_disable=True).write(
                {
                    "state": "cancelled" if reason in ("superseded", "manual") else "skipped",
                    "reason_code": reason,
                    "reason_values": {"amount": notice_sudo.amount, **values},
                    "error": False,
                }
            )

    @api.model
    def _write_lines(self, rows):
        """Write the items of notices, by two statements.

        :param dict rows: for each notice id the rows of ``billing.case._get_items`` that it lists
        """
        if not rows:
            return
        self.env["billing.dunning.notice.line"].flush_model()
        self.flush_model()
        self.env.execute_query(
            SQL("DELETE FROM billing_dunning_notice_line WHERE notice_id = ANY(%s) RETURNING id", list(rows))
        )
        values = [
            {
                "notice_id": notice,
                "move_line_id": row["move_line_id"],
                "move_id": row["move_id"],
                "number": row["number"],
                "date_maturity": fields.Date.to_string(row["date_maturity"]),
                "amount": row["residual"] - row["transit"],
                "days_overdue": row["days_overdue"],
            }
            for notice, found in rows.items()
            for row in found
        ]
        self.env.execute_query(
            SQL(
                """INSERT INTO billing_dunning_notice_line (notice_id, company_id, currency_id, move_line_id, move_id,
                          number, date_maturity, amount, days_overdue, create_uid, create_date, write_uid, write_date)
                   SELECT notice.id, notice.company_id, notice.currency_id, new.move_line_id, new.move_id,
                          new.number, new.date_maturity, new.amount, new.days_overdue, %(uid)s, %(now)s, %(uid)s,
                          %(now)s
                     FROM jsonb_to_recordset(%(values)s::jsonb) AS new (notice_id int, move_line_id int, move_id int,
                          number varchar, date_maturity date, amount numeric, days_overdue int)
                     JOIN billing_dunning_notice notice ON notice.id = new.notice_id
                   RETURNING id""",
                values=json.dumps(values),
                uid=self.env.uid,
                now=fields.Datetime.now(),
            )
        )
        self.browse(rows).invalidate_recordset(["line_ids"], flush=False)
