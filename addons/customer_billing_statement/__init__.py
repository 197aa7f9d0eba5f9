from odoo.addons.base.models.ir_model import MODULE_UNINSTALL_FLAG

from . import controllers, models, wizard


def _uninstall_hook(env):
    """What is about statements alone goes with them; the base knows bills only."""
    env["billing.dispute"].search([("move_id", "=", False)]).unlink()
    exceptions = env["billing.exception"].search([("check_id.source", "=", "statement")])
    exceptions.with_context(**{MODULE_UNINSTALL_FLAG: True}).unlink()
