import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import xlsxwriter
from markupsafe import Markup

from odoo import fields, models
from odoo.exceptions import UserError
from odoo.tools import format_date, formatLang, html2plaintext

from odoo.addons.customer_billing.models.ir_actions_report import CJK_FONTS, NO_SCRIPT_DELAY
from odoo.addons.customer_billing.tools.qr import qr_data_uri

from ..tools.pages import Block, Row, paginate, shorten, text_width, wrap

REPORT = "customer_billing_statement.report_statement_action"

# The document is laid out in CSS pixels. WebKit prints a pixel as 0.2 mm or more, whatever the resolution, but
# shrinks what is wider than the paper until it fits. So a page is laid out wider than it would be by itself: then
# the scale is known, with every build of wkhtmltopdf, and with it the height of a page.
PIXELS = 5.3  # for a millimetre
MARGIN = 10  # millimetres above and below
SIDE_MARGIN = 12  # at least, with that of the paper format
HEIGHT_SAFETY = 0.985  # the rest is lost to rounding; a page that is too high would be followed by an empty one
LINE_HEIGHT = 20
FOOT_HEIGHT = 36
RUNNING_HEAD_HEIGHT = 34
ROW_PADDING = 7  # of a row, with its border
HEAD_HEIGHT = 30
FONT_SIZE = 15
NOTE_FONT_SIZE = 12
NOTE_LINE_HEIGHT = 15
CELL_PADDING = 12
EXPLAINED_WIDTH = 90
MAX_CELL_LINES = 3
MIN_NUMBER_WIDTH, MAX_NUMBER_WIDTH = 120, 190
COLOR = "#3c4858"  # where the company has none

WIDTHS = {"date": 92, "kind": 118, "date_maturity": 92, "days_overdue": 54}
AMOUNTS = ("debit", "credit", "balance", "residual")
DAYS = ("date", "date_maturity")


@dataclass(frozen=True)
class Page:
    """What a page holds, and what is added left and right to the paper's margins: pixels."""

    width: int
    height: int
    left: int
    right: int


@dataclass
class Column:
    """A column of the table of lines: the name of the field, its heading, and what it means."""

    name: str
    label: str
    explanation: str
    width: int = 0  # pixels
    lines: Sequence[str] = ()  # of the explanation

    @property
    def is_number(self):
        """Whether it is aligned to the right."""
        return self.name in AMOUNTS or self.name == "days_overdue"


