import logging
from collections import defaultdict

from odoo import Command, api, fields, models
from odoo.exceptions import UserError
from odoo.tools import format_amount, format_date, split_every

_logger = logging.getLogger(__name__)

BATCH = 100  # bills of one commit


class BillingInterest(models.Model):
    """The bills of interest, and what becomes of their entries."""

    _name = "billing.interest"
    _inherit = "billing.interest"

    @api.model
    def _bill(self, company, date, cases=None, through=None):
        """Bill what is pending: one draft or posted invoice for each customer and currency, as the company has it.

        Left out are entries of items in dispute, those that somebody asked to waive, and totals below the minimum of
        the policy. A negative total becomes a credit note.

        :param company: the company that bills
        :param date date: the date of the bills
        :param cases: only these; None: all of the company but what was written off or handed over
        :param date through: only entries up to this day
        :return: the new bills
        :raises UserError: when the policy has no product for interest
        """
        self.check_access("write")
        groups = self._group_pending(company, date, cases, through)
        return self._bill_groups(company, date, groups)

    @api.model
    def _group_pending(self, company, date, cases=None, through=None):
        """The entries to bill, a recordset for each bill."""
        domain = [("state", "=", "pending"), ("company_id", "=", company.id), ("waive_requester_id", "=", False)]
        if cases is not None:
            domain.append(("case_id", "in", cases.ids))
        else:
            # of debt that was given up or handed over by hand only
            domain += [("case_id.state", "!=", "written_off"), ("case_id.date_legal", "=", False)]
        if through:
            domain.append(("date_to", "<=", through))
        entries = self.search(domain, order="partner_id, currency_id, date_to, id")
        entries -= entries._get_disputed()
        groups = entries.grouped(
            lambda entry: (entry.partner_id, entry.currency_id, entry.case_id.policy_id.interest_product_id)
        )
        return [group for group in groups.values() if group._is_worth_billing(date)]

    def _get_disputed(self):
        """The entries of items in dispute: they accrue, and are billed when the dispute is settled."""
        # sudo: whether there is one
        disputed = self.env["billing.dispute"].sudo()._get_disputed_move_lines(self.move_line_id.ids)
        return self.filtered(lambda entry: entry.move_line_id.id in disputed)

    def _is_worth_billing(self, date):
        """Whether the total of a bill reaches the minimum; what is owed to the customer always does."""
        total = sum(self.mapped("amount"))
        if self.currency_id.is_zero(total):
            return False
        company = self.company_id
        amount = self.currency_id._convert(total, company.currency_id, company, date)
        minimum = max(self.case_id.policy_id.mapped("interest_minimum_amount"), default=0.0)
        return amount < 0 or company.currency_id.compare_amounts(amount, minimum) >= 0

    @api.model
    def _bill_groups(self, company, date, groups):
        """Make a bill of each recordset of entries; returns the bills."""
        by_line = [group._group_by_line() for group in groups]
        moves = (
            self.env["account.move"].with_company(company)
            .create([group._prepare_bill(date, lines) for group, lines in zip(groups, by_line, strict=True)])
        )  # fmt: skip
        for move, group, lines in zip(moves, groups, by_line, strict=True):
            # sudo: protected fields, whoever bills
            move.sudo().billing_interest_case_id = group.case_id[-1:]
            bill_lines = move.invoice_line_ids.sorted(lambda line: (line.sequence, line.id))
            for bill_line, entries in zip(bill_lines, lines, strict=True):
                entries.sudo().write({"state": "billed", "invoice_line_id": bill_line.id})
        if company.sudo().billing_interest_billing == "post":  # sudo: a setting
            moves.action_post()
        return moves

    def _group_by_line(self):
        """The entries of each line of the bill: by item; each fee by itself."""
        groups = self.grouped(lambda entry: entry.move_line_id or entry)
        return list(groups.values())

    def _prepare_bill(self, date, lines):
        """Values of the bill for these entries, all of one customer, currency and product."""
        product = self.case_id.policy_id.interest_product_id[:1]
        if not product:
            raise UserError(
                self.env._(
                    "Dunning policy “%s” has no product for interest: choose one, it gives the account and the taxes.",
                    self.case_id.policy_id[:1].name,
                )
            )
        sign = -1 if sum(self.mapped("amount")) < 0 else 1
        partner = self.partner_id
        localized = self.with_context(lang=partner.lang or self.env.lang)
        return {
            "move_type": "out_refund" if sign < 0 else "out_invoice",
            "partner_id": partner.address_get(["invoice"])["invoice"],
            "company_id": self.company_id.id,
            "currency_id": self.currency_id.id,
            "invoice_date": date,
            "invoice_origin": ", ".join(self.case_id.mapped("name")),
            "billing_no_interest": True,
            "invoice_line_ids": [
                Command.create(
                    {
                        "sequence": number,
                        "product_id": product.id,
                        "name": entries.with_env(localized.env)._get_bill_text(),
                        "quantity": 1.0,
                        "price_unit": sign * sum(entries.mapped("amount")),
                    }
                )
                for number, entries in enumerate(lines, start=1)
            ],
        }

    def _get_bill_text(self):
        """What the customer reads about an item, or a fee, and how it was computed."""
        if self[0].kind == "fee":
            return self.env._(
                "Fee: %(step)s of %(date)s",
                step=self.notice_id.step_id.name,
                date=format_date(self.env, self.date_from),
            )
        item = self.move_line_id
        rows = [
            self.env._(
                "Late interest on %(item)s, due %(date)s",
                item=item.move_id.name or self.env._("an item"),
                date=format_date(self.env, item.date_maturity or item.date) if item else "–",
            )
        ]
        for entry in self.sorted(lambda entry: (entry.date_from, entry.revision)):
            if entry.revision:
                rows.append(
                    self.env._(
                        "%(start)s – %(end)s: correction of %(amount)s, payment or credit of an earlier day",
                        start=format_date(self.env, entry.date_from),
                        end=format_date(self.env, entry.date_to),
                        amount=format_amount(self.env, entry.amount, entry.currency_id),
                    )
                )
            else:
                rows += entry._get_stretch_texts()
        return "\n".join(rows)

    def _get_stretch_texts(self):
        """A row of text for each stretch of days of this entry."""
        return [
            self.env._(
                "%(start)s – %(end)s: %(days)s days on %(residual)s at %(rate)s%% a year",
                start=format_date(self.env, stretch["from"]),
                end=format_date(self.env, stretch["to"]),
                days=stretch["days"],
                residual=format_amount(self.env, float(stretch["residual"]), self.currency_id),
                rate=f"{float(self.trace['rate']) * 100:.6g}",
            )
            for stretch in self.trace["stretches"]
        ]

    # What happens to the bills of interest

    def _release(self):
        """Entries whose bill is gone or cancelled are billed again; what a credit note waived stays."""
        entries = self.filtered(lambda entry: entry.state == "billed")
        entries.sudo().write({"state": "pending", "invoice_line_id": False})  # protected fields

    @api.model
    def _follow_credit_notes(self, bills):
        """A bill of interest that is credited in full is waived; when the credit is gone, it is billed as before."""
        credited = defaultdict(float)
        credits_sudo = self.env["account.move"].sudo().search(  # sudo: whoever posts
            [("reversed_entry_id", "in", bills.ids), ("move_type", "=", "out_refund"), ("state", "=", "posted")]
        )
        for credit in credits_sudo:
            credited[credit.reversed_entry_id.id] += credit.amount_total
        for bill in bills:
            entries_sudo = self.sudo().search([("invoice_line_id", "in", bill.invoice_line_ids.ids)])
            if bill.currency_id.compare_amounts(credited[bill.id], bill.amount_total) >= 0:
                reason = self.env._("Credit note for %s", bill.name)
                entries_sudo.write({"state": "waived", "waive_reason": reason})
            else:
                entries_sudo.write({"state": "billed", "waive_reason": False})

    # Job

    @api.model
    def _bill_in_job(self, company, through):
        """Bill in batches, each its own commit; returns whether there is time left."""
        if company.billing_interest_billing == "none":
            return True
        commit, today = self.env["ir.cron"]._commit_progress, company._get_billing_today()
        groups = []
        for group in self._group_pending(company, today, through=through):
            if group.case_id.policy_id.interest_product_id:
                groups.append(group)
            else:
                _logger.warning("Policy %s has no product for interest", group.case_id.policy_id.ids)
        if not commit(remaining=len(groups)):
            return False
        for batch in split_every(BATCH, groups, list):
            bills = {group.case_id[-1:]: group for group in batch}  # a bill is told about on its last case
            self._attempt(
                self.env["billing.case"].union(*bills),
                lambda cases, bills=bills: self._bill_groups(company, today, [bills[case] for case in cases]),
            )
            if not commit(len(batch)):
                return False
        return True

    # Buttons

    def action_bill(self):
        """Bill what is pending of the cases of these entries today, and show the bills.

        :raises UserError: when nothing is to be billed
        """
        moves = self.env["account.move"]
        for company, entries in self.grouped("company_id").items():
            today = company._get_billing_today()
            moves |= self._bill(company, today, entries.case_id)
        return self._view_bills(moves)

    @api.model
    def _view_bills(self, moves):
        if not moves:
            raise UserError(
                self.env._(
                    "There is nothing to bill: nothing is pending, or it is in dispute, about to be waived, or below "
                    "the minimum of the policy."
                )
            )
        if len(moves) == 1:
            return moves.get_formview_action()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Bills of Interest"),
            "res_model": "account.move",
            "views": [(self.env.ref("account.view_out_invoice_tree").id, "list"), (False, "form")],
            "domain": [("id", "in", moves.ids)],
            "context": {"create": False},
        }

    def action_view_invoice(self):
        """Open the bill that this entry is on."""
        self.ensure_one()
        return self.invoice_id.get_formview_action()

    @api.model
    def accrue(self, date, company_id=None):
        """Accrue the interest of all cases of a company through a date.

        :param str date: the last day that bears interest, ``YYYY-MM-DD``
        :param int company_id: else the user's company
        :return: the number of new entries
        """
        company = self.env["res.company"].browse(company_id) if company_id else self.env.company
        return len(self._accrue(company, fields.Date.to_date(date)))
