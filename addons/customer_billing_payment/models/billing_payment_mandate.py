import logging

from dateutil.relativedelta import relativedelta
from psycopg2 import OperationalError

from odoo import Command, api, fields, models
from odoo.exceptions import AccessError, ConcurrencyError, UserError

_logger = logging.getLogger(__name__)

NOTICE_DAYS = (30, 7)  # before a method expires


class BillingPaymentMandate(models.Model):
    """A customer's consent to charge a saved payment method for his bills, as it was given.

    Only the customer gives it, in the portal; the customer or staff revoke it.
    """

    _name = "billing.payment.mandate"
    _description = "Payment Mandate"
    _inherit = ["billing.protected.mixin", "mail.thread"]
    _order = "id desc"
    _billing_protected = frozenset(
        (
            "partner_id", "company_id", "token_id", "contract_ids", "state", "consent_text", "consent_date",
            "consent_ip", "consent_user_id", "date_revoked", "revoked_by_id", "notice_days",
        )
    )  # fmt: skip

    partner_id = fields.Many2one(
        "res.partner", string="Customer", required=True, readonly=True, index=True, ondelete="restrict"
    )
    company_id = fields.Many2one("res.company", required=True, readonly=True, index=True)
    token_id = fields.Many2one(
        "payment.token", string="Payment Method", required=True, readonly=True, index=True, ondelete="restrict"
    )
    token_name = fields.Char(
        string="Saved Method",
        compute="_compute_token_name",
        compute_sudo=True,  # staff who may read the mandate may not read tokens
    )
    contract_ids = fields.Many2many(
        "billing.contract",
        "billing_payment_mandate_contract_rel",
        "mandate_id",
        "contract_id",
        string="Contracts",
        readonly=True,
        help="Empty: the bills of all contracts of the customer.",
    )
    state = fields.Selection(
        [("active", "Active"), ("revoked", "Revoked")],
        string="Status",
        default="active",
        required=True,
        readonly=True,
        index=True,
        tracking=True,
    )
    consent_text = fields.Text(string="Agreed Text", required=True, readonly=True)
    consent_date = fields.Datetime(string="Agreed On", required=True, readonly=True)
    consent_ip = fields.Char(string="From Address", readonly=True, groups="base.group_user")
    consent_user_id = fields.Many2one("res.users", string="Agreed By", required=True, readonly=True)
    date_revoked = fields.Datetime(string="Revoked On", readonly=True)
    revoked_by_id = fields.Many2one("res.users", string="Revoked By", readonly=True)
    expiry_date = fields.Date(
        string="Valid Until",
        tracking=True,
        help="The last day of the card, where known. The customer is told 30 and 7 days before.",
    )
    notice_days = fields.Integer(string="Last Notice Before", readonly=True, aggregator=None)

    @api.depends("token_id", "partner_id")
    def _compute_display_name(self):
        for mandate in self:
            mandate.display_name = f"{mandate.partner_id.display_name}, {mandate.token_name}"

    @api.depends("token_id")
    def _compute_token_name(self):
        for mandate in self:
            token = mandate.token_id
            mandate.token_name = f"{token.payment_method_id.name or ''} {token.display_name}".strip()

    def write(self, vals):
        if "expiry_date" in vals and not self.env.su:
            self.check_access("write")
            self._check_billing_protected(vals)
            day = fields.Date.to_date(vals["expiry_date"])
            new_sudo = self.sudo().filtered(lambda mandate: mandate.expiry_date != day)  # protected field
            new_sudo.write({"notice_days": 0})
            return super(BillingPaymentMandate, self.sudo()).write(vals)
        return super().write(vals)

    @api.model
    def _grant(self, token, text, contracts=None, expiry_date=False, ip=None):
        """Keep the consent of the current user to charge a payment method.

        It takes the place of earlier ones of the customer for the same contracts and company.

        :param token: the saved method, of the user or his company
        :param str text: what the user has agreed to, as shown
        :param contracts: contracts of the customer; none for all of them
        :param date expiry_date: the last day of the card, where known; what the provider says goes first
        :param str ip: where the user is
        :return: the mandate, in sudo
        :raises AccessError: when the token or a contract is not the user's
        :raises UserError: when the method has expired, or is for bills of another company
        """
        user, partner = self.env.user, self.env.user.partner_id
        customer = partner.commercial_partner_id
        contracts = contracts or self.env["billing.contract"]
        token_sudo = token.sudo()  # sudo: portal users read tokens of their own contact only; checked here
        if token_sudo.partner_id not in partner | customer or not token_sudo.active:
            raise AccessError(self.env._("This payment method is not yours. Choose one of those that you saved."))
        contracts.check_access("read")
        if any(contract.invoice_partner_id.commercial_partner_id != customer for contract in contracts.sudo()):
            raise AccessError(self.env._("Only the bills of your own contracts can be paid by your payment method."))
        company = token_sudo.company_id
        if any(contract.company_id != company for contract in contracts.sudo()):
            raise UserError(
                self.env._("This payment method is for bills of %s only. Choose another one.", company.name)
            )
        expiry_date = token_sudo.billing_expiry_date or expiry_date
        if expiry_date and expiry_date < company._get_billing_today():
            raise UserError(self.env._("This payment method has expired. Save another one."))
        mandates_sudo = self.sudo()  # sudo: consent is recorded as given; nobody else writes it
        earlier = mandates_sudo.search(
            [("partner_id", "=", customer.id), ("company_id", "=", company.id), ("state", "=", "active")]
        )
        earlier.filtered(lambda mandate: mandate.contract_ids == contracts)._revoke()
        return mandates_sudo.create(
            {
                "partner_id": customer.id,
                "company_id": company.id,
                "token_id": token.id,
                "contract_ids": [Command.set(contracts.ids)],
                "consent_text": text,
                "consent_date": fields.Datetime.now(),
                "consent_ip": ip,
                "consent_user_id": user.id,
                "expiry_date": expiry_date,
            }
        )

    def action_revoke(self):
        """End these mandates: what is not charged yet will not be. The payment methods stay saved."""
        self.check_access("write")
        self._revoke()
        return True

    def _revoke(self):
        active_sudo = self.sudo().filtered(lambda mandate: mandate.state == "active")  # protected fields
        active_sudo.write(
            {"state": "revoked", "date_revoked": fields.Datetime.now(), "revoked_by_id": self.env.uid}
        )

    @api.model
    def _get_for_moves(self, moves):
        """Return the active mandate by which each bill can be charged, as a dict; one of its contracts goes first.

        Bills that no mandate covers are left out.
        """
        # sudo: whether a method can still be charged is told to those who may read the bill, not the method itself
        mandates = self.sudo().search(
            [
                ("partner_id", "in", moves.commercial_partner_id.ids),
                ("company_id", "in", moves.company_id.ids),
                ("state", "=", "active"),
                ("token_id.active", "=", True),
                ("token_id.provider_id.state", "!=", "disabled"),
            ]
        )
        mandates = mandates.sorted(lambda mandate: (not mandate.contract_ids, -mandate.id))
        by_customer = mandates.grouped(lambda mandate: (mandate.partner_id, mandate.company_id))
        found = {}
        for move in moves:
            candidates = by_customer.get((move.commercial_partner_id, move.company_id), self)
            for mandate in candidates:
                if not mandate.contract_ids or (
                    move.billing_contract_ids and move.billing_contract_ids <= mandate.contract_ids
                ):
                    found[move] = mandate
                    break
        return found

    @api.model
    def _cron_notify_expiry(self):
        """Tell customers whose payment methods expire soon, 30 and 7 days before; once each."""
        commit = self.env["ir.cron"]._commit_progress
        template = self.env.ref("customer_billing_payment.mail_template_expiry")
        for company in self.env["res.company"].search([("active", "=", True)]):
            today = company._get_billing_today()
            due = self.browse()
            for days in NOTICE_DAYS:
                due |= self.search(
                    [
                        ("company_id", "=", company.id),
                        ("state", "=", "active"),
                        ("expiry_date", ">=", today),
                        ("expiry_date", "<=", today + relativedelta(days=days)),
                        "|", ("notice_days", "=", 0), ("notice_days", ">", days),
                    ]
                )  # fmt: skip
            cards = due.grouped(lambda mandate: (mandate.token_id, mandate.expiry_date))
            commit(remaining=len(cards))
            for mandates in cards.values():  # one notice, whatever the card is allowed for
                mandate = mandates[0]
                left = (mandate.expiry_date - today).days
                try:
                    with self.env.cr.savepoint():
                        template._send_billing(mandate, company)
                except (OperationalError, ConcurrencyError):
                    raise
                except Exception as error:  # told on the mandate; the others get theirs
                    _logger.exception("The notice about mandate %s could not be mailed", mandate.id)
                    mandate._message_log(body=self.env._("The notice could not be mailed: %s", error))
                mandates.sudo().notice_days = min(days for days in NOTICE_DAYS if days >= left)  # protected field
                if not commit(1):
                    return
