def migrate(cr, version):
    """Top-up bills in the portal are found by an equality: the hierarchy of contacts is not searched for each page."""
    for name, path in (("account_move_rule_topup_portal", ""), ("account_move_line_rule_topup_portal", "move_id.")):
        cr.execute(
            """UPDATE ir_rule
                  SET domain_force = replace(domain_force, %s, %s)
                WHERE id = (SELECT res_id FROM ir_model_data
                             WHERE module = 'customer_billing_payment' AND model = 'ir.rule' AND name = %s)""",
            (
                f"('{path}partner_id', 'child_of', user.commercial_partner_id.id)",
                f"('{path}commercial_partner_id', '=', user.commercial_partner_id.id)",
                name,
            ),
        )
