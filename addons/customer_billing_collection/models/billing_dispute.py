from odoo import api, models
from odoo.tools import SQL


class BillingDispute(models.Model):
    _inherit = "billing.dispute"

    @api.model_create_multi
    def create(self, vals_list):
        disputes = super().create(vals_list)
        disputes._note_collection_changes()
        return disputes

    def write(self, vals):
        result = super().write(vals)
        if "state" in vals:
            self._note_collection_changes()
        return result

    def _note_collection_changes(self):
        """Tell it on the cases of these customers, and let them be looked at again."""
        case_model = self.env["billing.case"].sudo()  # who objects need not read cases
        cases = case_model.search([*case_model._get_open_domain(), ("partner_id", "in", self.sudo().partner_id.ids)])
        labels = dict(self._fields["state"]._description_selection(self.env))
        for dispute in self.sudo() if cases else ():
            text = self.env._("Dispute “%(name)s”: %(state)s", name=dispute.name, state=labels[dispute.state])
            key = (dispute.partner_id, dispute.company_id.root_id, dispute.currency_id)
            for case in cases.filtered(lambda c, key=key: (c.partner_id, c.company_id, c.currency_id) == key):
                case._message_log(body=text)
                case._tell_dispute(dispute)
        case_model._note_changes(self.sudo().partner_id.ids)

    @api.model
    def _get_disputed_move_lines(self, move_line_ids):
        """Return which of these receivable lines are disputed now: a set of ids. Modules add those of their documents.

        :param move_line_ids: ids of receivable lines
        """
        if not move_line_ids:
            return set()
        self.flush_model(["move_id", "state"])
        return {
            line
            for [line] in self.env.execute_query(
                SQL(
                    """SELECT line.id FROM account_move_line line
                         JOIN billing_dispute dispute ON dispute.move_id = line.move_id AND dispute.state = 'open'
                        WHERE line.id = ANY(%s)""",
                    list(move_line_ids),
                )
            )
        }
