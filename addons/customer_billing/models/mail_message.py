from odoo import models


class MailMessage(models.Model):
    _inherit = "mail.message"

    # What was mailed for a company in the last hour is counted before each mail.
    _billing_company_date_idx = models.Index("(record_company_id, date) WHERE record_company_id IS NOT NULL")
