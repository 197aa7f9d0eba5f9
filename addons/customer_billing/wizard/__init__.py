from . import (
    account_move_reversal,
    base_partner_merge,
    billing_aged_line,
    billing_aged_report,
    billing_contract_activation,
    billing_contract_change,
    billing_contract_change_line,
    billing_contract_simulation,
    billing_health,
    billing_tier_change,
    portal_wizard_user,
)
