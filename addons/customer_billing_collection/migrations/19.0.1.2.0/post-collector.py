def migrate(cr, version):
    """Cases keep their collectors: what is overdue now is what the next nights compare with. Only people's changes of
    the collector were tracked."""
    cr.execute(
        """UPDATE billing_case
              SET collector_amount = (
                      SELECT SUM(own.amount_overdue_company) FROM billing_case own
                       WHERE own.partner_id = billing_case.partner_id AND own.company_id = billing_case.company_id
                         AND own.state NOT IN ('closed', 'written_off')),
                  collector_manual = collector_id IS NOT NULL AND EXISTS (
                      SELECT FROM mail_message message
                        JOIN mail_tracking_value tracked ON tracked.mail_message_id = message.id
                        JOIN ir_model_fields field ON field.id = tracked.field_id
                       WHERE message.model = 'billing.case' AND message.res_id = billing_case.id
                         AND field.model = 'billing.case' AND field.name = 'collector_id')
            WHERE state NOT IN ('closed', 'written_off')"""
    )
