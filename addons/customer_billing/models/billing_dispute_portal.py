import base64
from decimal import Decimal, InvalidOperation

from odoo import Command, api, fields, models
from odoo.exceptions import UserError

from ..tools.upload import MAX_FILE_BYTES, MAX_FILES, check_file, clean_file_name

MAX_NAME = 100
MAX_TEXT = 5000
MAX_FIGURE = 1e12
MAX_OPEN = 10  # of one bill: one customer's link cannot fill a list of tasks
TWICE_MINUTES = 10  # the same words within this time are one click too many
MEGABYTE = 1024 * 1024


class BillingDispute(models.Model):
    """What customers object to on the page of a bill."""

    _name = "billing.dispute"
    _inherit = "billing.dispute"

    def _compute_access_url(self):
        super()._compute_access_url()
        for dispute in self:
            dispute.access_url = f"/my/disputes/{dispute.id}"

    @api.model
    def _get_dispute_problem(self, move):
        """Why a customer cannot object to this bill now, as a text; False when nothing is in the way."""
        if move.move_type not in ("out_invoice", "out_refund") or move.state != "posted":
            return self.env._("Only posted bills of customers are disputed.")
        if len(move.sudo().billing_dispute_ids.filtered(lambda d: d.state == "open")) >= MAX_OPEN:
            return self.env._("There are many objections already: please write to us below.")
        return False

    @api.model
    def _dispute_from_portal(self, move, form, files):
        """A customer objects to a bill; nothing else of ``form`` is used.

        The caller has checked that the visitor may see the bill.

        :param move: the bill
        :param form: texts by name: ``line_id`` (empty: the whole bill), ``figure`` (with a point, empty: all of it is
            disputed), ``reason``, ``name``, ``description``
        :param files: list of (name, bytes)
        The same form sent twice, by a double click or by going back, is one dispute.

        :return: (dispute (sudo), errors: {name of a field: text}); with errors nothing was written
        :raises UserError: the customer cannot object now
        """
        move._mark_changed()
        if twin_sudo := self._find_twin(move, form):
            return twin_sudo, {}
        if problem := self._get_dispute_problem(move):
            raise UserError(problem)
        move_sudo = move.sudo()  # customers may not create disputes
        disputes_sudo = self.sudo()
        vals, errors = self._read_dispute_form(move_sudo, form)
        errors |= self._check_files(files)
        if errors:
            return disputes_sudo.browse(), errors
        owner = (
            move_sudo.billing_contract_ids.officer_id[:1] or move_sudo.invoice_user_id or move_sudo.create_uid
        )
        dispute_sudo = disputes_sudo.create({**vals, "move_id": move_sudo.id, "user_id": owner.id})
        dispute_sudo.attachment_ids = [Command.set(self._store_files(files, dispute_sudo).ids)]
        dispute_sudo._note_objection(owner)
        return dispute_sudo, {}

    @api.model
    def _find_twin(self, move, form):
        """The dispute (sudo) that the same visitor has just made with this form; empty when there is none."""
        since = fields.Datetime.subtract(fields.Datetime.now(), minutes=TWICE_MINUTES)
        recent_sudo = move.sudo().billing_dispute_ids.filtered(  # of a bill that the visitor may see
            lambda dispute: dispute.state == "open"
            and dispute.create_date > since
            and dispute.create_uid == self.env.user
        )
        line_id, texts = str(form.get("line_id") or ""), self._clean_texts(form)
        figure = self._read_figure(form.get("figure"), MAX_FIGURE, move.currency_id, {})
        return recent_sudo.filtered(
            lambda dispute: str(dispute.move_line_id.id or "") == line_id
            and dispute.reason == form.get("reason")
            and figure is not None
            and not move.currency_id.compare_amounts(abs(dispute.claimed_amount), figure)
            and {name: dispute[name] for name in texts} == texts
        )[:1]

    @api.model
    def _clean_texts(self, form):
        return {name: (form.get(name) or "").replace("\0", "").strip() for name in ("name", "description")}

    def _note_objection(self, owner):
        """The customer's words are the first message of the conversation; its owner gets a task."""
        user = self.env.user
        author = self.partner_id if user._is_public() else user.partner_id
        self.message_subscribe(author.ids)
        self.message_post(
            body=self.description,
            author_id=author.id,
            message_type="comment",
            subtype_xmlid="mail.mt_comment",
        )
        self.activity_schedule(
            "mail.mail_activity_data_todo",
            date_deadline=self.date_due,
            summary=owner.with_context(lang=owner.lang).env._("The customer objects to %s", self.move_id.name),
            user_id=owner.id,
        )

    @api.model
    def _read_dispute_form(self, move, form):
        """Values of the dispute and errors by field."""
        errors = {}
        line = self._read_line(move, form.get("line_id"), errors)
        total = line.price_total if line else move.amount_total
        figure = self._read_figure(form.get("figure"), total, move.currency_id, errors)
        reason = form.get("reason")
        if reason not in dict(self._fields["reason"].selection):
            errors["reason"] = self.env._("Choose a reason.")
        texts = self._clean_texts(form)
        for name, limit, message in (
            ("name", MAX_NAME, self.env._("Say in a few words what is wrong.")),
            ("description", MAX_TEXT, self.env._("Tell us what is wrong.")),
        ):
            if not texts[name]:
                errors[name] = message
            elif len(texts[name]) > limit:
                errors[name] = self.env._("Please write at most %s characters.", limit)
        amount = abs(total) - figure if figure is not None else 0.0
        if figure and total < 0:
            figure = -figure  # of a discount people write the bare amount
        return {
            **texts,
            "move_line_id": line.id,
            "claimed_amount": figure,
            "amount": move.currency_id.round(amount),
            "reason": reason,
        }, errors

    @api.model
    def _read_line(self, move, text, errors):
        lines = move.invoice_line_ids.filtered(lambda line: line.display_type == "product")
        text = str(text or "")
        line = lines.filtered(lambda line: str(line.id) == text)
        if text and not line:
            errors["line_id"] = self.env._("Choose a line of this bill.")
        elif line in move.sudo().billing_dispute_ids.filtered(lambda d: d.state == "open").move_line_id:
            errors["line_id"] = self.env._("You have objected to this line already.")
        return line

    @api.model
    def _read_figure(self, text, total, currency, errors):
        """The customer's own amount, 0 when nothing was entered; None when it is no amount below ours."""
        text = str(text or "").strip() or "0"
        try:
            figure = Decimal(text)
            known = figure.is_finite() and figure == round(figure, currency.decimal_places)
        except InvalidOperation:
            known = False
        if not known:
            errors["figure"] = self.env._("Enter an amount such as %s.", "1234.50")
        elif figure < 0 or currency.compare_amounts(float(figure), abs(total)) >= 0:
            errors["figure"] = self.env._("Enter what is right: it is less than %s.", currency.format(abs(total)))
        else:
            return float(figure)
        return None

    # Files

    @api.model
    def _check_files(self, files):
        """What is wrong with uploaded files: {"files": text} or nothing."""
        if len(files) > MAX_FILES:
            return {"files": self.env._("Send at most %s files.", MAX_FILES)}
        for name, content in files:
            name = clean_file_name(name)
            if problem := check_file(name, len(content)):
                return {"files": self._tell_file_problem(problem, name)}
        return {}

    @api.model
    def _tell_file_problem(self, problem, name):
        """What ``upload.check_file`` says, in words."""
        return {
            "type": self.env._(
                "%s cannot be sent here: send PDF, pictures, text, spreadsheets or e-mails.", name
            ),
            "empty": self.env._("%s is empty.", name),
            "large": self.env._(
                "%(name)s is larger than %(size)s MB.", name=name, size=MAX_FILE_BYTES // MEGABYTE
            ),
        }[problem]

    @api.model
    def _store_files(self, files, record):
        """The uploaded files as attachments (sudo) of ``record``; pages and drawings become text.

        The caller has checked the files and who sends them.
        """
        return (
            self.env["ir.attachment"]
            .sudo()  # customers attach nothing by themselves
            .with_context(attachments_mime_plainxml=True)
            .create(
                [
                    {
                        "name": clean_file_name(name),
                        "datas": base64.b64encode(content),
                        "res_model": record._name,
                        "res_id": record.id,
                    }
                    for name, content in files
                ]
            )
        )
