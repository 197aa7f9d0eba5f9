import logging

from psycopg2 import OperationalError
from psycopg2.errors import UniqueViolation

from odoo import api, fields, models
from odoo.exceptions import ConcurrencyError, UserError, ValidationError
from odoo.tools import format_date

from ..tools.period import last_period
from .billing_statement import ACTIVE, DAY, ISSUED, LATER
from .res_company import FREQUENCIES

_logger = logging.getLogger(__name__)

CHUNK_SIZE = 200  # customers whose statements are made together

SCOPE_FIELDS = frozenset(("company_id", "frequency", "date_from", "date_to", "partner_ids"))


class BillingStatementRun(models.Model):
    """The statements of a period: prepare and check them, send them, see who has answered."""

    _name = "billing.statement.run"
    _description = "Statement Run"
    _inherit = [
        "billing.protected.mixin", "billing.job.mixin", "mail.thread", "mail.activity.mixin"
    ]  # fmt: skip
    _order = "date_to desc, id desc"
    _check_company_auto = True
    _billing_protected = frozenset(("name", "state", "job", "origin", "line_ids", "statement_ids"))
    _job_cron = "customer_billing_statement.ir_cron_run_jobs"
    _job_inline_limit = 200

    name = fields.Char(string="Run", required=True, readonly=True, copy=False, default="/")
    company_id = fields.Many2one(
        "res.company", required=True, index=True, default=lambda self: self.env.company
    )
    company_currency_id = fields.Many2one(related="company_id.currency_id")
    frequency = fields.Selection(
        [pair for pair in FREQUENCIES if pair[0] != "none"],
        help="Customers who get statements this often. Empty: all who get statements.",
    )
    date_from = fields.Date(
        string="From",
        required=True,
        help="A statement begins on the day after the last one of the customer, if there is one.",
    )
    date_to = fields.Date(string="To", required=True)
    partner_ids = fields.Many2many(
        "res.partner", string="Customers", help="Empty: all; otherwise these, however often."
    )
    user_id = fields.Many2one(
        "res.users",
        string="Responsible",
        default=lambda self: self.env.user,
        domain=[("share", "=", False)],
        tracking=True,
        index=True,
    )
    date_due = fields.Date(string="To Be Sent By", tracking=True, copy=False)
    state = fields.Selection(
        [
            ("draft", "Draft"),
            ("prepared", "Prepared"),
            ("sent", "Sent"),
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
    job = fields.Selection(
        [("prepare", "Preparing"), ("send", "Sending")],
        string="Background Job",
        readonly=True,
        copy=False,
        index="btree_not_null",
        help="The background job is at work on this run.",
    )
    origin = fields.Selection(
        [("manual", "By hand"), ("nightly", "Nightly job")],
        default="manual",
        readonly=True,
        copy=False,
    )
    line_ids = fields.One2many("billing.statement.run.line", "run_id", readonly=True, copy=False)
    statement_ids = fields.One2many("billing.statement", "run_id", readonly=True, copy=False)

    customer_count = fields.Integer(compute="_compute_progress", string="Customers and Currencies")
    statement_count = fields.Integer(compute="_compute_progress", string="Statements")
    held_count = fields.Integer(
        compute="_compute_progress", string="Held", help="What the check found is not solved yet."
    )
    failed_count = fields.Integer(compute="_compute_progress", string="Failed")
    undelivered_count = fields.Integer(compute="_compute_progress", string="Not Delivered")
    sent_count = fields.Integer(compute="_compute_progress", string="Sent")
    opened_count = fields.Integer(compute="_compute_progress", string="Opened")
    confirmed_count = fields.Integer(compute="_compute_progress", string="Confirmed")
    disputed_count = fields.Integer(compute="_compute_progress", string="Disputed")
    progress = fields.Float(
        compute="_compute_progress", string="Answered", help="Confirmed of all statements, percent."
    )

    _nightly_unique = models.UniqueIndex(
        "(company_id, frequency, date_to) WHERE origin = 'nightly' AND state <> 'cancelled'",
        "The nightly job has made this run already.",
    )
    _dates_ordered = models.Constraint(
        "CHECK (date_from <= date_to)", "A period ends on or after the day it begins."
    )

    # Computes

    @api.depends(
        "statement_ids.state",
        "statement_ids.delivery_state",
        "statement_ids.date_opened",
        "line_ids.outcome",
    )
    def _compute_progress(self):
        names = (
            "statement_count", "undelivered_count", "sent_count", "opened_count",
            "confirmed_count", "disputed_count",
        )  # fmt: skip
        counts = {run: dict.fromkeys(names, 0) for run in self}
        for run, state, delivery, count, opened in self.env["billing.statement"]._read_group(
            [("run_id", "in", self.ids), ("state", "in", ACTIVE)],
            ["run_id", "state", "delivery_state"],
            ["__count", "date_opened:count"],
        ):
            values = counts[run]
            values["statement_count"] += count
            values["opened_count"] += opened
            if state in ("sent", "confirmed", "disputed"):
                values["sent_count"] += count
            if delivery in ("queued", "failed"):
                values["undelivered_count"] += count
            if state in ("confirmed", "disputed"):
                values[f"{state}_count"] += count
        outcomes = {run: {} for run in self}
        for run, outcome, count in self.env["billing.statement.run.line"]._read_group(
            [("run_id", "in", self.ids)], ["run_id", "outcome"], ["__count"]
        ):
            outcomes[run][outcome] = count
        for run in self:
            found = outcomes.get(run._origin, {})
            values = counts.get(run._origin) or dict.fromkeys(names, 0)
            total = values["statement_count"]
            run.update(
                {
                    **values,
                    "customer_count": sum(found.values()),
                    "held_count": found.get("held", 0),
                    "failed_count": found.get("failed", 0),
                    "progress": 100.0 * values["confirmed_count"] / total if total else 0.0,
                }
            )

    # Create, change

    @api.model
    def default_get(self, fields):
        values = super().default_get(fields)
        company = self.env["res.company"].browse(values.get("company_id")) or self.env.company
        frequency = company.billing_statement_frequency
        frequency = values.get("frequency") or ("monthly" if frequency == "none" else frequency)
        today = company._get_billing_today()
        date_from, date_to = last_period(frequency, today)
        for name, value in (
            ("frequency", frequency), ("date_from", date_from), ("date_to", date_to),
            ("date_due", today + 5 * DAY),
        ):  # fmt: skip
            if name in fields:
                values.setdefault(name, value)
        return values

    @api.model_create_multi
    def create(self, vals_list):
        runs = super().create(vals_list)
        for run in runs.sudo():  # protected fields
            run.name = self.env["ir.sequence"].with_company(run.company_id).next_by_code(
                "billing.statement.run"
            ) or str(run.id)
        return runs

    def write(self, vals):
        if SCOPE_FIELDS.intersection(vals) and self.filtered(lambda run: run.state != "draft"):
            raise UserError(
                self.env._("The statements of this run are made: its period and scope stay.")
            )
        return super().write(vals)

    @api.constrains("date_to", "company_id")
    def _check_date_to(self):
        for run in self:
            if run.date_to and run.date_to > run.company_id._get_billing_today():
                raise ValidationError(
                    self.env._(
                        "Statements end today at the latest: %s is in the future.",
                        format_date(self.env, run.date_to),
                    )
                )

    @api.ondelete(at_uninstall=False)
    def _unlink_except_used(self):
        for run in self:
            run._check_idle()
        if self.statement_ids:
            raise UserError(self.env._("A run with statements is kept: cancel it instead."))

    # Prepare

    def action_prepare(self):
        """Make and check the statements of all customers in scope; large runs in the background.

        Called again, it makes those that are missing and checks again what is held.
        """
        for run in self:
            run._check_state("draft", "prepared")
            run._start()
            waiting = run._get_waiting()
            if run._hand_over("prepare", len(waiting)):
                continue
            for method, lines in run._split_step(run._prepare_chunk, waiting, CHUNK_SIZE):
                method(lines)
            run._finish_prepare()
        return True

    def _start(self):
        """List the customers in scope; what is not made or held yet waits."""
        lines_sudo = self.line_ids.sudo()  # engine-owned records
        lines_sudo.filtered(
            lambda line: line.statement_id.state in (False, "cancelled", "superseded")
        ).unlink()
        lines_sudo.exists().filtered(lambda line: line.outcome == "held").write(
            {"outcome": "waiting", "reason": False}
        )
        known = {(line.partner_id.id, line.currency_id.id) for line in self.line_ids}
        self.env["billing.statement.run.line"].sudo().create(
            [
                {"run_id": self.id, "outcome": "waiting", **vals}
                for vals in self._get_customers()
                if (vals["partner_id"], vals["currency_id"]) not in known
            ]
        )
        self.sudo().state = "prepared"  # protected field

    def _get_customers(self):
        """Customers and currencies in scope, with those left out and why: values of lines."""
        company_sudo = self.company_id.sudo()  # whoever runs it: the customers are the company's
        domain = [
            ("company_id", "child_of", company_sudo.id),
            ("account_id.account_type", "=", "asset_receivable"),
            ("parent_state", "=", "posted"),
            ("date", "<=", self.date_to),
            ("partner_id", "!=", False),
        ]
        if self.partner_ids:
            domain.append(("partner_id", "child_of", self.partner_ids.commercial_partner_id.ids))
        found = {}
        for partner, currency in self.env["account.move.line"].sudo()._read_group(
            domain, ["partner_id", "currency_id"]
        ):
            found.setdefault((partner.commercial_partner_id, currency), None)
        for partner in self.partner_ids.commercial_partner_id.sudo():  # as above
            if partner not in {customer for customer, _currency in found}:
                found[partner, company_sudo.currency_id] = None
        partners = self.env["res.partner"].sudo().union(*(partner for partner, _c in found))
        frequencies = partners._get_billing_statement_frequency(company_sudo)
        vals_list = []
        for partner, currency in found:
            reason = self._get_exclusion(frequencies[partner])
            vals = {"partner_id": partner.id, "currency_id": currency.id}
            if reason:
                vals.update(outcome="nothing", reason=reason)
            vals_list.append(vals)
        return vals_list

    def _get_exclusion(self, frequency):
        """Why a customer with statements that often is not in this run, or False."""
        if self.partner_ids:
            return False
        if frequency == "none":
            return self.env._("The customer gets no statements.")
        if self.frequency and frequency != self.frequency:
            labels = dict(
                self.env["res.company"]
                ._fields["billing_statement_frequency"]
                ._description_selection(self.env)
            )
            return self.env._("Gets statements: %s.", labels[frequency])
        return False

    def _get_waiting(self):
        return self.env["billing.statement.run.line"].search(
            [("run_id", "=", self.id), ("outcome", "=", "waiting")], order="partner_id, id"
        )

    def _prepare_chunk(self, lines):
        """Make and check the statements of one chunk; when it fails, one customer at a time."""
        lines = lines.filtered(lambda line: line.outcome == "waiting")
        try:
            with self.env.cr.savepoint():
                self._make(lines)
        except (OperationalError, ConcurrencyError):
            raise
        except Exception as error:  # one bad customer must not stop the others
            _logger.info("Statement run %s: a chunk is made one by one: %s", self.name, error)
            self.env.invalidate_all()
            for line in lines:
                self._prepare_alone(line)

    def _prepare_alone(self, line):
        try:
            with self.env.cr.savepoint():
                self._make(line)
        except (OperationalError, ConcurrencyError):
            raise
        except Exception as error:
            if not isinstance(error, UserError):
                _logger.exception("Statement run %s: a statement could not be made", self.name)
            self.env.invalidate_all()
            line.sudo().write({"outcome": "failed", "reason": str(error)})  # engine-owned records

    def _make(self, lines):
        """Make, check and record the statements of ``lines``, with a number of queries that does
        not depend on how many they are."""
        statements_sudo = self.env["billing.statement"].sudo()  # engine-owned records
        known = self._get_known(lines)
        starts = self._get_starts(lines)
        kept, vals_list = lines.browse(), []
        accounts = self._read_accounts(lines, starts)
        for line in lines:
            statement = known.get((line.partner_id.id, line.currency_id.id))
            if statement and not (statement.run_id == self and statement.state == "draft"):
                self._set_known(line, statement)
            elif statement:
                statements_sudo |= statement
            elif reason := self._get_nothing(accounts[line]):
                line.sudo().write({"outcome": "nothing", "reason": reason})  # engine-owned records
            else:
                kept |= line
                vals_list.append(self._prepare_statement(line, starts))
        new_sudo = self._create_statements(vals_list)
        if new_sudo:
            new_sudo._write_snapshot(
                {statement: accounts[line] for statement, line in zip(new_sudo, kept, strict=True)}
            )
        statements_sudo._take_snapshot()
        self._record(lines, new_sudo | statements_sudo)

    def _create_statements(self, vals_list):
        try:
            statements = (
                self.env["billing.statement"]
                .sudo()  # protected fields
                .with_context(billing_statement_lines=LATER, tracking_disable=True)
                .create(vals_list)
            )
            self.env.flush_all()
        except UniqueViolation as error:
            if error.diag.table_name != "billing_statement":
                raise
            raise ConcurrencyError(
                self.env._("Another run has made the same statement; it is looked at again.")
            ) from error
        return statements

    def _record(self, lines, statements):
        """Check the statements that were made, and write the outcome on the lines."""
        passed = statements._self_check()
        exceptions = self.env["billing.exception"]._get_open_of_statements(statements - passed)
        reasons = {}
        for exception in exceptions:
            reasons.setdefault(exception.statement_id, exception.check_id.name)
        by_key = {(line.partner_id, line.currency_id): line for line in lines}
        for statement in statements:
            line_sudo = by_key[statement.partner_id, statement.currency_id].sudo()  # engine-owned
            held = statement not in passed
            line_sudo.write(
                {
                    "statement_id": statement.id,
                    "outcome": "held" if held else "made",
                    "reason": held and self.env._("Held by: %s.", reasons.get(statement, "")),
                }
            )

    def _get_known(self, lines):
        """Statements that reach to the end of the period already: {(partner id, currency id): it}."""
        # sudo: what there is does not depend on who asks
        found = self.env["billing.statement"].sudo().search(
            [
                ("company_id", "=", self.company_id.id),
                ("partner_id", "in", lines.partner_id.ids),
                ("date_to", ">=", self.date_to),
                ("date_from", "<=", self.date_to),
                ("state", "in", ACTIVE),
            ],
            order="id desc",
        )
        kinds = self._get_kinds(lines.partner_id)
        return {
            (s.partner_id.id, s.currency_id.id): s
            for s in found
            if s.run_id == self or s.kind == kinds[s.partner_id] or s.date_to == self.date_to
        }

    def _get_kinds(self, partners):
        """The kind of statement that each customer gets."""
        company_sudo = self.company_id.sudo()  # settings
        return {
            partner.with_env(self.env): partner.billing_statement_kind or company_sudo.billing_statement_kind
            for partner in partners.sudo().with_company(self.company_id)
        }

    def _set_known(self, line, statement):
        vals = {"statement_id": statement.id, "reason": False}
        if statement.run_id == self:
            vals["outcome"] = "made" if statement.state == "checked" else "sent"
        else:
            vals["outcome"] = "nothing"
            vals["reason"] = self.env._("There is statement %s already.", statement.name)
            vals["statement_id"] = False
        line.sudo().write(vals)  # engine-owned records

    def _get_starts(self, lines):
        """The first day for each customer, the day after the last statement: {(ids): date}."""
        # sudo: as above
        rows = self.env["billing.statement"].sudo()._read_group(
            [
                ("company_id", "=", self.company_id.id),
                ("partner_id", "in", lines.partner_id.ids),
                ("date_to", "<", self.date_to),
                ("state", "in", ("checked", *ISSUED)),
            ],
            ["partner_id", "currency_id", "kind"],
            ["date_to:max"],
        )
        kinds = self._get_kinds(lines.partner_id)
        return {
            (partner.id, currency.id): last + DAY
            for partner, currency, kind, last in rows
            if kind == kinds[partner.with_env(self.env)]
        }

    def _read_accounts(self, lines, starts):
        """What the ledger says about the customers of ``lines``: {line: CustomerAccount}."""
        by_start = {}
        for line in lines:
            start = starts.get((line.partner_id.id, line.currency_id.id), self.date_from)
            by_start.setdefault(start, lines.browse())
            by_start[start] |= line
        accounts, kinds = {}, set(self._get_kinds(lines.partner_id).values())
        for start, same in by_start.items():
            found = self.env["billing.statement"]._read_period(
                self.company_id, start, self.date_to, same.partner_id.ids, kinds
            )
            for line in same:
                accounts[line] = found[line.partner_id.id, line.currency_id.id]
        return accounts

    def _get_nothing(self, account):
        """Why a customer gets no statement, or False."""
        if account.is_empty() and not self.company_id.sudo().billing_statement_zero:  # a setting
            return self.env._("Nothing moved, and the balance is zero.")
        return False

    def _prepare_statement(self, line, starts):
        """Values of the statement of one line. Override to add values."""
        partner = line.partner_id
        return {
            "partner_id": partner.id,
            "company_id": self.company_id.id,
            "currency_id": line.currency_id.id,
            "date_from": starts.get((partner.id, line.currency_id.id), self.date_from),
            "date_to": self.date_to,
            "run_id": self.id,
        }

    def _finish_prepare(self):
        """A run of which nothing is to be sent is over."""
        if not self.statement_count and not self.failed_count:
            self.sudo().state = "sent"  # protected field

    # Send

    def action_send(self):
        """Send the statements that passed the check; more than a few in the background."""
        for run in self:
            run._check_state("prepared", "sent")
            statements = run._get_unsent()
            if not statements and run.held_count:
                raise UserError(
                    self.env._("All statements are held: solve or waive what the check found.")
                )
            if statements:
                statements._queue_delivery()
                if len(statements) <= 10:
                    statements._deliver()
                else:
                    self.env.ref("customer_billing_statement.ir_cron_deliver").sudo()._trigger()
            run._refresh_outcomes()
        return True

    def _get_unsent(self):
        """Statements of this run that passed the check and are not delivered."""
        return self.env["billing.statement"].search(
            [
                ("run_id", "=", self.id),
                "|",
                ("state", "=", "checked"),
                "&",
                ("state", "in", ("sent", "disputed")),
                ("delivery_state", "in", ("queued", "failed")),
            ]
        )

    def _refresh_outcomes(self):
        """Bring outcomes in line with the statements; a run of which all was sent is sent."""
        for run in self:
            lines_sudo = self.env["billing.statement.run.line"].sudo().search(  # engine-owned
                [("run_id", "=", run.id), ("outcome", "in", ("made", "held"))]
            )
            lines_sudo.filtered(lambda line: line.statement_id.date_sent).write(
                {"outcome": "sent", "reason": False}
            )
            left = lines_sudo.filtered(lambda line: line.outcome != "sent")
            left.filtered(lambda line: line.statement_id.state == "checked").write({"outcome": "made"})
            waiting = left.filtered(
                lambda line: line.outcome == "held" or line.statement_id.state == "checked"
            )
            if run.state == "prepared" and run.line_ids and not waiting:
                run.sudo().state = "sent"  # protected field

    # Cancel

    def action_cancel(self):
        """Cancel a run and its statements that were not issued.

        :raises UserError: a statement was issued
        """
        for run in self:
            run._check_idle()
            if issued := run.statement_ids.filtered("date_sent")[:1]:
                raise UserError(
                    self.env._(
                        "%s was sent: a run with issued statements is not cancelled.", issued.name
                    )
                )
            run.statement_ids.filtered(lambda s: s.state in ("draft", "checked")).action_cancel()
            run.sudo().write({"state": "cancelled", "job": False})  # protected fields
        return True

    # Background job

    def _get_job_steps(self):
        if self.job == "send":
            return [], self._queue_unsent
        waiting = self._get_waiting()
        return self._split_step(self._prepare_chunk, waiting, CHUNK_SIZE), self._finish_prepare

    def _get_next_job(self):
        """Of the nightly job's runs, sending follows where the company wants it."""
        prepared = self.job == "prepare" and self.state == "prepared"
        send = self.origin == "nightly" and self.company_id.sudo().billing_statement_send  # setting
        return "send" if prepared and send else False

    def _queue_unsent(self):
        self._get_unsent()._queue_delivery()
        self.env.ref("customer_billing_statement.ir_cron_deliver").sudo()._trigger()

    # Nightly job

    @api.model
    def _cron_nightly(self):
        """Prepare the statements of every period that has ended, in every company; once each."""
        commit = self.env["ir.cron"]._commit_progress
        companies = self.env["res.company"].search([("parent_id", "=", False)])
        commit(remaining=len(companies))
        for company in companies:
            self.with_company(company).with_context(
                allowed_company_ids=company.ids
            )._run_nightly(company)
            if not commit(1):
                return

    @api.model
    def _run_nightly(self, company):
        """The runs of periods that ended since the last night, after what is still unfinished."""
        commit = self.env["ir.cron"]._commit_progress
        self._create_nightly_runs(company)
        commit()
        domain = [("company_id", "=", company.id), ("origin", "=", "nightly"), ("job", "!=", False)]
        for run in self.search(domain, order="id"):
            if not run._work():
                break
        if self.search_count(domain, limit=1):
            self._trigger_job()

    @api.model
    def _create_nightly_runs(self, company):
        """One run for each frequency in use whose last period has none yet.

        Missed nights are caught up with the last period only: its statements begin on the day
        after the statement before.
        """
        today = company._get_billing_today()
        for frequency in self._get_frequencies(company):
            date_from, date_to = last_period(frequency, today)
            if self.sudo().search_count(
                [
                    ("company_id", "=", company.id),
                    ("frequency", "=", frequency),
                    ("date_to", ">=", date_to),
                    ("origin", "=", "nightly"),
                ],
                limit=1,
            ):
                continue
            run_sudo = self.sudo().create(  # protected fields
                {
                    "company_id": company.id,
                    "frequency": frequency,
                    "date_from": date_from,
                    "date_to": date_to,
                    "user_id": company.billing_statement_user_id.id or self.env.uid,
                    "date_due": today + 5 * DAY,
                    "origin": "nightly",
                }
            )
            run_sudo._start()
            run_sudo.job = "prepare"

    @api.model
    def _get_frequencies(self, company):
        """The frequencies that some customer or tier of ``company`` has, the company's own among them."""
        found = {company.billing_statement_frequency}
        found.update(self.env["billing.tier"]._get_tiers(company).mapped("statement_frequency"))
        # sudo: settings of customers; who is archived may still owe
        partners = self.env["res.partner"].sudo().with_context(active_test=False).with_company(company)
        for [frequency] in partners._read_group(
            [("billing_statement_frequency", "!=", False)], ["billing_statement_frequency"]
        ):
            found.add(frequency)
        return [name for name, _label in FREQUENCIES if name in found and name != "none"]

    # Views

    def action_view_statements(self):
        """Open the statements of this run."""
        action = self.env["ir.actions.actions"]._for_xml_id(
            "customer_billing_statement.billing_statement_action"
        )
        action["domain"] = [("run_id", "in", self.ids)]
        action["context"] = {"create": False}
        return action

    def action_view_exceptions(self):
        """Open the exceptions of the statements of this run."""
        action = self.env["ir.actions.actions"]._for_xml_id(
            "customer_billing.billing_exception_action"
        )
        action["domain"] = [("statement_id.run_id", "in", self.ids)]
        action["context"] = {"search_default_open": 1}
        return action

    def action_view_lines(self):
        """Open what this run says about each customer."""
        action = self.env["ir.actions.actions"]._for_xml_id(
            "customer_billing_statement.billing_statement_run_line_action"
        )
        action["domain"] = [("run_id", "in", self.ids)]
        action["context"] = {"create": False, "search_default_group_outcome": 1}
        return action
