from . import (
    account_move_reversal,
    billing_contract_change,
    billing_contract_change_line,
    billing_contract_simulation,
    billing_health,
)
