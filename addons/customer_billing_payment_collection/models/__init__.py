from . import (
    account_move,
    billing_case,
    billing_case_charge,
    billing_case_transit,
    billing_dunning_notice,
    res_company,
    res_config_settings,
)
