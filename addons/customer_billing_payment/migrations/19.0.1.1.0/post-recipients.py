RECIPIENTS = "{{ ','.join(map(str, %s._get_billing_recipients('billing').ids)) }}"
OLD = {
    "mail_template_declined": ("{{ object.move_id.partner_id.id }}", "object.move_id.partner_id"),
    "mail_template_expiry": ("{{ object.consent_user_id.partner_id.id }}", "object.consent_user_id.partner_id"),
    "mail_template_low_balance": ("{{ object.id }}", "object"),
}


def migrate(cr, version):
    """Mails go to the contacts that get bills, where nobody has chosen other recipients."""
    for name, (old, partner) in OLD.items():
        cr.execute(
            """
            UPDATE mail_template t SET partner_to = %s, use_default_to = FALSE FROM ir_model_data d
             WHERE d.module = 'customer_billing_payment' AND d.name = %s AND d.res_id = t.id AND t.partner_to = %s
            """,
            [RECIPIENTS % partner, name, old],
        )
