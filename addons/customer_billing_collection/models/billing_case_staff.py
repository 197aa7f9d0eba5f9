from odoo import api, fields, models
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

    collector_manual = fields.Boolean(
        string="Collector Chosen by a Person", readonly=True, copy=False,
        help="The nightly job does not pass the case on when another amount is overdue.",
    )  # fmt: skip
    collector_amount = fields.Monetary(
        string="Overdue When Assigned", currency_field="company_currency_id", readonly=True, copy=False,
        help="What the customer owed past its due date in all when the rules chose the collector; company currency.",
    )  # fmt: skip

    @property
    def _billing_protected(self):
        return super()._billing_protected | {"collector_manual", "collector_amount"}

    def write(self, vals):
        if "collector_id" in vals and not self.env.su:  # by a person
            super(BillingCase, self.sudo()).write({"collector_manual": bool(vals["collector_id"])})
        return super().write(vals)

    @api.model
    def _get_choices(self, company, questions):
        """Return who may collect from customers: its own collector; those of the first rule that fits; that of the
        company; else any with the role.

        :param questions: pairs of a customer and an amount that is overdue, in company currency
        :return: {pair: users, maybe none}
        """
        able = self._get_able_collectors(company)
        # sudo: settings, whoever asks
        rules_sudo = self.env["billing.collector.rule"].sudo().search([("company_id", "=", company.id)])
        default = company.sudo().billing_collector_id & able or self.env.ref(GROUP).sudo().user_ids & able
        partners_sudo = self.env["res.partner"].union(*(partner for partner, _amount in questions)).sudo()
        read_at_once = {partner_sudo.id: partner_sudo for partner_sudo in partners_sudo.with_company(company)}
        found = {}
        for partner, amount in questions:
            partner_sudo = read_at_once[partner.id]
            fitting = (rule.collector_ids & able for rule in rules_sudo if rule._is_for(partner_sudo, amount))
            own = partner_sudo.billing_collector_id & able
            found[partner, amount] = own or next(filter(None, fitting), default)
        return found

    @api.model
    def _get_collectors(self, company, amounts):
        """Choose a collector for each customer by ``_get_choices``. Of several, the one with the fewest open cases;
        cases of ``self`` do not count.

        :param dict amounts: what is overdue in company currency, by customer
        :return: {customer: user, maybe none}
        """
        choices = self._get_choices(company, list(amounts.items()))
        found = {partner: users for (partner, _amount), users in choices.items()}
        several = [users for users in found.values() if len(users) > 1]
        counts = self._count_cases(self.env["res.users"].union(*several))
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
        left = self.browse()
        for company, cases in self.grouped("company_id").items():
            sums = self.sudo()._read_group(  # sudo: a customer in all
                [*self._get_open_domain(), ("company_id", "=", company.id), ("partner_id", "in", cases.partner_id.ids)],
                ["partner_id"],
                ["amount_overdue_company:sum"],
            )
            amounts = {**dict.fromkeys(cases.partner_id, 0.0), **{p.with_env(self.env): amount for p, amount in sums}}
            left += cases._assign(cases._get_collectors(company, amounts), amounts)
        return left

    def _assign(self, users, amounts):
        """Let users take over these cases of a company; returns the cases that nobody can take.

        :param dict users: by customer, maybe none
        :param dict amounts: what is overdue in company currency, by customer
        """
        moved, left = {}, self.browse()
        for case in self:
            user = users[case.partner_id]
            if not user:
                left += case
            elif user != case.collector_id:
                moved.setdefault((case.collector_id, user), []).append(case.id)
        for (before, user), ids in moved.items():
            self.browse(ids)._pass_on(before, user, amounts)
        for case_sudo in (self - left).sudo():  # protected fields
            case_sudo.write({"collector_manual": False, "collector_amount": amounts[case_sudo.partner_id]})
        return left

    def _follow_amounts(self, company, amounts):
        """Pass on the cases for which the rules name somebody else than when they were assigned, since another amount
        is overdue; not those whose collector a person has chosen. The number of queries does not depend on how many.

        :param dict amounts: what is overdue in company currency, by customer
        """
        domain = [("company_id", "=", company.id), ("amount_from", ">", 0)]
        if not self.env["billing.collector.rule"].sudo().search_count(domain, limit=1):  # sudo: a setting
            return
        cases = self.filtered(lambda case: case.collector_id and not case.collector_manual)
        then = {case: (case.partner_id, case.collector_amount) for case in cases}
        now = {case: (case.partner_id, amounts[case.partner_id]) for case in cases}
        choices = self._get_choices(company, {*then.values(), *now.values()})
        cases = cases.filtered(
            lambda case: case.collector_id not in choices[now[case]] and choices[now[case]] != choices[then[case]]
        )
        if cases:
            own = {partner: amounts[partner] for partner in cases.partner_id}
            cases._assign(cases._get_collectors(company, own), own)

    def _pass_on(self, before, user, amounts):
        """Let a user take over these cases, with the tasks and the place among the followers of who had them.

        :param dict amounts: what is overdue in company currency, by customer
        """
        cases_sudo = self.sudo()  # tasks of somebody else
        able = self._get_able_collectors(self.company_id[:1])
        cases_sudo.with_context(mail_notrack=True).write({"collector_id": user.id})
        if before:
            tasks_sudo = cases_sudo.activity_ids.filtered(lambda task: task.user_id == before)
            tasks_sudo.with_context(mail_activity_quick_update=True).user_id = user  # told by the note
            cases_sudo.message_unsubscribe(before.sudo().partner_id.ids)
        bodies = {case.id: case._explain_collector(before, user, able, amounts[case.partner_id]) for case in self}
        self._message_log_batch(bodies=bodies)

    def _explain_collector(self, before, user, able, amount):
        """Why this case goes from one user to another, as a text."""
        names = {"before": before.sudo().name or self.env._("nobody"), "after": user.name}
        if before and before not in able:
            return self.env._(
                "Collector: %(before)s → %(after)s, by rule; %(before)s does not collect any more.", **names
            )
        currency = self.company_currency_id
        if not before or self.collector_manual or not currency.compare_amounts(amount, self.collector_amount):
            return self.env._("Collector: %(before)s → %(after)s, by rule.", **names)
        return self.env._(
            "Collector: %(before)s → %(after)s, by rule: %(now)s are overdue in all, %(then)s when it was assigned.",
            now=currency.format(amount), then=currency.format(self.collector_amount), **names,
        )  # fmt: skip
