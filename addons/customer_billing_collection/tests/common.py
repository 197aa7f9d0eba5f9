from odoo import Command, fields

from odoo.addons.customer_billing.tests.common import BillingCommon


class CollectionCommon(BillingCommon):
    """Customers with invoices, a policy of a company, and the nightly job by hand."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.classPatch(cls.registry["billing.dunning.notice"], "_convert_to_pdf", lambda _self, html: html.encode())
        cls.receivable = cls.company_data["default_account_receivable"]
        cls.policy = cls.new_policy()
        cls.company.billing_dunning_policy_id = cls.policy
        cls.collector = cls.new_staff("collector", login="col_ann")
        cls.company.billing_collector_id = cls.collector

    @classmethod
    def new_policy(cls, *steps, **values):
        """A policy without days off; steps are dicts of values, by default five of all channels."""
        steps = steps or (
            {"name": "Before", "days": -3},
            {"name": "Friendly", "days": 3},
            {"name": "Call", "days": 10, "channel": "call"},
            {"name": "Second", "days": 20},
            {"name": "Final", "days": 30, "channel": "letter"},
        )
        return cls.env["billing.dunning.policy"].create(
            {
                "name": "Test",
                "company_id": cls.company.id,
                "calendar_id": False,
                "step_ids": [Command.create({"channel": "email", **step}) for step in steps],
                **values,
            }
        )

    @classmethod
    def step(cls, name, policy=None):
        return (policy or cls.policy).step_ids.filtered(lambda step: step.name == name)

    @classmethod
    def invoice(cls, due, amount, partner=None, currency=None, date=None, post=True, **values):
        """A posted invoice of ``amount`` without tax; a credit note when it is negative."""
        date = date or min(fields.Date.to_date(due), fields.Date.to_date("2026-01-01"))
        move = cls.env["account.move"].create(
            {
                "move_type": "out_invoice" if amount >= 0 else "out_refund",
                "partner_id": (partner or cls.customer).id,
                "invoice_date": date,
                "date": date,
                "invoice_date_due": due,
                "currency_id": (currency or cls.company.currency_id).id,
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
    def item(cls, move):
        """The receivable line of a document with one due date."""
        return move.line_ids.filtered(lambda line: line.account_type == "asset_receivable")

    def night(self, send=True):
        """The nightly job of the test's company; then what is queued is sent."""
        self.company.write({"billing_dunning_date": False, "billing_dunning_partner": 0})
        with self.in_job():
            self.env["billing.case"]._work_night(self.company)
        if send:
            self.send()
        self.env.cr.precommit.run()

    def send(self):
        with self.in_job():
            self.env["billing.dunning.notice"]._cron_send()

    @classmethod
    def case(cls, partner=None, **values):
        """The last case of a customer."""
        domain = [("partner_id", "=", (partner or cls.customer).id), ("company_id", "=", cls.company.id)]
        domain += [(name, "=", value) for name, value in values.items()]
        return cls.env["billing.case"].search(domain, order="id desc", limit=1)

    @classmethod
    def sent(cls, case=None):
        """Names of the steps that were carried out, in order."""
        case = case or cls.case()
        return [notice.step_id.name for notice in case.notice_ids.sorted("id") if notice.state == "sent"]

    def skipped(self, case=None):
        case = case or self.case()
        return case.notice_ids.filtered(lambda n: n.state == "skipped").mapped("reason_code")
