import binascii

from PIL import Image

from odoo import Command, api, fields, models
from odoo.exceptions import UserError, ValidationError
from odoo.tools.image import base64_to_image

from odoo.addons.customer_billing.tools.upload import MAX_FILES, check_file, clean_file_name

from ..tools.answer import parse_figure
from ..tools.ledger_values import ValueProblem, clean

PORTAL_STATES = ("sent", "confirmed", "disputed", "superseded")
MAX_NAME = 100
MAX_TEXT = 5000
MAX_SIGNATURE_BYTES = 1024 * 1024
MAX_SIGNATURE_PIXELS = 8_000_000  # a small file may unpack to very many
# One customer's link cannot fill a disk or a list of tasks.
MAX_CHOSEN = 50
MAX_OPEN_DISPUTES = 200
MAX_STORED_FILES = 50
TWICE_MINUTES = 10  # the same form again within these is a double click


class BillingStatement(models.Model):
    """What customers answer on the page of their statement."""

    _name = "billing.statement"
    _inherit = "billing.statement"

    # Who, what

    def _get_answer_author(self):
        """The contact that an answer comes from: of the user, else the customer."""
        user = self.env.user
        return self.partner_id if user._is_public() else user.partner_id

    def _get_confirm_problem(self):
        """Why the customer cannot confirm now, as a text; False when nothing is in the way."""
        self.ensure_one()
        return {
            "sent": False,
            "confirmed": self.env._("This statement was confirmed already."),
            "disputed": self.env._(
                "There are open objections to this statement. It can be confirmed when they are settled."
            ),
            "superseded": self.env._(
                "A newer statement has taken the place of this one. Please answer that one."
            ),
        }.get(self.state, self.env._("This statement was withdrawn."))

    def _get_dispute_problem(self):
        """Why the customer cannot object now, as a text; False when nothing is in the way."""
        self.ensure_one()
        return not self._may_be_disputed() and (
            self.env._("This statement was confirmed. If something is wrong with it, please write to us below.")
            if self.state == "confirmed"
            else self._get_confirm_problem()
        )

    def _may_be_disputed(self):
        return self.state in ("sent", "disputed")

    def _check_answer_is_the_customers(self):
        if self.env.user._is_internal():
            raise UserError(
                self.env._("This page is the customer's: enter what they answered in the statement itself.")
            )

    # Confirm

    def _confirm_from_portal(self, name, signature):
        """The customer confirms on the page; confirming twice is confirming once.

        The caller has checked that the visitor may see the statement.

        :param signature: a PNG image, base64
        :raises UserError: the text tells the customer what to do
        """
        self.ensure_one()
        self._check_answer_is_the_customers()
        if self.state == "confirmed":
            return
        if problem := self._get_confirm_problem():
            raise UserError(problem)
        name = clean(name)[: MAX_NAME + 1]
        if not name or len(name) > MAX_NAME:
            raise UserError(self.env._("Please enter your name, with at most %s characters.", MAX_NAME))
        self._check_signature(signature)
        self.sudo().action_confirm(name, signature)  # customers have no right to write

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

    # Object

    def _dispute_from_portal(self, form, files):
        """The customer objects on the page: one dispute for each line chosen, for something missing
        and for the balance. Nothing else of ``form`` is used.

        The caller has checked that the visitor may see the statement. The same form sent twice, by a double click or by
        going back, is told once.

        :param form: texts by name: ``line_<id>`` and ``figure_<id>`` for each line chosen;
            ``missing``, ``missing_number``, ``missing_figure``; ``balance``, ``balance_figure``;
            ``reason``, ``description``
        :param files: list of (name, bytes)
        :return: (disputes (sudo), errors: {name of a field: text}); with errors nothing was written
        :raises UserError: the customer cannot object now, or a line is not of this statement
        """
        self.ensure_one()
        self._check_answer_is_the_customers()
        if problem := self._get_dispute_problem():
            raise UserError(problem)
        statement_sudo = self.sudo()  # customers have no right to write or create
        statement_sudo._check_state("sent", "disputed")
        statement_sudo._mark_changed()  # one at a time: a second click sees the first
        common, more = statement_sudo._read_objection_texts(form)
        if twins_sudo := statement_sudo._find_twins(form, common):
            return twins_sudo, {}
        vals_list, errors = statement_sudo._read_objections(form, statement_sudo._get_open_disputes())
        errors |= more | statement_sudo._check_objection_files(files)
        if errors:
            return self.env["billing.dispute"].sudo(), errors
        common["attachment_ids"] = [Command.set(self.env["billing.dispute"]._store_files(files, statement_sudo).ids)]
        return statement_sudo._create_objections([common | vals for vals in vals_list]), {}

    def _get_open_disputes(self):
        return self.dispute_ids.filtered(lambda dispute: dispute.state == "open")

    def _find_twins(self, form, common):
        """The disputes that the same visitor has just made with this form; empty when there is something new in it.

        :param dict common: reason and text of the form
        """
        since = fields.Datetime.subtract(fields.Datetime.now(), minutes=TWICE_MINUTES)
        is_open = self._get_open_disputes()
        recent = is_open.filtered(
            lambda dispute: dispute.create_date > since
            and dispute.create_uid == self.env.user
            and {name: dispute[name] for name in common} == common
        )
        vals_list, errors = self._read_objections(form, is_open - recent) if recent else ([], {})
        if errors:
            return recent.browse()
        twins = [recent.filtered(lambda dispute, vals=vals: self._is_same(dispute, vals))[:1] for vals in vals_list]
        return recent.browse().union(*twins) if all(twins) else recent.browse()

    def _is_same(self, dispute, vals):
        return (
            dispute.statement_line_id.id == vals.get("statement_line_id", False)
            and dispute.name == vals["name"]
            and dispute.about_balance == vals.get("about_balance", False)
            and not self.currency_id.compare_amounts(dispute.claimed_amount, vals["claimed_amount"])
        )

    def _read_objections(self, form, open_disputes):
        """What is objected to: (list of values of disputes, errors).

        :param open_disputes: what the customer has told us already
        """
        vals_list, errors = [], {}
        for line in self._get_chosen_lines(form):
            name = f"figure_{line.id}"
            figure, error = self._read_figure(form.get(name))
            if figure is not None and line._get_claimable_amount() < 0:
                figure = -abs(figure)  # of a payment people write the bare amount
            ours = line._get_claimable_amount()
            if not error and line in open_disputes.statement_line_id:
                error = self.env._("You have objected to this line already.")
            elif not error and self.currency_id.is_zero(figure - ours):
                error = self.env._("This is our figure too: enter what you have in your books.")
            if error:
                errors[name] = error
                continue
            vals_list.append(
                {
                    "name": line.number,
                    "statement_line_id": line.id,
                    "move_id": self._get_disputed_move(line).id,
                    "claimed_amount": figure,
                }
            )
        if form.get("missing"):
            vals, more = self._read_missing(form)
            vals_list.append(vals)
            errors |= more
        if form.get("balance"):
            vals, more = self._read_balance(form)
            vals_list.append(vals)
            errors |= more
        if not errors:
            if not vals_list:
                errors["what"] = self.env._("Choose what differs.")
            elif len(vals_list) > MAX_CHOSEN:
                errors["what"] = self.env._("Choose at most %s lines at a time.", MAX_CHOSEN)
            elif len(open_disputes) + len(vals_list) > MAX_OPEN_DISPUTES:
                errors["what"] = self.env._("There are many objections already: please write to us below.")
            elif any(self._is_told(vals, open_disputes) for vals in vals_list):
                errors["what"] = self.env._("You have told us this already: we are looking into it.")
        return vals_list, errors

    def _get_chosen_lines(self, form):
        """The lines that were ticked.

        :raises UserError: one is not of this statement
        """
        numbers = {key.removeprefix("line_") for key, value in form.items() if key.startswith("line_") and value}
        ids = {int(number) for number in numbers if number.isascii() and number.isdigit() and len(number) < 10}
        lines = self.env["billing.statement.line"].search(
            [("id", "in", list(ids)), ("statement_id", "=", self.id)]
        )
        if len(lines) != len(numbers):
            raise UserError(self.env._("A line is not on this statement: open the page again."))
        return lines

    def _read_figure(self, text):
        """The customer's amount as (float, error); the one is None or the other is empty."""
        # sudo: the language of the visitor
        lang = self.env["res.lang"].sudo()._get_data(code=self.env.lang or "en_US")
        mark = lang.decimal_point if lang.decimal_point in (".", ",") else ""
        example = self.currency_id.format(1234.5)
        try:
            figure = parse_figure(text, mark, self.currency_id.decimal_places)
        except ValueProblem as problem:
            if problem.code == "huge_amount":
                return None, self.env._("This amount is too large.")
            return None, self.env._("Enter an amount such as %s.", example)
        if figure is None:
            return None, self.env._("Enter your figure; 0 if you do not have this at all.")
        return float(figure), ""

    def _read_missing(self, form):
        """Something is not on the statement: (values of the dispute, errors)."""
        number = clean(form.get("missing_number"))[:MAX_NAME]
        figure, error = self._read_figure(form.get("missing_figure"))
        errors = {}
        if not number:
            errors["missing_number"] = self.env._("Enter the number or date of what is missing.")
        if error or not figure:
            errors["missing_figure"] = error or self.env._("Enter its amount.")
        return {"name": self.env._("Missing: %s", number), "claimed_amount": figure}, errors

    def _read_balance(self, form):
        """The balance differs: (values of the dispute, errors)."""
        figure, error = self._read_figure(form.get("balance_figure"))
        if not error and self.currency_id.is_zero(figure - self.balance_close):
            error = self.env._("This is our figure too: enter what you have in your books.")
        vals = {"name": self.env._("Closing balance"), "about_balance": True, "claimed_amount": figure}
        return vals, {"balance_figure": error} if error else {}

    @api.model
    def _is_told(self, vals, open_disputes):
        """Whether something without a line is an open dispute already."""
        return not vals.get("statement_line_id") and any(
            not dispute.statement_line_id
            and dispute.about_balance == vals.get("about_balance", False)
            and (dispute.about_balance or dispute.name == vals["name"])
            for dispute in open_disputes
        )

    def _read_objection_texts(self, form):
        """Reason and text: (values of disputes, errors)."""
        errors = {}
        reason, description = form.get("reason"), (form.get("description") or "").replace("\0", "").strip()
        if reason not in dict(self.env["billing.dispute"]._fields["reason"].selection):
            errors["reason"] = self.env._("Choose a reason.")
        if not description:
            errors["description"] = self.env._("Tell us in a few words what differs.")
        elif len(description) > MAX_TEXT:
            errors["description"] = self.env._("Please write at most %s characters.", MAX_TEXT)
        return {"reason": reason, "description": description}, errors

    def _check_objection_files(self, files):
        """What is wrong with uploaded files: {"files": text} or nothing."""
        if len(files) > MAX_FILES:
            return {"files": self.env._("Send at most %s files.", MAX_FILES)}
        for name, content in files:
            name = clean_file_name(name)
            if problem := check_file(name, len(content)):
                return {"files": self.env["billing.dispute"]._tell_file_problem(problem, name)}
        if files and len(self.dispute_ids.attachment_ids) + len(files) > MAX_STORED_FILES:
            return {"files": self.env._("There are many files already: please send them by e-mail.")}
        return {}

    def _create_objections(self, vals_list):
        """Disputes with a task for their owner, and a word about them on the statement."""
        owner = self.user_id or self.company_id.billing_statement_user_id or self.create_uid
        try:
            with self.env.cr.savepoint():
                disputes = self.env["billing.dispute"].create(
                    [{"statement_id": self.id, "user_id": owner.id} | vals for vals in vals_list]
                )
        except ValidationError as error:
            raise UserError(str(error)) from error
        for dispute in disputes:
            dispute.activity_schedule(
                "mail.mail_activity_data_todo",
                date_deadline=dispute.date_due,
                summary=owner.with_context(lang=owner.lang).env._("The customer objects to %s", self.name),
                user_id=owner.id,
            )
        self.message_post(
            body=self.env._(
                "Objection to %(what)s: %(text)s",
                what=", ".join(disputes.mapped("name")),
                text=disputes[0].description,
            ),
            author_id=self._get_answer_author().id,
            message_type="comment",
            subtype_xmlid="mail.mt_comment",
        )
        return disputes

    def _get_objection_files(self):
        """The files that the customer sent with objections on the page."""
        return self.dispute_ids.attachment_ids.filtered(
            lambda file: file.res_model == self._name and file.res_id == self.id
        )
