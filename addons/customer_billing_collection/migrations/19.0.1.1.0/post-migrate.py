def migrate(cr, version):
    """Subjects name the amounts of all currencies that a message is about."""
    cr.execute(
        """UPDATE mail_template
              SET subject = replace(subject::text, 'object.currency_id.format(object.amount)',
                                    'object._get_amount_text()')::jsonb
            WHERE model = 'billing.dunning.notice'"""
    )
