from odoo import Command, fields

from odoo.addons.customer_billing.tests.common import BillingCommon


class StatementCommon(BillingCommon):
    """Customers with invoices and payments, and statements of them."""

    with_pdf = False  # whether wkhtmltopdf makes the PDF; else it is the HTML

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not cls.with_pdf:
            cls.classPatch(cls.registry["billing.statement"], "_convert_to_pdf", lambda _self, html: html.encode())
        cls.company.billing_statement_user_id = cls.env.user
        cls.receivable = cls.company_data["default_account_receivable"]

    @classmethod
    def invoice(cls, date, amount, partner=None, currency=None, due=None, post=True, **values):
        """A posted invoice of ``amount`` without tax; a credit note when it is negative."""
        move = cls.env["account.move"].create(
            {
                "move_type": "out_invoice" if amount >= 0 else "out_refund",
                "partner_id": (partner or cls.customer).id,
                "invoice_date": date,
                "date": date,
                "invoice_date_due": due or date,
                "currency_id": (currency or cls.company.currency_id).id,
                "invoice_line_ids": [
                    Command.create(
                        {"name": "Service", "quantity": 1, "price_unit": abs(amount), "tax_ids": []}
                    )
                ],
                **values,
            }
        )
        if post:
            move.action_post()
        return move

    @classmethod
    def pay(cls, date, amount, partner=None, currency=None, invoices=None):
        """A posted payment; matched with ``invoices`` when given."""
        payment = cls.env["account.payment"].create(
            {
                "payment_type": "inbound",
                "partner_type": "customer",
                "partner_id": (partner or cls.customer).id,
                "amount": amount,
                "currency_id": (currency or cls.company.currency_id).id,
                "date": date,
                "journal_id": cls.company_data["default_journal_bank"].id,
            }
        )
        payment.action_post()
        if invoices:
            cls.match(payment.move_id, invoices)
        return payment.move_id

    @classmethod
    def match(cls, *moves):
        lines = cls.env["account.move.line"].union(*(move.line_ids for move in moves))
        lines.filtered(lambda line: line.account_type == "asset_receivable").reconcile()

    @classmethod
    def statement(cls, date_from="2026-01-01", date_to="2026-01-31", **values):
        return cls.env["billing.statement"].create(
            {"partner_id": cls.customer.id, "date_from": date_from, "date_to": date_to, **values}
        )

    @classmethod
    def sent(cls, *args, **values):
        """A statement that was checked and sent."""
        statement = cls.statement(*args, **values)
        statement.action_check()
        statement.action_send()
        assert statement.state == "sent", statement.exception_ids.mapped("message")
        return statement

    @classmethod
    def new_statement_run(cls, date_from="2026-01-01", date_to="2026-01-31", **values):
        return cls.env["billing.statement.run"].create(
            {
                "company_id": cls.company.id,
                "frequency": "monthly",
                "date_from": date_from,
                "date_to": date_to,
                **values,
            }
        )

    def day(self, text):
        return fields.Date.to_date(text)
