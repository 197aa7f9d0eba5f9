from . import (
    account_move,
    billing_case,
    billing_case_charge,
    billing_dunning_notice,
)
