from odoo import api, models


class BillingDunningNotice(models.Model):
    """One message for a customer and step: notices of cases in several currencies go out together."""

    _name = "billing.dunning.notice"
    _inherit = "billing.dunning.notice"

    @api.model
    def _get_joint_channels(self):
        """The channels whose messages hold several notices. Modules add theirs."""
        return {"email", "letter"}

    def _group_joint(self):
        """Divide notices into those that go out as one message: of one customer, company, step and channel, each of
        another case; that in company currency first. Returns a list of recordsets."""
        groups, known = {}, set()
        for notice in self.sorted(lambda notice: notice.currency_id != notice.company_id.currency_id):
            key = notice._get_joint_key()
            if notice.channel not in self._get_joint_channels() or (key, notice.case_id) in known:
                key = notice.id
            known.add((key, notice.case_id))
            groups[key] = groups.get(key, self.browse()) + notice
        order = {notice: number for number, notice in enumerate(self)}
        return sorted(groups.values(), key=lambda group: min(order[notice] for notice in group))

    def _get_joint_key(self):
        return (self.partner_id, self.company_id, self.step_id, self.channel)

    def _add_joint(self, states):
        """These notices and, of each other case, the first one in ``states`` that makes one message with one of them.

        :param states: of the notices that are completed, and of those that are added
        """
        waiting = self.filtered(lambda notice: notice.state in states and notice.channel in self._get_joint_channels())
        wanted = {notice._get_joint_key() for notice in waiting}
        known = {(notice._get_joint_key(), notice.case_id) for notice in self}
        domain = [
            ("partner_id", "in", waiting.partner_id.ids),
            ("step_id", "in", waiting.step_id.ids),
            ("channel", "in", waiting.mapped("channel")),
            ("state", "in", list(states)),
            ("id", "not in", self.ids),
        ]
        result = self
        for notice in self.search(domain, order="id") if waiting else ():
            key = notice._get_joint_key()
            if key in wanted and (key, notice.case_id) not in known:
                known.add((key, notice.case_id))
                result += notice
        return result

    def _get_joint(self):
        """The notices that go out in the message of this one, itself among them."""
        self.ensure_one()
        joint = self.browse(self.env.context.get("billing_dunning_joint", ()))
        return joint if self in joint else self

    def _get_amount_text(self):
        """What the message of this notice demands: an amount for each currency."""
        return " + ".join(notice.currency_id.format(notice.amount) for notice in self._get_joint())

    def _log_joint(self):
        """Tell on the cases of the others that their notices went out in the message of the first one."""
        for notice in self[1:]:
            notice.case_id._message_log(
                body=self.env._(
                    "%(step)s over %(amount)s: sent in one message with %(other)s, see %(case)s.",
                    step=notice.step_id.name,
                    amount=notice.currency_id.format(notice.amount),
                    other=self[0].name,
                    case=self[0].case_id.name,
                )
            )
