from dateutil.relativedelta import relativedelta

from odoo import fields, models
from odoo.exceptions import UserError
from odoo.tools.urls import urljoin

from odoo.addons.customer_billing.models.account_move import AccountMove as BillingMove
from odoo.addons.customer_billing.tools.qr import qr_data_uri
from odoo.addons.payment import utils as payment_utils

from ..tools.documents import MAX_DOCUMENTS, join_ids
from .billing_payment_attempt import OPEN, PAGE_MINUTES

# Where the job has not charged a bill so many days after its day, it will not: nobody counts on it any longer.
LATE_CHARGE_DAYS = 7


class AccountMove(models.Model):
    _name = "account.move"
    _inherit = "account.move"
    _billing_protected = BillingMove._billing_protected | {
        "billing_charge_state", "billing_charge_date", "billing_prepaid_kind",
    }  # fmt: skip

    billing_charge_state = fields.Selection(
        [
            ("processing", "Waiting for an answer"),
            ("retry", "Declined, tried again"),
            ("unknown", "Outcome unknown"),
            ("failed", "Declined, not tried again"),
            ("done", "Paid automatically"),
        ],
        string="Automatic Payment",
        readonly=True,
        copy=False,
        index="btree_not_null",
        groups="base.group_user",
        help="Collections take over when it is declined and not tried again.",
    )
    billing_charge_date = fields.Date(
        string="Charged Again On", readonly=True, copy=False, groups="base.group_user"
    )
    billing_attempt_ids = fields.One2many(
        "billing.payment.attempt", "move_id", string="Automatic Charges", groups="base.group_user"
    )

    billing_prepaid_kind = fields.Selection(
        [("topup", "Top-up bill"), ("draw", "Draw-down")],
        string="Prepaid Balance",
        readonly=True,
        copy=False,
        index="btree_not_null",
        help="What a customer has paid in advance, or what bills have taken of it.",
    )

    def _get_billing_due_now(self):
        """What pays this bill today, as core's page of the bill has it.

        :return: (amount in the currency of the bill, the discount for early payment in words or False)
        """
        self.ensure_one()
        values = self._get_invoice_next_payment_values()
        if values.get("installment_state") == "epd":
            return values["amount_due"], values["epd_discount_msg"]
        return self.amount_residual, False

    def _set_billing_charge(self, state, date=False):
        """Note how far the automatic payment of these bills has come."""
        # sudo: protected fields. Nothing of the journal entry changes: core need not compare its lines.
        self.sudo().with_context(skip_invoice_sync=True, skip_is_manually_modified=True).write(
            {"billing_charge_state": state, "billing_charge_date": date}
        )

    def _on_billing_charge_failed(self):
        """These bills were declined and are not tried again (``billing_charge_state`` is ``failed``).

        Collections override this to take over.
        """

    def _filter_billing_chargeable(self):
        """Those of these bills whose money is not on its way, and about which there is no open dispute."""
        since = fields.Datetime.now() - relativedelta(minutes=PAGE_MINUTES)
        # sudo: transactions of all customers
        transactions_sudo = self.env["payment.transaction"].sudo().search(
            [
                ("invoice_ids", "in", self.ids),
                ("payment_id", "=", False),
                ("provider_code", "!=", "custom"),
                "|", ("state", "in", ("pending", "authorized")),
                "|", "&", ("state", "=", "done"), ("is_post_processed", "=", False),
                "|", ("billing_attempt_ids.state", "in", OPEN),
                "&", "&", ("state", "=", "draft"), ("billing_attempt_ids", "=", False), ("create_date", ">", since),
            ]
        )  # fmt: skip
        disputed = self.env["billing.dispute"].sudo()._read_group(  # sudo: as the count of the base
            [("move_id", "in", self.ids), ("state", "=", "open")], ["move_id"]
        )
        busy = set(transactions_sudo.invoice_ids.ids).union(move.id for (move,) in disputed)
        return self.filtered(lambda move: move.id not in busy)

    def _filter_billing_charge_expected(self):
        """Those of these bills that are being charged automatically, or will be: nobody need ask for their money now.

        The outcome is awaited, or the first or next charge is ahead and a mandate covers it.
        """
        # sudo: whether a bill is demanded follows from it, whoever asks; of thousands, few have to do with charges
        moves_sudo = self.sudo().search(
            [
                ("id", "in", self.ids), "|", ("billing_charge_state", "in", [*OPEN, "retry"]),
                "&", ("billing_charge_state", "=", False),
                ("billing_contract_ids.plan_id.invoice_policy", "=", "charge"),
            ]
        )  # fmt: skip
        expected = moves_sudo.filtered(lambda move: move.billing_charge_state in OPEN)
        ahead = (moves_sudo - expected).filtered(lambda move: move._get_billing_next_charge_date())
        covered = self.env["billing.payment.mandate"]._get_for_moves(ahead)
        return self & (expected | ahead.filtered(lambda move: move in covered))

    def _get_billing_next_charge_date(self):
        """The day on which the job charges this bill if a mandate covers it; False when it does not."""
        self.ensure_one()
        is_open = self.state == "posted" and self.payment_state in ("not_paid", "partial")
        if self.move_type != "out_invoice" or not is_open:
            return False
        date = False
        if self.billing_charge_state == "retry":
            date = self.billing_charge_date
        elif not self.billing_charge_state and "charge" in self.billing_contract_ids.plan_id.mapped("invoice_policy"):
            date = self.invoice_date_due + relativedelta(days=self.company_id.sudo().billing_charge_days)  # setting
        today = self.company_id._get_billing_today()
        return date if date and date >= today - relativedelta(days=LATE_CHARGE_DAYS) else False

    def _has_to_be_paid(self):
        """While a charge has no outcome, or a payment is not booked yet, the customer is not asked to pay again."""
        return super()._has_to_be_paid() and not self._is_billing_charge_open() and not self._has_unbooked_payment()

    def _get_online_payment_error(self):
        errors = super()._get_online_payment_error()
        if self._is_billing_charge_open():
            text = self.env._("Your saved payment method is being charged for this bill. Please come back later.")
            errors = f"{errors}\n{text}".strip()
        if self._has_unbooked_payment():
            text = self.env._("A payment of this bill is just being booked. Please come back in a few minutes.")
            errors = f"{errors}\n{text}".strip()
        return errors

    def _has_unbooked_payment(self):
        """Whether a provider has confirmed a payment that the ledger does not have yet."""
        self.ensure_one()
        # sudo: a customer sees the effect only
        return bool(self.sudo().transaction_ids.filtered(
            lambda tx: tx.state == "done" and not tx.is_post_processed and tx.operation not in ("refund", "validation")
        ))  # fmt: skip

    def _is_billing_payable(self):
        # sudo: what decides about it, transactions, is not for all who read the bill
        return self.sudo()._has_to_be_paid()

    def _is_billing_charge_open(self):
        self.ensure_one()
        return self.sudo().billing_charge_state in OPEN  # sudo: a customer sees the effect only

    def action_billing_charge(self):
        """Charge these open bills by the saved methods of their customers with the next job, now.

        :raises UserError: when a bill is paid or being paid, or no mandate covers it
        """
        self.check_access("write")
        mandates = self.env["billing.payment.mandate"]._get_for_moves(self)
        chargeable = self._filter_billing_chargeable()
        for move in self:
            if move.state != "posted" or move.payment_state not in ("not_paid", "partial"):
                raise UserError(self.env._("%s is not an open bill.", move.display_name))
            if move not in chargeable:
                raise UserError(
                    self.env._(
                        "%s is being paid or disputed. Wait for the outcome, or decide the dispute.", move.display_name
                    )
                )
            if move not in mandates:
                raise UserError(
                    self.env._(
                        "%(customer)s has not agreed to automatic payment of %(bill)s. The customer does so in the "
                        "portal: Automatic payment.",
                        customer=move.commercial_partner_id.display_name,
                        bill=move.display_name,
                    )
                )
            move._set_billing_charge("retry", move.company_id._get_billing_today())
        # sudo: the job is the system's
        self.env.ref("customer_billing_payment.ir_cron_charge").sudo()._trigger()
        return True

    def action_view_billing_attempts(self):
        """Open the automatic charges of these bills."""
        action = self.env["ir.actions.actions"]._for_xml_id(
            "customer_billing_payment.billing_payment_attempt_action"
        )
        action["domain"] = [("move_id", "in", self.ids)]
        return action

    # Payment page

    def _get_payment_url(self, amount=None):
        """The page on which these bills (the oldest of very many) can be paid together; of a single one its own page,
        with the payment open. An ``amount`` below what is open is part of the signed address."""
        payable = self.filtered(lambda move: move._is_billing_payable())
        total = sum(payable.mapped("amount_residual"))
        is_part = payable and amount and payable.currency_id[0].compare_amounts(amount, total) < 0
        if len(self) == 1 and not is_part:
            query = "&payment=True" if payable else ""
            return urljoin(self.get_base_url(), self.get_portal_url(query_string=query))
        if len(payable.company_id) != 1 or len(payable.currency_id) != 1 or len(payable.commercial_partner_id) != 1:
            return super()._get_payment_url()
        payable = payable.sorted(lambda move: (move.invoice_date_due or move.date, move.id))[:MAX_DOCUMENTS]
        documents = join_ids(payable.ids)
        figure = f"{amount:.{payable.currency_id.decimal_places}f}" if is_part else None
        token = payable._get_billing_payment_token(documents, figure)
        url = f"/my/billing/pay/{documents}?access_token={token}"
        return urljoin(payable[0].get_base_url(), f"{url}&amount={figure}" if figure else url)

    def _get_billing_payment_token(self, documents, figure=None):
        """The signature of a link to pay bills; ``documents`` are their ids as in the address, ``figure`` the amount
        that is asked for, where that is not all."""
        return payment_utils.generate_access_token(*filter(None, ("billing_pay", documents, figure)), env=self.env)

    def _get_billing_qr_code(self):
        """Scanning an open bill leads to its payment."""
        self.ensure_one()
        if not self._is_billing_payable():
            return super()._get_billing_qr_code()
        return qr_data_uri(self._get_payment_url())

    # Credits

    def _post(self, soft=True):
        posted = super()._post(soft=soft)
        bills = posted.filtered(lambda move: move.move_type in ("out_invoice", "out_refund"))
        for company, moves in bills.grouped("company_id").items():
            customers = moves.commercial_partner_id._filter_billing_auto_credit(company)
            customers._attempt_billing("_apply_billing_credit", company)
        return posted
