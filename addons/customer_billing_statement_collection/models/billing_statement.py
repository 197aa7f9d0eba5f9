import base64

from odoo import models


class BillingStatement(models.Model):
    _inherit = "billing.statement"

    def _get_issued_pdf(self):
        """The PDF as it was sent: bytes, read alone."""
        self.ensure_one()
        return base64.b64decode(self.with_prefetch().with_context(bin_size=False).pdf or b"")
