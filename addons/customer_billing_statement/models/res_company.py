from odoo import fields, models

KINDS = [
    ("activity", "Activity"),
    ("open_item", "Open items"),
    ("balance_forward", "Balance forward"),
]
TEMPLATES = [
    ("standard", "Standard"),
    ("ageing", "With ageing"),
    ("contract", "By contract"),
]
FREQUENCIES = [
    ("none", "No statements"),
    ("weekly", "Weekly"),
    ("monthly", "Monthly"),
    ("quarterly", "Quarterly"),
    ("yearly", "Yearly"),
]


class ResCompany(models.Model):
    _inherit = "res.company"

    billing_statement_frequency = fields.Selection(
        FREQUENCIES,
        string="Statements",
        default="monthly",
        required=True,
        help="How often the nightly job prepares statements. A customer may have another rhythm.",
        groups="base.group_user",
    )
    billing_statement_kind = fields.Selection(
        KINDS, string="Kind of Statement", default="activity", required=True,
        groups="base.group_user",
    )
    billing_statement_template = fields.Selection(
        TEMPLATES, string="Statement Layout", default="standard", required=True,
        groups="base.group_user",
    )
    billing_statement_send = fields.Boolean(
        string="Send Statements Automatically",
        help="The nightly job sends what passed the self-check. Otherwise a person does.",
        groups="base.group_user",
    )
    billing_statement_zero = fields.Boolean(
        string="Statements Without Movement",
        help="Make a statement also when nothing moved and the balance is zero.",
        groups="base.group_user",
    )
    billing_statement_answer_days = fields.Integer(
        string="Days to Answer", default=10, help="From sending to the day the answer is due.",
        groups="base.group_user",
    )
    billing_statement_reminder_days = fields.Integer(
        string="Days Between Reminders",
        default=7,
        help="From sending to the first reminder, and between reminders. 0: no reminder.",
        groups="base.group_user",
    )
    billing_statement_reminder_max = fields.Integer(
        string="Number of Reminders",
        default=2,
        help="After the last one the person responsible gets a task.",
        groups="base.group_user",
    )
    billing_statement_user_id = fields.Many2one(
        "res.users",
        string="Responsible for Statements",
        domain=[("share", "=", False)],
        help="Where neither the customer nor its contracts name somebody.",
        groups="base.group_user",
    )

    _billing_statement_days = models.Constraint(
        "CHECK (billing_statement_answer_days >= 0 AND billing_statement_reminder_days >= 0 "
        "AND billing_statement_reminder_max >= 0)",
        "Days and numbers of reminders are not negative.",
    )
