from odoo import Command, api, fields, models
from odoo.exceptions import UserError

from ..tools import money
from .account_move import BOOKING, check_company_once

AMOUNT_FIELDS = frozenset(
    (
        "price_unit", "quantity", "discount", "product_id", "balance", "amount_currency",
        "debit", "credit", "display_type", "move_id", "price_subtotal", "price_total",
        "billing_period_start", "billing_period_end",
    )
)  # fmt: skip

# Lines that a run's bill is made of, and the place that core gives them.
SEQUENCES = {"product": 100, "tax": 10000, "payment_term": 12000}


class AccountMoveLine(models.Model):
    _inherit = "account.move.line"

    billing_charge_ids = fields.One2many(
        "billing.charge", "move_line_id", string="Charges", readonly=True
    )
    billing_period_start = fields.Date(string="Service From", readonly=True)
    billing_period_end = fields.Date(string="Service To", readonly=True)

    billing_paid_amount = fields.Monetary(string="Amount", compute="_compute_billing_paid")
    billing_unmatched_amount = fields.Monetary(string="Not Matched", compute="_compute_billing_paid")

    # matches of documents that are no longer posted: few, and asked for by every balance
    _billing_unposted_index = models.Index(
        "(account_id) WHERE parent_state <> 'posted' AND matching_number IS NOT NULL"
    )

    def _compute_billing_paid(self):
        """Payments as people read them. Without dependencies, which every line of every entry would pay for."""
        for line in self:
            line.billing_paid_amount = -line.amount_currency
            line.billing_unmatched_amount = -line.amount_residual_currency

    def _check_company(self, fnames=None):
        """A run checks the lines that it creates value by value, not line by line."""
        if fnames is None and self.env.context.get("billing_booking") is BOOKING:
            original = super()._check_company
            check_company_once(self, original.__func__)
        else:
            super()._check_company(fnames)

    def _add_precomputed_values(self, vals_list):
        """Fill in what lines of a new bill of a run have from their bill, and what follows from
        their amount: for each such field core makes a draft record of each line, or writes the
        line again after it was created.

        What is not filled in here is computed by core.
        """
        filled = []
        if self.env.context.get("billing_booking") is BOOKING:
            moves = self.env["account.move"].browse({vals["move_id"] for vals in vals_list})
            shared = {
                move.id: self._get_billing_shared(move)
                for move in moves
                if move.is_invoice() and not move.company_id.account_storno
            }
            filled = [self._fill_billing_values(vals, shared) for vals in vals_list]
        super()._add_precomputed_values(vals_list)
        for vals, names in zip(vals_list, filled, strict=False):  # none for other bills
            vals.setdefault("__precomputed__", set()).update(self._fields[n] for n in names)

    @api.model
    def _get_billing_shared(self, move):
        """What all lines of a bill have from it."""
        return {
            "company_id": move.company_id.id,
            "company_currency_id": move.company_currency_id.id,
            "currency_id": move.currency_id.id,
            "date": move.date,
            "invoice_date": move.invoice_date,
            "is_storno": False,
            "journal_id": move.journal_id.id,
            "no_followup": move.journal_id.type == "general",
            "parent_state": move.state,
            "partner_id": move.commercial_partner_id.id,
        }

    @api.model
    def _fill_billing_values(self, vals, shared):
        """Add to the values of a line what is known of it; returns the names that were added."""
        display_type, balance = vals.get("display_type"), vals.get("balance")
        if (
            vals["move_id"] not in shared
            or display_type not in SEQUENCES
            or None in (balance, vals.get("amount_currency"))
        ):
            return ()
        tax = self.env["account.tax.repartition.line"].browse(
            vals.get("tax_repartition_line_id")
        ).tax_id
        due = display_type == "payment_term"
        known = {
            **shared[vals["move_id"]],
            "debit": max(balance, 0.0),
            "credit": max(-balance, 0.0),
            "amount_residual": balance if due else 0.0,
            "amount_residual_currency": vals["amount_currency"] if due else 0.0,
            "reconciled": due and not balance,
            "tax_line_id": tax.id,
            "tax_group_id": tax.tax_group_id.id,
        }
        if display_type != "product":
            known |= {
                "price_subtotal": 0.0, "price_total": 0.0, "price_unit": 0.0, "quantity": 0.0,
                "product_uom_id": False, "sequence": SEQUENCES[display_type],
                "tax_ids": [Command.set([])],
            }  # fmt: skip
        added = known.keys() - vals.keys()
        vals.update((name, known[name]) for name in added)
        return added

    def write(self, vals):
        if self._is_billing_noop(vals):
            return True
        if AMOUNT_FIELDS.intersection(vals):
            self._check_billing_amounts(vals)
        return super().write(vals)

    def _is_billing_noop(self, vals):
        """Whether a run writes on the lines of a new bill the customer that they have already.

        Core does so for each bill by itself and, to change nothing, compares all its lines.
        """
        return (
            vals.keys() == {"partner_id"}
            and self.env.context.get("billing_booking") is BOOKING
            and all(line.partner_id.id == vals["partner_id"] for line in self)
        )

    def _check_billing_amounts(self, vals):
        """Amounts of a billing line come from the ledger and are not edited by hand."""
        for line in self.sudo().filtered("billing_charge_ids"):  # engine-owned records
            if line.move_id.billing_correction and line.parent_state == "draft":
                continue  # the ledger follows when it is posted
            if any(
                name in vals
                and line._fields[name].convert_to_write(line[name], line) != vals[name]
                for name in AMOUNT_FIELDS
            ):
                raise UserError(
                    self.env._(
                        "“%s” comes from a contract: its amount cannot be edited here. Correct "
                        "the contract, or credit the bill.",
                        line.name,
                    )
                )

    def _get_billing_price_amount(self):
        """Quantity × price less discount, rounded: the amount in the basis of the price, as charges have it."""
        self.ensure_one()
        quantity, price, discount = map(money.to_decimal, (self.quantity, self.price_unit, self.discount))
        rounding = money.to_decimal(self.currency_id.rounding)
        return money.round_amount(quantity * price * (1 - discount / 100), rounding)

    def _get_billing_hand_key(self):
        """What a line that a person added and its copy on a credit note have in common."""
        self.ensure_one()
        return self.product_id, self.name, self.account_id

    def unlink(self):
        charges = self.sudo().billing_charge_ids  # engine-owned records
        result = super().unlink()
        if charges := charges.exists().filtered(lambda charge: charge.state == "billed"):
            charges._void()
        return result
