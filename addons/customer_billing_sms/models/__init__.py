from . import account_move, billing_case, billing_dunning_notice, billing_dunning_step, res_partner
