from odoo import api, models
from odoo.fields import Domain

from .billing_payment_attempt import OPEN


class BillingReceivable(models.AbstractModel):
    _inherit = "billing.receivable"

    @api.model
    def _get_in_transit(self, move_lines):
        """Add online payments that are on their way: pending, authorized, confirmed but not booked, or of unknown
        outcome. ``transaction_id`` tells which; ``payment_id`` is False; ``date`` is that of its last news.

        ``can_expire``: nobody has confirmed it, it may never come. Not what the provider has confirmed, nor an
        automatic charge without an outcome: that money may have been taken.
        """
        found = super()._get_in_transit(move_lines)
        # sudo: as in the base, who reads an item may know of the money that is on its way for it
        lines_sudo = move_lines.sudo()
        customers = lines_sudo.partner_id.commercial_partner_id
        transactions_sudo = self.env["payment.transaction"].sudo().search(
            self._get_transit_domain()
            & Domain("company_id", "in", lines_sudo.company_id.ids)
            & (
                Domain("partner_id.commercial_partner_id", "in", customers.ids)
                | Domain("invoice_ids", "in", lines_sudo.move_id.ids)
            )
        )
        for tx in transactions_sudo:
            payer = (tx.invoice_ids[:1].partner_id or tx.partner_id).commercial_partner_id
            found.append(
                {
                    "kind": "announced",
                    "payment_id": False,
                    "transaction_id": tx.id,
                    "can_expire": tx.state != "done" and not any(
                        attempt.state in OPEN for attempt in tx.billing_attempt_ids
                    ),
                    "partner_id": payer.id,
                    "company_id": tx.company_id.id,
                    "currency_id": tx.currency_id.id,
                    "date": tx.last_state_change.date(),
                    "name": tx.reference,
                    "amount": tx.amount,
                    "move_ids": tx.invoice_ids.ids,
                }
            )
        return found

    @api.model
    def _get_transit_domain(self):
        """Online payments whose money is on its way and that are not in the ledger."""
        return (
            Domain("payment_id", "=", False)
            & Domain("operation", "not in", ("validation", "refund"))
            & Domain("amount", ">", 0)
            & Domain("provider_code", "!=", "custom")  # a transfer that was only announced
            & Domain("child_transaction_ids", "=", False)
            & (
                Domain("state", "in", ("pending", "authorized"))
                | Domain("state", "=", "done") & Domain("is_post_processed", "=", False)
                | Domain("billing_attempt_ids.state", "in", OPEN)
            )
        )
