import json
from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError
from odoo.http import request
from odoo.tools import SQL, format_date

from ..tools.period import last_period
from .res_company import KINDS, TEMPLATES

DAY = timedelta(days=1)
ACTIVE = ("draft", "checked", "sent", "confirmed", "disputed")
ISSUED = ("sent", "confirmed", "disputed")
MAX_BUCKETS = 6

# In the context of statements whose lines the caller writes; no caller over RPC can pass it.
LATER = object()

SCOPE = frozenset(
    ("partner_id", "company_id", "currency_id", "kind", "date_from", "date_to")
)
AMOUNTS = frozenset(
    (
        "balance_open", "amount_debit", "amount_credit", "balance_close", "balance_company",
        "amount_overdue", "amount_unallocated", "bucket_0", "bucket_1", "bucket_2", "bucket_3",
        "bucket_4", "bucket_5", "ageing_bounds", "ageing_basis",
    )
)  # fmt: skip
# What a checked statement says; nobody changes it.
FROZEN = SCOPE | AMOUNTS | {
    "name", "template", "line_ids", "previous_id", "supersedes_id", "changes"
}  # fmt: skip
# Written once, when the statement is issued.
FILES = frozenset(("pdf", "xlsx", "sha256", "sha256_xlsx", "date_sent"))
# Written once, when the customer confirms.
CONFIRMATION = frozenset(
    ("date_confirmed", "confirm_name", "signature", "confirm_ip", "confirm_note", "confirm_user_id")
)


