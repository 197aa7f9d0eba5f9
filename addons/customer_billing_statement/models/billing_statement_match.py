import base64
import binascii
from datetime import timedelta
from decimal import Decimal

from markupsafe import Markup

from odoo import Command, api, fields, models
from odoo.exceptions import UserError, ValidationError
from odoo.tools import float_repr

from ..tools.ledger_columns import (
    Mapping,
    check_mapping,
    column_names,
    guess_conventions,
    guess_mapping,
    read_items,
    score_head,
)
from ..tools.ledger_file import read_file
from ..tools.ledger_problem import LedgerError, Problem, column_letters, shorten
from ..tools.ledger_values import clean
from ..tools.matching import ONLY_THEIRS, OurItem, match
from ..tools.workbook import write_workbook
from .billing_statement_match_line import DIFFERENCES, STATUSES
from .ledger_texts import explain

SHOWN_PROBLEMS = 50
SAMPLES = 3
# Files that customers may upload for one statement: enough for mistakes, too few to fill a disk.
MAX_UPLOADS = 20
# What a comparison depends on.
INPUTS = frozenset(
    (
        "file", "header_row", "date_order", "decimal_mark", "sign", "date_tolerance_days",
        "amount_tolerance", "column_ids",
    )
)  # fmt: skip


class BillingStatementMatch(models.Model):
    """A customer's ledger beside a statement: the file, how it is read, and what differs.

    ``draft``: its columns are to be chosen; ``mapped``: they are, but rows cannot be read;
    ``matched``: compared; ``done``: a person has dealt with the differences.
    """

    _name = "billing.statement.match"
    _description = "Customer's Ledger"
    _inherit = ["billing.protected.mixin"]
    _order = "id desc"
    _rec_name = "file_name"
    _billing_protected = frozenset(
        (
            "state", "sheet", "encoding", "row_count", "left_out_count", "problems", "error_count",
            "our_total", "their_total", "difference", "complete", "line_ids",
        )
    )  # fmt: skip

    statement_id = fields.Many2one(
        "billing.statement", required=True, index=True, ondelete="cascade",
        domain=[("state", "!=", "cancelled")],
    )  # fmt: skip
    partner_id = fields.Many2one(
        related="statement_id.partner_id", store=True, index=True, string="Customer"
    )
    company_id = fields.Many2one(related="statement_id.company_id", store=True, index=True)
    currency_id = fields.Many2one(related="statement_id.currency_id")
    file = fields.Binary(
        required=True, attachment=True, help="XLSX, XLS or CSV, up to 10 MB. Only values are read."
    )
    file_name = fields.Char(required=True, default="ledger")
    state = fields.Selection(
        [
            ("draft", "Choose columns"),
            ("mapped", "Correct rows"),
            ("matched", "Compared"),
            ("done", "Done"),
        ],
        string="Status",
        default="draft",
        required=True,
        readonly=True,
        index=True,
        copy=False,
    )
    # How it is read
    column_ids = fields.One2many("billing.statement.match.column", "match_id", string="Columns")
    sheet = fields.Char(readonly=True, copy=False)
    encoding = fields.Char(readonly=True, copy=False)
    header_row = fields.Integer(
        string="Row of Headings", help="The row with the names of the columns. 0: there is none."
    )
    date_order = fields.Selection(
        [("dmy", "Day before month (31/12)"), ("mdy", "Month before day (12/31)")],
        string="Dates as Text",
        help="Empty: only dates that can be read in one way are taken.",
    )
    decimal_mark = fields.Selection(
        [(".", "Point (1,234.56)"), (",", "Comma (1.234,56)")],
        string="Decimals",
        help="For amounts that are text. Empty: as each amount itself says.",
    )
    sign = fields.Selection(
        [("auto", "Find out"), ("mirror", "Opposite to ours"), ("same", "Same as ours")],
        string="Signs",
        default="auto",
        required=True,
        help="In a ledger of suppliers, our bills stand on the credit side.",
    )
    date_tolerance_days = fields.Integer(
        string="Days Apart",
        default=10,
        required=True,
        help="How far apart in time entries may be that are the same by amount alone.",
    )
    amount_tolerance = fields.Monetary(
        string="Amount Tolerance", help="Up to this difference amounts are taken as the same."
    )
    # What was found in it
    row_count = fields.Integer(string="Entries", readonly=True, copy=False, aggregator=None)
    left_out_count = fields.Integer(
        string="Rows Left Out",
        readonly=True, copy=False,
        aggregator=None,
        help="Totals, balances carried forward, other currencies, days outside of the statement.",
    )
    problems = fields.Json(string="Problems Found", readonly=True, copy=False)
    error_count = fields.Integer(string="Rows That Cannot Be Read", readonly=True, copy=False, aggregator=None)
    problems_html = fields.Html(compute="_compute_problems_html", string="Rows to Correct")
    # The result
    line_ids = fields.One2many("billing.statement.match.line", "match_id", readonly=True)
    our_total = fields.Monetary(readonly=True, copy=False, help="Of the statement's lines.")
    their_total = fields.Monetary(
        string="Customer's Total", readonly=True, copy=False, help="With the sign of our books."
    )
    difference = fields.Monetary(readonly=True, copy=False, help="Customer's total less ours.")
    complete = fields.Boolean(
        readonly=True, copy=False, help="Off: there were too many entries to try all sums of several of them."
    )
    difference_count = fields.Integer(compute="_compute_summary", string="Differences")
    summary_html = fields.Html(compute="_compute_summary", string="Result")

    _tolerances_positive = models.Constraint(
        "CHECK (date_tolerance_days BETWEEN 0 AND 366 AND amount_tolerance >= 0 AND header_row >= 0)",
        "Days are between 0 and 366, tolerance and row of headings zero or more.",
    )

    # Computes

    @api.depends("problems")
    @api.depends_context("lang")
    def _compute_problems_html(self):
        for ledger in self:
            rows = ledger._get_problems()
            more = len(rows) - SHOWN_PROBLEMS
            cells = Markup("<tr><td>%s</td><td>%s</td><td>%s</td></tr>")
            body = Markup().join(
                cells % (row["row"] or "", row["column"], row["message"])
                for row in rows[:SHOWN_PROBLEMS]
            )
            if more > 0:
                text = self.env._("and %(count)s more: download the list", count=more)
                body += Markup('<tr><td/><td/><td class="text-muted">%s</td></tr>') % text
            ledger.problems_html = rows and Markup(
                '<table class="table table-sm"><thead><tr><th>%s</th><th>%s</th><th>%s</th></tr>'
                "</thead><tbody>%s</tbody></table>"
            ) % (self.env._("Row"), self.env._("Column"), self.env._("What to Do"), body)

    @api.depends("line_ids", "state")
    @api.depends_context("lang")
    def _compute_summary(self):
        found = {}
        for ledger, status, *values in self.env["billing.statement.match.line"]._read_group(
            [("match_id", "in", self.ids)],
            ["match_id", "status"],
            ["__count", "our_amount:sum", "their_amount:sum", "difference:sum"],
        ):
            found.setdefault(ledger.id, {})[status] = values
        for ledger in self:
            of_ledger = found.get(ledger.id, {})
            ledger.difference_count = sum(of_ledger.get(name, [0])[0] for name in DIFFERENCES)
            ledger.summary_html = bool(of_ledger) and ledger._render_summary(of_ledger)

    def _render_summary(self, by_status):
        """A table with a row for each status: number of groups, our figure, theirs, difference."""
        labels = dict(
            self.env["billing.statement.match.line"]._fields["status"]._description_selection(self.env)
        )
        cell = Markup('<td class="text-end">%s</td>')
        money = self.currency_id.format
        rows = [(labels[name], *by_status.get(name, (0, 0, 0, 0))) for name, _label in STATUSES]
        totals = [sum(row[i] for row in rows) for i in range(1, 5)]
        body = Markup().join(
            Markup("<tr><td>%s</td>%s</tr>")
            % (row[0], Markup().join(cell % (v if i == 0 else money(v)) for i, v in enumerate(row[1:])))
            for row in [*rows, (self.env._("Total"), *totals)]
        )
        heads = (
            self.env._("Number"),
            self.env._("Our Figure"),
            self.env._("Customer's Figure"),
            self.env._("Difference"),
        )
        head = Markup().join(Markup('<th class="text-end">%s</th>') % text for text in heads)
        return Markup(
            '<table class="table table-sm"><thead><tr><th/>%s</tr></thead><tbody>%s</tbody></table>'
        ) % (head, body)

    # Create, change

    @api.model_create_multi
    def create(self, vals_list):
        for vals in vals_list:
            self._decode(vals.get("file"))
        ledgers = super().create(vals_list)
        for ledger, vals in zip(ledgers, vals_list, strict=True):
            if ledger.statement_id.state == "cancelled":
                raise UserError(
                    self.env._("Statement %s was cancelled.", ledger.statement_id.name)
                )
            ledger._read_upload(vals)
        return ledgers

    def write(self, vals):
        if INPUTS.intersection(vals):
            self._check_open()
        self._decode(vals.get("file"))
        result = super().write(vals)
        # what comes with a sheet is from _read_upload itself: the field is protected
        if "sheet" not in vals and ("file" in vals or "header_row" in vals):
            for ledger in self:
                ledger._read_upload(vals)
        return result

    def _check_open(self):
        """Raise when one of these was compared already."""
        if compared := self.filtered(lambda ledger: ledger.state not in ("draft", "mapped"))[:1]:
            raise UserError(
                self.env._(
                    "%s was compared. Click “Change Columns” to read it differently.",
                    compared.file_name,
                )
            )

    @api.model
    def _decode(self, value):
        """The bytes of a value of the field ``file``, base64.

        :raises ValidationError: it is not base64
        """
        try:
            return base64.b64decode(value or b"")
        except (binascii.Error, ValueError):
            raise ValidationError(self.env._("The file did not arrive whole: upload it again."))

    # Read

    def _read_table(self):
        """The rows of the file.

        :raises UserError: it cannot be used; the text says why and what to do
        """
        self.ensure_one()
        content = self._decode(self.with_context(bin_size=False).file)
        try:
            return read_file(content, score_head)
        except LedgerError as error:
            raise UserError(self._tell(error.problem))

    def _tell(self, problem):
        """A problem as one text, with its place."""
        text = explain(self.env, problem)
        if problem.row:
            place = f"{problem.column}{problem.row}"
            text = self.env._("Row %(place)s: %(text)s", place=place, text=text)
        return text

    def _read_upload(self, vals):
        """Look at a new file: its columns as they were used last, else by their names."""
        table = self._read_table()
        known = self._get_known_mapping()
        mapping, lost = guess_mapping(table, known)
        if vals.get("header_row") is not None and vals["header_row"] != mapping.header_row:
            mapping, lost = self._guess_below(table, vals["header_row"], known), []
        elif "header_row" in vals and "file" not in vals:
            return
        names = column_names(table, mapping.header_row)
        by_name = {name: field for field, name in mapping.columns.items()}
        below = [row for row in table.rows if row.number > mapping.header_row][:SAMPLES]
        columns = [
            {
                "sequence": index,
                "letters": column_letters(index),
                "name": name,
                "samples": " | ".join(
                    shorten(clean(row.cells[index])) for row in below if index < len(row.cells)
                ),
                "field": by_name.get(name),
            }
            for index, name in enumerate(names)
        ]
        self.sudo().write(  # protected fields
            {
                "state": "draft",
                "sheet": table.sheet,
                "encoding": table.encoding,
                "header_row": mapping.header_row,
                "date_order": vals.get("date_order") or mapping.date_order or False,
                "decimal_mark": vals.get("decimal_mark") or mapping.decimal_mark or False,
                "column_ids": [Command.clear(), *map(Command.create, columns)],
            }
        )
        ledger = read_items(table, self._get_mapping())
        self._store_reading(ledger, lost)
        if known and not lost and not self.error_count:
            self.action_match()

    @api.model
    def _guess_below(self, table, header_row, known):
        """The mapping when a person says which row has the headings."""
        names = column_names(table, header_row)
        mapping, _lost = guess_mapping(table, known)
        columns = {field: name for field, name in mapping.columns.items() if name in names}
        mapping = Mapping(header_row, columns)
        return Mapping(header_row, columns, *guess_conventions(table, mapping))

    def _get_known_mapping(self):
        """How the customer's last file was read, None if there was none."""
        last = self.search(
            [
                ("partner_id", "=", self.partner_id.id),
                ("company_id", "=", self.company_id.id),
                ("state", "in", ("matched", "done")),
                ("id", "!=", self.id),
            ],
            limit=1,
        )
        return last._get_mapping() if last else None

    def _get_mapping(self):
        """How this file is read, for the kernels."""
        self.ensure_one()
        columns = {column.field: column.name for column in self.column_ids if column.field}
        return Mapping(self.header_row, columns, self.date_order or "", self.decimal_mark or "")

    def _store_reading(self, ledger, more=()):
        """Remember what is wrong with the file, and how many entries it has."""
        problems = [*more, *ledger.problems]
        errors = {p.row for p in problems if not p.is_warning}
        self.sudo().write(  # protected fields
            {
                "problems": [[p.code, p.row, p.column, p.args] for p in problems],
                "error_count": len(errors),
                "row_count": len(ledger.items),
                "left_out_count": len(ledger.skipped),
            }
        )

    def _get_problems(self):
        """What is wrong with the file, in the user's language.

        :return: list of dicts: ``row`` (0: the file), ``column`` (letters), ``message``
        """
        self.ensure_one()
        return [
            {"row": row, "column": column, "message": explain(self.env, Problem(code, row, column, args))}
            for code, row, column, args in self.problems or []
        ]

    # Compare

    def action_match(self, leave_out=False):
        """Compare these ledgers with their statements.

        :param leave_out: compare although rows cannot be read, without these rows
        :return: True when all were compared; otherwise their problems say what to do
        """
        self.check_access("write")
        self._check_open()
        compared = [ledger._match(leave_out) for ledger in self]
        return all(compared)

    def action_match_readable(self):
        """Compare without the rows that cannot be read."""
        return self.action_match(leave_out=True)

    def _match(self, leave_out):
        table = self._read_table()
        mapping = self._get_mapping()
        chosen = [column.field for column in self.column_ids if column.field]
        if twice := {name for name in chosen if chosen.count(name) > 1}:
            labels = dict(self.column_ids._fields["field"]._description_selection(self.env))
            raise UserError(
                self.env._(
                    "Two columns are chosen as %s: choose one.",
                    ", ".join(labels[name] for name in sorted(twice)),
                )
            )
        ledger = read_items(table, mapping)
        self._store_reading(ledger)
        wrong = check_mapping(table, mapping)
        if wrong or (self.error_count and not leave_out):
            self.sudo().state = "draft" if wrong else "mapped"  # protected field
            return False
        self._compare(ledger)
        return True

    def _compare(self, ledger):
        """Match the entries of the file with the statement's lines; write the result."""
        code, first, last = self.currency_id.name, self.statement_id.date_from, self.statement_id.date_to
        margin = timedelta(days=self.date_tolerance_days)
        if self.statement_id.kind == "open_item":
            first = fields.Date.to_date("1900-01-01")
        theirs = [
            item
            for item in ledger.items
            if (item.currency or code) == code and first <= item.date <= last + margin
            and (item.date >= first - margin)
        ]  # fmt: skip
        ours = self._get_our_items()
        result = match(
            ours,
            theirs,
            self.date_tolerance_days,
            self._to_decimal(self.amount_tolerance),
            {"mirror": -1, "same": 1}.get(self.sign, 0),
            code,
        )
        by_row = {item.row: item for item in theirs}
        groups = [
            group
            for group in result.groups
            if group.status != ONLY_THEIRS or first <= by_row[group.theirs[0]].date <= last
        ]
        kept = {row for group in groups for row in group.theirs}
        their_total = result.sign * sum(item.amount for item in theirs if item.row in kept)
        our_total = sum(item.amount for item in ours)
        self._replace_lines(groups, {item.id: item for item in ours}, by_row, result.sign)
        self.sudo().write(  # protected fields
            {
                "state": "matched",
                "left_out_count": len(ledger.skipped) + len(ledger.items) - len(kept),
                "our_total": float(our_total),
                "their_total": float(their_total),
                "difference": float(their_total - our_total),
                "complete": result.complete,
            }
        )

    def _to_decimal(self, amount):
        """An amount of the statement's currency as the decimal that a person reads."""
        return Decimal(float_repr(amount, self.currency_id.decimal_places))

    def _get_our_items(self):
        """The lines of the statement for the kernel; of a statement of open items what is open."""
        lines = self.statement_id.line_ids
        open_items = self.statement_id.kind == "open_item"
        return [
            OurItem(
                line.id,
                line.number or "",
                tuple(filter(None, [line.ref])),
                line.date,
                self._to_decimal(line.residual if open_items else line.debit - line.credit),
            )
            for line in lines
        ]

    def _replace_lines(self, groups, by_id, by_row, sign):
        """Write the groups; disputes that were opened stay with the same entries."""
        lines_sudo = self.sudo().line_ids  # protected
        disputes = {
            (frozenset(line.statement_line_ids.ids), line.their_rows): line.dispute_id.id
            for line in lines_sudo
            if line.dispute_id
        }
        lines_sudo.unlink()
        vals_list = [self._prepare_line(group, by_id, by_row, sign) for group in groups]
        for group, vals in zip(groups, vals_list, strict=True):
            vals["dispute_id"] = disputes.get((frozenset(group.ours), vals["their_rows"]))
        lines_sudo.create(vals_list)

    def _prepare_line(self, group, by_id, by_row, sign):
        """The values of a line of the result."""
        ours = [by_id[key] for key in group.ours]
        theirs = [by_row[row] for row in group.theirs]
        return {
            "match_id": self.id,
            "status": group.status,
            "statement_line_ids": [Command.set(group.ours)],
            "date": min((item.date for item in ours), default=False),
            "number": shorten(", ".join(item.number for item in ours if item.number), 200),
            "our_amount": float(sum(item.amount for item in ours)),
            "their_rows": ", ".join(map(str, group.theirs)) or False,
            "their_date": min((item.date for item in theirs), default=False),
            "their_number": shorten(", ".join(item.number for item in theirs if item.number), 200),
            "their_amount": float(sign * sum(item.amount for item in theirs)),
            "difference": float(group.difference),
            "reason_code": group.reason,
            "reason_value": next(iter(group.reason_args.values()), 0),
        }

    def action_draft(self):
        """Go back to choosing columns; the result stays until the next comparison."""
        self.check_access("write")
        self.sudo().state = "draft"  # protected field
        return True

    def action_done(self):
        """Close: the differences are dealt with."""
        self.check_access("write")
        if early := self.filtered(lambda ledger: ledger.state != "matched")[:1]:
            raise UserError(self.env._("%s is not compared yet.", early.file_name))
        self.sudo().state = "done"  # protected field
        return True

    # From the portal

    @api.model
    def _create_from_portal(self, statement, file_name, content):
        """Take a file that the customer uploads for a statement, and compare it if it can be read.

        The caller has checked that the visitor may see the statement.

        :param content: bytes
        :return: the ledger (sudo), ``matched`` or with ``_get_problems()``
        :raises UserError: the file cannot be used; the text tells the customer what to do
        """
        if statement.state not in ("sent", "disputed", "confirmed"):
            raise UserError(self.env._("This statement is not open for comparison any more."))
        ledgers_sudo = self.sudo()  # customers have no right to create
        if ledgers_sudo.search_count([("statement_id", "=", statement.id)]) >= MAX_UPLOADS:
            raise UserError(
                self.env._("There are many files for this statement already: please write to us.")
            )
        ledger_sudo = ledgers_sudo.create(
            {
                "statement_id": statement.id,
                "file_name": shorten(file_name or "ledger", 100),
                "file": base64.b64encode(content),
            }
        )
        if ledger_sudo.state == "draft":
            ledger_sudo.action_match()
        ledger_sudo._note_upload()
        return ledger_sudo

    def _note_upload(self):
        """Tell the person responsible for the statement what the customer sent."""
        self.ensure_one()
        statement_sudo = self.sudo().statement_id
        if self.state == "matched":
            text = self.env._(
                "The customer's ledger %(file)s was compared: %(count)s differences.",
                file=self.file_name,
                count=self.difference_count,
            )
        else:
            text = self.env._(
                "The customer's ledger %(file)s needs help: choose its columns or correct rows.",
                file=self.file_name,
            )
        statement_sudo.message_post(body=text, subtype_xmlid="mail.mt_note")
        if statement_sudo.user_id:
            statement_sudo.activity_schedule(
                "mail.mail_activity_data_todo", summary=text, user_id=statement_sudo.user_id.id
            )

    # Views and files

    def action_view_lines(self):
        """Open the result."""
        action = self.env["ir.actions.actions"]._for_xml_id(
            "customer_billing_statement.billing_statement_match_line_action"
        )
        action["domain"] = [("match_id", "in", self.ids)]
        return action

    def action_download_result(self):
        """Download the result as XLSX."""
        return self._get_download_action("result")

    def action_download_problems(self):
        """Download the list of what is wrong as XLSX."""
        return self._get_download_action("problems")

    def _get_download_action(self, what):
        self.ensure_one()
        return {
            "type": "ir.actions.act_url",
            "url": f"/billing/ledger/{self.id}/{what}.xlsx",
            "target": "download",
        }

    def _get_workbook(self, what):
        """The content of an XLSX file: ``result`` or ``problems``.

        :return: bytes; texts of the customer are texts there too, never formulas
        """
        self.ensure_one()
        self.check_access("read")
        if what == "problems":
            head = [self.env._("Row"), self.env._("Column"), self.env._("What to Do")]
            rows = [[p["row"] or None, p["column"], p["message"]] for p in self._get_problems()]
            return write_workbook([(self.env._("Problems"), head, rows)])
        lines = self.line_ids
        names = (
            "status", "date", "number", "our_amount", "their_rows", "their_date", "their_number",
            "their_amount", "difference", "reason", "dispute_id",
        )  # fmt: skip
        labels = lines.fields_get(names, ["string", "selection"])
        statuses = dict(labels["status"]["selection"])
        rows = [
            [statuses[line.status], *(line[name] for name in names[1:-1]), line.dispute_id.sudo().name]
            for line in lines
        ]
        return write_workbook([(self.env._("Result"), [labels[n]["string"] for n in names], rows)])

    def action_ask_customer(self):
        """Write to the customer about the differences, on the statement, with the list attached."""
        self.ensure_one()
        statement = self.statement_id
        name = self.env._("Differences %s", statement.name.replace("/", "-")) + ".xlsx"
        attachment = self.env["ir.attachment"].create(
            {
                "name": name,
                "raw": self._get_workbook("result"),
                "res_model": "mail.compose.message",
                "res_id": 0,
            }
        )
        body = self.env._(
            "We compared your ledger %(file)s with our statement %(statement)s and found "
            "%(count)s differences. They are in the attached list. Please tell us what you think of them.",
            file=self.file_name,
            statement=statement.name,
            count=self.difference_count,
        )
        return {
            "type": "ir.actions.act_window",
            "res_model": "mail.compose.message",
            "view_mode": "form",
            "target": "new",
            "context": {
                "default_model": "billing.statement",
                "default_res_ids": statement.ids,
                "default_composition_mode": "comment",
                "default_partner_ids": statement._get_recipients().ids,
                "default_subject": statement.name,
                "default_body": body,
                "default_attachment_ids": attachment.ids,
            },
        }
