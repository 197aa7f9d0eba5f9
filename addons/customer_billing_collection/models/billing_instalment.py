import binascii
from datetime import timedelta
from hashlib import sha256

from markupsafe import escape
from PIL import Image

from odoo import Command, api, fields, models
from odoo.exceptions import UserError
from odoo.tools import float_repr, format_date, format_datetime
from odoo.tools.image import base64_to_image
from odoo.tools.urls import urljoin

from odoo.addons.customer_billing.tools.money import to_decimal
from odoo.addons.customer_billing.tools.qr import qr_data_uri

from ..tools import instalment as kernel

MAX_NAME = 100
MAX_INTERVAL = 60
MAX_SIGNATURE_BYTES = 1024 * 1024
MAX_SIGNATURE_PIXELS = 8_000_000  # a small file may unpack to very many
LIVE = ("offered", "running")
TERMS = frozenset(("move_line_ids", "line_ids", "grace_days"))


class BillingInstalment(models.Model):
    """An agreement to pay in parts. The accounting entries stay; when it is broken, their own due dates count again.

    What was paid is what the covered items have become less since the schedule was made, by payments or credits.
    """

    _name = "billing.instalment"
    _description = "Instalment Agreement"
    _inherit = ["billing.protected.mixin", "portal.mixin", "mail.thread", "mail.activity.mixin"]
    _order = "id desc"
    _check_company_auto = True
    _billing_protected = frozenset(
        (
            "name", "state", "date_offered", "date_confirmed", "confirmed_by", "confirm_ip", "confirm_note",
            "confirm_user_id", "signature", "date_broken", "access_token", "partner_id", "company_id", "currency_id",
            "amount",
        )
    )  # fmt: skip

    name = fields.Char(string="Agreement", readonly=True, default="/", copy=False)
    case_id = fields.Many2one("billing.case", required=True, index=True, ondelete="restrict")
    partner_id = fields.Many2one(related="case_id.partner_id", store=True, index=True)
    company_id = fields.Many2one(related="case_id.company_id", store=True, index=True)
    currency_id = fields.Many2one(related="case_id.currency_id", store=True)
    move_line_ids = fields.Many2many(
        "account.move.line", "billing_instalment_move_line_rel", "instalment_id", "move_line_id", string="Items",
        copy=False, help="What is paid in parts; later bills are not covered. Empty: all that is overdue now.",
    )  # fmt: skip
    line_ids = fields.One2many("billing.instalment.line", "instalment_id", string="Schedule", copy=False)
    grace_days = fields.Integer(default=3, help="Days after its date within which a part may arrive.")
    reminder_days = fields.Integer(
        default=3, help="The customer is reminded of each part so many days before; 0: not at all."
    )
    user_id = fields.Many2one(
        "res.users", string="Responsible", default=lambda self: self.env.user, domain=[("share", "=", False)],
        groups="base.group_user",
    )  # fmt: skip
    state = fields.Selection(
        [
            ("draft", "Draft"), ("offered", "Offered"), ("running", "Running"), ("completed", "Completed"),
            ("broken", "Broken"), ("cancelled", "Cancelled"),
        ],
        string="Status", default="draft", required=True, readonly=True, index=True, tracking=True, copy=False,
    )  # fmt: skip
    amount = fields.Monetary(compute="_compute_amount", store=True, help="The sum of the parts.")
    amount_open = fields.Monetary(compute="_compute_paid", string="Left to Pay", help="What is open of the items.")
    amount_paid = fields.Monetary(compute="_compute_paid", string="Paid")
    next_date = fields.Date(compute="_compute_paid", string="Next Part")
    next_amount = fields.Monetary(compute="_compute_paid", help="What is left to pay of the next part.")
    date_offered = fields.Date(readonly=True, copy=False)
    date_confirmed = fields.Datetime(string="Confirmed On", readonly=True, copy=False)
    confirmed_by = fields.Char(readonly=True, copy=False)
    confirm_ip = fields.Char(string="IP Address", readonly=True, copy=False, groups="base.group_user")
    confirm_note = fields.Text(
        readonly=True, copy=False, groups="base.group_user", help="How the customer agreed, when staff entered it."
    )
    confirm_user_id = fields.Many2one(
        "res.users", string="Entered By", readonly=True, copy=False, groups="base.group_user"
    )
    signature = fields.Image(attachment=True, max_width=1024, max_height=1024, readonly=True, copy=False)
    date_broken = fields.Date(string="Broken On", readonly=True, copy=False)

    _days_positive = models.Constraint(
        "CHECK (grace_days >= 0 AND reminder_days >= 0)", "Days of grace and reminder cannot be negative."
    )

    # Computes

    @api.depends("line_ids.amount")
    def _compute_amount(self):
        for agreement in self:
            agreement.amount = sum(agreement.line_ids.mapped("amount"))

    @api.depends("move_line_ids.amount_residual_currency", "move_line_ids.parent_state", "line_ids.amount",
                 "line_ids.date")  # fmt: skip
    def _compute_paid(self):
        for agreement in self:
            lines_sudo = agreement._get_valid_items()
            agreement.amount_open = sum(lines_sudo.mapped("amount_residual_currency"))
            agreement.amount_paid = max(0.0, agreement.amount - agreement.amount_open) if agreement.line_ids else 0.0
            following = [pair for pair in agreement._get_settled_parts() if pair[1] < to_decimal(pair[0].amount)]
            line, paid = following[0] if following else (agreement.line_ids.browse(), 0)
            agreement.next_date = line.date
            agreement.next_amount = line.amount - float(paid)

    def _get_valid_items(self):
        """The items that were not cancelled, as superuser: whoever reads the agreement may read what is left of it."""
        return self.move_line_ids.sudo().filtered(lambda line: line.parent_state != "cancel")

    def _compute_access_url(self):
        super()._compute_access_url()
        for agreement in self:
            agreement.access_url = f"/my/instalments/{agreement.id}"

    def _get_sorted_lines(self):
        return self.line_ids.sorted(lambda line: (line.date or fields.Date.today(), line.id))

    def _get_kernel_parts(self):
        return [kernel.Part(line.date, to_decimal(line.amount)) for line in self._get_sorted_lines()]

    def _get_paid(self):
        self.ensure_one()
        currency = self.currency_id or self.env.company.currency_id  # none yet on a new form
        return to_decimal(currency.round(self.amount_paid))

    def _get_settled_parts(self):
        """The parts in order, each with what was paid of it: list of (line, Decimal)."""
        self.ensure_one()
        return list(
            zip(self._get_sorted_lines(), kernel.settled(self._get_kernel_parts(), self._get_paid()), strict=True)
        )

    # Guards

    @api.constrains("move_line_ids")
    def _check_items(self):
        for agreement in self:
            agreement.case_id._check_own_items(agreement.move_line_ids)

    @api.model_create_multi
    def create(self, vals_list):
        agreements = super().create(vals_list)
        for agreement in agreements:
            if not agreement.move_line_ids:
                agreement.move_line_ids = agreement._get_default_items()
            agreement_sudo = agreement.sudo()  # protected field
            if agreement.name == "/":
                agreement_sudo.name = self.env["ir.sequence"].sudo().with_company(agreement.company_id).next_by_code(
                    "billing.instalment"
                ) or "/"
        return agreements

    def write(self, vals):
        if "case_id" in vals and not self.env.su:
            raise UserError(self.env._("An agreement stays with its case: make another one."))
        if TERMS.intersection(vals) and (fixed := self.filtered(lambda a: a.state != "draft")[:1]):
            raise UserError(
                self.env._("Agreement %s was offered: set it back to draft to change its terms.", fixed.name)
            )
        result = super().write(vals)
        if "state" in vals and vals["state"] != "broken":  # that is told with its figures
            label = dict(self._fields["state"]._description_selection(self.env))[vals["state"]]
            for agreement in self:
                agreement.case_id._message_log(
                    body=self.env._("Agreement %(name)s: %(state)s", name=agreement.name, state=label)
                )
        return result

    @api.ondelete(at_uninstall=False)
    def _unlink_only_drafts(self):
        if fixed := self.filtered(lambda a: a.state != "draft" or a.date_offered)[:1]:
            raise UserError(self.env._("Agreement %s was offered and stays on record: cancel it.", fixed.name))

    def _get_default_items(self):
        """What is overdue today and not disputed or agreed about already."""
        case = self.case_id
        today = case.company_id._get_billing_today()
        rows = case._get_open_rows()[case]
        taken = self._get_protected_items(case)[case]
        return self.env["account.move.line"].browse(
            row["move_line_id"]
            for row in rows
            if row["residual"] > 0 and row["date_maturity"] < today and row["excluded"] != "dispute"
            and row["move_line_id"] not in taken
        )  # fmt: skip

    def _check_state(self, *states):
        labels = dict(self._fields["state"]._description_selection(self.env))
        if bad := self.filtered(lambda a: a.state not in states)[:1]:
            raise UserError(
                self.env._("Agreement %(name)s is “%(state)s”: this is not possible now.",
                           name=bad.name, state=labels[bad.state])
            )  # fmt: skip

    def _check_terms(self):
        """:raises UserError: the agreement cannot be made as it is, with what to do about it"""
        self.ensure_one()
        if self.case_id.state in ("closed", "written_off", "legal"):
            raise UserError(self.env._("%s is closed or handed over: no agreement can be made.", self.case_id.name))
        if not self.move_line_ids or not self.line_ids:
            raise UserError(self.env._("Choose the items and make a schedule first: agreement %s.", self.name))
        if self.currency_id.compare_amounts(self.amount, self.amount_open):
            raise UserError(
                self.env._(
                    "The parts of %(name)s add up to %(amount)s, its items to %(open)s: make the schedule again.",
                    name=self.name,
                    amount=self.currency_id.format(self.amount),
                    open=self.currency_id.format(self.amount_open),
                )
            )
        if min(self.line_ids.mapped("date")) < self.company_id._get_billing_today():
            raise UserError(self.env._("The first part of %s is in the past: make the schedule again.", self.name))
        self._check_overlap()

    def _check_overlap(self):
        other_sudo = self.sudo().search(  # sudo: no item under two agreements, whoever may see them
            [("id", "!=", self.id), ("state", "in", LIVE), ("move_line_ids", "in", self.move_line_ids.ids)], limit=1
        )
        if other_sudo:
            raise UserError(
                self.env._("Items of %(name)s are under agreement %(other)s already: cancel that one first.",
                           name=self.name, other=other_sudo.name)
            )  # fmt: skip

    # Making one

    def action_make_schedule(self, count, first_date, interval=1, unit="month"):
        """Replace the schedule by equal parts of what is open; the last one takes the rest.

        :param int count: how many parts
        :param str first_date: the day of the first part
        :param int interval: every so many units
        :param str unit: ``month`` or ``week``
        :raises UserError: not a draft, or numbers that make no schedule
        """
        self.ensure_one()
        self.check_access("write")
        self._check_state("draft")
        try:
            first, interval, count = fields.Date.to_date(first_date), int(interval), int(count)
        except (TypeError, ValueError):
            first = None
        if not first or unit not in ("month", "week") or not 1 <= interval <= MAX_INTERVAL:
            raise UserError(self.env._("Give a first day and a distance of one or more months or weeks."))
        try:
            parts = kernel.schedule(
                to_decimal(self.currency_id.round(self.amount_open)), first, count, interval, unit,
                to_decimal(self.currency_id.rounding),
            )  # fmt: skip
        except ValueError as error:
            raise UserError(
                self.env._(
                    "%(amount)s cannot be divided into %(count)s parts: choose items, and 1 to %(most)s parts.",
                    amount=self.currency_id.format(self.amount_open), count=count, most=kernel.MAX_PARTS,
                )
            ) from error  # fmt: skip
        self.line_ids = [
            Command.clear(),
            *(Command.create({"date": part.day, "amount": float(part.amount)}) for part in parts),
        ]
        return True

    def action_open_schedule(self):
        """Open the wizard that asks for the number of parts."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Make a Schedule"),
            "res_model": "billing.instalment.schedule",
            "view_mode": "form",
            "target": "new",
            "context": {"default_instalment_id": self.id},
        }

    def action_offer(self):
        """Offer drafts to the customer: by mail, with the page on which they are confirmed.

        :raises UserError: the terms do not fit, with the reason
        """
        self.check_access("write")
        self._check_state("draft")
        for agreement in self:
            agreement._check_terms()
            agreement_sudo = agreement.sudo()  # protected fields
            agreement_sudo.write({"state": "offered", "date_offered": agreement.company_id._get_billing_today()})
            agreement_sudo._portal_ensure_token()
            agreement._mail("customer_billing_collection.mail_template_instalment_offer")
        return True

    def action_draft(self):
        """Take an offer back to change it.

        :raises UserError: not offered
        """
        self.check_access("write")
        self._check_state("offered", "cancelled")
        self.sudo().write({"state": "draft"})  # protected field
        return True

    def action_confirm(self, name, note):
        """Enter that the customer agreed otherwise than on the page.

        :param str name: who agreed
        :param str note: how, for example in which letter
        :raises UserError: not offered, name or note missing, or the terms do not fit any more
        """
        self.ensure_one()
        self.check_access("write")
        name, note = (name or "").strip(), (note or "").strip()
        if not name or not note:
            raise UserError(self.env._("Say who agreed, and how (by telephone, by letter of …)."))
        self._confirm({"confirmed_by": name, "confirm_note": note, "confirm_user_id": self.env.user.id})
        return True

    def action_open_confirm(self):
        """Open the wizard that asks who agreed."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Confirmed by the Customer"),
            "res_model": "billing.instalment.confirmation",
            "view_mode": "form",
            "target": "new",
            "context": {"default_instalment_id": self.id},
        }

    def _get_confirm_problem(self):
        """Why this cannot be confirmed now, as a text; False when nothing is in the way."""
        self.ensure_one()
        if self.state != "offered":
            return self.env._("This offer is not open any more.")
        missed = kernel.missed(
            self._get_kernel_parts(), self._get_paid(), self.grace_days, self.company_id._get_billing_today()
        )
        if missed or self.currency_id.compare_amounts(self.amount_open, self.amount) > 0:
            return self.env._("This offer does not fit any more. Please ask us for a new one.")
        if self.case_id.state in ("closed", "written_off", "legal"):
            return self.env._("This offer does not fit any more. Please ask us for a new one.")
        return False

    def _get_terms_key(self):
        """Tells whether two pages show the same terms."""
        self.ensure_one()
        terms = [
            *((str(line.date), float_repr(line.amount, 6)) for line in self._get_sorted_lines()),
            *sorted(self.move_line_ids.ids),
            self.grace_days,
        ]
        return sha256(repr(terms).encode()).hexdigest()[:16]

    def _confirm_from_portal(self, name, signature, address, terms=None):
        """The customer confirms on the page; confirming twice is confirming once.

        The caller has checked that the visitor may see the agreement.

        :param str signature: a PNG image, base64
        :param str address: where the visitor comes from
        :param str terms: ``_get_terms_key`` of what the page shows; not checked when empty
        :raises UserError: the text tells the customer what to do
        """
        self.ensure_one()
        if self.env.user._is_internal():
            raise UserError(self.env._("This page is the customer's: enter the confirmation on the agreement itself."))
        self.lock_for_update()
        if self.state == "running":
            return
        if terms and terms != self._get_terms_key():
            raise UserError(self.env._("The offer has changed since you opened this page: load the page again."))
        name = (name or "").replace("\0", "").strip() if isinstance(name, str) else ""
        if not name or len(name) > MAX_NAME:
            raise UserError(self.env._("Please enter your name, with at most %s characters.", MAX_NAME))
        self._check_signature(signature)
        self._confirm({"confirmed_by": name, "signature": signature, "confirm_ip": address})
        author = self.partner_id if self.env.user._is_public() else self.env.user.partner_id
        self.message_post(body=self.env._("Confirmed by %s on the page.", name), author_id=author.id)

    def _check_signature(self, signature):
        """Raise unless this is a PNG of reasonable size."""
        if not signature or not isinstance(signature, str):
            raise UserError(self.env._("Please sign: draw your signature, or choose “Auto”."))
        if len(signature) > MAX_SIGNATURE_BYTES:
            raise UserError(self.env._("This signature is too large: please draw it again."))
        try:
            image = base64_to_image(signature)
            is_whole = image.format == "PNG" and image.width * image.height <= MAX_SIGNATURE_PIXELS
            if is_whole:
                image.load()
        except (UserError, binascii.Error, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            is_whole = False
        if not is_whole:
            raise UserError(self.env._("The signature did not arrive whole: please draw it again."))

    def _confirm(self, vals):
        """The customer has agreed: the agreement runs."""
        self.ensure_one()
        if problem := self._get_confirm_problem():
            raise UserError(problem)
        self._check_overlap()
        agreement_sudo = self.sudo()  # protected fields
        agreement_sudo.write({**vals, "state": "running", "date_confirmed": fields.Datetime.now()})
        self.case_id._refresh()

    def action_cancel(self):
        """End agreements without saying that they were broken; the items are dunned by their own dates again.

        :raises UserError: completed or broken already
        """
        self.check_access("write")
        self._check_state("draft", *LIVE)
        self.sudo().write({"state": "cancelled"})  # protected field
        self.case_id._refresh()
        return True

    # Following one

    @api.model
    def _evaluate_cases(self, cases):
        """Compare the running agreements of cases with what was paid: completed, broken, or going on; remind of parts.

        Called as superuser, whenever the cases are looked at. One that was completed runs again when a payment is taken
        back.
        """
        agreements = self.search([("case_id", "in", cases.ids), ("state", "in", ("running", "completed"))])
        for agreement in agreements:
            agreement._evaluate(agreement.company_id._get_billing_today())
        agreements.filtered(lambda agreement: agreement.state == "running")._remind()

    def _evaluate(self, today):
        self.ensure_one()
        if not self._get_valid_items():
            state = "cancelled"
        elif self.currency_id.compare_amounts(self.amount_open, 0) <= 0:
            state = "completed"
        elif missed := kernel.missed(self._get_kernel_parts(), self._get_paid(), self.grace_days, today):
            return self._break(missed, today)
        else:
            state = "running"
        if state != self.state:
            self.state = state
        return None

    def _break(self, part, today):
        """A part was missed: the original dates count again; customer and collector are told. Called as superuser."""
        self.write({"state": "broken", "date_broken": today})
        text = self.env._(
            "Agreement %(name)s is broken: %(amount)s were due on %(date)s, %(paid)s were paid in all.",
            name=self.name,
            amount=self.currency_id.format(float(part.amount)),
            date=format_date(self.env, part.day),
            paid=self.currency_id.format(self.amount_paid),
        )
        self.message_post(body=text)
        self.case_id.message_post(body=text)
        self._ask(self.env._("Instalment agreement broken"), text)
        self._mail("customer_billing_collection.mail_template_instalment_broken")

    def _ask(self, summary, note):
        case = self.case_id._get_current_case()
        user = case.collector_id or self.user_id or self.env.user
        case.activity_schedule(
            "mail.mail_activity_data_call", summary=summary, note=escape(note), user_id=user.id
        )

    def _remind(self):
        """Mail customers once about each part that is due soon and not paid; not after a hand-over."""
        for agreement in self.filtered(lambda agreement: agreement.reminder_days and not agreement.case_id.date_legal):
            today = agreement.company_id._get_billing_today()
            due = [
                line for line, _left in agreement._get_due_parts() if line.date >= today and not line.date_reminded
            ]
            if due:
                agreement._mail("customer_billing_collection.mail_template_instalment_reminder")
                due[0].browse(line.id for line in due).sudo().date_reminded = today  # protected field

    def _get_due_parts(self):
        """The parts that are due, or that it is time to remind of, and not paid: list of (line, what is left of it)."""
        self.ensure_one()
        until = self.company_id._get_billing_today() + timedelta(days=self.reminder_days)
        return [
            (line, line.amount - float(paid))
            for line, paid in self._get_settled_parts()
            if line.date <= until and paid < to_decimal(line.amount)
        ]

    @api.model
    def _get_protected_items(self, cases):
        """Return what running agreements take out of dunning today: {case: set of receivable line ids}."""
        result = {case: set() for case in cases}
        for agreement, case in self._get_running(cases):
            result[case].update(agreement.move_line_ids.ids)
        return result

    @api.model
    def _get_running(self, cases):
        """The running agreements of these cases, also those of an earlier case of the customer: list of (agreement,
        case)."""
        by_key = {(case.partner_id, case.company_id, case.currency_id): case for case in cases}
        pairs = [
            (agreement, by_key.get((agreement.partner_id, agreement.company_id, agreement.currency_id)))
            for agreement in self.search([("partner_id", "in", cases.partner_id.ids), ("state", "=", "running")])
        ]
        return [(agreement, case) for agreement, case in pairs if case]

    @api.model
    def _get_next_days(self, cases, today):
        """The day on which the next part of the running agreement of each case falls due, of a part that is due the day
        on which it is missed: {case: date}; without those that have none."""
        days = {}
        for agreement, case in self._get_running(cases) if cases else ():
            day = agreement.next_date
            if day and day < today:
                day += timedelta(days=agreement.grace_days + 1)
            if day:
                days[case] = min(day, days.get(case, day))
        return days

    # Mail, document, page

    def _mail_get_partner_fields(self, introspect_fields=False):
        return ["partner_id"]

    def _get_contact(self):
        """Who the document is for: the customer's contact for bills."""
        return self.partner_id._get_dunning_contact()

    def _get_texts(self):
        """Sentences of the document and of the customer's page: {name: text}."""
        self.ensure_one()
        money = self.currency_id.format
        return {
            "intro": self.env._(
                "%(customer)s owes %(company)s %(amount)s for the items below, and pays it in %(count)s parts.",
                customer=self.partner_id.name,
                company=self.company_id.name,
                amount=money(self.amount),
                count=len(self.line_ids),
            ),
            "grace": self.env._(
                "A part is in time when it arrives at most %s days after its date. While the parts arrive in time, "
                "these items are not demanded otherwise. When one is missed the agreement ends, and the original due "
                "dates count again.",
                self.grace_days,
            ),
            "others": self.env._(
                "Bills that are not listed here are not part of the agreement. Late interest goes on where it was "
                "agreed."
            ),
            "progress": self.env._(
                "%(paid)s of %(amount)s paid", paid=money(self.amount_paid), amount=money(self.amount)
            ),
            "confirmed": self.date_confirmed
            and self.env._(
                "Confirmed by %(name)s on %(date)s.",
                name=self.confirmed_by,
                date=format_datetime(self.env, self.date_confirmed, tz=self.company_id.partner_id.tz or "UTC"),
            ),
            "offer": self.env._("We offer you to pay %s in parts.", money(self.amount)),
        }

    def _get_payment_url(self, amount=None):
        """Where a part is paid; False when none is left, or no bill is among the items.

        :param float amount: what is asked for; None: what is left of the next part
        """
        self.ensure_one()
        amount = self.next_amount if amount is None else amount
        items_sudo = self._get_valid_items().filtered(lambda line: not line.reconciled)
        bills_sudo = items_sudo.move_id.filtered(lambda move: move.move_type in ("out_invoice", "out_receipt"))
        is_asked = self.state == "running" and self.currency_id.compare_amounts(amount, 0) > 0
        return is_asked and bills_sudo and bills_sudo._get_payment_url(amount)

    def _render_payment(self):
        """How to pay the parts that are due soon, no more and no less: link and QR code, for the text of mails."""
        self.ensure_one()
        parts = self._get_due_parts()
        amount = self.currency_id.round(sum(left for _line, left in parts))
        url = self._get_payment_url(amount)
        return self.env["ir.qweb"]._render(
            "customer_billing_collection.instalment_payment",
            {
                "agreement": self,
                "parts": [(format_date(self.env, line.date), self.currency_id.format(left)) for line, left in parts],
                "amount": self.currency_id.format(amount),
                "url": url,
                "qr_code": url and qr_data_uri(url),
                "account": self.company_id.sudo().partner_id.bank_ids[:1],  # where the customer pays
            },
        )

    def _get_page_url(self):
        """The address of the customer's page, with its token."""
        self.ensure_one()
        return urljoin(self.get_base_url(), self.get_portal_url())

    def _mail(self, template_xmlid):
        """Queue one mail to the customer; without an address a person is asked to tell him."""
        for agreement in self:
            agreement.case_id._mail_customer(agreement, self.env.ref(template_xmlid))
