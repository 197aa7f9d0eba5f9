from odoo import SUPERUSER_ID, api


def migrate(cr, version):
    """Portal logins see all our companies that have contracts with their customer; so far that of the grant only."""
    api.Environment(cr, SUPERUSER_ID, {})["res.partner"]._open_all_billing_companies()
