import hashlib

from odoo import fields, models
from odoo.tools import SQL, format_date

from odoo.addons.customer_billing.tools.ageing import bucket_index
from odoo.addons.customer_billing.tools.customer_account import CustomerAccount

from .billing_statement import MAX_BUCKETS


class BillingStatement(models.Model):
    """How a statement reads the ledger, and compares itself with it."""

    _name = "billing.statement"
    _inherit = "billing.statement"

    # Read

    def _read_accounts(self):
        """Read the ledger for these statements, with a fixed number of queries for each
        company and period: {statement: CustomerAccount}."""
        accounts = {}
        for (company, date_from, date_to), same in self.grouped(
            lambda s: (s.company_id, s.date_from, s.date_to)
        ).items():
            kinds = set(same.mapped("kind"))
            found = self._read_period(company, date_from, date_to, same.partner_id.ids, kinds)
            for statement in same:
                key = (statement.partner_id.id, statement.currency_id.id)
                accounts[statement] = found.get(key) or CustomerAccount()
        return accounts

    def _read_period(self, company, date_from, date_to, partner_ids, kinds):
        """The ledger for statements of these ``kinds``: {(partner id, currency id): CustomerAccount}."""
        # sudo: what a statement says does not depend on who asks
        receivable = self.env["billing.receivable"].sudo()
        bounds, basis = self._get_ageing(company)
        return receivable._get_accounts(
            company, date_from, date_to, partner_ids, basis, bounds, list_movements=kinds != {"open_item"}
        )

    def _get_ageing(self, company):
        """The bounds (at most four) and the basis of the age bands that ``company`` uses now."""
        company_sudo = company.sudo()  # settings
        bounds = list(company_sudo._get_billing_ageing_bounds())[: MAX_BUCKETS - 2]
        return bounds, company_sudo.billing_ageing_basis

    # Write

    def _take_snapshot(self):
        """Write amounts and lines of drafts anew from the ledger."""
        drafts_sudo = self.sudo().filtered(  # engine-owned records
            lambda statement: statement.state == "draft"
        )
        drafts_sudo.line_ids.unlink()
        if drafts_sudo:
            drafts_sudo._write_snapshot(drafts_sudo._read_accounts())

    def _write_snapshot(self, accounts):
        """Write amounts and lines of drafts.

        :param accounts: {statement: CustomerAccount}
        """
        self._link_previous()
        texts = self._read_texts(accounts.values())
        line_vals = []
        for statement in self:
            account = accounts[statement]
            statement.write(statement._prepare_amounts(account))
            about = {
                "statement_id": statement.id,
                "company_id": statement.company_id.id,
                "partner_id": statement.partner_id.id,
                "currency_id": statement.currency_id.id,
            }
            line_vals += [about | vals for vals in statement._prepare_lines(account, texts)]
        self.env["billing.statement.line"].create(line_vals)
        for statement in self.filtered("supersedes_id"):
            statement.changes = statement.supersedes_id._get_changes(
                statement._get_totals(),
                [vals for vals in line_vals if vals["statement_id"] == statement.id],
            )

    def _link_previous(self):
        """Find the statement before each of these, with one query."""
        if not self:
            return
        self.flush_model()
        rows = self.env.execute_query(
            SQL(
                """
                SELECT DISTINCT ON (s.id) s.id, p.id
                  FROM billing_statement s
                  JOIN billing_statement p
                    ON p.company_id = s.company_id AND p.partner_id = s.partner_id
                   AND p.currency_id = s.currency_id AND p.kind = s.kind
                   AND p.date_to < s.date_from
                   AND p.state IN ('checked', 'sent', 'confirmed', 'disputed')
                 WHERE s.id IN %s
              ORDER BY s.id, p.date_to DESC, p.id DESC
                """,
                tuple(self.ids),
            )
        )
        previous = dict(rows)
        for statement in self:
            if statement.previous_id.id != previous.get(statement.id, False):
                statement.previous_id = previous.get(statement.id, False)

    def _read_texts(self, accounts):
        """What lines say beside the figures: contracts by move and currencies, in a fixed number
        of queries."""
        move_ids = {row["move_id"] for a in accounts for rows in (a.movements, a.items) for row in rows}
        moves = self.env["account.move"].browse(move_ids)
        moves.fetch(["billing_contract_ids"])
        moves.billing_contract_ids.fetch(["name"])
        return {move.id: move.billing_contract_ids for move in moves if move.billing_contract_ids}

    def _prepare_amounts(self, account):
        """The amounts of this statement. Override to add more of ``account``."""
        self.ensure_one()
        bounds, basis = self._get_ageing(self.company_id)
        buckets = [*account.buckets, *[0.0] * MAX_BUCKETS]
        return {
            "balance_open": account.opening,
            "amount_debit": account.debit,
            "amount_credit": account.credit,
            "balance_close": account.balance,
            "balance_company": account.balance_company,
            "amount_overdue": account.overdue,
            "amount_unallocated": -account.unallocated,
            "ageing_bounds": bounds,
            "ageing_basis": basis,
            **{f"bucket_{number}": buckets[number] for number in range(MAX_BUCKETS)},
        }

    def _prepare_lines(self, account, contracts):
        """The lines of this statement: a list of values, in their order.

        :param contracts: {move id: contracts}
        """
        self.ensure_one()
        if self.kind == "open_item":
            rows, balance = account.items, 0.0
        else:
            rows, balance = account.movements, account.opening
        round_amount = self.currency_id.round
        vals_list = []
        for sequence, row in enumerate(rows, start=1):
            vals = self._prepare_line(row)
            step = vals["residual"] if self.kind == "open_item" else row["amount"]
            balance = round_amount(balance + step)
            vals.update(sequence=sequence, balance=balance)
            if of_move := contracts.get(row["move_id"]):
                vals["contract_id"] = of_move[0].id
                vals["contract_name"] = ", ".join(of_move.mapped("name"))
            vals_list.append(vals)
        return vals_list

    def _prepare_line(self, row):
        """The values of one line.

        :param row: of ``billing.receivable``, with what was open of it at the end of the period
        """
        matched = "partial_id" in row
        vals = {
            "kind": row["kind"],
            "date": row["date"],
            "move_id": row["move_id"],
            "move_line_id": row["move_line_id"],
            "key": f"{row['move_line_id']}:{row['partial_id']}" if matched else str(row["move_line_id"]),
            "number": row["number"],
            "ref": row["ref"],
            "debit": max(row["amount"], 0.0),
            "credit": max(-row["amount"], 0.0),
            "residual": 0.0,
        }
        if matched:
            vals["counterpart"] = self._describe_counterpart(row)
            return vals
        vals["date_maturity"] = row["date_maturity"] if row["kind"] in ("invoice", "entry") else False
        residual = row["residual"]
        if self.kind == "balance_forward" or not residual:
            return vals
        since = row["date_maturity"]
        days = (self.date_to - since).days
        aged = row["invoice_date"] or row["date"] if self.ageing_basis == "invoice" else since
        vals.update(
            residual=residual,
            unallocated=residual < 0,
            days_overdue=max(days, 0) if residual > 0 else 0,
            bucket=bucket_index((self.date_to - aged).days, self.ageing_bounds),
        )
        return vals

    def _describe_counterpart(self, row):
        """What settled this, in another currency or on another account, and how much of it."""
        currency = self.env["res.currency"].browse(row["counterpart_currency_id"])
        return f"{row['counterpart_number']} · {currency.format(row['counterpart_amount'])}"

    # Compare

    def _get_totals(self):
        """The totals that are compared with the ledger later."""
        self.ensure_one()
        return {"balance_open": self.balance_open, "balance_close": self.balance_close}

    def _compare(self):
        """Compare these statements with what the ledger says about their period now.

        Writes nothing; a fixed number of queries for each period.

        :return: {statement: (closing balance now, changes)} with changes as of ``_get_changes``
        """
        statements_sudo = self.sudo()  # the ledger, whoever asks
        accounts = statements_sudo._read_accounts()
        result = {}
        for statement in statements_sudo:
            account = accounts[statement]
            totals = {"balance_open": account.opening, "balance_close": account.balance}
            changes = statement._get_changes(totals, statement._prepare_lines(account, {}))
            result[statement.sudo(self.env.su)] = (totals["balance_close"], changes)
        return result

    def _get_changes(self, totals, line_vals):
        """What is different in ``totals`` and ``line_vals`` from this statement.

        :return: list of dicts: ``change`` (opening, added, removed, amount: another amount,
            matched: another part of it is open), ``number``, ``date`` (text), ``before``,
            ``after`` (amounts, signed; of ``matched`` what is open)
        """
        self.ensure_one()
        is_zero = self.currency_id.is_zero
        changes = []
        if not is_zero(totals["balance_open"] - self.balance_open):
            changes.append(
                self._prepare_change("opening", {}, self.balance_open, totals["balance_open"])
            )
        before = {line.key: line for line in self.line_ids}
        for vals in line_vals:
            line = before.pop(vals["key"], None)
            amount = vals["debit"] - vals["credit"]
            if not line:
                changes.append(self._prepare_change("added", vals, 0.0, amount))
                continue
            was = line.debit - line.credit
            if not is_zero(amount - was):
                changes.append(self._prepare_change("amount", vals, was, amount))
            elif not is_zero(vals["residual"] - line.residual):
                changes.append(
                    self._prepare_change("matched", vals, line.residual, vals["residual"])
                )
        changes += [
            self._prepare_change("removed", line, line.debit - line.credit, 0.0)
            for line in before.values()
        ]
        return changes

    def _prepare_change(self, change, row, before, after):
        date = row and row["date"]
        return {
            "change": change,
            "number": row and row["number"] or "",
            "date": fields.Date.to_string(date) if date else False,
            "before": before,
            "after": after,
        }

    def _describe_changes(self, changes):
        """``changes`` with a label for the kind of change and a formatted date."""
        labels = {
            "opening": self.env._("Opening balance"),
            "added": self.env._("Added"),
            "removed": self.env._("Not there any more"),
            "amount": self.env._("Other amount"),
            "matched": self.env._("Settled or opened again"),
        }
        return [
            {
                **change,
                "label": labels[change["change"]],
                "date": change["date"] and format_date(self.env, change["date"]),
            }
            for change in changes
        ]

    def _get_stale(self):
        """Those of these whose lines are not what the ledger says now."""
        comparisons = self._compare()
        return self.filtered(lambda statement: comparisons[statement][1])

    def _get_damaged_files(self):
        """The names of the files that are not those that were issued."""
        self.ensure_one()
        damaged = []
        for name, hashed in (("pdf", self.sha256), ("xlsx", self.sha256_xlsx)):
            content = self._get_file(name)
            if (hashlib.sha256(content).hexdigest() if content else False) != (hashed or False):
                damaged.append(name)
        return damaged

    def _get_file(self, name):
        """The content of the file ``pdf`` or ``xlsx`` as bytes; empty when there is none."""
        self.ensure_one()
        attachment_sudo = self.env["ir.attachment"].sudo().search(  # of a readable statement
            [("res_model", "=", self._name), ("res_field", "=", name), ("res_id", "=", self.id)],
            limit=1,
        )
        return attachment_sudo.raw or b""
