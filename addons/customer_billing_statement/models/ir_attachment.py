from odoo import api, models
from odoo.exceptions import UserError

ISSUED_FILES = ("pdf", "xlsx", "signature")


class IrAttachment(models.Model):
    _inherit = "ir.attachment"

    @api.model_create_multi
    def create(self, vals_list):
        attachments = super().create(vals_list)
        if not self.env.su:
            attachments._check_not_of_statements()
        return attachments

    def write(self, vals):
        self._check_issued_statements()
        result = super().write(vals)
        if not self.env.su and {"res_model", "res_field"}.intersection(vals):
            self._check_not_of_statements()
        return result

    def unlink(self):
        self._check_issued_statements()
        return super().unlink()

    def _check_not_of_statements(self):
        """Only issuing a statement makes its files."""
        if self.filtered(lambda a: a.res_model == "billing.statement" and a.res_field):
            raise UserError(
                self.env._("The files of a statement are made when it is sent: attach others in a note.")
            )

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
