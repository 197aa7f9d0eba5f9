from markupsafe import Markup

from odoo import models
from odoo.exceptions import UserError
from odoo.tools import format_date

from odoo.addons.customer_billing.models.ir_actions_report import CJK_FONTS, NO_SCRIPT_DELAY
from odoo.addons.customer_billing.tools.qr import qr_data_uri

from .billing_case_night import WAITING

REPORT = "customer_billing_collection.report_dunning_letter_action"
MARGIN = 15  # millimetres above and below


class BillingDunningNotice(models.Model):
    """What the customer reads: texts, items, and where to pay."""

    _name = "billing.dunning.notice"
    _inherit = "billing.dunning.notice"

    def _get_template(self):
        """The mail template of the step, as superuser: whoever sends need not read templates.

        :raises UserError: the step has none, and the usual one was deleted
        """
        self.ensure_one()
        step_sudo = self.step_id.sudo()
        name = "mail_template_reminder" if step_sudo.days > 0 else "mail_template_before_due"
        template_sudo = step_sudo.template_id or self.env.ref(
            f"customer_billing_collection.{name}", raise_if_not_found=False
        )
        if not template_sudo:
            raise UserError(
                self.env._(
                    "The text of step “%(step)s” was deleted: choose a template for the step in policy “%(policy)s”, "
                    "then send again.",
                    step=step_sudo.name,
                    policy=step_sudo.policy_id.name,
                )
            )
        return template_sudo.sudo()

    def _get_document_lines(self):
        """What the list of items shows: dicts of ``number, date, due, days_overdue, amount`` (text), ``is_credit``."""
        return [
            {
                "number": line.number or line.move_id.name or "",
                "ref": line.move_id.ref or "",
                "date": format_date(self.env, line.move_id.invoice_date or line.move_id.date),
                "due": format_date(self.env, line.date_maturity) if line.amount > 0 else "",
                "days_overdue": max(line.days_overdue, 0) if line.amount > 0 else 0,
                "amount": self.currency_id.format(line.amount),
                "is_credit": line.amount < 0,
            }
            for line in self.sudo().line_ids  # the customer's own items
        ]

    def _get_payment_url(self):
        """Where what this notice demands is paid, no more and no less; False without a bill among its items."""
        self.ensure_one()
        # sudo: the customer's own bills
        moves_sudo = self.sudo().line_ids.filtered(lambda line: line.amount > 0).move_id
        bills_sudo = moves_sudo.filtered(lambda move: move.move_type in ("out_invoice", "out_receipt"))
        return bills_sudo and bills_sudo._get_payment_url(self.amount)

    def _render_items(self):
        """The list of items with the total, for the text of mails and letters; a section for each currency."""
        self.ensure_one()
        joint = self._get_joint()
        return Markup("").join(
            self.env["ir.qweb"]._render(
                "customer_billing_collection.dunning_items", {"notice": notice, "is_joint": len(joint) > 1}
            )
            for notice in joint
        )

    def _render_payment(self):
        """How to pay: link and QR code, for the text of mails and letters; for each currency."""
        self.ensure_one()
        joint = self._get_joint()
        return Markup("").join(notice._render_own_payment(len(joint) > 1) for notice in joint)

    def _render_own_payment(self, is_joint):
        url = self._get_payment_url()
        return self.env["ir.qweb"]._render(
            "customer_billing_collection.dunning_payment",
            {
                "notice": self,
                "is_joint": is_joint,
                "url": url,
                "qr_code": url and qr_data_uri(url),
                "account": self.company_id.sudo().partner_id.bank_ids[:1],
                "is_letter": self.env.context.get("billing_dunning_letter"),
            },
        )

    # The letter

    def _render_letter(self):
        """The letter as PDF, in the customer's language.

        :raises UserError: wkhtmltopdf is not there, or has failed
        """
        return self._convert_to_pdf(self._render_letter_html())

    def _convert_to_pdf(self, html):
        report = self.env["ir.actions.report"].with_context(billing_script_delay=NO_SCRIPT_DELAY)
        if report.get_wkhtmltopdf_state() == "install":
            raise UserError(self.env._("No PDF can be made: install wkhtmltopdf on the server."))
        return report._run_wkhtmltopdf(
            [html],
            report_ref=REPORT,
            specific_paperformat_args={
                "data-report-margin-top": MARGIN,
                "data-report-margin-bottom": MARGIN,
                "data-report-header-spacing": 0,
            },
        )

    def _preview_letters(self):
        """These letters, which were not printed, as they would be: list of recordsets, one for each document. The first
        notice of each knows the others."""
        waiting = self.filtered(lambda notice: notice.state in WAITING)
        groups = waiting._add_joint(WAITING)._group_joint() + list(self - waiting)
        return [group.with_context(billing_dunning_joint=group.ids) for group in groups]

    def _render_letter_html(self):
        """The letter as HTML that needs nothing from elsewhere."""
        self.ensure_one()
        recipient = self.case_id.partner_id._get_dunning_contact()
        lang = recipient.lang or self.env.lang
        notice = self.with_context(lang=lang, billing_dunning_letter=True)
        template_sudo = self._get_template().with_context(lang=lang, billing_dunning_letter=True)
        [subject] = template_sudo._render_field("subject", notice.ids, set_lang=lang).values()
        [body] = template_sudo._render_field("body_html", notice.ids, set_lang=lang).values()
        cjk = CJK_FONTS.get(lang, CJK_FONTS[""])
        return notice.env["ir.qweb"]._render(
            "customer_billing_collection.dunning_letter",
            {
                "notice": notice,
                "company": notice.company_id.sudo(),  # the letterhead, whoever prints
                "recipient": recipient.with_env(notice.env).sudo(),
                "subject": subject,
                "body": body,
                "date": format_date(notice.env, notice.company_id._get_billing_today()),
                "color": notice.company_id.sudo().primary_color or "#3c4858",
                "fonts": Markup('"Liberation Sans", Arial, "%s", sans-serif') % Markup(cjk),  # quotes stay as they are
            },
        )
