from odoo import models
from odoo.tools import formatLang


class ResCurrency(models.Model):
    _inherit = "res.currency"

    def _format_exact(self, amount):
        """``amount`` (a unit price in this currency) with all its decimals, in the user's language."""
        digits, number = self.decimal_places, float(amount)
        while digits < 12 and abs(round(number, digits) - number) > 1e-12:
            digits += 1
        text = formatLang(self.env, number, digits=digits)
        if self.position == "after":
            return f"{text}\N{NO-BREAK SPACE}{self.symbol}"
        return f"{self.symbol}\N{NO-BREAK SPACE}{text}"
