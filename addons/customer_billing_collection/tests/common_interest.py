from odoo import Command, fields

from odoo.addons.customer_billing.tests.common import BillingCommon


class InterestCommon(BillingCommon):
    """A policy of 36.5 % a year (a thousandth a day), cases, invoices and payments."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.usd = cls.company.currency_id
        cls.interest = cls.env["billing.interest"]
        cls.policy = cls.env["billing.dunning.policy"].create({"name": "Usual", "interest_rate": 0.365})
        cls.case = cls.new_case()
        cls.officer = cls.new_staff("officer", login="interest_officer")
        cls.collector = cls.new_staff("collector", login="interest_collector")
        cls.manager = cls.new_staff("manager", login="interest_manager")
        cls.second = cls.new_staff("manager", login="interest_second")

    @classmethod
    def new_case(cls, partner=None, currency=None, opened="2026-01-01", **values):
        case_sudo = cls.env["billing.case"].sudo().create(  # protected fields
            {
                "partner_id": (partner or cls.customer).id,
                "company_id": cls.company.id,
                "currency_id": (currency or cls.usd).id,
                "policy_id": cls.policy.id,
                "date_opened": opened,
                **values,
            }
        )
        return case_sudo.sudo(False)

    @classmethod
    def invoice(cls, amount, due="2026-01-31", partner=None, currency=None, post=True, **values):
        """An invoice of the first of the month without tax; a credit note when it is negative."""
        day = values.pop("day", fields.Date.to_date(due).replace(day=1))
        move = cls.env["account.move"].create(
            {
                "move_type": "out_invoice" if amount >= 0 else "out_refund",
                "partner_id": (partner or cls.customer).id,
                "invoice_date": day,
                "date": day,
                "invoice_date_due": due,
                "invoice_payment_term_id": False,
                "currency_id": (currency or cls.usd).id,
                "invoice_line_ids": [
                    Command.create({"name": "Service", "quantity": 1, "price_unit": abs(amount), "tax_ids": []})
                ],
                **values,
            }
        )
        if post:
            move.action_post()
        return move

    @classmethod
    def pay(cls, amount, day, invoices=None, partner=None, currency=None):
        """A posted payment, matched with ``invoices`` when given."""
        payment = cls.env["account.payment"].create(
            {
                "payment_type": "inbound",
                "partner_type": "customer",
                "partner_id": (partner or cls.customer).id,
                "amount": amount,
                "currency_id": (currency or cls.usd).id,
                "date": day,
                "journal_id": cls.company_data["default_journal_bank"].id,
            }
        )
        payment.action_post()
        if invoices:
            cls.match(payment.move_id | invoices)
        return payment.move_id

    @classmethod
    def item(cls, moves):
        return moves.line_ids.filtered(lambda line: line.account_id.account_type == "asset_receivable")

    @classmethod
    def match(cls, moves):
        cls.item(moves).filtered(lambda line: not line.reconciled).reconcile()

    @classmethod
    def accrue(cls, date, cases=None):
        return cls.interest._accrue(cls.company, fields.Date.to_date(date), cases)

    @classmethod
    def charge(cls, cases=None, date="2026-03-01"):
        """Bill what is pending; returns the bills."""
        return cls.interest._bill(cls.company, fields.Date.to_date(date), cases)

    def rows(self, entries):
        """What entries say, in order of days and revisions."""
        return [
            (str(entry.date_from), str(entry.date_to), entry.revision, entry.amount)
            for entry in entries.sorted(lambda entry: (entry.date_from, entry.revision))
        ]
