from odoo import fields, models


class BillingDunningStep(models.Model):
    _inherit = "billing.dunning.step"

    channel = fields.Selection(selection_add=[("sms", "SMS")], ondelete={"sms": "set default"})
    sms_template_id = fields.Many2one(
        "sms.template", string="SMS Text", domain=[("model", "=", "billing.dunning.notice")], ondelete="restrict",
        help="Translated for each language; empty: a short reminder with a link.",
    )  # fmt: skip
