from odoo import models
from odoo.tools import SQL


class BillingDispute(models.Model):
    _inherit = "billing.dispute"

    def _get_disputed_move_lines(self, move_line_ids):
        """Also the items whose lines on a statement are disputed."""
        disputed = super()._get_disputed_move_lines(move_line_ids)
        if not move_line_ids:
            return disputed
        self.env["billing.statement.line"].flush_model(["move_line_id"])
        rows = self.env.execute_query(
            SQL(
                """SELECT line.move_line_id FROM billing_statement_line line
                     JOIN billing_dispute dispute ON dispute.statement_line_id = line.id AND dispute.state = 'open'
                    WHERE line.move_line_id = ANY(%s)""",
                list(move_line_ids),
            )
        )
        return disputed | {line for (line,) in rows}
