from odoo import api, models
from odoo.exceptions import AccessError, UserError

GROUP = "customer_billing.group_billing_collector"


class BillingCase(models.Model):
    """Who works on a case, and who takes over."""

    _name = "billing.case"
    _inherit = "billing.case"

    @api.model
    def _get_able_collectors(self, company):
        """The users who may collect for a company: active, in the company, with the role (managers have it too)."""
        # sudo: settings, whoever asks
        return self.env["res.users"].sudo().search(
            [("all_group_ids", "in", self.env.ref(GROUP).ids), ("company_ids", "in", company.ids)], order="id"
        )

    @api.model
    def _get_collectors(self, company, amounts):
        """Choose a collector for each customer: its own; by the first rule that fits; that of the company; else any
        with the role. Of several, the one with the fewest open cases; cases of ``self`` do not count.

        :param dict amounts: what is overdue in company currency, by customer
        :return: {customer: user, maybe none}
        """
        able = self._get_able_collectors(company)
        # sudo: settings, whoever asks
        rules_sudo = self.env["billing.collector.rule"].sudo().search([("company_id", "=", company.id)])
        default = company.sudo().billing_collector_id & able or self.env.ref(GROUP).sudo().user_ids & able
        found = {}
        for partner_sudo in self.env["res.partner"].union(*amounts).sudo().with_company(company):  # read at once
            amount = amounts[partner_sudo]
            fitting = (rule.collector_ids & able for rule in rules_sudo if rule._is_for(partner_sudo, amount))
            own = partner_sudo.billing_collector_id & able
            found[partner_sudo.with_env(self.env)] = own or next(filter(None, fitting), default)
        counts = self._count_cases(able[:0].union(*(users for users in found.values() if len(users) > 1)))
        result = {}
        for partner, users in found.items():
            result[partner] = min(users.sorted("id"), key=lambda user: counts.get(user, 0), default=users)
            if result[partner]:
                counts[result[partner]] = counts.get(result[partner], 0) + 1
        return result

    def _count_cases(self, users):
        """The number of open cases of each user, but those of ``self``."""
        domain = [*self._get_open_domain(), ("collector_id", "in", users.ids), ("id", "not in", self.ids)]
        # sudo: the load of colleagues
        return dict(self.sudo()._read_group(domain, ["collector_id"], ["__count"])) if users else {}

    def action_reassign(self):
        """Give the open ones of these cases to whom the rules say, also those that have a collector. For billing
        managers.

        :raises AccessError: the user is not a billing manager
        :raises UserError: nobody can take a case
        """
        self.check_access("write")
        if not self.env.user.has_group("customer_billing.group_billing_manager"):
            raise AccessError(self.env._("Only billing managers assign collectors by rule: ask one."))
        left = self.search([*self._get_open_domain(), ("id", "in", self.ids)])._assign_collectors()
        if left:
            raise UserError(
                self.env._(
                    "Nobody can take %(case)s: give a user of %(company)s the role Collector.",
                    case=left[0].display_name,
                    company=left[0].company_id.name,
                )
            )
        return True

    @api.model
    def _before_night(self, company):
        """Cases whose collector is archived, or collects no more, go to somebody else; those without one too."""
        super()._before_night(company)
        able = self._get_able_collectors(company)
        domain = [*self._get_open_domain(), ("company_id", "=", company.id), ("collector_id", "not in", able.ids)]
        self.search(domain)._assign_collectors()

    def _assign_collectors(self):
        """Set the collectors of these cases by the rules, with their tasks, and tell it on the cases that change.

        :return: the cases that nobody can take
        """
        moved, left = {}, self.browse()
        for company, cases in self.grouped("company_id").items():
            amounts = dict.fromkeys(cases.partner_id, 0.0)
            for case in cases:
                amounts[case.partner_id] += case.amount_overdue_company
            users = cases._get_collectors(company, amounts)
            for case in cases:
                user = users[case.partner_id]
                if not user:
                    left += case
                elif user != case.collector_id:
                    moved.setdefault((case.collector_id, user), []).append(case.id)
        for (before, user), ids in moved.items():
            self.browse(ids)._pass_on(before, user)
        return left

    def _pass_on(self, before, user):
        """Let a user take over these cases, with the tasks and the place among the followers of who had them."""
        cases_sudo = self.sudo()  # tasks of somebody else
        able = self._get_able_collectors(self.company_id[:1])
        cases_sudo.with_context(mail_notrack=True).write({"collector_id": user.id})
        if before:
            tasks_sudo = cases_sudo.activity_ids.filtered(lambda task: task.user_id == before)
            tasks_sudo.with_context(mail_activity_quick_update=True).user_id = user  # told by the note
            cases_sudo.message_unsubscribe(before.sudo().partner_id.ids)
        if before and before not in able:
            body = self.env._(
                "Collector: %(before)s → %(after)s, by rule; %(before)s does not collect any more.",
                before=before.sudo().name,
                after=user.name,
            )
        else:
            name = before.sudo().name or self.env._("nobody")
            body = self.env._("Collector: %(before)s → %(after)s, by rule.", before=name, after=user.name)
        self._message_log_batch(bodies=dict.fromkeys(self.ids, body))
