from odoo import Command, fields

from odoo.addons.customer_billing.tests.common import BillingCommon


class FactsCommon(BillingCommon):
    """A customer with a case, and helpers for invoices and payments."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.other_currency = cls.setup_other_currency("EUR")
        cls.today = cls.company._get_billing_today()
        cls.collector = cls.new_staff("collector", login="facts_collector")
        cls.policy = cls.env["billing.dunning.policy"].create(
            {
                "name": "Usual", "company_id": cls.company.id, "hold_allowed": True, "calendar_id": False,
                "step_ids": [Command.create({"name": "Reminder", "days": 5})],
            }
        )  # fmt: skip
        cls.company.billing_dunning_policy_id = cls.policy

    @classmethod
    def day(cls, offset):
        """Today plus some days."""
        return fields.Date.add(cls.today, days=offset)

    @classmethod
    def invoice(cls, amount, due=-10, date=None, partner=None, currency=None, **values):
        """A posted invoice (a credit note when negative) without tax; days count from today."""
        move = cls.env["account.move"].create(
            {
                "move_type": "out_invoice" if amount >= 0 else "out_refund",
                "partner_id": (partner or cls.customer).id,
                "invoice_date": cls.day(min(due, 0) if date is None else date),
                "invoice_date_due": cls.day(due),
                "invoice_payment_term_id": False,
                "currency_id": (currency or cls.company.currency_id).id,
                "invoice_line_ids": [
                    Command.create({"name": "Service", "quantity": 1, "price_unit": abs(amount), "tax_ids": []})
                ],
                **values,
            }
        )
        move.action_post()
        return move

    @classmethod
    def item(cls, *moves):
        """The receivable lines of documents."""
        lines = cls.env["account.move.line"].union(*(move.line_ids for move in moves))
        return lines.filtered(lambda line: line.account_type == "asset_receivable")

    @classmethod
    def pay(cls, amount, *moves, date=0, partner=None, currency=None):
        """A posted payment, matched with ``moves`` when given; returns its entry."""
        payment = cls.env["account.payment"].create(
            {
                "payment_type": "inbound",
                "partner_type": "customer",
                "partner_id": (partner or cls.customer).id,
                "amount": amount,
                "currency_id": (currency or cls.company.currency_id).id,
                "date": cls.day(date),
                "journal_id": cls.company_data["default_journal_bank"].id,
            }
        )
        payment.action_post()
        if moves:
            cls.match(payment.move_id, *moves)
        return payment.move_id

    @classmethod
    def match(cls, *moves):
        """Match the items of documents; what follows from it happens before the commit."""
        cls.item(*moves).reconcile()
        cls.env.cr.precommit.run()

    @classmethod
    def unmatch(cls, *moves):
        cls.item(*moves).remove_move_reconcile()
        cls.env.cr.precommit.run()

    @classmethod
    def new_case(cls, partner=None, currency=None, **values):
        """An open case, as the nightly job makes it."""
        partner = partner or cls.customer
        return cls.env["billing.case"].sudo().create(
            {
                "partner_id": partner.id,
                "company_id": cls.company.id,
                "currency_id": (currency or cls.company.currency_id).id,
                "policy_id": cls.policy.id,
                "collector_id": cls.collector.id,
                "name": f"CASE-TEST-{partner.id}",
                "date_opened": cls.today,
                **values,
            }
        ).sudo(False)  # fmt: skip

    def new_promise(self, amount, days=5, case=None, **values):
        return self.env["billing.promise"].create(
            {"case_id": (case or self.case).id, "amount": amount, "date": self.day(days), **values}
        )

    def new_agreement(self, count=3, case=None, confirm=True, first=7, **values):
        """An agreement over all that is overdue, confirmed unless told otherwise."""
        agreement = self.env["billing.instalment"].create({"case_id": (case or self.case).id, **values})
        agreement.action_make_schedule(count, str(self.day(first)), 1, "week")
        if confirm:
            agreement.action_offer()
            agreement.action_confirm("Ann Lee", "by telephone")
        return agreement
