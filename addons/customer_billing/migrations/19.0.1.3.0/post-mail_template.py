def migrate(cr, version):
    """Letters about new prices go to those who get bills, as other mails do; a template that was edited stays. Letters
    and requests to confirm a profile are kept: one that comes back is known by its mail."""
    cr.execute(
        """
        UPDATE mail_template t
           SET partner_to = '{{ '',''.join(str(partner.id) for partner in object._get_recipients()) }}'
          FROM ir_model_data d
         WHERE d.module = 'customer_billing' AND d.model = 'mail.template' AND d.name = 'mail_template_price_notice'
           AND d.res_id = t.id
           AND t.partner_to = '{{ object.partner_id.id }}'
        """
    )
    cr.execute(
        """
        UPDATE mail_template t
           SET auto_delete = FALSE
          FROM ir_model_data d
         WHERE d.module = 'customer_billing' AND d.res_id = t.id AND d.model = 'mail.template'
           AND d.name IN ('mail_template_price_notice', 'mail_template_profile')
        """
    )
