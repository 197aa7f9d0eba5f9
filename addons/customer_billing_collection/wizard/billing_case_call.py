from markupsafe import Markup, escape

from odoo import api, fields, models
from odoo.exceptions import UserError

RETRY_DAYS = {"no_answer": 1, "wrong_number": 2, "dispute": 7, "paid": 3, "other": 7}


class BillingCaseCall(models.TransientModel):
    """What came of a call: the right fact is recorded, and the next case is opened."""

    _name = "billing.case.call"
    _description = "Outcome of a Call"

    case_id = fields.Many2one("billing.case", required=True, ondelete="cascade")
    partner_id = fields.Many2one(related="case_id.partner_id")
    partner_phone = fields.Char(related="case_id.partner_id.phone", string="Phone")
    currency_id = fields.Many2one(related="case_id.currency_id")
    amount_overdue = fields.Monetary(related="case_id.amount_overdue")
    outcome = fields.Selection(
        [
            ("promised", "Promised to pay"),
            ("no_answer", "No answer"),
            ("wrong_number", "Wrong number"),
            ("dispute", "Something is wrong with a bill"),
            ("paid", "Says it is paid"),
            ("other", "Other"),
        ],
        required=True,
    )
    note = fields.Text()
    promise_amount = fields.Monetary(
        string="Promised Amount", compute="_compute_promise_amount", store=True, readonly=False
    )
    promise_date = fields.Date(string="Promised For", compute="_compute_promise_date", store=True, readonly=False)
    promise_warning = fields.Char(compute="_compute_promise_warning")
    move_id = fields.Many2one(
        "account.move", string="Bill", domain="[('id', 'in', move_ids)]", help="The bill that is disputed."
    )
    move_ids = fields.Many2many("account.move", compute="_compute_move_ids")
    next_action_date = fields.Date(
        string="Look Again On", compute="_compute_next_action_date", store=True, readonly=False,
        help="Empty: with the next step.",
    )  # fmt: skip

    @api.depends("case_id")
    def _compute_move_ids(self):
        for call in self:
            rows = call.case_id._get_items()[call.case_id] if call.case_id else []
            moves = [row["move_id"] for row in rows if row["residual"] > 0 and row["kind"] == "invoice"]
            call.move_ids = self.env["account.move"].browse(moves)

    @api.depends("case_id")
    def _compute_promise_amount(self):
        for call in self:
            call.promise_amount = call.case_id.amount_overdue

    @api.depends("case_id", "promise_amount", "outcome")
    def _compute_promise_warning(self):
        for call in self:
            share = call.case_id.policy_id.promise_threshold or 1.0
            is_promised = call.outcome == "promised" and call.promise_amount > 0
            call.promise_warning = is_promised and call.case_id._get_promise_warning(call.promise_amount, share)

    @api.depends("case_id", "outcome")
    def _compute_promise_date(self):
        for call in self:
            today = call._get_today()
            call.promise_date = today if call.outcome == "paid" else fields.Date.add(today, days=7)

    @api.depends("case_id", "outcome")
    def _compute_next_action_date(self):
        for call in self:
            if call.outcome == "promised":
                call.next_action_date = False  # the promise decides
            else:
                days = RETRY_DAYS.get(call.outcome, 1)
                call.next_action_date = fields.Date.add(call._get_today(), days=days)

    def _get_today(self):
        return (self.case_id.company_id or self.env.company)._get_billing_today()

    def action_done(self):
        """Record what came of the call.

        :raises UserError: something that the outcome needs is missing
        """
        self.ensure_one()
        self.case_id.check_access("write")
        getattr(self, f"_record_{self.outcome}")()
        label = dict(self._fields["outcome"]._description_selection(self.env))[self.outcome]
        text = self.env._("Call: %s", label)
        body = Markup("<p>%s</p><p>%s</p>") % (text, self.note) if self.note else text
        calls = self.case_id.activity_ids.filtered(
            lambda activity: activity.activity_type_id == self.env.ref("mail.mail_activity_data_call")
        )
        if calls:
            calls.action_feedback(feedback=f"{text}\n{self.note or ''}".strip())
        else:
            self.case_id.message_post(body=body)
        self.case_id._note_action(self.next_action_date)
        self.case_id._refresh()
        return {"type": "ir.actions.act_window_close"}

    def action_done_next(self):
        """Record what came of the call, and open the next case that waits."""
        self.action_done()
        return self.case_id.action_call_next()

    def _record_promised(self):
        self._create_promise(self.promise_amount, self.promise_date)

    def _record_paid(self):
        """The customer's word too: until the money should be there nothing is demanded."""
        self._create_promise(self.case_id.amount_overdue, self.promise_date)

    def _create_promise(self, amount, date):
        if not amount or not date:
            raise UserError(self.env._("How much was promised, and for which day?"))
        self.env["billing.promise"].create(
            {"case_id": self.case_id.id, "amount": amount, "date": date, "note": self.note}
        )

    def _record_no_answer(self):
        """Nothing but the next try."""

    def _record_other(self):
        """What was said is in the note."""
        if not self.note:
            raise UserError(self.env._("Write in the note what was said."))

    def _record_wrong_number(self):
        self.case_id.activity_schedule(
            "mail.mail_activity_data_todo",
            summary=self.env._("Find out the phone number of %s", self.partner_id.display_name),
            note=self.note and escape(self.note),
            user_id=(self.partner_id.user_id or self.env.user).id,
        )

    def _record_dispute(self):
        if not self.move_id:
            raise UserError(self.env._("Choose the bill that is disputed."))
        self.env["billing.dispute"].create(
            {
                "name": self.env._("By phone: %s", self.move_id.name),
                "move_id": self.move_id.id,
                "description": self.note,
            }
        )
