from odoo import models
from odoo.exceptions import UserError

ISSUED_FILES = ("pdf", "xlsx")


class IrAttachment(models.Model):
    _inherit = "ir.attachment"

    def write(self, vals):
        self._check_issued_statements()
        return super().write(vals)

    def unlink(self):
        self._check_issued_statements()
        return super().unlink()

    def _check_issued_statements(self):
        """The files of an issued statement are not changed around the statement either."""
        files_sudo = self.sudo().filtered(  # which file it is does not depend on who asks
            lambda a: a.res_model == "billing.statement" and a.res_field in ISSUED_FILES
        )
        if not files_sudo:
            return
        statements_sudo = self.env["billing.statement"].sudo().browse(files_sudo.mapped("res_id"))
        for statement in statements_sudo.exists():
            if statement.date_sent:
                raise UserError(
                    self.env._("Statement %s was issued: its files stay as they are.", statement.name)
                )
