from odoo import api, fields, models
from odoo.tools import format_date

MODULE = "customer_billing_collection"


class BillingHealth(models.TransientModel):
    _inherit = "billing.health"

    @api.model
    def _get_health_items(self):
        return [*super()._get_health_items(), *self._get_collection_items()]

    @api.model
    def _get_collection_items(self):
        """The last night of collections, and what waits or has failed."""
        return [
            self._get_dunning_night_item(),
            self._count_collection_item(
                self.env._("Reminders that could not be sent"),
                [("state", "=", "failed")],
                "billing.dunning.notice", "billing_dunning_notice_action",
                self.env._("Correct what is wrong, then send them again."),
                "danger",
            ),
            self._count_collection_item(
                self.env._("Reminders in the queue for more than an hour"),
                [("state", "=", "queued"), ("channel", "!=", "letter"), ("write_date", "<", self._get_limit(hours=1))],
                "billing.dunning.notice", "billing_dunning_notice_action",
                self.env._("They wait for a working day, or the scheduled action does not run."),
            ),
            self._count_collection_item(
                self.env._("Letters to print"),
                [("state", "=", "queued"), ("channel", "=", "letter")],
                "billing.dunning.notice", "billing_dunning_notice_action",
                self.env._("Select them and press Print Letters."),
                "info",
            ),
            self._count_collection_item(
                self.env._("Reminders that wait for a person"),
                [("state", "=", "proposed")],
                "billing.dunning.notice", "billing_dunning_notice_action",
                self.env._("Look through them and send or approve them."),
                "info",
            ),
            self._count_collection_item(
                self.env._("Cases that the job could not work on"),
                [("error", "!=", False), ("state", "not in", ("closed", "written_off"))],
                "billing.case", "billing_case_action",
                self.env._("The reason is on the case."),
                "danger",
            ),
            self._count_collection_item(
                self.env._("Cases without a collector"),
                [("collector_id", "=", False), ("state", "not in", ("closed", "written_off"))],
                "billing.case", "billing_case_action",
                self.env._("Give users the role Collector; the next night assigns them, by the collector rules."),
            ),
        ]  # fmt: skip

    @api.model
    def _count_collection_item(self, label, domain, model, xmlid, hint, severity="warning"):
        item = self._count_item(label, domain, model, xmlid, hint, severity)
        item["action"]["xmlid"] = f"{MODULE}.{xmlid}"
        return item

    @api.model
    def _get_dunning_night_item(self):
        """When the nightly job has last been through all customers."""
        # sudo: the user reads health pages of these companies
        companies = self.env.companies.sudo().filtered("billing_dunning_policy_id")
        nights = companies.mapped("billing_dunning_date")
        # sudo: jobs are read by administrators only; before the first night nothing is late
        installed = self.env.ref(f"{MODULE}.ir_cron_nightly").sudo().create_date.date()
        limit = fields.Date.to_date(self._get_limit_day(1))
        late = [night for night in nights if (night or installed) < limit]
        return {
            "label": self.env._("Last night of collections"),
            "value": format_date(self.env, min(filter(None, nights), default=False)) or self.env._("Not yet"),
            "severity": "info" if not companies else "warning" if late else "ok",
            "hint": self.env._("The scheduled action “Collections: nightly job” does not run.") if late else "",
        }
