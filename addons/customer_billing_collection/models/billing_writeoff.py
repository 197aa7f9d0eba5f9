from odoo import Command, api, fields, models
from odoo.exceptions import UserError
from odoo.tools import format_date

# What a person decides when asking; fixed from then on.
REQUEST_FIELDS = frozenset(("case_id", "move_line_ids", "amount", "date", "reason"))


class BillingWriteoff(models.Model):
    """Debt given up, with approval and accounting entry; taken back when the money comes after all.

    The entry credits the items at their book value and debits the bad debt account with the same, taxes included: what
    the law says about taxes of bad debts is for the accountant to book.
    """

    _name = "billing.writeoff"
    _description = "Write-off"
    _inherit = ["billing.protected.mixin", "mail.thread", "mail.activity.mixin"]
    _order = "id desc"
    _check_company_auto = True
    _billing_protected = frozenset(
        ("name", "state", "move_id", "reversal_move_id", "requester_id", "approver_id", "date_suggested", "partner_id",
         "company_id", "currency_id", "reversal_reason")
    )

    name = fields.Char(readonly=True, default="/", copy=False)
    case_id = fields.Many2one("billing.case", required=True, index=True, ondelete="restrict")
    partner_id = fields.Many2one(related="case_id.partner_id", store=True, index=True)
    company_id = fields.Many2one(related="case_id.company_id", store=True, index=True)
    item_company_id = fields.Many2one(
        "res.company", string="Booked In", compute="_compute_item_company_id",
        help="The company or branch of the items.",
    )  # fmt: skip
    currency_id = fields.Many2one(related="case_id.currency_id", store=True)
    state = fields.Selection(
        [("draft", "Draft"), ("requested", "To approve"), ("posted", "Posted"), ("reversed", "Taken back"),
         ("refused", "Refused")],
        string="Status", default="draft", required=True, readonly=True, index=True, tracking=True, copy=False,
    )  # fmt: skip
    move_line_ids = fields.Many2many(
        "account.move.line", "billing_writeoff_move_line_rel", "writeoff_id", "move_line_id", string="Items"
    )
    amount = fields.Monetary(
        tracking=True, help="What is given up of the items, the oldest first; taxes are included."
    )
    date = fields.Date(
        string="Accounting Date",
        required=True,
        tracking=True,
        default=fields.Date.context_today,
        help="Of the accounting entry.",
    )
    reason = fields.Text()
    requester_id = fields.Many2one("res.users", string="Asked By", readonly=True, copy=False)
    approver_id = fields.Many2one("res.users", string="Approved By", readonly=True, copy=False)
    move_id = fields.Many2one("account.move", string="Entry", readonly=True, copy=False, index="btree_not_null")
    reversal_move_id = fields.Many2one(
        "account.move", string="Reversal", readonly=True, copy=False, index="btree_not_null"
    )
    reversal_reason = fields.Char(string="Taken Back Because", readonly=True, copy=False)
    date_suggested = fields.Datetime(readonly=True, copy=False, help="When money was last found that may be for it.")

    _amount_positive = models.Constraint("CHECK (amount >= 0)", "The amount to write off cannot be negative.")

    @api.depends("move_line_ids", "company_id")
    def _compute_item_company_id(self):
        for writeoff in self:
            # sudo: which branch it is, whoever looks
            writeoff.item_company_id = writeoff.sudo().move_line_ids.company_id[:1] or writeoff.company_id

    @api.model_create_multi
    def create(self, vals_list):
        writeoffs = super().create(vals_list)
        for writeoff in writeoffs:
            # sudo: protected field
            sequence_sudo = self.env["ir.sequence"].sudo().with_company(writeoff.company_id)
            writeoff.sudo().name = sequence_sudo.next_by_code("billing.writeoff") or "/"
        return writeoffs

    def write(self, vals):
        is_changed = REQUEST_FIELDS.intersection(vals) and not self.env.su
        if asked := self.filtered(lambda writeoff: is_changed and writeoff.state != "draft")[:1]:
            raise UserError(
                self.env._("%s has been asked for: it is approved or refused as it is.", asked.display_name)
            )
        result = super().write(vals)
        if "state" in vals:
            label = dict(self._fields["state"]._description_selection(self.env))[vals["state"]]
            for writeoff in self:
                writeoff.case_id._message_log(
                    body=self.env._(
                        "Write-off %(name)s of %(amount)s: %(state)s",
                        name=writeoff.name, amount=writeoff.currency_id.format(writeoff.amount), state=label,
                    )
                )  # fmt: skip
        return result

    # Ask, approve, refuse

    def action_request(self):
        """Ask for these write-offs. Up to the limit of the company they are booked at once.

        :raises UserError: when something is missing, or more is to be written off than is open
        """
        self._check_state("draft")
        for writeoff in self:
            writeoff._check_request()
            writeoff.sudo().write({"state": "requested", "requester_id": self.env.user.id})  # protected fields
            if not writeoff._needs_approval():
                writeoff._book()
        return True

    def _needs_approval(self):
        """Whether this, and what was written off in the case without approval, is above the limit."""
        posted = self.case_id.writeoff_ids.filtered(lambda other: other.state == "posted" and not other.approver_id)
        return self.case_id._exceeds_approval_limit(sum((posted | self).mapped("amount")))

    def action_approve(self):
        """Approve and book write-offs that another person asked for."""
        self._check_state("requested")
        self.case_id._check_approver(self.requester_id)
        for writeoff in self:
            writeoff._check_request()
            writeoff.sudo().approver_id = self.env.user  # protected field
            writeoff._book()
        return True

    def action_refuse(self):
        """Do not write off."""
        self._check_state("requested")
        self.case_id._check_approver(self.env["res.users"])
        self.sudo().state = "refused"  # protected field
        return True

    def _check_state(self, state):
        self.check_access("write")
        labels = dict(self._fields["state"]._description_selection(self.env))
        if other := self.filtered(lambda writeoff: writeoff.state != state)[:1]:
            raise UserError(
                self.env._(
                    "%(name)s is in state “%(state)s”; this step is for “%(expected)s”.",
                    name=other.display_name,
                    state=labels[other.state],
                    expected=labels[state],
                )
            )

    def _check_request(self):
        """Raise when this cannot be booked as it is."""
        company_sudo = self.item_company_id.sudo()  # settings
        if not (self.reason or "").strip():
            raise UserError(self.env._("Say why the debt is written off."))
        if not company_sudo._get_billing_bad_debt_account() or not company_sudo._get_billing_writeoff_journal():
            raise UserError(
                self.env._(
                    "%s has no bad debt account or no journal for write-offs: choose them in Settings › Billing.",
                    company_sudo.name,
                )
            )
        self._check_items()
        self._check_lock_dates(self.date)

    def _check_items(self):
        items = self._get_items()
        if len(self.move_line_ids.company_id) > 1:
            raise UserError(
                self.env._(
                    "The items belong to several branches, each with its own books: write off one branch at a time."
                )
            )
        if foreign := (self.move_line_ids - items)[:1]:
            raise UserError(
                self.env._(
                    "%(item)s is no open item of %(case)s: it has been paid, or belongs to another account.",
                    item=foreign.display_name,
                    case=self.case_id.display_name,
                )
            )
        total = sum(items.mapped("amount_residual_currency"))
        if self.currency_id.is_zero(self.amount) or self.currency_id.compare_amounts(self.amount, total) > 0:
            raise UserError(
                self.env._(
                    "Of these items %(total)s is open: write off that or a part of it, not %(amount)s.",
                    total=self.currency_id.format(total),
                    amount=self.currency_id.format(self.amount),
                )
            )

    def _get_items(self):
        """The items of this write-off that are open, the oldest first."""
        return self.move_line_ids.filtered(lambda line: line in self.case_id._get_writeoff_items()).sorted(
            lambda line: (line.date_maturity or line.date, line.id)
        )

    def _check_lock_dates(self, date):
        """Raise when the books are closed on a date, naming the lock."""
        company_sudo = self.item_company_id.sudo()  # settings
        journal = company_sudo._get_billing_writeoff_journal()
        if locks := company_sudo._get_violated_lock_dates(date, False, journal):
            lock_date, field_name = locks[-1]
            label = company_sudo._fields[field_name].get_description(self.env, ["string"])["string"]
            raise UserError(
                self.env._(
                    "The books are closed up to %(lock)s (%(name)s): choose a later date than %(date)s.",
                    lock=format_date(self.env, lock_date),
                    name=label,
                    date=format_date(self.env, date),
                )
            )

    # Book

    def _book(self):
        """Post the entry and match it with the items."""
        self.ensure_one()
        # sudo: whoever may write off posts its entry, without rights in accounting
        parts = self.sudo()._allot()
        move_sudo = self.env["account.move"].sudo().with_company(self.item_company_id).create(self._prepare_move(parts))
        move_sudo._post(soft=False)
        credits_sudo = move_sudo.line_ids.filtered(
            lambda line: line.account_id.account_type == "asset_receivable"
        ).sorted("id")
        for (item, _amount, _balance), credit in zip(parts, credits_sudo, strict=True):
            # the customer has paid nothing: taxes that are due on payment do not become due
            (item + credit).with_context(no_cash_basis=True).reconcile()
        self.sudo().write({"state": "posted", "move_id": move_sudo.id})  # protected fields

    def _allot(self):
        """What is given up of each item: [(item, amount in currency, balance in company currency)], oldest first.

        The balance is the book value, so that writing off makes no exchange difference.
        """
        left, parts = self.amount, []
        for item in self._get_items():
            amount = min(left, item.amount_residual_currency)
            if self.currency_id.is_zero(amount):
                break
            share = amount / item.amount_residual_currency
            parts.append((item, amount, item.company_currency_id.round(item.amount_residual * share)))
            left = self.currency_id.round(left - amount)
        return parts

    def _prepare_move(self, parts):
        """Values of the accounting entry."""
        company_sudo = self.item_company_id.sudo()  # settings
        ref = self.env._("Write-off %(name)s: %(case)s", name=self.name, case=self.case_id.name)
        common = {"name": ref, "currency_id": self.currency_id.id, "tax_ids": [Command.clear()]}
        lines = [
            {
                **common,
                "account_id": item.account_id.id,
                "partner_id": item.partner_id.id,
                "amount_currency": -amount,
                "balance": -balance,
            }
            for item, amount, balance in parts
        ]
        lines.append(
            {
                **common,
                "account_id": company_sudo._get_billing_bad_debt_account().id,
                "partner_id": self.partner_id.id,
                "amount_currency": sum(amount for _item, amount, _balance in parts),
                "balance": sum(balance for _item, _amount, balance in parts),
            }
        )
        return {
            "move_type": "entry",
            "company_id": company_sudo.id,
            "journal_id": company_sudo._get_billing_writeoff_journal().id,
            "date": self.date,
            "ref": ref,
            "line_ids": [Command.create(line) for line in lines],
        }

    # Money comes after all

    def action_take_back(self, date=None):
        """The money came after all: reverse the entry, open the items again, match unallocated payments.

        The whole write-off is reversed; what is still open afterwards is collected, or written off again.

        :param str date: of the reversal; None: today
        """
        self._check_state("posted")
        for writeoff in self:
            day = fields.Date.to_date(date) or writeoff.item_company_id._get_billing_today()
            writeoff._check_lock_dates(day)
            # sudo: whoever may write off takes it back, without rights in accounting
            writeoff.sudo()._reverse_entry(day, self.env._("The money came after all."))
            writeoff.sudo()._match_payments()
        return True

    def _reverse_entry(self, date, reason):
        """Reverse the entry of a posted write-off, which ``account.move._reverse_moves`` notes here. As superuser.

        :param date date: of the reversal
        :param str reason: why it is taken back
        """
        ref = self.env._("Reversal of: %s", self.move_id.ref)
        move = self.move_id.with_context(billing_writeoff_reason=reason)
        move._reverse_moves([{"date": date, "ref": ref}], cancel=True)

    def _note_reversed(self, reversal, reason):
        """The entry is reversed: the write-off is taken back, and the debt is collected again. As superuser."""
        self.write({"state": "reversed", "reversal_move_id": reversal.id, "reversal_reason": reason})
        self._message_log(body=reason)
        self.activity_unlink(["customer_billing_collection.mail_activity_type_money_came"])
        self.case_id._reopen(reason)

    @api.model
    def _get_of_matches(self, partials):
        """The posted write-offs whose entries are matched by ``partials``, as superuser."""
        moves = partials.debit_move_id.move_id | partials.credit_move_id.move_id
        return self.sudo().search([("move_id", "in", moves.ids), ("state", "=", "posted")])  # sudo: whoever unmatches

    def _follow_unmatched(self):
        """A person has removed the match of a write-off: its entry says nothing any more and is reversed. As superuser.

        :raises UserError: the books are closed today
        """
        for writeoff in self:
            day = writeoff.item_company_id._get_billing_today()
            writeoff._check_lock_dates(day)
            writeoff._reverse_entry(day, self.env._("%s removed its match with the items.", self.env.user.name))

    def _match_payments(self):
        """Match the unallocated payments of the customer with the items, the oldest first."""
        items = self._get_items()
        payments = self._find_payments()
        for account in items.account_id:
            lines = (items | payments).filtered(lambda line, account=account: line.account_id == account)
            if lines & items and lines & payments:
                lines.reconcile()

    def _find_payments(self):
        """The unallocated payments of the customers of these write-offs, in their currencies."""
        lines = self.env["account.move.line"].search(
            [
                ("partner_id.commercial_partner_id", "in", self.partner_id.ids),
                ("company_id", "child_of", self.company_id.ids),
                ("currency_id", "in", self.currency_id.ids),
                ("account_id.account_type", "=", "asset_receivable"),
                ("parent_state", "=", "posted"),
                ("reconciled", "=", False),
                ("amount_residual_currency", "<", 0),
                "|", "|", ("payment_id", "!=", False), ("statement_line_id", "!=", False),
                ("journal_id.type", "in", ("bank", "cash", "credit")),
            ],
            order="date_maturity, id",
        )  # fmt: skip
        keys = {writeoff._get_key() for writeoff in self}
        return lines.filtered(lambda line: self._get_line_key(line) in keys)

    def _get_key(self):
        return (self.partner_id, self.company_id, self.currency_id)

    @api.model
    def _get_line_key(self, line):
        return (line.partner_id.commercial_partner_id, line.company_id.root_id, line.currency_id)

    @api.model
    def _cron_find_money(self):
        """Tell the collector of payments that came after a write-off and are not matched with anything."""
        writeoffs = self.search([("state", "=", "posted")])
        by_key = writeoffs._find_payments().grouped(self._get_line_key)
        found = self.browse()
        for writeoff in writeoffs:
            since = writeoff.date_suggested or writeoff.move_id.create_date
            payments = by_key.get(writeoff._get_key(), ())
            if any(line.date >= writeoff.date and line.create_date >= since for line in payments):
                found += writeoff
        found.sudo().date_suggested = fields.Datetime.now()  # protected field
        for writeoff in found:
            user = writeoff.case_id.collector_id or writeoff.requester_id
            writeoff.activity_schedule(
                "customer_billing_collection.mail_activity_type_money_came",
                user_id=user.id,
                note=user.with_context(lang=user.lang).env._(
                    "A payment of this customer is not matched. If it is for what was written off, take it back."
                ),
            )

    def action_view_move(self):
        """Open the accounting entry."""
        self.ensure_one()
        return self.move_id.get_formview_action()
