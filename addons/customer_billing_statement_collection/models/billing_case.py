from odoo import models

ISSUED = ("sent", "confirmed", "disputed", "superseded")


class BillingCase(models.Model):
    _inherit = "billing.case"

    def _get_handover_documents(self):
        """Also the statements that were issued to the customer, its branches and contacts in the case's currency, as
        they were sent."""
        yield from super()._get_handover_documents()
        statements = self.env["billing.statement"].search(
            [
                ("partner_id.commercial_partner_id", "=", self.partner_id.id),
                ("company_id", "child_of", self.company_id.id),
                ("currency_id", "=", self.currency_id.id),
                ("state", "in", ISSUED),
            ],
            order="date_to, id",
        )
        for statement in statements:
            yield f"statements/{statement.pdf_name}", statement._get_issued_pdf
