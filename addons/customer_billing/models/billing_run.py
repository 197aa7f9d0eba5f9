import logging
from collections import Counter
from contextlib import contextmanager

from psycopg2 import OperationalError
from psycopg2.errors import UniqueViolation

from odoo import Command, api, fields, models
from odoo.exceptions import ConcurrencyError, UserError
from odoo.fields import Domain
from odoo.tools import format_date, split_every

from .account_move import CHECKED, NumberFormats

_logger = logging.getLogger(__name__)

CHUNK_SIZE = 200  # contracts computed and booked together
POST_SIZE = 100  # bills posted together
EXPLAIN_SIZE = 1000  # contracts that are not due, listed together
INLINE_DELIVERIES = 10  # bills that are rendered and mailed at once on a click

SCOPE_FIELDS = frozenset(
    ("company_id", "date", "invoice_date", "plan_ids", "partner_ids", "contract_ids")
)


class BillingRun(models.Model):
    """One pass over what is due up to a date: propose, generate, approve, post, send."""

    _name = "billing.run"
    _description = "Billing Run"
    _inherit = [
        "billing.protected.mixin", "billing.job.mixin", "mail.thread", "mail.activity.mixin"
    ]  # fmt: skip
    _order = "id desc"
    _check_company_auto = True
    _billing_protected = frozenset(
        (
            "name", "state", "job", "prepared_by_id", "preparer_ids", "approved_by_id",
            "approval_date", "amount_untaxed", "amount_total", "bill_count", "line_ids", "origin",
        )
    )  # fmt: skip
    _job_cron = "customer_billing.ir_cron_run_jobs"

    name = fields.Char(string="Run", required=True, readonly=True, copy=False, default="/")
    company_id = fields.Many2one(
        "res.company", required=True, index=True, default=lambda self: self.env.company
    )
    company_currency_id = fields.Many2one(related="company_id.currency_id")
    date = fields.Date(
        string="Bill Up To",
        required=True,
        default=lambda self: self.env.company._get_billing_today(),
        copy=False,
        help="Everything whose bill date is on or before this day. It may be in the future.",
    )
    invoice_date = fields.Date(
        required=True,
        default=lambda self: self.env.company._get_billing_today(),
        copy=False,
        help="The date on all bills of this run.",
    )
    plan_ids = fields.Many2many("billing.plan", string="Plans", help="Empty: all plans.")
    partner_ids = fields.Many2many("res.partner", string="Customers", help="Empty: all customers.")
    contract_ids = fields.Many2many(
        "billing.contract", string="Contracts", help="Empty: all contracts.", check_company=True
    )
    state = fields.Selection(
        [
            ("draft", "Draft"),
            ("proposed", "Proposed"),
            ("generated", "Draft bills"),
            ("approved", "Approved"),
            ("posted", "Posted"),
            ("sent", "Sent"),
            ("cancelled", "Cancelled"),
        ],
        string="Status",
        default="draft",
        required=True,
        index=True,
        tracking=True,
        copy=False,
    )
    job = fields.Selection(
        [("propose", "Proposing"), ("generate", "Making bills"), ("post", "Posting")],
        string="Background Job",
        readonly=True,
        copy=False,
        index=True,
        help="The background job is at work on this run.",
    )
    origin = fields.Selection(
        [("manual", "By hand"), ("nightly", "Nightly job")],
        default="manual",
        readonly=True,
        copy=False,
    )
    line_ids = fields.One2many("billing.run.line", "run_id", readonly=True)
    move_ids = fields.One2many("account.move", "billing_run_id", string="Bills", readonly=True)
    exception_ids = fields.One2many("billing.exception", "run_id", readonly=True)
    exception_count = fields.Integer(compute="_compute_exception_count", string="Open Exceptions")
    amount_untaxed = fields.Monetary(
        currency_field="company_currency_id", readonly=True, copy=False, string="Untaxed"
    )
    amount_total = fields.Monetary(
        currency_field="company_currency_id",
        readonly=True,
        copy=False,
        string="Total",
        help="With taxes, in the currency of the company at the rate of the bill date.",
    )
    bill_count = fields.Integer(string="Number of Bills", readonly=True, copy=False)
    prepared_by_id = fields.Many2one(
        "res.users", string="Prepared By", readonly=True, copy=False
    )
    preparer_ids = fields.Many2many(
        "res.users",
        "billing_run_preparer_rel",
        string="All Who Prepared",
        readonly=True,
        copy=False,
        help="None of them approves the run.",
    )
    approved_by_id = fields.Many2one(
        "res.users", string="Approved By", readonly=True, copy=False
    )
    approval_date = fields.Datetime(readonly=True, copy=False)
    approval_needed = fields.Boolean(compute="_compute_approval_needed")
    draft_count = fields.Integer(compute="_compute_move_counts", string="Draft Bills")
    posted_count = fields.Integer(compute="_compute_move_counts", string="Posted Bills")
    sent_count = fields.Integer(compute="_compute_move_counts", string="Sent Bills")
    undelivered_count = fields.Integer(compute="_compute_move_counts", string="Not Delivered")
    held_count = fields.Integer(compute="_compute_line_counts", string="Held")
    billed_contract_count = fields.Integer(compute="_compute_line_counts", string="Contracts Billed")
    skipped_count = fields.Integer(compute="_compute_line_counts", string="Not Billed")

    # Computes

    def _compute_move_counts(self):
        counts = {run: {"draft": 0, "posted": 0, "sent": 0, "open": 0} for run in self}
        for run, state, delivery, count in self.env["account.move"]._read_group(
            [("billing_run_id", "in", self.ids)],
            ["billing_run_id", "state", "billing_delivery_state"],
            ["__count"],
        ):
            if state in ("draft", "posted"):
                counts[run][state] += count
            if state == "posted":
                counts[run]["sent" if delivery in ("sent", "manual") else "open"] += count
        for run in self:
            values = counts[run]
            run.draft_count = values["draft"]
            run.posted_count = values["posted"]
            run.sent_count = values["sent"]
            run.undelivered_count = values["open"]

    def _compute_line_counts(self):
        counts = {run: {} for run in self}
        for run, outcome, count in self.env["billing.run.line"]._read_group(
            [("run_id", "in", self.ids)], ["run_id", "outcome"], ["__count"]
        ):
            counts[run][outcome] = count
        for run in self:
            values = counts[run]
            run.billed_contract_count = values.get("billed", 0) + values.get("proposed", 0)
            run.held_count = values.get("held", 0) + values.get("failed", 0)
            run.skipped_count = values.get("nothing", 0) + values.get("excluded", 0)

    def _compute_exception_count(self):
        counts = dict(
            self.env["billing.exception"]._read_group(
                [("run_id", "in", self.ids), ("state", "=", "open")], ["run_id"], ["__count"]
            )
        )
        for run in self:
            run.exception_count = counts.get(run._origin, 0)

    @api.depends(
        "state",
        "move_ids.billing_exception_ids.state",
        "move_ids.amount_total_signed",
        "move_ids.state",
        "move_ids.billing_approved_amount",
        "company_id",
    )
    def _compute_approval_needed(self):
        for run in self:
            run.approval_needed = run.state in ("generated", "approved") and bool(
                run._get_moves_to_approve()
            )

    def _get_moves_to_approve(self):
        """The draft bills that a second person must approve before they are posted."""
        self.ensure_one()
        return self._get_drafts()._get_billing_unapproved()

    def _get_drafts(self):
        """The draft bills of this run, without the many fields of bills that nobody asks for."""
        return self.env["account.move"].search_fetch(
            [("billing_run_id", "in", self.ids), ("state", "=", "draft")],
            [
                "state", "billing_run_id", "company_id", "company_currency_id",
                "amount_total_signed", "billing_approved_amount", "billing_run_amount",
            ],
            order="id",
        )  # fmt: skip

    @api.model_create_multi
    def create(self, vals_list):
        runs = super().create(vals_list)
        for run in runs.sudo():  # protected fields
            run.name = self.env["ir.sequence"].with_company(run.company_id).next_by_code(
                "billing.run"
            ) or str(run.id)
        runs._note_preparer()
        return runs

    def write(self, vals):
        changes_scope = SCOPE_FIELDS.intersection(vals)
        if changes_scope:
            if self.filtered(lambda run: run.state not in ("draft", "proposed")):
                raise UserError(
                    self.env._(
                        "The bills of this run are made: its dates and scope stay as they are."
                    )
                )
            for run in self:
                run._check_idle()
        result = super().write(vals)
        if changes_scope:
            self._note_preparer()
            # What was shown is not what would be billed: propose again.
            self.filtered(lambda run: run.state == "proposed").action_draft()
        return result

    def _note_preparer(self):
        """Remember who worked on the proposal: none of them may approve it."""
        self.sudo().write(  # protected fields
            {"prepared_by_id": self.env.uid, "preparer_ids": [Command.link(self.env.uid)]}
        )

    @api.ondelete(at_uninstall=False)
    def _unlink_except_billed(self):
        for run in self:
            run._check_idle()
        if self.filtered("move_ids") or self.env["billing.charge"].sudo().search_count(
            [("run_id", "in", self.ids)], limit=1  # sudo: the ledger is kept, whoever asks
        ):
            raise UserError(
                self.env._("A run with bills is kept as part of the books: cancel it instead.")
            )

    # Propose

    def action_propose(self):
        """Compute what the run would bill and show it; books nothing.

        :raises UserError: the date of the bills is locked
        """
        for run in self:
            run._check_state("draft", "proposed")
            run._check_lock_date()
            run_sudo = run.sudo()  # protected fields; access is checked above
            run_sudo.line_ids.unlink()
            run_sudo.state = "proposed"
            run._note_preparer()
            contracts = run._get_due_contracts()
            if run._hand_over("propose", len(contracts)):
                continue
            for chunk in run._split_contracts(contracts):
                run._propose_chunk(chunk)
            run._propose_nothing(run._get_other_contracts())
            run._update_totals()
        return True

    def _propose_chunk(self, contracts):
        """Write run lines for ``contracts`` with what they would be billed."""
        contracts -= (
            self.env["billing.run.line"]
            .search([("run_id", "=", self.id), ("contract_id", "in", contracts.ids)])
            .contract_id
        )
        try:
            with self.env.cr.savepoint():
                self._propose_contracts(contracts)
        except (OperationalError, ConcurrencyError):
            raise
        except Exception as error:  # one bad contract must not stop the others
            _logger.info("Billing run %s: a chunk is proposed bill by bill: %s", self.name, error)
            for group in contracts.grouped("invoice_partner_id").values():
                self._propose_alone(group)

    def _propose_alone(self, contracts):
        """Propose the contracts of one customer; what goes wrong is written on their lines."""
        try:
            with self.env.cr.savepoint():
                self._propose_contracts(contracts)
        except (OperationalError, ConcurrencyError):
            raise
        except Exception as error:
            if not isinstance(error, UserError):
                _logger.exception("Billing run %s: a bill could not be proposed", self.name)
            self.env["billing.run.line"].sudo().create(  # engine-owned records
                [
                    {
                        "run_id": self.id,
                        "contract_id": contract.id,
                        "outcome": "failed",
                        **self._prepare_reason("text", text=str(error)),
                    }
                    for contract in contracts
                ]
            )

    def _propose_contracts(self, contracts):
        engine = self.env["billing.engine"]
        dues = engine._compute_due(contracts, self.date)
        groups = engine._group(dues)
        amounts = engine._preview_amounts(groups, self)
        number_by_contract = {}
        numbered = list(enumerate(groups, start=self._get_next_bill_number()))
        for number, group in numbered:
            for due in group.dues:
                number_by_contract.setdefault(due.contract.id, number)
        firsts = set(number_by_contract.values())
        further = Counter(
            group.dues[0].contract.id
            for number, group in numbered
            if number not in firsts
        )
        vals_list = []
        for due in dues:
            untaxed, tax = amounts.get(due.contract.id, (0.0, 0.0))
            vals = {
                "run_id": self.id,
                "contract_id": due.contract.id,
                "amount": untaxed,
                "amount_tax": tax,
                "bill_number": number_by_contract.get(due.contract.id, 0),
                "further_bills": further[due.contract.id],
                "outcome": "proposed",
            }
            if due.error:
                vals.update(outcome="failed", **self._prepare_reason("text", text=due.error))
            elif due.is_empty():
                vals.update(outcome="nothing", **self._get_reason(due.contract, due))
            vals_list.append(vals)
        self.env["billing.run.line"].sudo().create(vals_list)  # engine-owned records

    def _get_next_bill_number(self):
        """The first free number for the future bills of a proposal."""
        [[number]] = self.env["billing.run.line"]._read_group(
            [("run_id", "=", self.id)], [], ["bill_number:max"]
        )
        return (number or 0) + 1

    def _propose_nothing(self, contracts):
        """Write run lines for ``contracts``, which are not due, with the reason."""
        self.env["billing.run.line"].sudo().create(  # engine-owned records
            [
                {
                    "run_id": self.id,
                    "contract_id": contract.id,
                    "outcome": "nothing",
                    **self._get_reason(contract),
                }
                for contract in contracts & self._get_other_contracts(contracts)
            ]
        )

    def _prepare_reason(self, code, **values):
        """Values of a run line that say why, see ``billing.run.line``."""
        return self.env["billing.run.line"]._prepare_reason(code, **values)

    def _get_reason(self, contract, due=None):
        """Why a contract is not billed by this run, as values of its line."""
        if due and due.items:
            return self._prepare_reason("zero")
        if contract.state == "paused":
            return self._prepare_reason("paused", date=self.date)
        if contract.date_end and contract.date_end <= self.date and not contract.next_bill_date:
            return self._prepare_reason("ended", date=contract.date_end)
        if contract.next_bill_date and contract.next_bill_date > self.date:
            return self._prepare_reason("later", date=contract.next_bill_date)
        return self._prepare_reason("done")

    def _get_scope_domain(self):
        """Contracts of the company, plans and customers chosen for this run."""
        domain = [("company_id", "=", self.company_id.id)]
        if self.plan_ids:
            domain.append(("plan_id", "in", self.plan_ids.ids))
        if self.partner_ids:
            domain.append(("partner_id", "child_of", self.partner_ids.ids))
        if self.contract_ids:
            domain.append(("id", "in", self.contract_ids.ids))
        return domain

    def _get_due_contracts(self):
        """The contracts in scope that may have something to bill and are not listed, those of
        one bill together."""
        engine = self.env["billing.engine"]
        return self.env["billing.contract"].search_fetch(
            [
                *self._get_scope_domain(),
                *engine._get_due_domain(self.company_id, self.date),
                ("id", "not in", self._get_listed_query()),
            ],
            ["invoice_partner_id"],
            order="invoice_partner_id, id",
        )

    def _get_other_contracts(self, among=None):
        """The running contracts in scope that are not listed once those due are; of ``among``."""
        domain = [
            *self._get_scope_domain(),
            ("state", "in", ("active", "paused")),
            ("id", "not in", self._get_listed_query()),
        ]
        if among is not None:
            domain.append(("id", "in", among.ids))
        return self.env["billing.contract"].search(domain)

    def _get_listed_query(self):
        """The ids of the contracts of this run, for the database alone: they may be many."""
        lines = self.env["billing.run.line"]
        lines.flush_model(["run_id", "contract_id"])
        return lines.sudo()._search([("run_id", "=", self.id)]).subselect("contract_id")

    def _check_lock_date(self):
        """Raise when bills cannot carry the invoice date of this run, naming the lock."""
        self.ensure_one()
        violated = self.company_id._get_lock_date_violations(
            self.invoice_date, fiscalyear=True, sale=True, purchase=False, tax=True, hard=True
        )
        if violated:
            lock_date, lock_field = violated[0]
            values = {
                "date": format_date(self.env, self.invoice_date),
                "lock": self.env["res.company"]._fields[lock_field].get_description(
                    self.env, ["string"]
                )["string"],
                "lock_date": format_date(self.env, lock_date),
            }
            if self.state in ("draft", "proposed"):
                raise UserError(
                    self.env._(
                        "The invoice date %(date)s is locked by the %(lock)s of %(lock_date)s. "
                        "Choose a later invoice date.",
                        **values,
                    )
                )
            raise UserError(
                self.env._(
                    "The invoice date %(date)s has been locked by the %(lock)s of %(lock_date)s "
                    "meanwhile. Cancel this run and propose one with a later invoice date.",
                    **values,
                )
            )

    def _update_totals(self):
        """Sum the lines (before bills exist) or the bills, in company currency."""
        run_sudo = self.sudo()  # protected fields
        [[count, untaxed, total]] = self.env["account.move"].sudo()._read_group(
            [("billing_run_id", "=", self.id), ("state", "!=", "cancel")],
            [],
            ["__count", "amount_untaxed_signed:sum", "amount_total_signed:sum"],
        )
        if count or self.state not in ("draft", "proposed"):
            run_sudo.write(
                {
                    "amount_untaxed": untaxed or 0.0,
                    "amount_total": total or 0.0,
                    "bill_count": count,
                }
            )
            return
        untaxed = total = 0.0
        lines = [("run_id", "=", self.id), ("outcome", "=", "proposed")]
        for currency, amount, amount_tax in self.env["billing.run.line"].sudo()._read_group(
            lines, ["currency_id"], ["amount:sum", "amount_tax:sum"]
        ):
            def convert(amount, currency=currency):
                return currency._convert(
                    amount, self.company_currency_id, self.company_id, self.invoice_date
                )

            untaxed += convert(amount)
            total += convert(amount + amount_tax)
        [[first_bills, further_bills]] = self.env["billing.run.line"].sudo()._read_group(
            lines, [], ["bill_number:count_distinct", "further_bills:sum"]
        )
        run_sudo.write(
            {
                "amount_untaxed": untaxed,
                "amount_total": total,
                "bill_count": first_bills + (further_bills or 0),
            }
        )

    # Generate

    def action_generate(self):
        """Book the charges and make the draft bills of a proposed run.

        What is due is computed anew by the code of the proposal; lines that a person excluded
        stay out.
        """
        for run in self:
            run._check_state("proposed")
            run._check_lock_date()
            lines = run._get_proposed_lines()
            run._note_preparer()
            if run._hand_over("generate", len(lines)):
                continue
            for chunk in run._split_lines(lines):
                run._generate_chunk(chunk)
            run._finish_generation()
        return True

    def _split_contracts(self, contracts):
        """Chunks of contracts; those of one bill are never apart."""
        return self._split_groups(contracts.grouped("invoice_partner_id").values())

    def _get_proposed_lines(self):
        """The lines of the contracts that are still to be billed, or noted: those due for nothing."""
        due = Domain("outcome", "=", "nothing") & Domain("contract_id.next_bill_date", "<=", self.date)
        lines = self.env["billing.run.line"].search_fetch(
            Domain("run_id", "=", self.id) & (Domain("outcome", "=", "proposed") | due),
            ["contract_id"],
            order="id",
        )
        lines.contract_id.fetch(["invoice_partner_id"])  # of many contracts no more than that
        return lines

    def _get_lines_of(self, contracts):
        """What this run says about ``contracts``, to be written by the run itself."""
        lines_sudo = self.env["billing.run.line"].sudo()  # engine-owned records
        return lines_sudo.search(
            [("run_id", "=", self.id), ("contract_id", "in", contracts.ids)]
        )

    def _split_lines(self, lines):
        """Chunks of lines; those of one bill are never apart."""
        return self._split_groups(
            lines.grouped(lambda line: line.contract_id.invoice_partner_id).values()
        )

    @api.model
    def _split_groups(self, groups):
        """Chunks of about ``CHUNK_SIZE`` records that keep each group together."""
        ids, model = [], None
        for records in groups:
            if ids and len(ids) + len(records) > CHUNK_SIZE:
                yield model.browse(ids)
                ids = []
            ids += records.ids
            model = records.browse()
        if ids:
            yield model.browse(ids)

    def _generate_chunk(self, lines):
        """Book one chunk. When a bill fails, the others of the chunk are booked one by one."""
        engine = self.env["billing.engine"]
        lines = lines.filtered(lambda line: line._is_to_book())
        contracts = lines.contract_id.sudo()  # the lock writes nothing; access was checked
        # Others may refer to a contract meanwhile (a proposal, a note), but not bill or change it.
        locked = contracts.try_lock_for_update(allow_referencing=True)
        busy = lines.filtered(lambda line: line.contract_id not in locked)
        busy.sudo().write(
            {"outcome": "held", **self._prepare_reason("busy")}
        )
        lines -= busy
        dues = engine._compute_due(locked, self.date)
        self._record_failures(lines, dues)
        empty = [due for due in dues if not due.error and due.is_empty()]
        self._book_zeros(empty, lines)
        groups = engine._group(dues)
        try:
            self._book_groups(groups, lines)
        except (OperationalError, ConcurrencyError):
            raise
        except Exception as error:  # one bad bill must not stop the others
            _logger.info("Billing run %s: a chunk is booked bill by bill: %s", self.name, error)
            for group in [group for group in groups if not self._book_group_alone(group, lines)]:
                self._keep_due(group, lines)
        self._check_bills(self._get_drafts_of(locked))

    @contextmanager
    def _booking(self):
        """A savepoint to book in; a lost race is told to Odoo, which retries."""
        try:
            with self.env.cr.savepoint():
                yield
                self.env.flush_all()
        except UniqueViolation as error:
            if error.diag.table_name != "billing_charge":
                raise
            raise ConcurrencyError(
                self.env._("Another run has billed the same period; it is computed again.")
            ) from error

    def _book_zeros(self, dues, lines):
        """Note what is due and costs nothing, so that what comes late is an adjustment of it."""
        with self._booking():
            charges = self.env["billing.engine"]._book_zeros(dues, self)
        for due in dues:
            reason = self._prepare_reason("zero_booked") if due.items else self._get_reason(due.contract)
            self._set_outcome(
                lines, due.contract, outcome="nothing", amount=0.0, amount_tax=0.0, **reason
            )
        missing = self.env["billing.check"]._get_missing_usage(charges)
        self.env["billing.exception"]._report("usage_missing", missing, self)

    def _book_groups(self, groups, lines):
        """Book ``groups``, all or nothing."""
        if not groups:
            return
        with self._booking():
            moves_by_contract = self.env["billing.engine"]._book(groups, self)
        run_lines = lines.grouped("contract_id")
        for contract, moves in moves_by_contract.items():
            for line_sudo in run_lines.get(contract, lines.browse()).sudo():  # engine-owned
                line_sudo.write(
                    {"outcome": "billed", "move_id": moves[:1].id, **self._prepare_reason(False)}
                )

    def _book_group_alone(self, group, lines):
        """Book one bill; returns whether it could be made, else writes why on its lines."""
        try:
            self._book_groups([group], lines)
        except (OperationalError, ConcurrencyError):
            raise
        except Exception as error:
            if not isinstance(error, UserError):
                _logger.exception("Billing run %s: a bill could not be made", self.name)
            group.error = str(error)
            return False
        return True

    def _keep_due(self, group, lines):
        """A bill that could not be made stays due, also when others of its contracts were made."""
        for due in group.dues:
            starts = [
                item.difference.slot.start
                for item in group.items
                if item.difference and item.line.contract_id == due.contract
            ]
            due.contract._touch(min(starts, default=self.date))
            reason = self._prepare_reason("text", text=group.error)
            self._set_outcome(lines, due.contract, outcome="failed", **reason)

    def _record_failures(self, lines, dues):
        for due in dues:
            if due.error:
                reason = self._prepare_reason("text", text=due.error)
                self._set_outcome(lines, due.contract, outcome="failed", **reason)

    def _set_outcome(self, lines, contract, **values):
        """Write the outcome of one contract on its run line."""
        lines.filtered(lambda line: line.contract_id == contract).sudo().write(values)

    def _get_drafts_of(self, contracts):
        """The draft bills of this run for ``contracts``."""
        return self.env["account.move"].search(
            [
                ("billing_run_id", "=", self.id),
                ("billing_contract_ids", "in", contracts.ids),
                ("state", "=", "draft"),
            ]
        )

    # Check

    def action_check(self):
        """Check the draft bills again: what is corrected holds them no longer."""
        for run in self:
            run._check_state("generated", "approved")
            drafts = run._get_drafts()
            for ids in split_every(CHUNK_SIZE, drafts.ids):
                run._check_bills(drafts.browse(ids))
        return True

    def _check_bills(self, moves):
        """Check draft bills; returns those that an exception keeps from being posted now."""
        if not moves:
            return moves
        doubtful = self.env["billing.exception"]._check_moves(moves).move_id
        waiting = moves._get_billing_unapproved() & doubtful
        return moves & (self._refresh_holds(moves) | waiting)

    def _refresh_holds(self, moves):
        """Show on the lines of ``moves`` which exceptions hold their bills.

        :return: the draft bills that are held by a blocking exception
        """
        drafts = self._get_drafts_of(moves.billing_contract_ids)
        exceptions = self.env["billing.exception"]._get_open(drafts, "blocking")
        unapproved = drafts._get_billing_unapproved().billing_contract_ids
        checks_by_contract = {}
        for exception in exceptions:
            for contract in exception.move_id.billing_contract_ids:
                checks_by_contract.setdefault(contract, {})[exception.check_id.id] = True
        lines_sudo = self.env["billing.run.line"].sudo().search(  # engine-owned records
            [
                ("run_id", "=", self.id),
                ("contract_id", "in", drafts.billing_contract_ids.ids),
                ("move_id", "!=", False),
            ]
        )
        for line_sudo in lines_sudo:
            if checks := checks_by_contract.get(line_sudo.contract_id):
                reason = self._prepare_reason("held", check_ids=sorted(checks))
                line_sudo.write({"outcome": "held", **reason})
            elif line_sudo.outcome == "held" and line_sudo.contract_id not in unapproved:
                line_sudo.write({"outcome": "billed", **self._prepare_reason(False)})
        return exceptions.move_id

    def _hold_for_approval(self, moves):
        """Say on the lines of ``moves`` that they wait for a second person."""
        self._get_lines_of(moves.billing_contract_ids).write(
            {"outcome": "held", **self._prepare_reason("approval")}
        )

    def _report_failures(self):
        """What could not be billed becomes an exception; what was billed now is none any more."""
        exceptions = self.env["billing.exception"]
        lines = self.env["billing.run.line"]
        failed = lines.search([("run_id", "=", self.id), ("outcome", "=", "failed")])
        exceptions._report("failed", {line.contract_id: line.reason for line in failed}, self)
        open_sudo = exceptions.sudo().search(  # engine-owned records
            [
                ("check_id.code", "=", "failed"),
                ("company_id", "=", self.company_id.id),
                ("state", "=", "open"),
            ]
        )
        billed = lines.search(
            [
                ("run_id", "=", self.id),
                ("contract_id", "in", open_sudo.contract_id.ids),
                ("outcome", "!=", "failed"),
                ("move_id", "!=", False),
            ]
        ).contract_id
        open_sudo.filtered(lambda exception: exception.contract_id in billed)._close(
            self.env._("Billed by run %s.", self.name)
        )

    def _finish_generation(self):
        """Show what was made. A run that made nothing is over."""
        self._report_failures()
        run_sudo = self.sudo()  # protected fields
        run_sudo.state = "generated"
        self._update_totals()
        if not self.bill_count:
            run_sudo.state = "sent"

    # Approve, post

    def action_approve(self):
        """Release the draft bills for posting.

        Warnings of bills that need the approval are decided with it: the approver waives them.

        :raises UserError: a bill needs a second person, and the user prepared the run
        """
        for run in self:
            moves = run._get_moves_to_approve()
            # A bill that changed after the approval is approved again.
            run._check_state("generated", *(["approved"] if moves else []))
            if moves:
                run._check_approver(moves)
            for move_sudo in moves.sudo():  # protected fields
                total = move_sudo.amount_total_signed
                move_sudo.write({"billing_approved_amount": total, "billing_run_amount": total})
            self.env["billing.exception"]._get_open(moves, "warning")._close(
                self.env._("Approved with run %s.", run.name), state="waived", user=self.env.user
            )
            run._refresh_holds(moves)
            run.sudo().write(  # protected fields
                {
                    "state": "approved",
                    "approved_by_id": self.env.user.id,
                    "approval_date": fields.Datetime.now(),
                }
            )
        return True

    def _check_approver(self, moves):
        """Raise when the user may not approve ``moves``, which this run holds back."""
        if not self.env.user.has_group("customer_billing.group_billing_manager"):
            raise UserError(
                self.env._(
                    "Bills of this run are above %(limit)s or have open exceptions, and need the "
                    "approval of a billing manager.",
                    limit=self.company_currency_id.format(self.company_id.billing_approval_amount),
                )
            )
        preparers = self.sudo().preparer_ids | self.create_uid | moves._get_billing_authors()
        if self.env.user in preparers:
            raise UserError(
                self.env._(
                    "You prepared this run. Bills above %(limit)s or with open exceptions must "
                    "be approved by another billing manager. (Settings › Billing turns the "
                    "approval off.)",
                    limit=self.company_currency_id.format(self.company_id.billing_approval_amount),
                )
            )

    def action_post(self):
        """Post the draft bills of an approved run. A bill that fails stays a draft and says why."""
        for run in self:
            run._check_state("approved")
            run._check_lock_date()
            drafts = run._get_drafts()
            if run._hand_over("post", len(drafts)):
                continue
            run._post_moves(drafts)
            run._finish_posting()
        return True

    def _post_moves(self, moves):
        """Check ``moves`` and post them in short batches; when a batch fails, one by one."""
        moves = moves.filtered(lambda move: move.state == "draft").with_context(
            billing_checked=CHECKED
        )
        for ids in split_every(POST_SIZE, sorted(moves.ids)):
            batch = moves.browse(ids)
            held = self._check_bills(batch)
            self._hold_for_approval(held._get_billing_unapproved())
            batch -= held
            if not batch:
                continue
            try:
                with self.env.cr.savepoint():
                    batch.with_context(
                        tracking_disable=True, billing_number_formats=NumberFormats()
                    )._post(soft=False)
            except (OperationalError, ConcurrencyError):
                raise
            except Exception as error:  # one bad bill must not stop the others
                _logger.info("Billing run %s: bills are posted one by one: %s", self.name, error)
                for move in batch:
                    self._post_alone(move)

    def _post_alone(self, move):
        """Post one bill; what goes wrong is written on its contracts' lines."""
        try:
            with self.env.cr.savepoint():
                move._post(soft=False)
        except (OperationalError, ConcurrencyError):
            raise
        except Exception as error:
            if not isinstance(error, UserError):
                _logger.exception("Billing run %s: bill %s could not be posted", self.name, move.id)
            self._get_lines_of(move.billing_contract_ids).write(
                self._prepare_reason("not_posted", text=str(error))
            )

    def _finish_posting(self):
        """A run is posted when no draft is left; else it stays approved and shows the counts."""
        self.invalidate_recordset(["draft_count", "posted_count"])
        drafts = self._get_drafts()
        self.env["billing.run.line"].sudo().search(  # engine-owned records
            [
                ("run_id", "=", self.id),
                ("outcome", "in", ("billed", "held")),
                ("move_id", "!=", False),
                ("contract_id", "not in", drafts.sudo().billing_contract_ids.ids),
                "|",
                ("outcome", "=", "held"),
                ("reason_code", "!=", False),
            ]
        ).write({"outcome": "billed", **self._prepare_reason(False)})
        self.sudo().state = "approved" if drafts else "posted"  # protected field
        if drafts:
            self.message_post(
                body=self.env._(
                    "%(count)s of %(total)s bills could not be posted: see the lines of the run "
                    "for the reason, then post again.",
                    count=len(drafts),
                    total=self.draft_count + self.posted_count,
                )
            )

    # Send

    def action_send(self):
        """Queue the posted bills for delivery; a few are delivered at once."""
        for run in self:
            run._check_state("posted", "sent")
            moves = run.move_ids.filtered(
                lambda move: move.state == "posted"
                and move.billing_delivery_state not in ("sent", "manual")
            )
            moves._queue_delivery()
            if len(moves) <= INLINE_DELIVERIES:
                moves._deliver()
                run._refresh_sent_state()
            else:
                self.env.ref("customer_billing.ir_cron_deliver").sudo()._trigger()
        return True

    def _refresh_sent_state(self):
        """A posted run is sent when no bill waits for delivery any more."""
        for run in self.filtered(lambda run: run.state == "posted"):
            if not self.env["account.move"].sudo().search_count(
                [
                    ("billing_run_id", "=", run.id),
                    ("state", "=", "posted"),
                    ("billing_delivery_state", "in", (False, "queued", "print")),
                ],
                limit=1,
            ):
                run.sudo().state = "sent"  # protected field

    # Cancel

    def action_cancel(self):
        """Undo a run: its draft bills are deleted and their charges void.

        :raises UserError: a bill is posted
        """
        for run in self:
            run._check_idle()
            if run.state == "cancelled":
                continue
            if posted := run.move_ids.filtered(lambda move: move.state == "posted"):
                raise UserError(
                    self.env._(
                        "%(count)s bills of this run are posted, as %(name)s. Credit these first; "
                        "a run with posted bills is not cancelled.",
                        count=len(posted),
                        name=posted[0].name,
                    )
                )
            drafts = run.move_ids.filtered(lambda move: move.state == "draft")
            drafts.with_context(billing_again=True).unlink()
            self.env["billing.charge"].search(  # zeros that were noted
                [("run_id", "=", run.id), ("state", "=", "pending")]
            )._void()
            run.sudo().write({"state": "cancelled", "job": False})  # protected fields
            run._update_totals()
        return True

    def action_draft(self):
        """Take a proposal or a cancelled run back to draft."""
        for run in self:
            run._check_state("proposed", "cancelled")
            run_sudo = run.sudo()  # protected fields
            run_sudo.line_ids.unlink()
            run_sudo.write({"state": "draft", "job": False})
            run._update_totals()
        return True

    # Background job

    def _with_job_user(self):
        """This run as the user whose step it is, in its company.

        What the nightly job tells is in the language of the company.
        """
        user = (self.job == "post" and self.approved_by_id) or self.prepared_by_id or self.env.user
        lang = (self.origin == "nightly" and self.company_id.partner_id.lang) or user.lang
        return super()._with_job_user().with_user(user).with_context(lang=lang)

    def _get_job_steps(self):
        if self.job == "propose":
            due = self._get_due_contracts()
            others = self._get_other_contracts() - due
            return (
                [(self._propose_chunk, chunk) for chunk in self._split_contracts(due)]
                + self._split_step(self._propose_nothing, others, EXPLAIN_SIZE),
                self._update_totals,
            )
        if self.job == "generate":
            lines = self._get_proposed_lines()
            return (
                [(self._generate_chunk, chunk) for chunk in self._split_lines(lines)],
                self._finish_generation,
            )
        drafts = self._get_drafts()
        if self.state != "generated":
            return self._split_step(self._post_moves, drafts, POST_SIZE), self._finish_posting
        drafts -= self._get_moves_to_approve()  # the nightly job is never an approver
        return self._split_step(self._post_nightly, drafts, POST_SIZE), self._finish_nightly

    def _get_next_job(self):
        """The job that follows the one just done; a person takes the next step of other runs."""
        if self.origin != "nightly":
            return False
        if self.job == "propose":
            return "generate"
        if self.job == "generate" and self.state == "generated" and self._get_policy() != "draft":
            return "post"
        return False

    def _get_policy(self):
        """How far the nightly job goes with this run: as far as all its plans allow."""
        policies = set(self.plan_ids.mapped("invoice_policy"))
        return next((p for p in ("draft", "post", "send") if p in policies), "draft")

    # Nightly job

    @api.model
    def _cron_nightly(self):
        """Bill what is due in every company, as far as each plan's policy goes by itself."""
        commit = self.env["ir.cron"]._commit_progress
        companies = self.env["res.company"].search([("active", "=", True)])
        commit(remaining=len(companies))
        for company in companies:
            self.with_company(company).with_context(
                allowed_company_ids=company.ids
            )._run_nightly(company)
            if not commit(1):
                return

    @api.model
    def _run_nightly(self, company):
        """One run per policy of the plans that have something due in ``company``."""
        commit = self.env["ir.cron"]._commit_progress
        domain = [("company_id", "=", company.id), ("origin", "=", "nightly"), ("job", "!=", False)]
        runs = self.search(domain, order="id")
        if not runs:  # else these first: what they do not bill yet is due again
            runs = self._create_nightly_runs(company)
            commit()
        for run in runs:
            if not run._work():
                break
        if self.search_count(domain, limit=1):
            self._trigger_job()

    @api.model
    def _create_nightly_runs(self, company):
        """The runs of this night, ready for the job; a run that cannot go on says why."""
        today = company._get_billing_today()
        due_by_plan = self.env["billing.contract"]._read_group(
            self.env["billing.engine"]._get_due_domain(company, today), ["plan_id"]
        )
        due_plans = self.env["billing.plan"].union(*(plan for (plan,) in due_by_plan))
        runs = self.browse()
        stuck_sudo = self.sudo().search(  # of nights whose date was locked
            [("company_id", "=", company.id), ("origin", "=", "nightly"), ("state", "=", "draft")]
        )
        stuck_sudo.filtered(lambda run: not run.move_ids).unlink()
        for plans in due_plans.grouped("invoice_policy").values():
            run_sudo = self.sudo().create(  # protected fields
                {
                    "company_id": company.id,
                    "date": today,
                    "invoice_date": today,
                    "plan_ids": [Command.set(plans.ids)],
                    "origin": "nightly",
                }
            )
            try:
                run_sudo._check_lock_date()
            except UserError as error:
                run_sudo.message_post(body=str(error))
                continue
            run_sudo.write({"state": "proposed", "job": "propose"})
            runs |= run_sudo.sudo(self.env.su)
        return runs

    def _post_nightly(self, moves):
        """Post ``moves`` and, where the plans say so, queue them for delivery."""
        self._post_moves(moves)
        if self._get_policy() == "send":
            moves._queue_delivery()

    def _finish_nightly(self):
        """What needs no approval is posted; the rest waits for a person."""
        waiting = self._get_moves_to_approve()
        self._hold_for_approval(waiting)
        if not waiting | self._refresh_holds(self._get_drafts()):
            self._finish_posting()
        if self._get_policy() == "send":
            self.env.ref("customer_billing.ir_cron_deliver").sudo()._trigger()

    # Views

    def _get_form_action(self):
        """Open this run."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "res_model": self._name,
            "res_id": self.id,
            "view_mode": "form",
        }

    def action_view_bills(self):
        """Open the bills of this run."""
        action = self.env["ir.actions.actions"]._for_xml_id(
            "customer_billing.account_move_action_bills"
        )
        action["domain"] = [("billing_run_id", "in", self.ids)]
        action["context"] = {"create": False}
        return action

    def action_view_exceptions(self):
        """Open the exceptions of this run."""
        action = self.env["ir.actions.actions"]._for_xml_id(
            "customer_billing.billing_exception_action"
        )
        action["domain"] = [("run_id", "in", self.ids)]
        action["context"] = {"search_default_open": 1}
        return action

    def action_view_lines(self):
        """Open what this run says about each contract."""
        action = self.env["ir.actions.actions"]._for_xml_id(
            "customer_billing.billing_run_line_action"
        )
        action["domain"] = [("run_id", "in", self.ids)]
        action["context"] = {"create": False, "search_default_group_outcome": 1}
        return action
