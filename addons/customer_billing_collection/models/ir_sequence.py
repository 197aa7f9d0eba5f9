from odoo import api, models
from odoo.exceptions import UserError
from odoo.tools import SQL


class IrSequence(models.Model):
    _inherit = "ir.sequence"

    @api.model
    def _get_billing_numbers(self, code, count, company):
        """Return the next ``count`` numbers of a sequence, by one statement where it allows gaps.

        :param company: its own sequence goes before the one for all companies
        :raises UserError: there is no such sequence
        """
        sequence_sudo = self.sudo().search(  # whoever needs a number
            [("code", "=", code), ("company_id", "in", (company.id, False))], order="company_id", limit=1
        )
        if not sequence_sudo:
            raise UserError(
                self.env._(
                    "There is no number sequence “%(code)s” for %(company)s: make one in Settings › Technical › "
                    "Sequences.",
                    code=code,
                    company=company.name,
                )
            )
        if sequence_sudo.implementation != "standard" or sequence_sudo.use_date_range:
            return [sequence_sudo.next_by_id() for _number in range(count)]
        name = f"ir_sequence_{sequence_sudo.id:03d}"
        numbers = self.env.execute_query(SQL("SELECT nextval(%s) FROM generate_series(1, %s)", name, count))
        return [sequence_sudo.get_next_char(number) for [number] in numbers]
