import re

from odoo import fields, models

NUMBER = re.compile(r"\+?[\d\s().\-/]{6,30}")


class ResPartner(models.Model):
    _inherit = "res.partner"

    billing_channel = fields.Selection(selection_add=[("sms", "SMS")])

    def _get_billing_sms_number(self):
        """The number of this contact in international form; False when it has none or it is no number."""
        self.ensure_one()
        if not self.phone or not NUMBER.fullmatch(self.phone.strip()):
            return False  # also where Odoo cannot check numbers
        return self._phone_format(number=self.phone)