class BillingStatement(models.Model):
    """The documents of a statement: PDF and workbook."""

    _name = "billing.statement"
    _inherit = "billing.statement"

    # Staff

    def action_download_xlsx(self):
        """Download the workbook that was issued.

        :raises UserError: it was not issued yet
        """
        self.ensure_one()
        self.check_access("read")
        if not self.date_sent:
            raise UserError(self.env._("%s has no workbook yet: send it first.", self.name))
        return {
            "type": "ir.actions.act_url",
            "url": f"/web/content/{self._name}/{self.id}/xlsx?download=true&filename={self.xlsx_name}",
            "target": "download",
        }

    # Common

    def _in_document_lang(self):
        """This statement in the customer's language and its own company."""
        self.ensure_one()
        return self.with_company(self.company_id).with_context(
            lang=self.partner_id.lang or self.env.lang
        )

    def _get_answer_date(self):
        """The day by which the customer should answer."""
        self.ensure_one()
        days = timedelta(days=self.company_id.billing_statement_answer_days)
        return self.date_due or self.company_id._get_billing_today() + days

    def _get_columns(self):
        """The columns of the lines, as kind and layout of this statement want them."""
        self.ensure_one()
        names = ["date", "kind", "number", "ref", "date_maturity", "debit", "credit", "balance"]
        if self.kind != "balance_forward":
            names.append("residual")
            if self.template == "ageing":
                names.append("days_overdue")
        texts = self._get_column_texts()
        return [Column(name, *texts[name]) for name in names]

    def _get_column_texts(self):
        """Heading and explanation of each column."""
        day = format_date(self.env, self.date_to)
        balance = (
            self.env._("The sum of what is open, down to this line.")
            if self.kind == "open_item"
            else self.env._("The opening balance and all lines down to this one.")
        )
        return {
            "date": (self.env._("Date"), self.env._("The date of the document in our books.")),
            "kind": (
                self.env._("Type"),
                self.env._(
                    "Invoice, credit note, payment or another entry; or the part of one that was "
                    "settled by a document in another currency or on another account."
                ),
            ),
            "number": (self.env._("Number"), self.env._("The number of our document.")),
            "ref": (
                self.env._("Reference"),
                self.env._("Your order or the reference of your payment, as far as we know it."),
            ),
            "date_maturity": (self.env._("Due"), self.env._("The day it was to be paid by.")),
            "debit": (self.env._("Charged"), self.env._("What you owe more: invoices.")),
            "credit": (self.env._("Credited"), self.env._("What you owe less: payments and credit notes.")),
            "balance": (self.env._("Balance"), balance),
            "residual": (
                self.env._("Open"),
                self.env._(
                    "What of the document was not settled on %s. Less than zero: a payment or "
                    "credit that is not matched to an invoice yet.",
                    day,
                ),
            ),
            "days_overdue": (self.env._("Days"), self.env._("How many days overdue on %s.", day)),
        }

    def _get_line_kinds(self):
        return dict(self.line_ids._fields["kind"]._description_selection(self.env))

    def _get_line_groups(self):
        """The lines in their order, by contract where the layout wants it: {heading: lines}."""
        self.ensure_one()
        if self.template != "contract":
            return {False: self.line_ids}
        groups = self.line_ids.grouped(lambda line: line.contract_name or "")
        return {
            name or self.env._("Without contract"): groups[name]
            for name in sorted(groups, key=lambda name: (not name, name))
        }

    def _format_number(self, value):
        """An amount of this statement without the currency's sign."""
        # + 0.0: no “-0.00”
        return formatLang(self.env, self.currency_id.round(value) + 0.0, digits=self.currency_id.decimal_places)

    # PDF

    def _render_pdf(self):
        """The statement as a PDF, in the customer's language: bytes.

        :raises UserError: wkhtmltopdf is not there, or has failed
        """
        statement = self._in_document_lang()
        return statement._convert_to_pdf(statement._render_html())

    def _convert_to_pdf(self, html):
        report = self.env["ir.actions.report"].with_context(billing_script_delay=NO_SCRIPT_DELAY)
        if report.get_wkhtmltopdf_state() == "install":
            raise UserError(self.env._("No PDF can be made: install wkhtmltopdf on the server."))
        return report._run_wkhtmltopdf(
            [html],
            report_ref=REPORT,
            specific_paperformat_args={
                "data-report-margin-top": MARGIN,
                "data-report-margin-bottom": MARGIN,
                "data-report-header-spacing": 0,
            },
        )

    def _render_html(self):
        """The document as HTML that needs nothing from elsewhere."""
        statement = self._in_document_lang()
        return statement.env["ir.qweb"]._render(
            "customer_billing_statement.statement_document", statement._prepare_document()
        )

    def _prepare_document(self):
        """The values of the document's template. Override to add more, with their blocks."""
        columns, page = self._get_columns(), self._get_page()
        self._set_widths(columns, page.width)
        values = {
            "statement": self,
            "columns": columns,
            "lines": self._prepare_rows(columns),
            "changes": self._prepare_change_rows(),
            "facts": self._get_facts(),
            "sender": self._get_sender_lines(),
            "address": self._get_address_lines(),
            "notices": self._get_notices(page.width),
            "totals": self._get_document_totals(),
            "bands": [],
            "accounts": self._get_bank_lines(),
            "texts": self._get_texts(),
            "url": False if self.state == "draft" else self._get_statement_url(),
            "money": self.currency_id.format,
            "logo": self.company_id.sudo().logo_web,  # the letterhead, whoever prints
            "color": self.company_id.primary_color or COLOR,
            "fonts": self._get_fonts(),
            "page": page,
            "direction": self.env["res.lang"]._get_data(code=self.env.lang).direction or "ltr",
        }
        if self.template == "ageing":
            values["bands"] = list(zip(self._get_bucket_labels(), self._get_buckets(), strict=True))
        values["qr_code"] = values["url"] and qr_data_uri(values["url"])
        blocks = self._prepare_blocks(values)
        values["blocks"] = {name: block.height for name, block in blocks.items()}
        names = list(blocks)
        pages = paginate(list(blocks.values()), page.height - FOOT_HEIGHT - RUNNING_HEAD_HEIGHT)
        values["pages"] = [[(names[index], start, stop) for index, start, stop in page] for page in pages]
        values["page_labels"] = [
            self.env._("Page %(number)s of %(count)s", number=number, count=len(pages))
            for number in range(1, len(pages) + 1)
        ]
        return values

    def _prepare_blocks(self, values):
        """The parts of the document in their order, with their heights: {name: Block}.

        The template shows each by the name.
        """
        text_rows = max(len(values["address"]), len(values["facts"]), 1)
        notices = sum(len(notice) * LINE_HEIGHT + 10 for notice in values["notices"])
        blocks = {
            "letterhead": Block(max(len(values["sender"]) * 18 + 30, 116)),
            "address": Block(text_rows * LINE_HEIGHT + 28),
            "title": Block(48),
        }
        if notices:
            blocks["notices"] = Block(notices + 8)
        blocks["totals"] = Block(80)
        blocks["lines"] = Block(HEAD_HEIGHT + 14, [row["row"] for row in values["lines"]])
        if values["changes"]:
            blocks["changes"] = Block(HEAD_HEIGHT + 44, [row["row"] for row in values["changes"]])
        if values["bands"]:
            blocks["ageing"] = Block(122)
        if values["accounts"]:
            blocks["pay"] = Block(len(values["accounts"]) * LINE_HEIGHT + 46)
        if values["url"]:
            blocks["slip"] = Block(222)
        blocks["explanations"] = Block(self._wrap_explanations(values["columns"], values["page"].width))
        return blocks

    def _wrap_explanations(self, columns, page_width):
        """Break the explanations of columns into lines: the height of all in two columns."""
        for column in columns:
            column.lines = wrap(column.explanation, (page_width / 2 - EXPLAINED_WIDTH - 24) / NOTE_FONT_SIZE)
        pairs = [columns[index : index + 2] for index in range(0, len(columns), 2)]
        return 44 + sum(
            max(len(column.lines) for column in pair) * NOTE_LINE_HEIGHT + 4 for pair in pairs
        )

    def _get_page(self):
        """The size of a page of the paper that the report uses."""
        paper = self.env["ir.actions.report"]._get_report(REPORT).get_paperformat()
        left, right = (max(SIDE_MARGIN - margin, 0) for margin in (paper.margin_left, paper.margin_right))
        width = paper.print_page_width - max(paper.margin_left, SIDE_MARGIN) - max(paper.margin_right, SIDE_MARGIN)
        height = (paper.print_page_height - 2 * MARGIN) * HEIGHT_SAFETY
        return Page(*(int(value * PIXELS) for value in (width, height, left, right)))

    def _get_fonts(self):
        cjk = CJK_FONTS.get(self.env.lang, CJK_FONTS[""])
        return Markup(f'"Liberation Sans", Arial, "{cjk}", sans-serif')  # names of ours

    def _set_widths(self, columns, page_width):
        """Give each column its width: amounts and numbers what they take, the
        reference what is left."""
        highest, lowest = self.balance_open + self.amount_debit, self.balance_open - self.amount_credit
        totals = [highest, lowest, self.amount_debit, self.amount_credit, self.balance_close]
        for column in columns:
            if column.name in AMOUNTS:
                values = [*totals, *self.line_ids.mapped(column.name)]
                texts = [column.label, *(self._format_number(value) for value in {min(values), max(values)})]
                column.width = max(72, self._get_cell_width(max(map(text_width, texts))))
            elif column.name == "number":
                widths = (text_width(number) for number in set(self.line_ids.mapped("number")) if number)
                width = self._get_cell_width(max(widths, default=0))
                column.width = min(max(MIN_NUMBER_WIDTH, width), MAX_NUMBER_WIDTH)
            elif column.name != "ref":
                width = self._get_cell_width(text_width(column.label))
                column.width = max(WIDTHS.get(column.name, 0), width)
        # With very large amounts the table is wider than the page, which is then shrunk a little more.
        reference = next(column for column in columns if column.name == "ref")
        others = sum(column.width for column in columns if column is not reference)
        reference.width = max(page_width - others, 90)

    def _get_cell_width(self, width):
        """The pixels that a cell needs for a text of ``width`` em."""
        return int(width * FONT_SIZE) + 1 + CELL_PADDING

    def _prepare_rows(self, columns):
        """The rows of the table of lines: dicts with ``cells`` (lists of lines of text), ``style``, ``row``."""
        kinds, balance = self._get_line_kinds(), 0.0
        rows = []
        if self.kind != "open_item":
            label = self.env._("Opening balance, %s", format_date(self.env, self.date_from))
            balance = self.balance_open
            rows.append(self._prepare_total_row(columns, label, {"balance": balance}))
        for heading, lines in self._get_line_groups().items():
            if heading:
                rows.append(self._prepare_total_row(columns, heading, {}, style="group", glued=True))
            for line in lines:
                # of the order on the page, which is not that of the dates when it is by contract
                balance += line.residual if self.kind == "open_item" else line.debit - line.credit
                rows.append(self._prepare_row(columns, line, kinds, balance))
            if heading:
                label = self.env._("Total of %s", heading)
                rows[-1]["row"] = Row(rows[-1]["row"].height, glued=True)
                sums = {**self._sum_lines(lines), "balance": balance}
                rows.append(self._prepare_total_row(columns, label, sums, style="subtotal"))
        if rows:
            rows[-1]["row"] = Row(rows[-1]["row"].height, glued=True)
        label = self.env._("Closing balance, %s", format_date(self.env, self.date_to))
        sums = {**self._sum_lines(self.line_ids), "balance": self.balance_close}
        if self.kind != "open_item":
            del sums["residual"]  # items of before are not among the lines
        return [*rows, self._prepare_total_row(columns, label, sums)]

    def _sum_lines(self, lines):
        return {name: sum(lines.mapped(name)) for name in ("debit", "credit", "residual")}

    def _prepare_row(self, columns, line, kinds, balance):
        cells = [
            [self._format_number(balance)]
            if column.name == "balance"
            else self._prepare_cell(column, line, kinds)
            for column in columns
        ]
        count = max(map(len, cells))
        return {"cells": cells, "style": "line", "row": Row(count * LINE_HEIGHT + ROW_PADDING)}

    def _prepare_cell(self, column, line, kinds):
        """The lines of text in one cell."""
        value = line[column.name]
        if column.name in DAYS:
            return [format_date(self.env, value) if value else ""]
        if column.name in AMOUNTS:
            return ["" if self.currency_id.is_zero(value) else self._format_number(value)]
        if column.name == "days_overdue":
            return [str(value) if value else ""]
        if column.name == "kind":
            value = kinds[value]
            if line.unallocated:
                value = self.env._("%s, not allocated", value)
        elif column.name == "ref" and line.counterpart:
            value = "\n".join(filter(None, (value, line.counterpart)))
        return shorten(value or "", (column.width - CELL_PADDING) / FONT_SIZE, MAX_CELL_LINES)

    def _prepare_total_row(self, columns, label, values, style="total", glued=False):
        """A row with a label across the first columns, and sums below the others."""
        first = next(index for index, column in enumerate(columns) if column.name in AMOUNTS)
        cells = [
            [self._format_number(values[column.name])] if column.name in values else [""]
            for column in columns[first:]
        ]
        return {
            "label": label,
            "span": first,
            "cells": cells,
            "style": style,
            "row": Row(LINE_HEIGHT + ROW_PADDING, glued=glued),
        }

    def _prepare_change_rows(self):
        """What changed since the statement that this one takes the place of, and what comes of it."""
        if not self.changes:
            return []
        rows = []
        closing = {
            "label": self.env._("Closing balance"), "number": "", "date": False, "style": "total",
            "before": self.supersedes_id.balance_close, "after": self.balance_close,
        }  # fmt: skip
        for change in [*self._describe_changes(self.changes), closing]:
            number = shorten(change["number"] or "", 16, MAX_CELL_LINES)
            rows.append(
                {
                    **change,
                    "number": number,
                    "before": self._format_number(change["before"]),
                    "after": self._format_number(change["after"]),
                    "row": Row(len(number) * LINE_HEIGHT + ROW_PADDING),
                }
            )
        return rows

    def _get_texts(self):
        """Sentences of the template with figures of this statement."""
        return {
            "changed": self.env._("What changed since %s", self.supersedes_id.name),
            "answer": self.env._(
                "by %s, online, by e-mail or by letter", format_date(self.env, self._get_answer_date())
            ),
            "agree": self.env._(
                "The balance of %(balance)s on %(date)s is right.",
                balance=self.currency_id.format(self.balance_close),
                date=format_date(self.env, self.date_to),
            ),
        }

    def _get_sender_lines(self):
        """The lines of the letterhead below the company's name."""
        company = self.company_id.sudo()  # the letterhead, whoever prints
        if details := html2plaintext(company.company_details or "").strip():
            lines = details.splitlines()
        else:
            lines = self._get_partner_lines(company.partner_id)
            lines += [" · ".join(filter(None, (company.phone, company.email))), company.website or ""]
        return [text for line in lines if line.strip() for text in shorten(line, 36, 2)][:8]

    def _get_address_lines(self):
        """The customer's name and address: pairs of a text and whether it is the name."""
        customer = self.partner_id.sudo()  # an address, whoever prints
        contact = customer.browse(customer.address_get(["invoice"])["invoice"])
        lines = [contact.name] if contact != customer and contact.name else []
        lines += self._get_partner_lines(contact, customer.vat)
        return [
            *((text, True) for text in shorten(customer.name or "", 27, 3)),
            *((text, False) for line in lines if line.strip() for text in shorten(line, 28, 2)),
        ][:11]

    def _get_partner_lines(self, partner, vat=None):
        lines = partner._display_address(without_company=True).splitlines()
        if vat := vat or partner.vat:
            label = partner.country_id.vat_label or self.env._("Tax ID")
            lines.append(f"{label}: {vat}")
        return lines

    def _get_facts(self):
        """What stands beside the address: pairs of a label and a text."""
        period = f"{format_date(self.env, self.date_from)} – {format_date(self.env, self.date_to)}"
        facts = [
            (self.env._("Number"), self.name),
            (self.env._("Period"), period),
            (self.env._("Currency"), self.currency_id.name),
            (self.env._("Date"), format_date(self.env, self.company_id._get_billing_today())),
        ]
        if self.state != "draft":
            facts.append((self.env._("Please answer by"), format_date(self.env, self._get_answer_date())))
        if self.user_id.active:
            contact = self.user_id.sudo().partner_id  # who the customer may ask
            facts.append((self.env._("Your contact"), contact.name))
            facts += [("", text) for text in (contact.phone, contact.email) if text]
        return [
            (label if not index else "", text)
            for label, value in facts
            for index, text in enumerate(shorten(value or "", 17, 2))
        ]

    def _get_notices(self, page_width):
        """Texts above the table: each a list of lines."""
        texts = []
        if self.state == "draft":
            texts.append(self.env._("Draft: this statement has not been checked and not been issued."))
        if self.supersedes_id:
            texts.append(
                self.env._(
                    "This statement takes the place of %(statement)s; what changed is shown below.",
                    statement=self.supersedes_id.name,
                )
                if self.changes
                else self.env._("This statement takes the place of %s.", self.supersedes_id.name)
            )
        if not self.currency_id.is_zero(self.amount_unallocated):
            texts.append(
                self.env._(
                    "The balance contains %s of payments or credits that are not matched to an "
                    "invoice yet. Please tell us which invoices they are for.",
                    self.currency_id.format(self.amount_unallocated),
                )
            )
        if any(line.kind in ("conversion", "transfer") for line in self.line_ids):
            texts.append(
                self.env._(
                    "Where an invoice was settled in another currency or on another account, the "
                    "reference names the other document and its amount; it also stands on the "
                    "statement of that currency or account."
                )
            )
        return [wrap(text, (page_width - 30) / FONT_SIZE) for text in texts]

    def _get_document_totals(self):
        """The figures above the table: pairs of a label and an amount."""
        if self.kind == "open_item":
            totals = [(self.env._("Balance"), self.balance_close)]
        else:
            totals = [
                (self.env._("Opening balance"), self.balance_open),
                (self.env._("Charged"), self.amount_debit),
                (self.env._("Credited"), -self.amount_credit),
                (self.env._("Closing balance"), self.balance_close),
            ]
        if not self.currency_id.is_zero(self.amount_unallocated):
            totals.append((self.env._("Of it not allocated"), -self.amount_unallocated))
        totals.append((self.env._("Of it overdue"), self.amount_overdue))
        return [(label, value + 0.0) for label, value in totals]

    def _get_bank_lines(self):
        """The account to pay to; empty when nothing is to be paid or there is none."""
        if self.currency_id.compare_amounts(self.balance_close, 0.0) <= 0:
            return []
        company = self.company_id.sudo()  # it is told to every customer
        banks = company.partner_id.bank_ids.filtered(lambda b: b.company_id <= company)
        bank = banks.sorted(lambda b: (b.currency_id or company.currency_id) != self.currency_id)[:1]
        if not bank:
            return []
        return [
            (label, text)
            for label, text in (
                (self.env._("Account holder"), bank.acc_holder_name or company.name),
                (self.env._("Bank"), bank.bank_id.name),
                (self.env._("Account"), bank.acc_number),
                (self.env._("BIC"), bank.bank_bic),
                (self.env._("Payment reference"), self.name),
            )
            if text
        ]

    # Workbook

    def _render_xlsx(self):
        """The statement as a workbook, in the customer's language: bytes."""
        statement = self._in_document_lang()
        buffer = io.BytesIO()
        with xlsxwriter.Workbook(buffer, {"in_memory": True}) as book:
            decimals = statement.currency_id.decimal_places
            places = f".{'0' * decimals}" if decimals else ""
            formats = {
                "text": book.add_format({"valign": "top"}),
                "wrap": book.add_format({"valign": "top", "text_wrap": True}),
                "bold": book.add_format({"bold": True}),
                "title": book.add_format({"bold": True, "font_size": 14}),
                "head": book.add_format({"bold": True, "bottom": 1, "text_wrap": True, "valign": "top"}),
                "day": book.add_format({"num_format": "yyyy-mm-dd", "align": "left"}),
                "amount": book.add_format({"num_format": f"#,##0{places};[Red]-#,##0{places}"}),
                "total": book.add_format(
                    {"num_format": f"#,##0{places};[Red]-#,##0{places}", "bold": True, "top": 1}
                ),
            }
            for name, write in (
                (statement.env._("Statement"), statement._write_summary),
                (statement.env._("Lines"), statement._write_lines),
                (statement.env._("Changes"), statement._write_changes),
                (statement.env._("Explanation"), statement._write_explanation),
            ):
                if write != statement._write_changes or statement.changes:
                    write(book.add_worksheet(name), formats)
        return buffer.getvalue()

    def _write_summary(self, sheet, formats):
        """Who, when and how much."""
        sheet.set_column(0, 0, 34)
        sheet.set_column(1, 1, 34)
        sheet.write_string(0, 0, self.env._("Statement of Account"), formats["title"])
        texts = [
            (self.env._("Issued By"), self.company_id.name),
            (self.env._("Customer"), self.partner_id.name or ""),
            *((label, text) for label, text in self._get_facts() if label),
        ]
        if self.supersedes_id:
            texts.append((self.env._("Takes the place of"), self.supersedes_id.name))
        row = 2
        for label, text in texts:
            sheet.write_string(row, 0, label, formats["text"])
            sheet.write_string(row, 1, text or "", formats["text"])
            row += 1
        for heading, pairs in (
            (self.env._("Amounts in %s", self.currency_id.name), self._get_document_totals()),
            (
                self.env._("By age on %s", format_date(self.env, self.date_to)),
                list(zip(self._get_bucket_labels(), self._get_buckets(), strict=True)),
            ),
        ):
            row += 1
            sheet.write_string(row, 0, heading, formats["bold"])
            for label, value in pairs:
                row += 1
                sheet.write_string(row, 0, label, formats["text"])
                sheet.write_number(row, 1, value, formats["amount"])
            row += 1

    def _write_lines(self, sheet, formats):
        """The lines, with the contract of each, below headings that stay."""
        columns = self._get_columns()
        kinds = self._get_line_kinds()
        extra = {
            "counterpart": self.env._("Settled by"),
            "contract_name": self.env._("Contract"),
        }
        headings = [*(column.label for column in columns), *extra.values()]
        for index, heading in enumerate(headings):
            sheet.write_string(0, index, heading, formats["head"])
        names = [*(column.name for column in columns), *extra]
        for index, name in enumerate(names):
            sheet.set_column(index, index, {"number": 22, "ref": 30, "kind": 24}.get(name, 15))
        sheet.freeze_panes(1, 0)
        row = 0
        for row, line in enumerate(self.line_ids, start=1):
            for index, name in enumerate(names):
                value = line[name]
                if name in AMOUNTS:
                    sheet.write_number(row, index, value, formats["amount"])
                elif name == "days_overdue":
                    sheet.write_number(row, index, value)
                elif name not in DAYS:
                    # as text whatever it begins with: it is never a formula
                    sheet.write_string(row, index, (kinds[value] if name == "kind" else value) or "")
                elif value:
                    sheet.write_datetime(row, index, fields.Datetime.to_datetime(value), formats["day"])
        if row:
            sheet.autofilter(0, 0, row, len(names) - 1)
        sheet.write_string(row + 1, 0, self.env._("Total"), formats["bold"])
        for name, total in self._sum_lines(self.line_ids).items():
            if name in names:
                sheet.write_number(
                    row + 1, names.index(name), self.currency_id.round(total), formats["total"]
                )

    def _write_changes(self, sheet, formats):
        """What changed since the statement that this one takes the place of."""
        headings = [
            self.env._("Change"), self.env._("Number"), self.env._("Date"), self.env._("Before"),
            self.env._("Now"),
        ]  # fmt: skip
        sheet.set_column(0, 1, 26)
        sheet.set_column(2, 4, 15)
        sheet.freeze_panes(1, 0)
        for index, heading in enumerate(headings):
            sheet.write_string(0, index, heading, formats["head"])
        for row, change in enumerate(self._describe_changes(self.changes), start=1):
            for index, name in enumerate(("label", "number", "date")):
                sheet.write_string(row, index, change[name] or "")
            sheet.write_number(row, 3, change["before"], formats["amount"])
            sheet.write_number(row, 4, change["after"], formats["amount"])

    def _write_explanation(self, sheet, formats):
        """What each column means."""
        sheet.set_column(0, 0, 20)
        sheet.set_column(1, 1, 90)
        for row, column in enumerate(self._get_columns()):
            sheet.write_string(row, 0, column.label, formats["bold"])
            sheet.write_string(row, 1, column.explanation, formats["wrap"])
