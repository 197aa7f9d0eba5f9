from odoo import Command, api, models
from odoo.fields import Domain


class ResPartner(models.Model):
    """Prepayments as a liability: a top-up bill for what came in, entries for what bills take of it."""

    _name = "res.partner"
    _inherit = "res.partner"

    @api.model
    def _get_billing_prepaid_domain(self, company):
        """The open lines of prepaid balances of a company: top-up bills that are paid, and what was taken of them."""
        return (
            Domain("company_id", "=", company.id)
            & Domain("parent_state", "=", "posted")
            & Domain("reconciled", "=", False)
            & Domain("account_id.account_type", "=", "liability_current")
            & (
                Domain("move_id.billing_prepaid_kind", "=", "draw")
                | Domain("move_id.billing_prepaid_kind", "=", "topup")
                & Domain("move_id.payment_state", "in", ("paid", "in_payment"))
            )
        )

    @api.model
    def _get_billing_credit_domain(self, company):
        """Also what was taken of a prepaid balance for a bill that does not need it any more."""
        taken_back = (
            self._get_billing_open_domain(company)
            & Domain("amount_residual_currency", "<", 0)
            & Domain("move_id.billing_prepaid_kind", "=", "draw")
        )
        return super()._get_billing_credit_domain(company) | taken_back

    def _get_billing_credits(self, company):
        """Also the prepaid balances."""
        found = super()._get_billing_credits(company)
        # sudo: a sum, as in super
        rows = self.env["account.move.line"].sudo()._read_group(
            self._get_billing_prepaid_domain(company) & Domain("partner_id.commercial_partner_id", "in", self.ids),
            ["partner_id", "currency_id"],
            ["amount_residual_currency:sum", "amount_residual:sum"],
        )
        for partner, currency, amount, company_amount in rows:
            sums = found.setdefault(partner.commercial_partner_id.id, {})
            before = sums.get(currency, (0.0, 0.0))
            sums[currency] = (before[0] - amount, before[1] - company_amount)
        return found

    # Top-up bills

    def _bill_billing_prepayments(self, company):
        """Make a top-up bill for each payment of these customers that no bill needs, if they pay in advance.

        Nothing where the company has no account for it.
        """
        account = company._get_billing_prepaid_account()
        customers = self.filtered(lambda partner: partner.with_company(company).billing_prepaid)
        if not account or not customers:
            return
        paid = Domain("payment_id", "!=", False) | Domain("statement_line_id", "!=", False)
        # sudo: it follows from the payment, whoever has entered it
        lines = self.env["account.move.line"].sudo().search(
            self._get_billing_credit_domain(company)
            & paid
            & Domain("move_id.move_type", "=", "entry")
            & Domain("partner_id.commercial_partner_id", "in", customers.ids),
            order="date, id",
        )
        if not lines:
            return
        moves = self.env["account.move"].sudo().with_company(company).create(
            [line.partner_id._prepare_billing_topup(company, account, line) for line in lines]
        )
        owed = [move.line_ids.filtered(lambda own: own.account_type == "asset_receivable") for move in moves]
        for own, line in zip(owed, lines, strict=True):
            own.account_id = line.account_id
        moves._post(soft=False)
        for own, line in zip(owed, lines, strict=True):
            (own | line).reconcile()

    def _prepare_billing_topup(self, company, account, line):
        """The values of the top-up bill for what is open of a payment (a receivable line); override to add more."""
        env = self.with_context(lang=self.lang or self.env.lang).env
        journal = company._get_billing_prepaid_journal()
        return {
            "move_type": "out_receipt",
            **({"journal_id": journal.id} if journal else {}),
            "billing_prepaid_kind": "topup",
            "company_id": company.id,
            "partner_id": self.id,
            "currency_id": line.currency_id.id,
            "invoice_date": company._get_billing_today(),
            "invoice_payment_term_id": False,
            "ref": line.move_id.name,
            "narration": env._(
                "Paid in advance. No tax is charged here: it is on the bills that are settled from this balance."
            ),
            "invoice_line_ids": [
                Command.create(
                    {
                        "name": env._("Prepayment"),
                        "account_id": account.id,
                        "quantity": 1,
                        "price_unit": -line.amount_residual_currency,
                        "tax_ids": [Command.clear()],
                    }
                )
            ],
        }

    # Draw-down

    def _apply_billing_credit(self, company):
        """Credits first, then the prepaid balance."""
        super()._apply_billing_credit(company)
        if self:
            self._draw_billing_prepaid(company)

    def _draw_billing_prepaid(self, company, debits=None):
        """Settle open bills of these customers from their prepaid balances, the oldest first: one entry for each
        customer, currency and account, which moves the amount from the liability to the receivable.

        :param debits: the receivable lines to settle, in sudo; all that credits settle when None
        """
        own = Domain("partner_id.commercial_partner_id", "in", self.ids)
        # sudo: bills draw on the balance whoever posts them
        balances = self.env["account.move.line"].sudo().search(self._get_billing_prepaid_domain(company) & own)
        journal = self.env["account.journal"].sudo().search(  # sudo: as above
            [*self.env["account.journal"]._check_company_domain(company), ("type", "=", "general")], limit=1
        )
        if not balances or not journal:
            return
        if debits is None:
            debits = balances.partner_id.commercial_partner_id._get_billing_debits(company)
            debits = debits.filtered(lambda line: line.move_id.billing_prepaid_kind != "topup")  # money tops up

        def key(line):
            return line.partner_id.commercial_partner_id, line.currency_id

        draws, open_amounts = [], {line: line.amount_residual_currency for line in debits}
        debits_by_key = debits.sorted(lambda line: (line.date_maturity or line.date, line.id)).grouped(key)
        balances_by_key = balances.grouped(lambda line: (*key(line), line.account_id))
        for (customer, currency, account), found in balances_by_key.items():
            available = -sum(found.mapped("amount_residual_currency"))
            taken = {}
            for line in debits_by_key.get((customer, currency), ()):
                part = min(available, open_amounts[line])
                if currency.compare_amounts(part, 0) > 0:
                    available -= part
                    open_amounts[line] -= part
                    taken.setdefault(line.account_id, {})[line] = part
            for receivable, parts in taken.items():
                amount = currency.round(sum(parts.values()))
                draw = {"from": account, "to": receivable, "amount": amount, "parts": parts}
                draws.append((found, draw, self._prepare_billing_draw(company, journal, customer, currency, draw)))
        moves = self.env["account.move"].sudo().with_company(company).create(
            [values for _found, _draw, values in draws]
        )
        moves._post(soft=False)
        for move, (found, draw, _values) in zip(moves, draws, strict=True):
            debit, credit = move.line_ids.filtered("debit"), move.line_ids.filtered("credit")
            (debit | found).reconcile()
            (credit.union(*draw["parts"])).reconcile()

    @api.model
    def _prepare_billing_draw(self, company, journal, customer, currency, draw):
        """The values of the entry that takes an amount of a prepaid balance.

        :param dict draw: ``from`` and ``to``, the accounts; ``amount`` in the currency; ``parts`` of it by line
        """
        today = company._get_billing_today()
        balance = currency._convert(draw["amount"], company.currency_id, company, today)
        names = ", ".join(line.move_id.name for line in draw["parts"])
        env = customer.with_context(lang=customer.lang or self.env.lang).env
        label = env._("Prepaid balance: %s", names)
        common = {"partner_id": customer.id, "currency_id": currency.id, "name": label}
        sides = ((draw["from"], balance, draw["amount"]), (draw["to"], -balance, -draw["amount"]))
        return {
            "move_type": "entry",
            "billing_prepaid_kind": "draw",
            "company_id": company.id,
            "journal_id": journal.id,
            "date": today,
            "ref": label,
            "line_ids": [
                Command.create({**common, "account_id": account.id, "balance": value, "amount_currency": amount})
                for account, value, amount in sides
            ],
        }
