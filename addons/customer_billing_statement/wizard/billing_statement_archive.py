import csv
import hashlib
import io
import tempfile
import zipfile

from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError

from ..tools.file_names import safe_file_name

CHUNK = 100  # statements whose records are in memory at once
FILES = (("pdf", "sha256"), ("xlsx", "sha256_xlsx"))
COLUMNS = (
    "statement", "customer_id", "customer", "currency", "date_from", "date_to", "balance_close", "status",
    "sent", "opened", "confirmed", "confirmed_by", "superseded_by", "supersedes",
    "pdf", "pdf_sha256", "pdf_check", "xlsx", "xlsx_sha256", "xlsx_check",
)  # fmt: skip


class BillingStatementArchive(models.TransientModel):
    """Issued statements of a period as one ZIP file, with a list of all and their hashes."""

    _name = "billing.statement.archive"
    _description = "Archive of Statements"
    _check_company_auto = True

    company_id = fields.Many2one("res.company", required=True, default=lambda self: self.env.company)
    date_from = fields.Date(
        string="From", required=True, default=lambda self: self._default_year()[0],
        help="Statements that end on this day or later.",
    )  # fmt: skip
    date_to = fields.Date(
        string="To", required=True, default=lambda self: self._default_year()[1],
        help="Statements that end on this day or before.",
    )  # fmt: skip
    partner_ids = fields.Many2many(
        "res.partner", string="Customers", domain=[("parent_id", "=", False)],
        help="Empty for all customers.",
    )  # fmt: skip
    statement_count = fields.Integer(compute="_compute_statement_count", string="Statements")
    checked = fields.Boolean(readonly=True)
    problems = fields.Text(readonly=True, string="Files That Are Not As Issued")

    @api.model
    def _default_year(self):
        """The first and the last day of last year, which is archived when it is closed; without statements of it, of
        this year."""
        year = self.env.company._get_billing_today().year
        year -= bool(
            self.env["billing.statement"].search_count(
                [
                    ("company_id", "=", self.env.company.id),
                    ("date_sent", "!=", False),
                    ("date_to", "<=", f"{year - 1}-12-31"),
                ],
                limit=1,
            )
        )
        return fields.Date.to_date(f"{year}-01-01"), fields.Date.to_date(f"{year}-12-31")

    @api.constrains("date_from", "date_to")
    def _check_dates(self):
        for archive in self:
            if archive.date_from > archive.date_to:
                raise ValidationError(self.env._("The period ends before it begins."))

    @api.depends("company_id", "date_from", "date_to", "partner_ids")
    def _compute_statement_count(self):
        for archive in self:
            archive.statement_count = self.env["billing.statement"].search_count(archive._get_domain())

    @api.onchange("company_id", "date_from", "date_to", "partner_ids")
    def _onchange_scope(self):
        self.checked, self.problems = False, False

    def _get_domain(self):
        """Which statements are archived: all that were issued, also those superseded or withdrawn later."""
        self.ensure_one()
        domain = [
            ("company_id", "=", self.company_id.id),
            ("date_sent", "!=", False),
            ("date_to", ">=", self.date_from),
            ("date_to", "<=", self.date_to),
        ]
        if self.partner_ids:
            domain.append(("partner_id", "in", self.partner_ids.commercial_partner_id.ids))
        return domain

    def action_check(self):
        """Compare all files with their hashes and show those that are not as they were issued."""
        self.ensure_one()
        problems = [
            problem
            for statement, contents in self._iterate()
            for problem in self._get_problems(statement, contents)
        ]
        self.write({"checked": True, "problems": "\n".join(problems)})
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Archive of Statements"),
            "res_model": self._name,
            "res_id": self.id,
            "view_mode": "form",
            "target": "new",
        }

    def action_download(self):
        """Download the archive.

        :raises UserError: there is no issued statement in the period
        """
        self.ensure_one()
        if not self.statement_count:
            raise UserError(self.env._("No statement that ends in this period was issued: choose another one."))
        return {
            "type": "ir.actions.act_url",
            "url": f"/billing/statements/archive/{self.id}",
            "target": "download",
        }

    # Read

    def _iterate(self):
        """Issued statements with what is stored for each: pairs of the statement and
        {name of the field: content, empty when there is none}.

        The same number of queries for each chunk; only the files of one statement are in memory.
        """
        ids = self.env["billing.statement"].search(self._get_domain(), order="date_to, id").ids
        for start in range(0, len(ids), CHUNK):
            # the reader's own rights: search() has applied them
            statements = self.env["billing.statement"].browse(ids[start : start + CHUNK])
            stored = self._get_attachments(statements)
            for statement in statements:
                contents = {}
                for name, _hash in FILES:
                    attachment = stored.get((statement.id, name), self.env["ir.attachment"])
                    contents[name] = attachment.raw or b""
                    attachment.invalidate_recordset(["raw", "datas"], flush=False)
                yield statement, contents
            self.env.invalidate_all()

    def _get_attachments(self, statements):
        """{(statement id, field): attachment}"""
        attachments_sudo = self.env["ir.attachment"].sudo().search(  # of statements that the user may read
            [
                ("res_model", "=", statements._name),
                ("res_field", "in", [name for name, _hash in FILES]),
                ("res_id", "in", statements.ids),
            ]
        )
        # each alone: reading one file must not read those of all others
        return {(file.res_id, file.res_field): file.with_prefetch() for file in attachments_sudo}

    @api.model
    def _check_content(self, content, sha256):
        """``ok``, ``missing``, or ``damaged``: not what was issued."""
        if not content:
            return "missing"
        return "ok" if hashlib.sha256(content).hexdigest() == sha256 else "damaged"

    def _get_problems(self, statement, contents):
        """What to tell about files that are not as they were issued: a list of texts."""
        texts = {"missing": self.env._("is missing"), "damaged": self.env._("is not the one that was issued")}
        checks = {name: self._check_content(contents[name], statement[hashed]) for name, hashed in FILES}
        return [
            f"{statement.name}: {name.upper()} {texts[check]}" for name, check in checks.items() if check != "ok"
        ]

    # Write

    def _write_zip(self):
        """Write the archive to a temporary file.

        Files that are not as they were issued are left out, and named in the list and in PROBLEMS.txt.

        :return: the open file, at its beginning, and whether a file was left out
        """
        self.ensure_one()
        self.check_access("read")
        output = tempfile.TemporaryFile()  # noqa: SIM115 - the caller sends and closes it
        problems, sums, used = [], [], set()
        rows = io.StringIO()
        writer = csv.writer(rows)
        writer.writerow(COLUMNS)
        # PDF and XLSX are compressed already
        with zipfile.ZipFile(output, "w", zipfile.ZIP_STORED) as archive:
            for statement, contents in self._iterate():
                names = self._get_names(statement, used)
                problems += self._get_problems(statement, contents)
                row = self._prepare_row(statement, contents, names)
                writer.writerow([self._escape(row[column]) for column in COLUMNS])
                for name, hashed in FILES:
                    if row[f"{name}_check"] == "ok":
                        archive.writestr(names[name], contents[name])
                        sums.append(f"{statement[hashed]}  {names[name]}\n")
            # with a byte order mark: spreadsheets read it as UTF-8
            self._add(archive, sums, "manifest.csv", rows.getvalue().encode("utf-8-sig"))
            if problems:
                self._add(archive, sums, "PROBLEMS.txt", "\n".join([*problems, ""]).encode())
            archive.writestr("SHA256SUMS", "".join(sums))
        output.seek(0)
        return output, bool(problems)

    @api.model
    def _add(self, archive, sums, name, content):
        archive.writestr(name, content)
        sums.append(f"{hashlib.sha256(content).hexdigest()}  {name}\n")

    @api.model
    def _get_names(self, statement, used):
        """The names in the archive of the files of ``statement``, none of them twice: {field: name}."""
        number = safe_file_name(statement.name or "", str(statement.id))
        customer = safe_file_name(statement.partner_id.name or "", str(statement.partner_id.id))
        name = f"{statement.date_to:%Y-%m}/{number}_{customer}"
        if name.lower() in used:
            name = f"{name}_{statement.id}"
        used.add(name.lower())
        return {field: f"{name}.{field}" for field, _hash in FILES}

    def _prepare_row(self, statement, contents, names):
        """The row of the list about ``statement``: {column: value}."""
        row = {
            "statement": statement.name,
            "customer_id": statement.partner_id.id,
            "customer": statement.partner_id.name,
            "currency": statement.currency_id.name,
            "date_from": statement.date_from,
            "date_to": statement.date_to,
            "balance_close": f"{statement.balance_close:.{statement.currency_id.decimal_places}f}",
            "status": statement.state,
            "sent": statement.date_sent,
            "opened": statement.date_opened,
            "confirmed": statement.date_confirmed,
            "confirmed_by": statement.confirm_name,
            "superseded_by": statement.superseded_by_id.name,
            "supersedes": statement.supersedes_id.name,
        }
        for name, hashed in FILES:
            row[name] = names[name]
            row[f"{name}_sha256"] = statement[hashed]
            row[f"{name}_check"] = self._check_content(contents[name], statement[hashed])
        return row

    @api.model
    def _escape(self, value):
        """A value of the list; text that a spreadsheet would take for a formula is marked as text."""
        if not isinstance(value, str):
            return "" if value is False else value
        is_number = value.replace(".", "", 1).replace("-", "", 1).isdigit()
        return f"'{value}" if value[:1] in "=+-@\t\r" and value and not is_number else value

    def _get_file_name(self, has_problems):
        """The name of the archive; it tells when files were left out."""
        company = safe_file_name(self.company_id.name, str(self.company_id.id))
        name = f"statements_{company}_{self.date_from}_{self.date_to}"
        return f"{name}_INCOMPLETE.zip" if has_problems else f"{name}.zip"
