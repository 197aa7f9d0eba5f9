def migrate(cr, version):
    """Letters about new prices go to those who get bills, as other mails do; a template that was edited stays."""
    cr.execute(
        """
        UPDATE mail_template t
           SET partner_to = '{{ '',''.join(str(partner.id) for partner in object._get_recipients()) }}'
          FROM ir_model_data d
         WHERE d.module = 'customer_billing' AND d.name = 'mail_template_price_notice' AND d.res_id = t.id
           AND t.partner_to = '{{ object.partner_id.id }}'
        """
    )
