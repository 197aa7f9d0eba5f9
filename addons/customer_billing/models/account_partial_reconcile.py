from odoo import models


class AccountPartialReconcile(models.Model):
    _inherit = "account.partial.reconcile"

    # balances on a past date add back the matches that came later
    _billing_max_date_index = models.Index("(max_date)")