class BillingStatement(models.Model):
    """A dated snapshot of a customer's account that the customer confirms or disputes."""

    _name = "billing.statement"
    _description = "Statement of Account"
    _inherit = ["billing.protected.mixin", "portal.mixin", "mail.thread", "mail.activity.mixin"]
    _order = "date_to desc, id desc"
    _check_company_auto = True
    _billing_protected = (
        AMOUNTS
        | FILES
        | CONFIRMATION
        | frozenset(
            (
                "name", "line_ids", "previous_id", "supersedes_id", "superseded_by_id", "changes",
                "state", "run_id", "delivery_state", "delivery_error", "delivery_tries",
                "delivery_date",
                "date_opened", "date_reminded", "reminder_count", "date_escalated",
                "exception_ids", "dispute_ids", "access_token",
            )
        )
    )  # fmt: skip

    name = fields.Char(string="Number", required=True, readonly=True, copy=False, default="/")
    partner_id = fields.Many2one(
        "res.partner",
        string="Customer",
        required=True,
        index=True,
        tracking=True,
        ondelete="restrict",
        domain=[("parent_id", "=", False)],
        help="With all its contacts.",
    )
    company_id = fields.Many2one(
        "res.company", required=True, index=True, default=lambda self: self.env.company
    )
    currency_id = fields.Many2one(
        "res.currency", required=True, default=lambda self: self.env.company.currency_id
    )
    company_currency_id = fields.Many2one(
        related="company_id.currency_id", string="Company Currency"
    )
    kind = fields.Selection(
        KINDS,
        required=True,
        compute="_compute_from_customer",
        store=True,
        readonly=False,
        precompute=True,
        help="Activity: all that moved, and what of it is open. Open items: only what is not "
        "settled. Balance forward: the balance of before and all that moved.",
    )
    template = fields.Selection(
        TEMPLATES,
        string="Layout",
        required=True,
        compute="_compute_from_customer",
        store=True,
        readonly=False,
        precompute=True,
    )
    date_from = fields.Date(string="From", required=True)
    date_to = fields.Date(string="To", required=True, index=True)
    line_ids = fields.One2many("billing.statement.line", "statement_id", readonly=True, copy=False)

    balance_open = fields.Monetary(string="Opening Balance", readonly=True, copy=False)
    amount_debit = fields.Monetary(string="Charged", readonly=True, copy=False)
    amount_credit = fields.Monetary(string="Credited", readonly=True, copy=False)
    balance_close = fields.Monetary(string="Closing Balance", readonly=True, copy=False)
    balance_company = fields.Monetary(
        string="Closing Balance in Company Currency",
        currency_field="company_currency_id",
        readonly=True,
        copy=False,
        help="As the general ledger has it.",
    )
    amount_overdue = fields.Monetary(string="Overdue", readonly=True, copy=False)
    amount_unallocated = fields.Monetary(
        string="Unallocated Credits", readonly=True, copy=False,
        help="Payments and credit notes that are not matched to a bill yet. Part of the balance.",
    )  # fmt: skip
    ageing_bounds = fields.Json(
        readonly=True, copy=False, help="The last day of each age band, as it was set then."
    )
    ageing_basis = fields.Selection(
        [("due", "Due date"), ("invoice", "Invoice date")], readonly=True, copy=False
    )
    bucket_0 = fields.Monetary(string="Not Due", readonly=True, copy=False)
    bucket_1 = fields.Monetary(string="Age Band 1", readonly=True, copy=False)
    bucket_2 = fields.Monetary(string="Age Band 2", readonly=True, copy=False)
    bucket_3 = fields.Monetary(string="Age Band 3", readonly=True, copy=False)
    bucket_4 = fields.Monetary(string="Age Band 4", readonly=True, copy=False)
    bucket_5 = fields.Monetary(string="Age Band 5", readonly=True, copy=False)
    ageing_html = fields.Html(compute="_compute_ageing_html", string="Ageing")

    state = fields.Selection(
        [
            ("draft", "Draft"),
            ("checked", "Checked"),
            ("sent", "Sent"),
            ("disputed", "Disputed"),
            ("confirmed", "Confirmed"),
            ("superseded", "Superseded"),
            ("cancelled", "Cancelled"),
        ],
        string="Status",
        default="draft",
        required=True,
        readonly=True,
        index=True,
        tracking=True,
        copy=False,
        group_expand=True,
    )
    user_id = fields.Many2one(
        "res.users",
        string="Responsible",
        compute="_compute_from_customer",
        store=True,
        readonly=False,
        precompute=True,
        domain=[("share", "=", False)],
        tracking=True,
        index=True,
    )
    date_due = fields.Date(
        string="Answer By", tracking=True, copy=False, help="The day the customer should answer."
    )
    next_step = fields.Selection(
        [
            ("check", "Check it"),
            ("solve", "Solve what the check found"),
            ("send", "Send it"),
            ("deliver", "Mend the delivery"),
            ("answer", "Customer answers"),
            ("follow_up", "Ask the customer"),
            ("decide", "Decide the disputes"),
            ("done", "Nothing"),
        ],
        compute="_compute_next_step",
        string="Next Step",
    )
    next_user_id = fields.Many2one("res.users", compute="_compute_next_step", string="By Whom")
    next_date = fields.Date(compute="_compute_next_step", string="Next Step Due")
    run_id = fields.Many2one(
        "billing.statement.run",
        readonly=True,
        copy=False,
        index="btree_not_null",
        ondelete="set null",
    )
    previous_id = fields.Many2one(
        "billing.statement", string="Statement Before", readonly=True, copy=False,
        index="btree_not_null", ondelete="set null",
    )  # fmt: skip
    supersedes_id = fields.Many2one(
        "billing.statement", string="Takes the Place Of", readonly=True, copy=False,
        index="btree_not_null", ondelete="restrict",
    )  # fmt: skip
    superseded_by_id = fields.Many2one(
        "billing.statement", string="Superseded By", readonly=True, copy=False,
        index="btree_not_null", ondelete="set null",
    )  # fmt: skip
    changes = fields.Json(
        string="What Changed", readonly=True, copy=False,
        help="What is different from the statement that this one takes the place of.",
    )  # fmt: skip
    changes_html = fields.Html(compute="_compute_changes_html", string="Changes")

    pdf = fields.Binary(string="PDF", attachment=True, readonly=True, copy=False)
    pdf_name = fields.Char(compute="_compute_file_names")
    xlsx = fields.Binary(string="XLSX", attachment=True, readonly=True, copy=False)
    xlsx_name = fields.Char(compute="_compute_file_names")
    sha256 = fields.Char(string="SHA-256 of the PDF", readonly=True, copy=False)
    sha256_xlsx = fields.Char(string="SHA-256 of the XLSX", readonly=True, copy=False)

    delivery_state = fields.Selection(
        [
            ("queued", "Waiting to be sent"),
            ("sent", "Sent"),
            ("manual", "Delivered by hand"),
            ("failed", "Failed"),
        ],
        string="Delivery",
        readonly=True,
        copy=False,
        index="btree_not_null",
    )
    delivery_error = fields.Char(
        string="Delivery Problem", readonly=True, copy=False, groups="base.group_user"
    )
    delivery_tries = fields.Integer(
        string="Delivery Attempts", readonly=True, copy=False, aggregator=None
    )
    delivery_date = fields.Datetime(string="Last Delivery", readonly=True, copy=False)
    date_sent = fields.Datetime(string="Sent On", readonly=True, copy=False)
    date_opened = fields.Datetime(
        string="Opened On", readonly=True, copy=False, help="When its link was first visited."
    )
    date_reminded = fields.Datetime(string="Reminded On", readonly=True, copy=False)
    reminder_count = fields.Integer(string="Reminders", readonly=True, copy=False)
    date_escalated = fields.Date(
        readonly=True, copy=False, help="When the last reminder was without an answer."
    )
    date_confirmed = fields.Datetime(string="Confirmed On", readonly=True, copy=False)
    confirm_name = fields.Char(string="Confirmed By", readonly=True, copy=False)
    confirm_user_id = fields.Many2one(
        "res.users", string="Entered By", readonly=True, copy=False,
        help="Who entered the confirmation in the customer's name.",
    )  # fmt: skip
    confirm_note = fields.Text(readonly=True, copy=False, groups="base.group_user")
    confirm_ip = fields.Char(string="IP Address", readonly=True, copy=False)
    signature = fields.Image(
        attachment=True, max_width=1024, max_height=1024, readonly=True, copy=False
    )

    exception_ids = fields.One2many("billing.exception", "statement_id", readonly=True)
    exception_count = fields.Integer(compute="_compute_counts", string="Open Exceptions")
    dispute_ids = fields.One2many("billing.dispute", "statement_id", readonly=True)
    dispute_count = fields.Integer(compute="_compute_counts", string="Disputes")
    open_dispute_count = fields.Integer(compute="_compute_counts", string="Open Disputes")
    answered = fields.Float(
        compute="_compute_answered", store=True, aggregator="avg", string="Confirmation Rate",
        help="Confirmed statements among those that were sent. 1 = all.",
    )  # fmt: skip

    _period_unique = models.UniqueIndex(
        "(company_id, partner_id, currency_id, date_from, date_to) "
        "WHERE state NOT IN ('superseded', 'cancelled')",
        "The customer has a statement for this period and currency already.",
    )
    _dates_ordered = models.Constraint(
        "CHECK (date_from <= date_to)", "A statement ends on or after the day it begins."
    )

    # Computes

    @api.depends("partner_id", "company_id")
    def _compute_from_customer(self):
        """Kind, layout and who is responsible, as set for the customer, else for the company."""
        for company, statements in self.grouped("company_id").items():
            company = company or self.env.company
            # sudo: settings
            company_sudo = company.sudo()
            for statement in statements:
                own = statement.partner_id.commercial_partner_id.sudo().with_company(company)
                statement.kind = own.billing_statement_kind or company_sudo.billing_statement_kind
                statement.template = (
                    own.billing_statement_template or company_sudo.billing_statement_template
                )
                statement.user_id = (
                    own._get_billing_statement_user(company_sudo) or statement.run_id.user_id or self.env.user
                )

    @api.depends("state", "date_due", "user_id", "delivery_state")
    def _compute_next_step(self):
        today = {company: company._get_billing_today() for company in self.company_id}
        for statement in self:
            step, user, date = "done", statement.user_id, False
            if statement.delivery_state == "failed" and statement.state in ("checked", *ISSUED):
                step = "deliver"
            elif statement.state == "draft":
                step = "solve" if statement.exception_count else "check"
            elif statement.state == "checked":
                step = "send"
            elif statement.state == "sent":
                date = statement.date_due
                late = date and date < today[statement.company_id]
                step = "follow_up" if late else "answer"
            elif statement.state == "disputed":
                step = "decide"
                disputes = statement.dispute_ids.filtered(lambda d: d.state == "open")
                first = disputes.sorted(lambda d: d.date_due or fields.Date.today())[:1]
                user, date = first.user_id or user, first.date_due
            statement.next_step = step
            statement.next_user_id = user if step not in ("done", "answer") else False
            statement.next_date = date

    @api.depends("state")
    def _compute_answered(self):
        for statement in self:
            statement.answered = 1.0 if statement.state == "confirmed" else 0.0

    def _compute_counts(self):
        exceptions = dict(
            self.env["billing.exception"]
            .sudo()  # a count about a document that the reader may see
            ._read_group(
                [("statement_id", "in", self.ids), ("state", "=", "open")],
                ["statement_id"],
                ["__count"],
            )
        )
        disputes = {}
        for statement, state, count in (
            self.env["billing.dispute"]
            .sudo()  # as above
            ._read_group(
                [("statement_id", "in", self.ids)], ["statement_id", "state"], ["__count"]
            )
        ):
            disputes.setdefault(statement, {})[state] = count
        for statement in self:
            states = disputes.get(statement._origin, {})
            statement.exception_count = exceptions.get(statement._origin, 0)
            statement.dispute_count = sum(states.values())
            statement.open_dispute_count = states.get("open", 0)

    def _compute_access_url(self):
        super()._compute_access_url()
        for statement in self:
            statement.access_url = f"/my/statements/{statement.id}"

    @api.depends("name")
    def _compute_file_names(self):
        for statement in self:
            name = statement._get_file_name()
            statement.pdf_name = f"{name}.pdf"
            statement.xlsx_name = f"{name}.xlsx"

    def _get_file_name(self):
        """The name of the files of this statement, without ending."""
        return (self.name or "").replace("/", "-")

    @api.depends("changes")
    @api.depends_context("lang")
    def _compute_changes_html(self):
        for statement in self:
            statement.changes_html = statement._render_changes(statement.changes or [])

    @api.depends("bucket_0", "bucket_1", "bucket_2", "bucket_3", "bucket_4", "bucket_5", "ageing_bounds")
    @api.depends_context("lang")
    def _compute_ageing_html(self):
        for statement in self:
            bands = zip(statement._get_bucket_labels(), statement._get_buckets(), strict=True)
            statement.ageing_html = self.env["ir.qweb"]._render(
                "customer_billing_statement.ageing_table",
                {"bands": list(bands), "currency": statement.currency_id},
            )

    def _render_changes(self, changes):
        """A table of what ``_compare`` found, in the user's language."""
        if not changes:
            return False
        return self.env["ir.qweb"]._render(
            "customer_billing_statement.changes_table",
            {"changes": self._describe_changes(changes), "currency": self.currency_id},
        )

    # Create, change

    @api.model
    def default_get(self, fields):
        values = super().default_get(fields)
        company = self.env["res.company"].browse(values.get("company_id")) or self.env.company
        frequency = company.billing_statement_frequency
        if frequency == "none":
            frequency = "monthly"
        date_from, date_to = last_period(frequency, company._get_billing_today())
        for name, date in (("date_from", date_from), ("date_to", date_to)):
            if name in fields:
                values.setdefault(name, date)
        return values

    @api.model_create_multi
    def create(self, vals_list):
        partners = self.env["res.partner"].browse(
            {vals["partner_id"] for vals in vals_list if vals.get("partner_id")}
        )
        commercial = {partner.id: partner.commercial_partner_id.id for partner in partners}
        vals_list = [
            {**vals, "partner_id": commercial[vals["partner_id"]]} if vals.get("partner_id") else vals
            for vals in vals_list
        ]
        statements = super().create(vals_list)
        statements.sudo()._number()  # protected field
        statements._check_scope()
        if self.env.context.get("billing_statement_lines") is not LATER:
            statements._take_snapshot()
        return statements

    def _number(self):
        """Number new statements, with one query for all of them."""
        for company, statements in self.grouped("company_id").items():
            # sudo: the sequence is not the user's
            sequence = self.env["ir.sequence"].sudo().search(
                [("code", "=", "billing.statement"), ("company_id", "in", (company.id, False))],
                order="company_id",
                limit=1,
            )
            if not sequence or sequence.use_date_range or sequence.implementation != "standard":
                for statement in statements:
                    statement.name = sequence.next_by_id() if sequence else str(statement.id)
                continue
            numbers = self.env.execute_query(
                SQL(
                    "SELECT nextval(%s) FROM generate_series(1, %s)",
                    f"ir_sequence_{sequence.id:03d}",
                    len(statements),
                )
            )
            for statement, [number] in zip(statements, numbers, strict=True):
                statement.name = sequence.get_next_char(number)

    def write(self, vals):
        self._check_frozen(vals)
        if vals.get("partner_id"):
            partner = self.env["res.partner"].browse(vals["partner_id"]).commercial_partner_id
            vals = {**vals, "partner_id": partner.id}
        result = super().write(vals)
        if SCOPE.intersection(vals):
            self._check_scope()
            self._take_snapshot()
        return result

    def _check_frozen(self, vals):
        """What a statement says is fixed once it was checked, its files once it was issued, and
        the confirmation once it was given; for everybody, also the superuser."""
        for names, what in (
            (FROZEN, self.filtered(lambda s: s.state != "draft")),
            (SCOPE, self.filtered("supersedes_id")),
            (FILES, self.filtered("date_sent")),
            (CONFIRMATION, self.filtered("date_confirmed")),
        ):
            if what and names.intersection(vals):
                raise UserError(
                    self.env._(
                        "Statement %s stays as it is. When the ledger has changed, a new "
                        "statement takes its place: use “Issue Again”.",
                        what[0].name,
                    )
                )

    def _check_scope(self):
        for statement in self:
            company = statement.company_id
            if not (statement.date_from and statement.date_to):
                raise ValidationError(
                    self.env._("A statement needs its first and its last day: enter both.")
                )
            if statement.date_to > company._get_billing_today():
                raise ValidationError(
                    self.env._(
                        "A statement ends today at the latest: %s is in the future.",
                        format_date(self.env, statement.date_to),
                    )
                )
            own_sudo = statement.partner_id.company_id.sudo()  # where a branch belongs is no secret
            if own_sudo and own_sudo not in company.parent_ids and company not in own_sudo.parent_ids:
                raise ValidationError(
                    self.env._(
                        "%(customer)s belongs to another company than the statement.",
                        customer=statement.partner_id.display_name,
                    )
                )

    @api.ondelete(at_uninstall=False)
    def _unlink_except_issued(self):
        if kept := self.filtered(lambda s: s.date_sent or s.state not in ("draft", "cancelled"))[:1]:
            raise UserError(
                self.env._("Statement %s is kept: cancel it, or issue it again.", kept.name)
            )

    def unlink(self):
        replaced = self._get_replaced()
        self.env["billing.exception"]._get_open_of_statements(self)._close(
            self.env._("The statement was deleted.")
        )
        result = super().unlink()
        replaced._restore()
        return result

    # Check

    def action_check(self):
        """Read the ledger anew and check the statement; it is fixed when nothing blocks it.

        What was found becomes exceptions, and the statement stays a draft.
        """
        self._check_state("draft")
        self._take_snapshot()
        self._self_check()
        return True

    def _self_check(self):
        """Check drafts whose snapshot is fresh.

        :return: those that passed
        """
        exceptions = self.env["billing.exception"]
        findings = self.env["billing.check"]._run_statement_checks(self)
        exceptions._check_statements(self, findings)
        passed = self - exceptions._get_open_of_statements(self, "blocking").statement_id
        passed.sudo().write({"state": "checked"})  # protected field
        return passed

    def action_draft(self):
        """Take checked statements back to draft, to read the ledger again."""
        self._check_state("checked")
        self.sudo().write(  # protected fields
            {"state": "draft", "delivery_state": False, "delivery_error": False}
        )
        return True

    def _get_sum_difference(self):
        """Why the sums of this statement do not add up, or False."""
        self.ensure_one()
        is_zero, lines = self.currency_id.is_zero, self.line_ids
        buckets = sum(self._get_buckets())
        if self.kind == "open_item":
            of_lines = sum(lines.mapped("residual"))
        else:
            of_lines = self.balance_open + sum(lines.mapped("debit")) - sum(lines.mapped("credit"))
        for value, what in (
            (
                self.balance_open + self.amount_debit - self.amount_credit,
                self.env._("Opening balance and movements"),
            ),
            (of_lines, self.env._("The lines")),
            (buckets, self.env._("The age bands")),
        ):
            if not is_zero(value - self.balance_close):
                return self.env._(
                    "%(what)s come to %(value)s, not to the closing balance %(close)s.",
                    what=what,
                    value=self.currency_id.format(value),
                    close=self.currency_id.format(self.balance_close),
                )
        return False

    def _get_buckets(self):
        """The amounts of the age bands in use, the first one not due."""
        self.ensure_one()
        count = len(self.ageing_bounds) + 2 if self.ageing_bounds else 1
        return [self[f"bucket_{number}"] for number in range(count)]

    def _get_bucket_labels(self):
        """The names of the age bands in use, e.g. Not due, 1–30 days, … > 120 days."""
        self.ensure_one()
        bounds = self.ageing_bounds or []
        labels, start = [self.env._("Not due")], 1
        for bound in bounds:
            labels.append(self.env._("%(first)s–%(last)s days", first=start, last=bound))
            start = bound + 1
        return [*labels, self.env._("Over %s days", start - 1)] if bounds else labels

    # Answer

    def action_confirm(self, name, signature=None, note=None):
        """The customer agrees with the statement.

        :param name: who confirms, in full
        :param signature: an image, base64
        :param note: how staff knows; needed when they enter it for the customer
        :raises UserError: no name or note; not sent, answered already, or a dispute is open
        """
        self._check_state("sent")
        if not (name or "").strip():
            raise UserError(self.env._("Enter the name of the person who confirms."))
        by_staff = self.env.user._is_internal()
        if by_staff and not (note or "").strip():
            raise UserError(
                self.env._("Note how the customer confirmed: by phone, letter, signed copy, …")
            )
        self.sudo().write(  # protected fields
            {
                "state": "confirmed",
                "date_confirmed": fields.Datetime.now(),
                "confirm_name": name.strip(),
                "confirm_note": note,
                "signature": signature or False,
                "confirm_ip": request.httprequest.remote_addr if request else False,
                "confirm_user_id": self.env.uid if by_staff else False,
            }
        )
        for statement in self:
            statement.message_post(
                body=self.env._("Confirmed by %s.", name.strip()),
                author_id=statement._get_answer_author().id,
            )
            statement.activity_unlink(["mail.mail_activity_data_todo"])
        return True

    def action_open_confirmation(self):
        """Ask who confirmed, to enter it for the customer."""
        self._check_state("sent")
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Confirm for the Customer"),
            "res_model": "billing.statement.confirmation",
            "view_mode": "form",
            "target": "new",
            "context": {"default_statement_id": self.id},
        }

    def action_dispute(self, values):
        """Open a dispute about this statement.

        :param values: ``name`` (required), ``line_id`` (empty: something is missing),
            ``claimed_amount`` (the customer's figure), ``reason``, ``description``,
            ``attachment_ids`` (list of database ids)
        :return: the database id of the dispute
        """
        self.ensure_one()
        line = self.env["billing.statement.line"].browse(values.get("line_id"))
        dispute = self.env["billing.dispute"].create(
            {
                "statement_id": self.id,
                "statement_line_id": line.id,
                "move_id": self._get_disputed_move(line).id,
                "name": values.get("name"),
                "claimed_amount": values.get("claimed_amount") or 0.0,
                "reason": values.get("reason") or "other",
                "description": values.get("description"),
                "user_id": self.user_id.id,
                "attachment_ids": [(6, 0, values.get("attachment_ids") or [])],
            }
        )
        return dispute.id

    @api.model
    def _get_disputed_move(self, line):
        """The bill that a disputed line is about, if it is one."""
        return line.move_id if line.kind in ("invoice", "refund") else line.move_id.browse()

    def _check_may_dispute(self):
        """Raise unless the customer can still object."""
        if wrong := self.filtered(lambda s: s.state not in ("sent", "disputed"))[:1]:
            raise UserError(
                self.env._(
                    "Only statements that were sent and not confirmed are disputed; %s is not.",
                    wrong.name,
                )
            )

    def _refresh_disputed(self):
        """A sent statement is disputed as long as one of its disputes is open."""
        for statement in self.filtered(lambda s: s.state in ("sent", "disputed")):
            is_open = any(dispute.state == "open" for dispute in statement.dispute_ids)
            state = "disputed" if is_open else "sent"
            if statement.state != state:
                statement.state = state

    def _note_opened(self):
        """Remember that the customer has visited the link of an issued statement."""
        self.sudo().filtered(  # protected field, written for a visitor
            lambda s: s.date_sent and not s.date_opened
        ).date_opened = fields.Datetime.now()

    # Verify, issue again

    def action_verify(self):
        """Compare issued statements with the ledger of today, and their files with their hashes.

        Writes nothing.

        :return: a dict for each: ``statement_id``, ``name``, ``state`` (ok, changed: the ledger
            is another one now, damaged: a file is not the one that was issued), ``files``
            (damaged ones), ``balance_close`` (now), ``changes`` as in :meth:`_compare`
        """
        self.check_access("read")
        result = []
        comparisons = self._compare()
        for statement in self:
            balance, changes = comparisons[statement]
            damaged = statement._get_damaged_files()
            result.append(
                {
                    "statement_id": statement.id,
                    "name": statement.name,
                    "state": "damaged" if damaged else "changed" if changes else "ok",
                    "files": damaged,
                    "balance_close": balance,
                    "changes": changes,
                }
            )
        return result

    def action_open_verification(self):
        """Show what changed in the ledger since this statement."""
        self.ensure_one()
        [result] = self.action_verify()
        wizard = self.env["billing.statement.verification"].create(
            {"statement_id": self.id, "result": json.dumps(result)}
        )
        return wizard._get_form_action()

    def action_reissue(self):
        """Make a new statement for the same period that takes the place of an issued one and
        tells what changed.

        :return: the action that opens the new one
        """
        self._check_state(*ISSUED)
        new = self.browse()
        for statement in self:
            new |= statement._reissue()
        return new._get_form_action()

    def _reissue(self):
        self.sudo().state = "superseded"  # protected field
        self.flush_recordset()
        # sudo: protected fields; the right to write was checked
        new_sudo = self.sudo().create(
            {
                "partner_id": self.partner_id.id,
                "company_id": self.company_id.id,
                "currency_id": self.currency_id.id,
                "kind": self.kind,
                "template": self.template,
                "date_from": self.date_from,
                "date_to": self.date_to,
                "user_id": self.user_id.id,
                "supersedes_id": self.id,
                "run_id": self.run_id.id,
            }
        )
        self.sudo().superseded_by_id = new_sudo
        new_sudo._take_place_in_run("made")
        self.activity_unlink(["mail.mail_activity_data_todo"])
        return new_sudo.sudo(self.env.su)

    def _get_replaced(self):
        """The statements whose place these take now; one that was dropped before takes none."""
        return self.supersedes_id.filtered(lambda old: old.superseded_by_id in self)

    def _restore(self):
        """The statements that a draft was to take the place of are in force again."""
        for old_sudo in self.sudo():  # protected fields
            old_sudo.write(
                {
                    "state": "confirmed" if old_sudo.date_confirmed else "sent",
                    "superseded_by_id": False,
                }
            )
            old_sudo._refresh_disputed()
        self._take_place_in_run("sent")

    def _take_place_in_run(self, outcome):
        """The lines of their runs are about these from now on."""
        by_key = {(s.run_id, s.partner_id, s.currency_id): s for s in self.sudo() if s.run_id}
        lines_sudo = self.env["billing.statement.run.line"].sudo().search(  # engine-owned records
            [("run_id", "in", self.run_id.ids), ("partner_id", "in", self.partner_id.ids)]
        )
        for line_sudo in lines_sudo:
            if statement := by_key.get((line_sudo.run_id, line_sudo.partner_id, line_sudo.currency_id)):
                line_sudo.write({"statement_id": statement.id, "outcome": outcome})

    def action_cancel(self):
        """Withdraw statements that nobody has confirmed; their files stay in the archive."""
        self._check_state("draft", "checked", "sent", "disputed")
        replaced = self.filtered(lambda s: not s.date_sent)._get_replaced()
        self.sudo().write({"state": "cancelled", "delivery_state": False})  # protected fields
        self.env.flush_all()
        replaced._restore()
        self.env["billing.exception"]._get_open_of_statements(self)._close(
            self.env._("The statement was cancelled.")
        )
        self.activity_unlink(["mail.mail_activity_data_todo"])
        return True

    def _check_state(self, *states):
        """Raise when one of these is not in ``states``, or the user may not work on it."""
        self.check_access("write")
        locked = self.try_lock_for_update(allow_referencing=True)
        if busy := (self - locked)[:1]:
            raise UserError(
                self.env._("Another process is at work on %s. Try again later.", busy.name)
            )
        labels = dict(self._fields["state"]._description_selection(self.env))
        if wrong := self.filtered(lambda s: s.state not in states)[:1]:
            raise UserError(
                self.env._(
                    "%(statement)s is in state “%(state)s”; this step is for %(expected)s.",
                    statement=wrong.name,
                    state=labels[wrong.state],
                    expected=", ".join(f"“{labels[state]}”" for state in states),
                )
            )

    # Views

    def _get_form_action(self):
        """Open these statements."""
        action = {"type": "ir.actions.act_window", "res_model": self._name}
        if len(self) == 1:
            return {**action, "res_id": self.id, "view_mode": "form"}
        return {
            **action,
            "name": self.env._("Statements"),
            "view_mode": "list,form",
            "domain": [("id", "in", self.ids)],
        }

    def action_view_exceptions(self):
        """Open the exceptions of this statement."""
        action = self.env["ir.actions.actions"]._for_xml_id(
            "customer_billing.billing_exception_action"
        )
        action["domain"] = [("statement_id", "in", self.ids)]
        action["context"] = {"search_default_open": 1}
        return action

    def action_view_disputes(self):
        """Open the disputes of this statement."""
        action = self.env["ir.actions.actions"]._for_xml_id(
            "customer_billing.billing_dispute_action"
        )
        action["domain"] = [("statement_id", "in", self.ids)]
        action["context"] = {"default_statement_id": self[:1].id}
        return action

    def action_view_lines(self):
        """Open the lines of this statement."""
        action = self.env["ir.actions.actions"]._for_xml_id(
            "customer_billing_statement.billing_statement_line_action"
        )
        action["domain"] = [("statement_id", "in", self.ids)]
        return action
