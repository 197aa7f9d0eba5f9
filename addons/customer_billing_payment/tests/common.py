from datetime import timedelta
from unittest.mock import patch

from odoo import SUPERUSER_ID, Command, fields

from odoo.addons.account_payment.tests.common import AccountPaymentCommon
from odoo.addons.customer_billing.tests.common import BillingCommon


class PaymentBillingCommon(AccountPaymentCommon, BillingCommon):
    """Customers with bills, saved methods and mandates, and a provider that answers as told."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.currency = cls.company.currency_id
        cls.provider.available_currency_ids |= cls.currency
        cls.plan_charge = cls.env["billing.plan"].create({"name": "Monthly, charged", "invoice_policy": "charge"})
        cls.user_one = cls.new_portal(cls.customer, "pay_one")
        cls.user_two = cls.new_portal(cls.other_customer, "pay_two")
        cls.token = cls.new_token(cls.customer)
        cls.today = cls.company._get_billing_today()

    def setUp(self):
        super().setUp()
        self.requests = []  # the transactions that the provider was asked to charge
        self.answers = {}  # by number of the request: what it does then
        test = self

        def send(transaction):
            test.requests.append(transaction)
            test.answers.get(len(test.requests), lambda tx: tx._set_done())(transaction)

        self.startPatcher(patch.object(self.registry["payment.transaction"], "_send_payment_request", send))

    @classmethod
    def new_token(cls, partner, **values):
        return cls.env["payment.token"].create(
            {
                "provider_id": cls.provider.id,
                "payment_method_id": cls.payment_method_id,
                "payment_details": "4242",
                "partner_id": partner.id,
                "provider_ref": f"ref-{partner.id}",
                **values,
            }
        )

    @classmethod
    def new_billing_contact(cls, customer):
        """A contact of a customer that gets its bills."""
        return cls.env["res.partner"].create(
            {
                "name": "Desk",
                "parent_id": customer.id,
                "email": "desk@customer.example",
                "billing_role_billing": True,
            }
        )

    @classmethod
    def open_bill(cls, amount=100.0, days=0, partner=None, currency=None, post=True, **values):
        """A posted invoice without tax that is due ``days`` from today."""
        today = cls.company._get_billing_today()
        move = cls.env["account.move"].create(
            {
                "move_type": "out_invoice",
                "partner_id": (partner or cls.customer).id,
                "invoice_date": today - timedelta(days=60),
                "invoice_date_due": today + timedelta(days=days),
                "currency_id": (currency or cls.company.currency_id).id,
                "invoice_line_ids": [
                    Command.create({"name": "Service", "quantity": 1, "price_unit": amount, "tax_ids": []})
                ],
                **values,
            }
        )
        if post:
            move.action_post()
        return move

    @classmethod
    def contract_bill(cls, **values):
        """The posted bill of a contract whose plan charges, due today."""
        today = cls.company._get_billing_today()
        contract = cls.new_contract(fields.Date.to_string(today), plan_id=cls.plan_charge.id, **values)
        run = cls.bill(fields.Date.to_string(today), contract)
        assert run.move_ids.invoice_date_due <= today
        return run.move_ids

    @classmethod
    def mandate(cls, token=None, contracts=None, user=None, **values):
        token = token or cls.token
        mandates = cls.env["billing.payment.mandate"].with_user(user or cls.user_one)
        return mandates._grant(token, "I agree", contracts, ip="127.0.0.1", **values).sudo().with_env(cls.env)

    @classmethod
    def pay_in(cls, amount, partner=None, **values):
        """A posted payment of a customer that is not allocated."""
        payment = cls.env["account.payment"].create(
            {
                "payment_type": "inbound",
                "partner_type": "customer",
                "partner_id": (partner or cls.customer).id,
                "amount": amount,
                "journal_id": cls.company_data["default_journal_bank"].id,
                **values,
            }
        )
        payment.action_post()
        return payment

    @property
    def jobs(self):
        """The model as the scheduled action has it."""
        return self.env["billing.payment.attempt"].with_user(SUPERUSER_ID)

    def charge(self):
        """Run the job."""
        with self.in_job() as commits:
            self.jobs._cron_charge()
        return commits

    def attempts(self, move):
        return self.env["billing.payment.attempt"].search([("move_id", "=", move.id)], order="number")

    def later(self, move, days):
        """Move the next attempt so many days towards today."""
        move.sudo().billing_charge_date -= timedelta(days=days)
