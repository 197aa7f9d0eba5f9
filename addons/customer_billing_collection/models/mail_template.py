from odoo import api, models
from odoo.exceptions import UserError


class MailTemplate(models.Model):
    _inherit = "mail.template"

    @api.ondelete(at_uninstall=False)
    def _unlink_except_text_of_step(self):
        # sudo: steps of companies that the user may not see count too
        steps_sudo = self.env["billing.dunning.step"].sudo().with_context(active_test=False)
        if step_sudo := steps_sudo.search([("template_id", "in", self.ids)], limit=1):
            raise UserError(
                self.env._(
                    "“%(template)s” is the text of step “%(step)s” of policy “%(policy)s”: choose another one there "
                    "first.",
                    template=step_sudo.template_id.name,
                    step=step_sudo.name,
                    policy=step_sudo.policy_id.name,
                )
            )
