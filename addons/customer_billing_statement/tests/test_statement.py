from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged

from .common import StatementCommon


@tagged("post_install", "-at_install")
class TestSnapshot(StatementCommon):
    def test_activity_with_opening_movements_and_ageing(self):
        self.invoice("2025-11-10", 300.0)
        january = self.invoice("2026-01-05", 100.0, due="2026-02-04")
        payment = self.pay("2026-01-20", 40.0, invoices=january)
        statement = self.statement()
        self.assertEqual(statement.balance_open, 300.0)
        self.assertEqual((statement.amount_debit, statement.amount_credit), (100.0, 40.0))
        self.assertEqual(statement.balance_close, 360.0)
        self.assertEqual(statement.line_ids.mapped("number"), [january.name, payment.name])
        self.assertEqual(statement.line_ids.mapped("balance"), [400.0, 360.0])
        self.assertEqual(statement.line_ids.mapped("residual"), [60.0, 0.0])
        self.assertEqual(statement.bucket_0, 60.0)
        self.assertEqual(statement.bucket_3, 300.0)  # 82 days
        self.assertEqual(statement.amount_overdue, 300.0)
        statement.action_check()
        self.assertEqual(statement.state, "checked")
        statement.action_send()
        self.assertEqual(statement.state, "sent")
        self.assertTrue(statement.sha256 and statement.pdf and statement.xlsx)
        self.assertEqual(statement.action_verify()[0]["state"], "ok")
        statement.action_confirm("Ann Lee")
        self.assertEqual((statement.state, statement.confirm_name), ("confirmed", "Ann Lee"))
