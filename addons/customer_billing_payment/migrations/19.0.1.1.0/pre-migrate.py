def migrate(cr, version):
    """Refunds are kept from now on: what is left of the dialog is none, and they are no longer their user's alone."""
    cr.execute("DELETE FROM billing_credit_refund")
    cr.execute(
        """DELETE FROM ir_rule WHERE id IN (
               SELECT res_id FROM ir_model_data
                WHERE module = 'customer_billing_payment' AND name = 'billing_credit_refund_rule_own')"""
    )
    cr.execute(
        """DELETE FROM ir_model_data
            WHERE module = 'customer_billing_payment' AND name = 'billing_credit_refund_rule_own'"""
    )
