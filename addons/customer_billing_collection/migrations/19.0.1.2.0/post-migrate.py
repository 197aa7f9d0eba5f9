def migrate(cr, version):
    """The mail about a part that is due soon says where it is paid, in each language, as far as it has its button."""
    cr.execute(
        r"""UPDATE mail_template
               SET body_html = replace(
                       body_html::text, '<p style=\"margin: 16px 0px;\">',
                       '<t t-out=\"object._render_payment()\"/>\n    <p style=\"margin: 16px 0px;\">'
                   )::jsonb
             WHERE id IN (
                 SELECT res_id FROM ir_model_data
                  WHERE module = 'customer_billing_collection' AND name = 'mail_template_instalment_reminder'
             ) AND body_html::text NOT LIKE '%\_render\_payment%'"""
    )
