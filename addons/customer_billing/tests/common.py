from contextlib import contextmanager
from unittest.mock import patch

from odoo import Command
from odoo.tests import new_test_user

from odoo.addons.account.tests.common import AccountTestInvoicingCommon
from odoo.addons.base.models.ir_cron import IrCron


class BillingCommon(AccountTestInvoicingCommon):
    """A company with a chart of accounts, plans, a product, and users of every role."""

    @classmethod
    def get_default_groups(cls):
        return super().get_default_groups() | cls.quick_ref(
            "customer_billing.group_billing_manager"
        )

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env = cls.env(
            context={**cls.env.context, "tracking_disable": True, "lang": "en_US"}
        )
        cls.company = cls.company_data["company"]
        cls.company.billing_approval = False
        cls.plan = cls.env["billing.plan"].create({"name": "Monthly"})
        cls.plan_month_end = cls.env["billing.plan"].create(
            {"name": "Calendar months", "anchor": "month_end"}
        )
        cls.plan_arrears = cls.env["billing.plan"].create(
            {"name": "Monthly in arrears", "timing": "arrears"}
        )
        cls.product = cls.env["product.product"].create(
            {
                "name": "Seat",
                "type": "service",
                "list_price": 100.0,
                "taxes_id": [Command.set(cls.company_data["default_tax_sale"].ids)],
            }
        )
        cls.customer = cls.env["res.partner"].create(
            {"name": "Customer One", "email": "one@customer.example"}
        )
        cls.other_customer = cls.env["res.partner"].create(
            {"name": "Customer Two", "email": "two@customer.example"}
        )

    @classmethod
    def new_staff(cls, *groups, login=None):
        """A user with billing groups, e.g. ``officer``."""
        names = [f"customer_billing.group_billing_{group}" for group in groups]
        return new_test_user(
            cls.env,
            login or f"test_{'_'.join(groups)}",
            groups=",".join(["base.group_user", *names]),
            company_id=cls.company.id,
            company_ids=[Command.set(cls.company.ids)],
        )

    @classmethod
    def new_portal(cls, partner, login):
        """A portal user for ``partner``."""
        return new_test_user(
            cls.env,
            login,
            groups="base.group_portal",
            password=login,
            partner_id=partner.id,
            company_id=cls.company.id,
            company_ids=[Command.set(cls.company.ids)],
        )

    @classmethod
    def new_contract(cls, date_start, lines=None, activate=True, **values):
        """An active contract with one line of 100 a month, unless told otherwise."""
        lines = lines or [{}]
        contract = cls.env["billing.contract"].create(
            {
                "partner_id": cls.customer.id,
                "plan_id": cls.plan.id,
                "date_start": date_start,
                "line_ids": [
                    Command.create({"product_id": cls.product.id, **line}) for line in lines
                ],
                **values,
            }
        )
        if activate:
            contract.action_activate()
        return contract

    @classmethod
    def new_run(cls, date, contracts=None, **values):
        """A draft run up to ``date``, for ``contracts`` only when given."""
        return cls.env["billing.run"].create(
            {
                "company_id": cls.company.id,
                "date": date,
                "invoice_date": date,
                "contract_ids": [Command.set(contracts.ids)] if contracts else False,
                **values,
            }
        )

    @classmethod
    def bill(cls, date, contracts=None, post=True):
        """Propose, generate and (unless told otherwise) post a run; returns it."""
        run = cls.new_run(date, contracts)
        run.action_propose()
        run.action_generate()
        if post and run.move_ids:
            run.action_approve()
            run.action_post()
        return run

    @contextmanager
    def in_job(self):
        """Let cron methods run inside the test's transaction: their commits only count."""
        commits = []

        def commit_progress(_cron, processed=0, *, remaining=None, deactivate=False):
            commits.append(processed)
            return float("inf")

        with patch.object(IrCron, "_commit_progress", commit_progress):
            yield commits
